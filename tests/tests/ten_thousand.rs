//! Ten thousand numbered messages in both directions, and in the middle of them `kill -9` of whoever holds the server's
//! streams, several times: none is lost, repeated or out of order.
//!
//! What that means, and where it is measured:
//!
//! - *To the server*: it gets what was sent in order, each line whole and once, whoever is killed. A line of which nobody
//!   knows whether it got there (it was in the daemon's memory) either did or did not: the next one asks.
//! - *From the server*: everything that it writes is kept by the shim until somebody has taken care of it, and the last of
//!   it for a while after that. What comes again has its place in the output, by which it is known.
//! - *For clients*: an answered call was done once, and its answer came once; a call whose connection died was done at
//!   most once. A client that listens again and says what it heard last (`Last-Event-ID`) hears each of the server's own
//!   words once, in order, over every kill.
//!
//! The first two are measured where a line is taken in hand, at the shim's runtime in a process of its own
//! (`tests/examples/holds_the_stream.rs`); the third with the real daemon and clients of its gateway.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test stops where something is broken"
)]

use dtma_client::sse::SseEvent;
use dtma_tests::{McpClient, Toolbox, binaries, engine, groups, text};
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

const TOTAL: u64 = 10_000;
const PATIENCE: Duration = Duration::from_secs(120);

/// From 0 to `most`, another one each time.
fn random(most: u64) -> u64 {
    uuid::Uuid::new_v4().as_u64_pair().1 % (most + 1)
}

/// Says numbers, a thousand a second at most, whatever it hears; and answers numbers that it is told.
const TALKER: &str = "
import sys, threading, time
lock, got = threading.Lock(), []
def say(line):
    with lock: sys.stdout.write(line + '\\n'); sys.stdout.flush()
def talk():
    for number in range(1, 10001): say('said %d' % number); time.sleep(0.001)
threading.Thread(target=talk, daemon=True).start()
for line in sys.stdin:
    words = line.split()
    if words[0] == '?': say('at %d %s' % (len(got), words[1]))
    elif words[0] == 'report': say('got ' + ' '.join(got))
    else: got.append(words[0]); say('heard ' + words[0])
";
const KILLS: usize = 8;

/// The process that holds the streams, from life to life.
struct Holder {
    dir: tempfile::TempDir,
    program: PathBuf,
    names: [String; 2],
    child: Option<Child>,
}

impl Holder {
    fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("dtma-test-").tempdir().expect("a directory");
        let id = uuid::Uuid::new_v4().simple().to_string();
        let names = [id.clone(), format!("numbers-t{}", &id[..8])];
        Self { dir, program: binaries::example("holds_the_stream"), names, child: None }
    }

    fn start(&mut self, life: usize) {
        let mut command = Command::new(&self.program);
        command.arg(self.dir.path()).args(&self.names).args([TALKER, &TOTAL.to_string(), &life.to_string()]);
        self.child = Some(command.spawn().expect("it starts"));
    }

    fn child(&mut self) -> &mut Child {
        self.child.as_mut().expect("it was started")
    }

    fn kill9(&mut self) {
        let child = self.child();
        assert_eq!(child.try_wait().expect("wait"), None, "it ended too early");
        child.kill().expect("kill");
        child.wait().expect("reap");
    }

    /// How it ended by itself.
    fn ended(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child().try_wait().expect("wait") {
                return status;
            }
            assert!(Instant::now() < deadline, "it does not end: {:?}", self.journal().lines().last());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn journal(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("journal")).unwrap_or_default()
    }

    /// Until this life has written something down.
    fn wait_for_news_of(&mut self, life: usize) {
        let (deadline, begins) = (Instant::now() + PATIENCE, format!("\n{life} "));
        while !format!("\n{}", self.journal()).contains(&begins) {
            assert_eq!(self.child().try_wait().expect("wait"), None, "it ended too early");
            assert!(Instant::now() < deadline, "nothing of life {life}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
        engine::remove_tagged(&self.names[1]);
    }
}

/// The numbers of all lines `LIFE word NUMBER`.
fn numbers(journal: &str, word: &str) -> Vec<u64> {
    let lines = journal.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let numbers = lines.filter(|words| words[1] == word).map(|words| words[2].parse());
    numbers.collect::<Result<_, _>>().expect("numbers")
}

/// How many lives wrote something down.
fn lives(journal: &str) -> usize {
    let lives = journal.lines().filter_map(|line| line.split(' ').next());
    lives.collect::<BTreeSet<_>>().len()
}

#[test]
fn no_line_of_ten_thousand_is_lost_whenever_its_holder_is_killed() {
    let mut holder = Holder::new();
    for life in 1..=KILLS {
        holder.start(life);
        // Every other one is killed wherever it is, perhaps before it holds anything.
        if life % 2 == 1 {
            holder.wait_for_news_of(life);
        }
        std::thread::sleep(Duration::from_millis(random(600)));
        holder.kill9();
    }
    holder.start(KILLS + 1);
    let ended = holder.ended();
    assert!(ended.success(), "{ended}");
    let journal = holder.journal();
    let all: Vec<u64> = (1..=TOTAL).collect();
    let got = journal.lines().find_map(|line| line.split_once(" got ")).expect("what the server got").1;
    let (got, _) = got.rsplit_once(" @").expect("a place");
    assert_eq!(got.split(' ').map(|number| number.parse().expect("a number")).collect::<Vec<u64>>(), all);
    for word in ["said", "heard"] {
        assert_eq!(numbers(&journal, word), all, "{word}");
    }
    assert!(lives(&journal) > KILLS / 2, "{} lives heard something", lives(&journal));
    println!("figure: {} lines each way, {} lives", TOTAL, lives(&journal));
}

/// An MCP server that remembers which numbers it was told by whom, and says a number of its own before each answer.
const SERVER: &str = "
import json, sys
got = []
def send(message): sys.stdout.write(json.dumps({'jsonrpc': '2.0', **message}) + '\\n'); sys.stdout.flush()
def text(words): return {'content': [{'type': 'text', 'text': words}]}
def called(name, arguments):
    if name == 'report': return text(' '.join(got))
    got.append('%d:%d' % (arguments['client'], arguments['number']))
    send({'method': 'notifications/message', 'params': {'level': 'info', 'data': len(got)}})
    return text('%d %s' % (len(got), got[-1]))
for line in sys.stdin:
    m = json.loads(line)
    if 'id' not in m: continue
    p = m.get('params') or {}
    if m['method'] == 'initialize':
        result = {'protocolVersion': p['protocolVersion'], 'capabilities': {'tools': {}, 'logging': {}},
                  'serverInfo': {'name': 'numbers', 'version': '1'}}
    elif m['method'] == 'tools/list':
        schema = {'type': 'object'}
        result = {'tools': [{'name': name, 'inputSchema': schema} for name in ('number', 'report')]}
    elif m['method'] == 'tools/call': result = called(p['name'], p['arguments'])
    else: result = {}
    send({'id': m['id'], 'result': result})
";
const CLIENTS: u64 = 4;

/// What became of the calls of one client.
#[derive(Default)]
struct Calls {
    /// Number, and the place that the server gave it.
    answered: Vec<(u64, usize)>,
    unanswered: Vec<u64>,
}

/// Calls with the numbers from 1 on, each once, whatever becomes of it.
async fn calls(session: McpClient, client: u64, done: Arc<AtomicUsize>) -> Calls {
    let mut calls = Calls::default();
    for number in 1..=TOTAL / CLIENTS {
        let arguments = json!({"client": client, "number": number});
        let message = dtma_tests::mcp::call(&json!(number), "number", &arguments);
        match session.try_exchange(&message).await {
            Ok(messages) => {
                let answer = messages.last().expect("an answer");
                assert_eq!(answer["id"], number, "{answer}");
                match answer.get("result") {
                    Some(_) => calls.answered.push((number, place(text(answer), client, number))),
                    None => calls.unanswered.push(number),
                }
            }
            Err(_) => {
                calls.unanswered.push(number);
                back_again(&session).await;
            }
        }
        done.fetch_add(1, Ordering::Relaxed);
    }
    calls
}

/// The place in `PLACE CLIENT:NUMBER`.
fn place(answer: &str, client: u64, number: u64) -> usize {
    let (place, what) = answer.split_once(' ').expect("two words");
    assert_eq!(what, format!("{client}:{number}"));
    place.parse().expect("a place")
}

/// Until the server answers this session again. A ping is no message that is counted.
async fn back_again(session: &McpClient) {
    let deadline = Instant::now() + PATIENCE;
    let ping = json!({"jsonrpc": "2.0", "id": "back", "method": "ping"});
    while session.try_exchange(&ping).await.is_err() {
        assert!(Instant::now() < deadline, "it does not come back");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A client that listens, whatever happens to the stream.
struct Listener {
    session: McpClient,
    last: Option<String>,
    heard: Arc<Mutex<Vec<u64>>>,
}

impl Listener {
    /// Returns when the server was heard to be there: from then on nothing may be missing.
    async fn begin(session: McpClient, heard: Arc<Mutex<Vec<u64>>>) -> (Self, Events) {
        let mut events = session.listen_after(None).await.expect("a stream");
        let primer = events.next().await.expect("an event").expect("an event");
        assert_eq!(primer.data, "", "where it stands comes first");
        (Self { session, last: primer.id, heard }, events)
    }

    async fn run(mut self, mut events: Events) {
        loop {
            while let Some(Ok(event)) = events.next().await {
                if !event.data.is_empty() {
                    let message: Value = serde_json::from_str(&event.data).expect("a message");
                    let number = message["params"]["data"].as_u64().expect("a number");
                    self.heard.lock().expect("heard").push(number);
                }
                self.last = event.id;
            }
            events = self.again().await;
        }
    }

    async fn again(&self) -> Events {
        loop {
            match self.session.listen_after(self.last.as_deref()).await {
                Ok(events) => return events,
                Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    }
}

type Events = BoxStream<'static, Result<SseEvent, dtma_client::Error>>;

#[tokio::test(flavor = "multi_thread")]
async fn no_call_of_ten_thousand_is_lost_or_done_twice_whenever_the_daemon_is_killed() {
    let mut toolbox = Toolbox::start_with(|launch| launch.shims = Some(true));
    let server = groups::with(
        groups::fixture("numbers"),
        &json!({"command": ["/usr/bin/python3", "-c", SERVER], "network": "none"}),
    );
    toolbox.deploy(&toolbox.group("numbers", &[server])).await;
    let group = toolbox.named("numbers");
    let (done, heard) = (Arc::new(AtomicUsize::new(0)), Arc::default());
    let (listener, events) = Listener::begin(toolbox.raw_mcp("numbers").await, Arc::clone(&heard)).await;
    let mut listening = JoinSet::new();
    listening.spawn(listener.run(events));
    let mut clients = JoinSet::new();
    for client in 1..=CLIENTS {
        let session = toolbox.raw_mcp("numbers").await;
        clients.spawn(calls(session, client, Arc::clone(&done)));
    }
    for part in 1..=KILLS {
        // Somewhere in the middle of each part, and at any instant of a call.
        let at = TOTAL as usize * part / (KILLS + 2) + random(TOTAL / 20) as usize;
        while done.load(Ordering::Relaxed) < at {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        tokio::time::sleep(Duration::from_micros(random(3000))).await;
        toolbox.kill9();
        toolbox.start_again();
    }
    let calls = clients.join_all().await;
    assert_eq!(groups::restarts(&toolbox.ready(&group, PATIENCE).await), [0]);
    let answer = toolbox.raw_mcp("numbers").await.call(&json!(1), "report", &json!({})).await;
    let got: Vec<&str> = text(&answer).split(' ').collect();
    check_calls(&calls, &got);
    let said: Vec<u64> = (1..=got.len() as u64).collect();
    let all_heard = async || {
        let heard = heard.lock().expect("heard");
        if heard.last() == said.last() { Ok(()) } else { Err((heard.last().copied(), said.len())) }
    };
    dtma_tests::eventually("the last word is heard", PATIENCE, all_heard).await;
    assert_eq!(*heard.lock().expect("heard"), said, "each word once and in order");
    let unanswered: usize = calls.iter().map(|calls| calls.unanswered.len()).sum();
    println!(
        "figure: {} calls got through, {unanswered} were not answered, each word was heard once",
        got.len()
    );
}

fn check_calls(calls: &[Calls], got: &[&str]) {
    let numbers = |client: usize| {
        let of_client = got.iter().filter_map(move |one| one.strip_prefix(&format!("{client}:")));
        of_client.map(|number| number.parse().expect("a number")).collect::<Vec<u64>>()
    };
    for client in 1..=CLIENTS as usize {
        let numbers = numbers(client);
        assert!(numbers.is_sorted_by(|one, next| one < next), "out of order, or twice: {numbers:?}");
    }
    let mut answers = 0;
    for calls in calls {
        // Each kill cuts off one call of each client at most.
        assert!(calls.unanswered.len() <= KILLS, "{:?}", calls.unanswered);
        answers += calls.answered.len();
        assert!(calls.answered.is_sorted_by_key(|(_, place)| *place));
        for (number, place) in &calls.answered {
            assert!(got[place - 1].ends_with(&format!(":{number}")), "{number}: {}", got[place - 1]);
        }
    }
    let unanswered: usize = calls.iter().map(|calls| calls.unanswered.len()).sum();
    assert_eq!(answers + unanswered, TOTAL as usize);
    assert!((answers..=answers + unanswered).contains(&got.len()), "{} of {answers}", got.len());
}
