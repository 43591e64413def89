//! Ten thousand numbered messages in both directions, and in the middle of them `kill -9` of whoever holds the server's
//! streams, several times: none is lost, repeated or out of order.
//!
//! What that means, and where it is measured:
//!
//! - *To the server*: it gets what was sent in order, each line whole and once, whoever is killed. A line of which nobody
//!   knows whether it got there (it was in the daemon's memory) either did or did not: the next one asks.
//! - *From the server*: everything that it writes is kept by the shim until somebody has taken care of it. What was taken
//!   care of in the last milliseconds before a kill, and not acknowledged yet, comes again: behind it nothing is missing.
//! - *For clients*: an answered call was done once, and its answer came once; a call whose connection died was done at
//!   most once. A client hears the server's own words on a stream that dies with the daemon: while it listens none is
//!   missing, none comes twice, and at the next stream only the last ones can come again.
//!
//! The first two are measured where a line is taken in hand, at the shim's runtime in a process of its own
//! (`tests/examples/holds_the_stream.rs`); the third with the real daemon and clients of its gateway.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test stops where something is broken"
)]

use dtma_tests::{McpClient, Toolbox, binaries, engine, groups, text};
use futures_util::StreamExt;
use serde_json::json;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

const TOTAL: u64 = 10_000;
const PATIENCE: Duration = Duration::from_secs(120);
/// What may come again after a kill came this shortly before it.
const SEAM: Duration = Duration::from_secs(1);

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
/// Lines that can be taken in hand within the milliseconds before they are acknowledged: many, when they waited.
const SEAM_LINES: u64 = 2500;
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

/// The numbers of all lines `LIFE word NUMBER`, by life.
fn by_life(journal: &str, word: &str) -> Vec<Vec<u64>> {
    let mut lives: Vec<(String, Vec<u64>)> = Vec::new();
    for line in journal.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        if words[1] != word {
            continue;
        }
        if lives.last().is_none_or(|(life, _)| life != words[0]) {
            lives.push((words[0].to_owned(), Vec::new()));
        }
        let number = words[2].parse().expect("a number");
        lives.last_mut().expect("a life").1.push(number);
    }
    lives.into_iter().map(|(_, numbers)| numbers).collect()
}

/// Each stream without a gap, a repetition or a change of order in itself, and each going on where the last one ended or
/// a little before. Says how many came again.
fn goes_on(streams: &[Vec<u64>], seam: u64) -> u64 {
    let (mut next, mut again) = (1, 0);
    for numbers in streams.iter().filter(|numbers| !numbers.is_empty()) {
        let first = numbers[0];
        assert!(first <= next, "{next} to {} are missing", first - 1);
        assert!(next - first <= seam, "{} numbers came again", next - first);
        again += next - first;
        let expected: Vec<u64> = (first..first + numbers.len() as u64).collect();
        assert_eq!(*numbers, expected);
        next = first + numbers.len() as u64;
    }
    assert_eq!(next, TOTAL + 1, "the last ones are missing");
    again
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
    let got = journal.lines().find_map(|line| line.split_once(" got ")).expect("what the server got").1;
    let sent: Vec<String> = (1..=TOTAL).map(|number| number.to_string()).collect();
    assert!(got.split(' ').eq(sent.iter().map(String::as_str)), "not what was sent: {got}");
    let said = by_life(&journal, "said");
    assert!(said.len() >= KILLS / 2, "{} lives heard something", said.len());
    let again = goes_on(&said, SEAM_LINES) + goes_on(&by_life(&journal, "heard"), SEAM_LINES);
    println!("{} lives; of {} lines {again} came again", said.len(), 2 * TOTAL);
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

type Heard = Arc<Mutex<Vec<Vec<(u64, Instant)>>>>;

/// Listens, and as soon as that ends again, for ever.
async fn listens(session: McpClient, heard: Heard) {
    loop {
        let Ok(mut listening) = session.try_listen().await else {
            tokio::time::sleep(Duration::from_millis(5)).await;
            continue;
        };
        heard.lock().expect("heard").push(Vec::new());
        while let Some(Ok(message)) = listening.next().await {
            if let Some(number) = message["params"]["data"].as_u64() {
                heard.lock().expect("heard").last_mut().expect("a stream").push((number, Instant::now()));
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_call_of_ten_thousand_is_lost_or_done_twice_whenever_the_daemon_is_killed() {
    let mut toolbox = Toolbox::start_with(|launch| launch.shims = Some(true));
    let server = groups::with(
        groups::fixture("numbers"),
        &json!({"command": ["/usr/bin/python3", "-c", SERVER], "network": "none"}),
    );
    toolbox.deploy(&toolbox.group("numbers", &[server])).await;
    let group = toolbox.named("numbers");
    let (done, heard) = (Arc::new(AtomicUsize::new(0)), Heard::default());
    let mut clients = JoinSet::new();
    for client in 1..=CLIENTS {
        let session = toolbox.raw_mcp("numbers").await;
        clients.spawn(calls(session, client, Arc::clone(&done)));
    }
    let mut listener = JoinSet::new();
    listener.spawn(listens(toolbox.raw_mcp("numbers").await, Arc::clone(&heard)));
    let mut kills = Vec::new();
    for part in 1..=KILLS {
        // Somewhere in the middle of each part, and at any instant of a call.
        let at = TOTAL as usize * part / (KILLS + 2) + random(TOTAL / 20) as usize;
        while done.load(Ordering::Relaxed) < at {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        tokio::time::sleep(Duration::from_micros(random(3000))).await;
        toolbox.kill9();
        kills.push(Instant::now());
        toolbox.start_again();
    }
    let calls = clients.join_all().await;
    assert_eq!(groups::restarts(&toolbox.ready(&group, PATIENCE).await), [0]);
    let answer = toolbox.raw_mcp("numbers").await.call(&json!(1), "report", &json!({})).await;
    let got: Vec<&str> = text(&answer).split(' ').collect();
    check_calls(&calls, &got);
    until_heard(&heard, got.len() as u64).await;
    let again = check_heard(&heard, &kills);
    let unanswered: usize = calls.iter().map(|calls| calls.unanswered.len()).sum();
    println!("{} calls got through, {unanswered} were not answered; {again} words came again", got.len());
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

async fn until_heard(heard: &Heard, last: u64) {
    dtma_tests::eventually("the last word is heard", PATIENCE, || async {
        let seen = heard.lock().expect("heard").iter().flatten().last().map(|(number, _)| *number);
        if seen == Some(last) { Ok(()) } else { Err((seen, last)) }
    })
    .await;
}

/// No word is missing or doubled while somebody listens; between two streams only the last ones can come again. Says how
/// many did.
fn check_heard(heard: &Heard, kills: &[Instant]) -> usize {
    let (mut known, mut again): (Vec<(u64, Instant)>, usize) = (Vec::new(), 0);
    for stream in heard.lock().expect("heard").iter().filter(|stream| !stream.is_empty()) {
        assert!(stream.is_sorted_by(|(one, _), (next, _)| one + 1 == *next), "{stream:?}");
        let repeated = known.iter().filter(|(number, _)| *number >= stream[0].0);
        for (number, at) in repeated.clone() {
            let shortly_before = |kill: &Instant| at <= kill && kill.duration_since(*at) <= SEAM;
            assert!(kills.iter().any(shortly_before), "{number} came again, and not because of a kill");
        }
        again += repeated.count();
        known.extend(stream);
    }
    again
}
