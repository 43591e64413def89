//! Steady load on a group: agents in long sessions, agents that come and go, calls that take long, and callers of a
//! published port with one connection for each request. Every answer says which version gave it.
//!
//! A request is lost when it is not answered, and wrong when its answer is from a version that nobody can have met: one
//! older than the last that was established when it was sent, or newer than any that was asked for when it was answered.

use dtma_client::Client;
use dtma_tests::{McpClient, Toolbox};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// Callers of each kind.
const LONG_SESSIONS: usize = 4;
const SHORT_SESSIONS: usize = 2;
const SLOW_CALLERS: usize = 2;
const VISITORS: usize = 4;
/// Between two requests of one caller.
const PAUSE: Duration = Duration::from_millis(25);
/// No request may take longer; the slow ones take one second by themselves.
const PATIENCE: Duration = Duration::from_secs(30);
/// Answers that a failure shows.
const SHOWN: usize = 12;

/// The callers at work.
pub(crate) struct Load {
    shared: Arc<Shared>,
    callers: JoinSet<()>,
    began: Instant,
}

struct Shared {
    client: Client,
    server: String,
    port: u16,
    /// The newest version that was asked for, and the newest that was established.
    asked: AtomicU64,
    established: AtomicU64,
    over: AtomicBool,
    tally: Mutex<Tally>,
}

/// What became of all requests.
#[derive(Default)]
pub(crate) struct Tally {
    /// Requests that were answered rightly, by kind.
    pub(crate) answered: BTreeMap<&'static str, u64>,
    /// What became of the others.
    pub(crate) lost: Vec<String>,
    /// The longest time a request took, by kind.
    pub(crate) longest: BTreeMap<&'static str, Duration>,
}

impl Load {
    /// Begins; every caller has been answered once when this returns.
    pub(crate) async fn begin(toolbox: &Toolbox, server: &str, port: u16, version: u64) -> Self {
        let shared = Arc::new(Shared {
            client: toolbox.client(),
            server: server.to_owned(),
            port,
            asked: AtomicU64::new(version),
            established: AtomicU64::new(version),
            over: AtomicBool::new(false),
            tally: Mutex::default(),
        });
        let mut callers = JoinSet::new();
        for _ in 0..LONG_SESSIONS {
            callers.spawn(Arc::clone(&shared).stays(toolbox.raw_mcp(server).await));
        }
        for _ in 0..SLOW_CALLERS {
            callers.spawn(Arc::clone(&shared).takes_long(toolbox.raw_mcp(server).await));
        }
        for _ in 0..SHORT_SESSIONS {
            callers.spawn(Arc::clone(&shared).comes_and_goes());
        }
        for _ in 0..VISITORS {
            callers.spawn(Arc::clone(&shared).visits());
        }
        Self { shared, callers, began: Instant::now() }
    }

    /// From now on this version may answer.
    pub(crate) fn asked(&self, version: u64) {
        self.shared.asked.store(version, Ordering::SeqCst);
    }

    /// From now on only this version may answer.
    pub(crate) fn established(&self, version: u64) {
        self.shared.established.store(version, Ordering::SeqCst);
    }

    /// The version that was asked for did not come to stand.
    pub(crate) fn given_up(&self) {
        self.asked(self.shared.established.load(Ordering::SeqCst));
    }

    /// Fails when something was lost or wrong so far.
    pub(crate) fn unharmed(&self, when: &str) {
        self.shared.tally().assert_whole(when);
    }

    /// Ends the load and returns what became of it.
    pub(crate) async fn end(mut self, when: &str) -> Tally {
        self.shared.over.store(true, Ordering::SeqCst);
        while let Some(caller) = self.callers.join_next().await {
            caller.expect("a caller");
        }
        let tally = std::mem::take(&mut *self.shared.tally());
        tally.assert_whole(when);
        let kinds = ["call", "slow call", "session", "visit"];
        for kind in kinds {
            assert!(tally.answered.get(kind).is_some_and(|count| *count > 0), "no {kind} was made");
        }
        println!("figure: {when}: {tally} in {:.1} s", self.began.elapsed().as_secs_f64());
        tally
    }
}

impl Shared {
    fn tally(&self) -> std::sync::MutexGuard<'_, Tally> {
        self.tally.lock().expect("nobody panics with the tally")
    }

    fn goes_on(&self) -> bool {
        !self.over.load(Ordering::SeqCst)
    }

    /// Makes one request and notes what became of it.
    async fn noted<F>(&self, kind: &'static str, request: F) -> bool
    where
        F: Future<Output = Result<Option<u64>, String>>,
    {
        let (began, oldest) = (Instant::now(), self.established.load(Ordering::SeqCst));
        let outcome = tokio::time::timeout(PATIENCE, request).await;
        let (took, newest) = (began.elapsed(), self.asked.load(Ordering::SeqCst));
        let outcome = match outcome.unwrap_or_else(|_| Err("no answer in time".to_owned())) {
            Ok(Some(version)) if !(oldest..=newest).contains(&version) => {
                Err(format!("version {version} answered, which is not of {oldest} to {newest}"))
            }
            other => other,
        };
        let mut tally = self.tally();
        match &outcome {
            Ok(_) => *tally.answered.entry(kind).or_default() += 1,
            Err(problem) => {
                tally.lost.push(format!("{kind} from version {oldest} on, after {took:?}: {problem}"));
            }
        }
        let longest = tally.longest.entry(kind).or_default();
        *longest = took.max(*longest);
        outcome.is_ok()
    }

    /// One session, for as long as the load lasts.
    async fn stays(self: Arc<Self>, session: McpClient) {
        let mut id = 0;
        while self.goes_on() {
            id += 1;
            self.noted("call", version_of(&session, id)).await;
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn takes_long(self: Arc<Self>, session: McpClient) {
        let mut id = 0;
        while self.goes_on() {
            id += 1;
            self.noted("slow call", slow(&session, id)).await;
        }
    }

    async fn comes_and_goes(self: Arc<Self>) {
        while self.goes_on() {
            self.noted("session", self.one_session()).await;
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn one_session(&self) -> Result<Option<u64>, String> {
        let session = McpClient::try_open(&self.client, &self.server).await?;
        let version = version_of(&session, 1).await?;
        session.close().await?;
        Ok(version)
    }

    async fn visits(self: Arc<Self>) {
        while self.goes_on() {
            self.noted("visit", visit(self.port)).await;
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// The version that the process behind a session was started with.
async fn version_of(session: &McpClient, id: u64) -> Result<Option<u64>, String> {
    let answer = answer(session, id, "get-env", &json!({})).await?;
    let environment: Value = serde_json::from_str(&answer).map_err(|error| format!("{error}: {answer}"))?;
    version(environment["VERSION"].as_str().unwrap_or_default()).map(Some)
}

async fn slow(session: &McpClient, id: u64) -> Result<Option<u64>, String> {
    let arguments = json!({"duration": 1, "steps": 2});
    let answer = answer(session, id, "trigger-long-running-operation", &arguments).await?;
    if answer.contains("completed") { Ok(None) } else { Err(answer) }
}

async fn answer(session: &McpClient, id: u64, tool: &str, arguments: &Value) -> Result<String, String> {
    let messages = session.try_exchange(&dtma_tests::mcp::call(&json!(id), tool, arguments)).await?;
    let answer = messages.last().ok_or("an answer without a message")?;
    if answer["id"] != id {
        return Err(format!("the answer to another request: {answer}"));
    }
    let text = answer["result"]["content"][0]["text"].as_str();
    text.map(str::to_owned).ok_or_else(|| answer.to_string())
}

/// One request over a connection of its own.
async fn visit(port: u16) -> Result<Option<u64>, String> {
    let failed = |what: &'static str| move |error: std::io::Error| format!("{what}: {error}");
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.map_err(failed("connect"))?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").await.map_err(failed("send"))?;
    let mut text = String::new();
    stream.read_to_string(&mut text).await.map_err(failed("receive"))?;
    let (head, body) = text.split_once("\r\n\r\n").ok_or_else(|| format!("no answer: {text:?}"))?;
    if !head.starts_with("HTTP/1.0 200") && !head.starts_with("HTTP/1.1 200") {
        return Err(head.to_owned());
    }
    version(body).map(Some)
}

fn version(text: &str) -> Result<u64, String> {
    text.trim().parse().map_err(|_| format!("{text:?} is no version"))
}

impl Tally {
    fn assert_whole(&self, when: &str) {
        let shown = self.lost[..self.lost.len().min(SHOWN)].join("\n");
        assert!(self.lost.is_empty(), "{when}: {self}; the first of those lost or wrong:\n{shown}");
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} lost or wrong", self.lost.len())?;
        for (kind, count) in &self.answered {
            write!(f, ", {kind}: {count} (longest {:.2} s)", self.longest[kind].as_secs_f64())?;
        }
        Ok(())
    }
}
