//! A provider that answers what a test wrote, byte by byte, and remembers what it was asked.

use dtma_credentials::web::Web;
use rustls::{ClientConfig, RootCertStore};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

#[derive(Default)]
struct Script {
    answers: VecDeque<Vec<u8>>,
    asked: Vec<String>,
}

/// One provider on loopback.
pub(crate) struct Scripted {
    pub(crate) base: String,
    script: Arc<Mutex<Script>>,
    _tasks: JoinSet<()>,
}

impl Scripted {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let (script, mut tasks) = (Arc::<Mutex<Script>>::default(), JoinSet::new());
        let serving = Arc::clone(&script);
        tasks.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                serve(stream, &serving).await;
            }
        });
        Self { base, script, _tasks: tasks }
    }

    /// The next request is answered with these bytes; one beyond the script is not answered at all.
    pub(crate) fn say(&self, answer: impl Into<Vec<u8>>) {
        self.script.lock().unwrap().answers.push_back(answer.into());
    }

    pub(crate) fn says(&self, head: &str, body: &str) {
        self.say(format!("HTTP/1.1 {head}\r\nContent-Length: {}\r\n\r\n{body}", body.len()));
    }

    /// What it was asked since it was asked this last.
    pub(crate) fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.script.lock().unwrap().asked)
    }
}

async fn serve(mut stream: TcpStream, script: &Mutex<Script>) {
    let asked = request(&mut stream).await;
    let answer = {
        let mut script = script.lock().unwrap();
        script.asked.push(asked);
        script.answers.pop_front()
    };
    if let Some(answer) = answer {
        // Whoever has heard enough hangs up, which is its right.
        let _ = stream.write_all(&answer).await;
        let _ = stream.shutdown().await;
    }
}

/// Head and body.
async fn request(stream: &mut TcpStream) -> String {
    let mut read = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&read).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().unwrap())
            });
            if body.len() >= length.unwrap_or(0) {
                return text;
            }
        }
        if stream.read_buf(&mut read).await.unwrap_or(0) == 0 {
            return text;
        }
    }
}

/// A client that believes nobody's certificate, for nothing here has one.
pub(crate) fn web() -> Web {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    Web::new(tls.with_root_certificates(RootCertStore::empty()).with_no_client_auth())
}
