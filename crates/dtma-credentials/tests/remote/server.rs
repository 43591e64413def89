//! A server on loopback that answers requests by a function, one after the other.

use serde_json::Value;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// A request that came.
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) path: String,
    /// After the `?`, decoded.
    pub(crate) query: Vec<(String, String)>,
    /// Lower case.
    headers: Vec<(String, String)>,
    pub(crate) body: Value,
}

impl Asked {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }

    pub(crate) fn query(&self, name: &str) -> &str {
        self.query.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }
}

/// Status and body.
pub(crate) type Said = (u16, Value);

pub(crate) struct Server {
    pub(crate) base: String,
    _tasks: JoinSet<()>,
}

impl Server {
    pub(crate) async fn start(answer: impl FnMut(Asked) -> Said + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let (answer, mut tasks) = (Arc::new(Mutex::new(answer)), JoinSet::new());
        tasks.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                serve(stream, &*answer).await;
            }
        });
        Self { base, _tasks: tasks }
    }
}

async fn serve(mut stream: TcpStream, answer: &Mutex<impl FnMut(Asked) -> Said>) {
    let Some(asked) = request(&mut stream).await else { return };
    let (status, body) = (answer.lock().unwrap())(asked);
    let body = if status == 204 { String::new() } else { body.to_string() };
    let head =
        format!("HTTP/1.1 {status} said\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len());
    let _ = stream.write_all(format!("{head}{body}").as_bytes()).await;
    let _ = stream.shutdown().await;
}

async fn request(stream: &mut TcpStream) -> Option<Asked> {
    let mut read = Vec::new();
    loop {
        if let Some(end) = read.windows(4).position(|four| four == b"\r\n\r\n") {
            let asked = head(str::from_utf8(&read[..end]).unwrap());
            let body = &read[end + 4..];
            if body.len() >= asked.header("content-length").parse().unwrap_or(0) {
                let body = serde_json::from_slice(body).unwrap_or(Value::Null);
                return Some(Asked { body, ..asked });
            }
        }
        if stream.read_buf(&mut read).await.unwrap_or(0) == 0 {
            return None;
        }
    }
}

fn head(head: &str) -> Asked {
    let mut lines = head.lines();
    let mut first = lines.next().unwrap().split(' ');
    let (method, target) = (first.next().unwrap().to_owned(), first.next().unwrap());
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let query = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    let header = |line: &str| {
        let (name, value) = line.split_once(':').unwrap();
        (name.to_ascii_lowercase(), value.trim().to_owned())
    };
    Asked { method, path: path.to_owned(), query, headers: lines.map(header).collect(), body: Value::Null }
}
