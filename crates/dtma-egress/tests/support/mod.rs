//! A proxy on loopback, hosts that remember what they were sent, names that mean what a test says, and clients that
//! write bytes.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a broken test should stop where it broke"
)]
#![allow(dead_code, reason = "each test file uses its own part of it")]

use async_trait::async_trait;
use dtma_egress::{Ceiling, Decision, Egress, Ended, Limits, Parts, Ranges, Resolver, Rules, Sink, Verdict};
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub(crate) const LOOPBACK: &str = "127.0.0.0/8";

/// Answers of names, one question after the other; the last goes on being given.
#[derive(Default)]
pub(crate) struct Names {
    answers: Mutex<BTreeMap<String, VecDeque<Vec<IpAddr>>>>,
    pub(crate) asked: Mutex<Vec<String>>,
    own: Mutex<Vec<IpAddr>>,
    delay: Mutex<Duration>,
}

impl Names {
    pub(crate) fn say(&self, name: &str, answers: &[&[&str]]) {
        let read = |answer: &&[&str]| answer.iter().map(|text| text.parse().unwrap()).collect();
        self.answers.lock().unwrap().insert(name.to_owned(), answers.iter().map(read).collect());
    }

    pub(crate) fn own(&self, address: &str) {
        self.own.lock().unwrap().push(address.parse().unwrap());
    }

    pub(crate) fn slow(&self, delay: Duration) {
        *self.delay.lock().unwrap() = delay;
    }

    fn next(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        let mut answers = self.answers.lock().unwrap();
        let queue = answers.get_mut(name).ok_or_else(|| io::Error::other("no such name"))?;
        Ok(if queue.len() > 1 { queue.pop_front().unwrap() } else { queue[0].clone() })
    }
}

#[async_trait]
impl Resolver for Names {
    async fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        self.asked.lock().unwrap().push(name.to_owned());
        let delay = *self.delay.lock().unwrap();
        tokio::time::sleep(delay).await;
        self.next(name)
    }

    fn is_own(&self, address: IpAddr) -> bool {
        self.own.lock().unwrap().contains(&address)
    }
}

/// Remembers what it hears.
#[derive(Default)]
pub(crate) struct Ear {
    pub(crate) decisions: Mutex<Vec<Decision>>,
    ends: watch::Sender<Vec<Ended>>,
    deaf: AtomicBool,
}

#[async_trait]
impl Sink for Ear {
    async fn decided(&self, decision: &Decision) -> io::Result<()> {
        self.decisions.lock().unwrap().push(decision.clone());
        if self.deaf.load(Ordering::SeqCst) { Err(io::Error::other("the disk is full")) } else { Ok(()) }
    }

    fn ended(&self, end: &Ended) {
        self.ends.send_modify(|ends| ends.push(end.clone()));
    }
}

impl Ear {
    pub(crate) fn stop_listening(&self) {
        self.deaf.store(true, Ordering::SeqCst);
    }

    /// The first so many ends, once there are as many.
    pub(crate) async fn ends(&self, count: usize) -> Vec<Ended> {
        let mut ends = self.ends.subscribe();
        let enough = ends.wait_for(|ends| ends.len() >= count);
        tokio::time::timeout(Duration::from_secs(10), enough)
            .await
            .expect("an end was not told")
            .unwrap()
            .clone()
    }

    pub(crate) async fn end(&self) -> Ended {
        self.ends(1).await.remove(0)
    }

    pub(crate) fn ends_so_far(&self) -> usize {
        self.ends.borrow().len()
    }

    /// `allowed host:port [addresses]` and `refused host:port`.
    pub(crate) fn verdicts(&self) -> Vec<String> {
        let shown = |decision: &Decision| match &decision.verdict {
            Verdict::Allowed { addresses } => format!("allowed {} {addresses:?}", decision.target),
            Verdict::Refused { .. } => format!("refused {}", decision.target),
        };
        self.decisions.lock().unwrap().iter().map(shown).collect()
    }
}

/// A proxy that is served.
pub(crate) struct Stage {
    pub(crate) names: Arc<Names>,
    pub(crate) ear: Arc<Ear>,
    pub(crate) proxy: SocketAddr,
    pub(crate) shutdown: CancellationToken,
    serving: JoinSet<()>,
}

impl Stage {
    /// A way out for these rules, with loopback opened.
    pub(crate) async fn new(rules: &[String]) -> Self {
        Self::with(rules, &[LOOPBACK], Limits::default()).await
    }

    pub(crate) async fn with(rules: &[String], ranges: &[&str], limits: Limits) -> Self {
        let (names, ear, shutdown) =
            (Arc::new(Names::default()), Arc::new(Ear::default()), CancellationToken::new());
        let rules = rules.iter().map(|text| text.parse().unwrap()).collect();
        let parts = Parts {
            rules: Rules::new(rules, Ceiling::Named),
            ranges: Ranges::new(ranges.iter().map(|text| text.parse().unwrap()).collect()),
            resolver: names.clone(),
            sink: ear.clone(),
            limits,
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = listener.local_addr().unwrap();
        let mut serving = JoinSet::new();
        serving.spawn(dtma_egress::serve(listener, Arc::new(Egress::new(parts)), shutdown.clone()));
        Self { names, ear, proxy, shutdown, serving }
    }

    pub(crate) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.proxy).await.unwrap()
    }

    /// Sends the bytes and reads until the proxy hangs up.
    pub(crate) async fn ask(&self, request: impl AsRef<[u8]>) -> String {
        let mut client = self.connect().await;
        client.write_all(request.as_ref()).await.unwrap();
        let answer = tokio::time::timeout(Duration::from_secs(10), read_all(&mut client));
        String::from_utf8_lossy(&answer.await.expect("the proxy did not hang up")).into_owned()
    }

    /// A `GET` of this address, as curl writes it to a proxy.
    pub(crate) async fn get(&self, url: &str) -> String {
        self.ask(format!("GET {url} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")).await
    }

    /// A tunnel, and what was said when it was opened.
    pub(crate) async fn tunnel(&self, target: &str) -> (TcpStream, String) {
        let mut client = self.connect().await;
        let request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n");
        client.write_all(request.as_bytes()).await.unwrap();
        let head = read_head(&mut client).await;
        (client, head)
    }

    pub(crate) async fn stopped(mut self) {
        self.shutdown.cancel();
        self.serving.join_next().await.unwrap().unwrap();
    }
}

pub(crate) async fn read_all(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut chunk = [0; 8192];
    // A reset after an answer is an end, too.
    while let Ok(read) = stream.read(&mut chunk).await {
        if read == 0 {
            break;
        }
        bytes.extend_from_slice(&chunk[..read]);
    }
    bytes
}

/// Up to the empty line, and not a byte further.
pub(crate) async fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        match stream.read(&mut byte).await {
            Ok(1) => head.push(byte[0]),
            _ => break,
        }
    }
    String::from_utf8(head).unwrap()
}

/// A host somewhere on loopback.
pub(crate) struct Origin {
    pub(crate) address: SocketAddr,
    connections: Arc<AtomicUsize>,
    /// What each connection sent.
    pub(crate) heard: Arc<Mutex<Vec<Vec<u8>>>>,
    _serving: JoinSet<()>,
}

/// What a host does with a connection.
#[derive(Clone, Copy)]
pub(crate) enum Habit {
    /// Reads a request, answers with these bytes, hangs up.
    Answer(&'static [u8]),
    /// Sends everything back, and when the client has ended, `bye`.
    Echo,
}

impl Origin {
    pub(crate) async fn new(habit: Habit) -> Self {
        Self::at("127.0.0.1:0", habit).await
    }

    pub(crate) async fn at(address: &str, habit: Habit) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (connections, heard) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::default()));
        let mut serving = JoinSet::new();
        let (count, log) = (Arc::clone(&connections), Arc::clone(&heard));
        serving.spawn(async move {
            let mut open = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                open.spawn(behave(stream, habit, Arc::clone(&log)));
            }
        });
        Self { address, connections, heard, _serving: serving }
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    pub(crate) fn heard_first(&self) -> String {
        String::from_utf8(self.heard.lock().unwrap()[0].clone()).unwrap()
    }
}

async fn behave(mut stream: TcpStream, habit: Habit, log: Arc<Mutex<Vec<Vec<u8>>>>) {
    match habit {
        Habit::Answer(answer) => {
            let request = read_request(&mut stream).await;
            log.lock().unwrap().push(request);
            let _ = stream.write_all(answer).await;
        }
        Habit::Echo => {
            let mut chunk = [0; 8192];
            while let Ok(read @ 1..) = stream.read(&mut chunk).await {
                let _ = stream.write_all(&chunk[..read]).await;
            }
            let _ = stream.write_all(b"bye").await;
        }
    }
}

/// A head and its body, by length or by chunks.
async fn read_request(stream: &mut TcpStream) -> Vec<u8> {
    let head = read_head(stream).await.to_lowercase();
    let mut request = head.clone().into_bytes();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    if let Some(length) = length.and_then(|text| text.parse().ok()) {
        let mut body = vec![0; length];
        let _ = stream.read_exact(&mut body).await;
        request.extend(body);
    }
    if head.contains("transfer-encoding: chunked") {
        while !request.ends_with(b"0\r\n\r\n") {
            request.push(stream.read_u8().await.unwrap_or_default());
        }
    }
    request
}
