//! A session and a scripted shim at the other end of its socket.

use super::*;
use crate::attachment::attach;
use dtma_core::id::Generation;
use dtma_core::port::runtime::{Attached, LogQuery, OutputStream};
use dtma_wire::{EnvChange, Hello, Mode, Output, Spawn, Welcome};
use futures_util::StreamExt;
use std::io::IoSlice;
use std::sync::Mutex;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;

const SOON: Duration = Duration::from_secs(10);
const STARTED: u64 = 1_000_000;

struct Scene {
    dir: TempDir,
    session: Arc<Session>,
    events: Arc<Mutex<Vec<ContainerChange>>>,
    _task: JoinSet<()>,
}

impl Scene {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let places = Arc::new(Places::open(dir.path(), dir.path(), &"owner".into()).unwrap());
        let key = Key::of_directory("00112233445566aa").unwrap();
        let events: Arc<Mutex<Vec<ContainerChange>>> = Arc::default();
        let told = Arc::clone(&events);
        let session = Session::new(
            key.clone(),
            places.nonce(&key),
            |_| Ok(()),
            Box::new(move |change| told.lock().unwrap().push(change)),
        );
        let mut task = JoinSet::new();
        task.spawn(Arc::clone(&session).run(places.listen(&key).unwrap(), places));
        Self { dir, session, events, _task: task }
    }

    async fn dial(&self) -> Peer {
        let path = self.dir.path().join("c/owner").join(self.session.key.as_str()).join("agent.sock");
        let socket = UnixStream::connect(path).await.unwrap();
        Peer { socket, decoder: Decoder::default() }
    }

    fn hello(&self) -> Hello {
        Hello {
            lowest: 1,
            highest: 2,
            nonce: self.session.nonce,
            build: "scripted".into(),
            child: Child::default(),
            output: Output::default(),
            input: 0,
            torn: false,
            log: 0,
        }
    }

    /// A shim that was welcomed.
    async fn shim(&self, hello: Hello) -> (Peer, Welcome) {
        let mut peer = self.dial().await;
        peer.say(FromShim::Hello(hello)).await;
        match peer.hear().await {
            Heard::Welcome(welcome) => (peer, welcome),
            other => panic!("no welcome: {other:?}"),
        }
    }

    /// A shim whose server runs, and whoever is attached to it.
    async fn running(&self) -> (Peer, Attached) {
        let (mut peer, _) = self.shim(self.hello()).await;
        let attached = attach(&self.session);
        assert_eq!(self.session.spawn(&launch(), SOON).unwrap(), 1);
        assert!(matches!(peer.hear().await, Heard::Spawn(Spawn { run: 1, .. })));
        peer.say(FromShim::Child(running(1))).await;
        (peer, attached)
    }

    async fn until(&self, holds: impl FnMut(&Known) -> bool) {
        tokio::time::timeout(SOON, self.session.known().wait_for(holds)).await.unwrap().unwrap();
    }
}

fn launch() -> Launch {
    let environment = [("A".to_owned(), "1".to_owned())].into();
    Launch { generation: Generation(2), config_hash: "h".into(), argv: Some(vec!["it".into()]), environment }
}

fn running(run: u32) -> Child {
    Child { run, phase: Phase::Running { started: STARTED }, oom_kills: 0, tag: None }
}

#[derive(Debug, PartialEq)]
enum Heard {
    Welcome(Welcome),
    Refuse(String),
    Spawn(Spawn),
    Input(u64, String),
    Window(u64),
    Other(String),
    End,
}

struct Peer {
    socket: UnixStream,
    decoder: Decoder,
}

impl Peer {
    async fn say(&mut self, frame: FromShim<'_>) {
        let mut out = Vec::new();
        frame.encode(&mut out).unwrap();
        self.socket.write_all(&out).await.unwrap();
    }

    async fn hear(&mut self) -> Heard {
        let mut buffer = [0; 4096];
        loop {
            if let Some(frame) = self.decoder.next_frame().unwrap() {
                return match FromDaemon::decode(frame).unwrap() {
                    FromDaemon::Welcome(welcome) => Heard::Welcome(welcome),
                    FromDaemon::Refuse { text } => Heard::Refuse(text),
                    FromDaemon::Spawn(spawn) => Heard::Spawn(spawn),
                    FromDaemon::Input { offset, bytes, .. } => {
                        Heard::Input(offset, String::from_utf8(bytes.to_vec()).unwrap())
                    }
                    FromDaemon::OutputWindow { consumed, .. } => Heard::Window(consumed),
                    other => Heard::Other(format!("{other:?}")),
                };
            }
            let read = tokio::time::timeout(SOON, self.socket.read(&mut buffer)).await.unwrap();
            match read {
                Ok(0) | Err(_) => return Heard::End,
                Ok(count) => self.decoder.push(&buffer[..count]),
            }
        }
    }

    /// The next that is not about the output's window.
    async fn hear_more(&mut self) -> Heard {
        loop {
            match self.hear().await {
                Heard::Window(_) => {}
                other => return other,
            }
        }
    }

    async fn until_window(&mut self, consumed: u64) {
        while self.hear().await != Heard::Window(consumed) {}
    }
}

async fn said(attached: &mut Attached) -> Option<(OutputStream, String)> {
    let chunk = tokio::time::timeout(SOON, attached.output.next()).await.unwrap()?.unwrap();
    Some((chunk.stream, String::from_utf8(chunk.bytes.to_vec()).unwrap()))
}

fn out(text: &str) -> Option<(OutputStream, String)> {
    Some((OutputStream::Stdout, text.to_owned()))
}

#[tokio::test]
async fn lines_go_both_ways_and_the_end_is_told() {
    let scene = Scene::new();
    let (mut peer, mut attached) = scene.running().await;
    attached.input.send("ping\n".into()).await.unwrap();
    assert_eq!(peer.hear_more().await, Heard::Input(0, "ping\n".into()));
    peer.say(FromShim::Output { run: 1, offset: 0, bytes: b"pong\n" }).await;
    assert_eq!(said(&mut attached).await, out("pong\n"));
    peer.say(FromShim::Log { sequence: 0, run: 1, at: STARTED, stderr: true, bytes: b"oh\n" }).await;
    assert_eq!(said(&mut attached).await, Some((OutputStream::Stderr, "oh\n".to_owned())));
    peer.until_window(5).await;
    let exited = Phase::Exited { started: STARTED, ended: STARTED, code: 3, oom: false };
    peer.say(FromShim::Child(Child { run: 1, phase: exited, oom_kills: 0, tag: None })).await;
    peer.say(FromShim::OutputEnd { run: 1, offset: 5 }).await;
    assert_eq!(said(&mut attached).await, None);
    assert_eq!(peer.hear_more().await, Heard::Other("Heard { run: 1 }".into()));
    assert!(attached.input.send("more\n".into()).await.is_err());
    assert_eq!(*scene.events.lock().unwrap(), [ContainerChange::Started, ContainerChange::Died]);
}

#[tokio::test]
async fn after_a_lost_connection_everything_goes_on_where_it_was() {
    let scene = Scene::new();
    let (mut peer, mut attached) = scene.running().await;
    peer.say(FromShim::Output { run: 1, offset: 0, bytes: b"one\ntw" }).await;
    assert_eq!(said(&mut attached).await, out("one\ntw"));
    attached.input.send("first\n".into()).await.unwrap();
    attached.input.send("second\n".into()).await.unwrap();
    drop(peer);
    scene.until(|known| !known.connected).await;
    attached.input.send("third\n".into()).await.unwrap();
    let output = Output { base: 0, acknowledged: 0, end: 8, torn: false };
    let (mut peer, welcome) =
        scene.shim(Hello { child: running(1), output, input: 6, ..scene.hello() }).await;
    assert_eq!(welcome.output, 6, "what was received is not wanted again");
    peer.say(FromShim::InputWindow { run: 1, accepted: 6, limit: 1000 }).await;
    assert_eq!(peer.hear_more().await, Heard::Input(6, "second\nthird\n".into()));
    peer.say(FromShim::Output { run: 1, offset: 6, bytes: b"o\n" }).await;
    assert_eq!(said(&mut attached).await, out("o\n"));
}

#[tokio::test]
async fn another_daemon_begins_with_whole_lines() {
    let scene = Scene::new();
    let output = Output { base: 40, acknowledged: 40, end: 60, torn: true };
    let hello = Hello { child: running(7), output, input: 90, torn: true, ..scene.hello() };
    let (mut peer, welcome) = scene.shim(hello).await;
    assert_eq!((welcome.output, welcome.limit), (40, 40), "nobody is attached yet");
    peer.say(FromShim::Log { sequence: 4, run: 7, at: STARTED, stderr: true, bytes: b"before\n" }).await;
    peer.say(FromShim::InputWindow { run: 7, accepted: 90, limit: 1000 }).await;
    assert_eq!(peer.hear_more().await, Heard::Input(90, "\n".into()), "the torn line is ended");
    let mut attached = attach(&scene.session);
    assert!(attached.exact);
    assert_eq!(said(&mut attached).await, Some((OutputStream::Stderr, "before\n".to_owned())));
    peer.say(FromShim::Output { run: 7, offset: 40, bytes: b"tail\nwhole\n" }).await;
    assert_eq!(said(&mut attached).await, out("whole\n"));
    attached.input.send("x\n".into()).await.unwrap();
    assert_eq!(peer.hear_more().await, Heard::Input(91, "x\n".into()));
}

#[tokio::test]
async fn whoever_attaches_anew_gets_again_what_the_last_one_did_not_finish() {
    let scene = Scene::new();
    let (mut peer, mut first) = scene.running().await;
    peer.say(FromShim::Output { run: 1, offset: 0, bytes: b"one\ntwo\nthr" }).await;
    assert_eq!(said(&mut first).await, out("one\ntwo\nthr"));
    first.input.send("half".into()).await.unwrap();
    let mut second = attach(&scene.session);
    assert_eq!(said(&mut first).await, None);
    assert!(first.input.send("x".into()).await.is_err());
    while peer.hear().await != Heard::End {}
    let output = Output { base: 0, acknowledged: 0, end: 11, torn: false };
    let (mut peer, welcome) =
        scene.shim(Hello { child: running(1), output, input: 0, ..scene.hello() }).await;
    assert_eq!(welcome.output, 0, "it never came back for more, so nothing of it counts as done");
    peer.say(FromShim::InputWindow { run: 1, accepted: 0, limit: 1000 }).await;
    assert_eq!(peer.hear_more().await, Heard::Input(0, "half\n".into()), "what was begun is ended");
    peer.say(FromShim::Output { run: 1, offset: 0, bytes: b"one\ntwo\nthree\n" }).await;
    assert_eq!(said(&mut second).await, out("one\ntwo\nthree\n"));
}

/// Between two attachments the connection may be lost, and nobody wants output then.
#[tokio::test]
async fn who_attaches_after_a_time_without_anybody_is_heard() {
    let scene = Scene::new();
    let (mut peer, first) = scene.running().await;
    drop(first);
    peer.say(FromShim::Output { run: 1, offset: 0, bytes: b"one\n" }).await;
    drop(peer);
    scene.until(|known| !known.connected).await;
    let output = Output { base: 0, acknowledged: 0, end: 4, torn: false };
    let (mut peer, welcome) = scene.shim(Hello { child: running(1), output, ..scene.hello() }).await;
    assert_eq!(welcome.limit, welcome.output, "nobody wants any");
    let mut second = attach(&scene.session);
    let from = match welcome.output {
        // It had come before the connection was lost, and has to come again.
        4 => {
            while peer.hear().await != Heard::End {}
            let (shim, welcome) = scene.shim(Hello { child: running(1), output, ..scene.hello() }).await;
            peer = shim;
            assert!(welcome.limit > welcome.output);
            welcome.output
        }
        from => {
            peer.until_window(0).await;
            from
        }
    };
    assert_eq!(from, 0);
    peer.say(FromShim::Output { run: 1, offset: 0, bytes: b"one\n" }).await;
    assert_eq!(said(&mut second).await, out("one\n"));
}

#[tokio::test]
async fn a_spawn_that_the_shim_never_heard_is_said_again() {
    let scene = Scene::new();
    let (peer, _) = scene.shim(scene.hello()).await;
    let mut attached = attach(&scene.session);
    assert_eq!(scene.session.spawn(&launch(), SOON).unwrap(), 1);
    drop(peer);
    let (mut peer, _) = scene.shim(scene.hello()).await;
    assert!(matches!(peer.hear().await, Heard::Spawn(Spawn { run: 1, .. })));
    assert_eq!(peer.hear().await, Heard::Window(0), "without it the run could say nothing");
    peer.say(FromShim::Child(running(1))).await;
    scene.until(|known| known.child == Some(running(1))).await;
    peer.say(FromShim::Output { run: 1, offset: 0, bytes: b"here\n" }).await;
    assert_eq!(said(&mut attached).await, out("here\n"));
}

#[tokio::test]
async fn nobody_else_is_heard() {
    let scene = Scene::new();
    for (hello, refused) in [
        (Hello { nonce: [9; 16], ..scene.hello() }, false),
        (Hello { lowest: 7, highest: 9, ..scene.hello() }, true),
    ] {
        let mut peer = scene.dial().await;
        peer.say(FromShim::Hello(hello)).await;
        let answer = peer.hear().await;
        assert_eq!(matches!(answer, Heard::Refuse(_)), refused, "{answer:?}");
    }
    scene.until(|known| known.refused.as_deref().is_some_and(|text| text.contains("7 to 9"))).await;
    let mut rude = scene.dial().await;
    rude.socket.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    assert_eq!(rude.hear().await, Heard::End);
    scene.running().await;
    assert_eq!(scene.session.known().borrow().refused, None);
}

#[tokio::test]
async fn a_shim_that_breaks_the_rules_is_hung_up_on_and_may_come_back() {
    for wrong in [
        FromShim::Output { run: 1, offset: 5, bytes: b"gap" },
        FromShim::InputWindow { run: 1, accepted: 99, limit: 1000 },
        FromShim::Socket { request: 1, port: 1 },
    ] {
        let scene = Scene::new();
        let (mut peer, mut attached) = scene.running().await;
        peer.say(wrong.clone()).await;
        while peer.hear().await != Heard::End {}
        let (mut peer, _) = scene.shim(Hello { child: running(1), ..scene.hello() }).await;
        peer.say(FromShim::Output { run: 1, offset: 0, bytes: b"again\n" }).await;
        assert_eq!(said(&mut attached).await, out("again\n"), "{wrong:?}");
    }
}

#[tokio::test]
async fn a_container_that_is_dead_ends_what_waits() {
    let scene = Scene::new();
    let (peer, mut attached) = scene.running().await;
    drop(peer);
    scene.until(|known| !known.connected).await;
    scene.session.died();
    assert_eq!(said(&mut attached).await, None);
    assert!(attached.input.send("x".into()).await.is_err());
    // Whoever attaches now is attached to what the next shim starts.
    let mut next = attach(&scene.session);
    let (mut peer, _) = scene.shim(scene.hello()).await;
    assert_eq!(scene.session.spawn(&launch(), SOON).unwrap(), 1);
    assert!(matches!(peer.hear_more().await, Heard::Spawn(Spawn { run: 1, mode: Mode::Messages, .. })));
    peer.say(FromShim::Child(running(1))).await;
    peer.say(FromShim::Output { run: 1, offset: 0, bytes: b"anew\n" }).await;
    assert_eq!(said(&mut next).await, out("anew\n"));
}

#[tokio::test]
async fn sockets_come_with_their_answers() {
    let scene = Scene::new();
    let (mut peer, _attached) = scene.running().await;
    let answer = scene.session.connect(80).unwrap();
    assert_eq!(peer.hear_more().await, Heard::Other("Connect { request: 1, port: 80 }".into()));
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut out = Vec::new();
    FromShim::Socket { request: 1, port: 80 }.encode(&mut out).unwrap();
    peer.pass(&out, &listener);
    assert!(answer.await.unwrap().is_ok_and(|socket| crate::request::stream(socket).is_ok()));
    let refused = scene.session.connect(81).unwrap();
    peer.say(FromShim::NoSocket { request: 2, errno: 111 }).await;
    assert_eq!(refused.await.unwrap().unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
    let lost = scene.session.connect(82).unwrap();
    drop(peer);
    assert!(lost.await.is_err());
}

impl Peer {
    fn pass(&self, bytes: &[u8], what: &impl std::os::fd::AsFd) {
        use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
        let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        let descriptors = [what.as_fd()];
        assert!(ancillary.push(SendAncillaryMessage::ScmRights(&descriptors)));
        sendmsg(&self.socket, &[IoSlice::new(bytes)], &mut ancillary, SendFlags::empty()).unwrap();
    }
}

#[tokio::test]
async fn what_a_tool_says_is_its_log() {
    let scene = Scene::new();
    let (mut peer, _) = scene.shim(scene.hello()).await;
    scene.session.spawn(&launch(), SOON).unwrap();
    peer.say(FromShim::Child(running(1))).await;
    for (sequence, stderr, text) in [(0, false, "one\ntw"), (1, true, "oh\n"), (2, false, "o\n")] {
        peer.say(FromShim::Log { sequence, run: 1, at: STARTED, stderr, bytes: text.as_bytes() }).await;
    }
    drop(peer);
    scene.until(|known| !known.connected).await;
    let hello = Hello { child: running(1), log: 1, ..scene.hello() };
    let (mut peer, welcome) = scene.shim(hello).await;
    assert_eq!(welcome.log, 3);
    peer.say(FromShim::Log { sequence: 2, run: 1, at: STARTED, stderr: false, bytes: b"twice\n" }).await;
    peer.say(FromShim::Log { sequence: 3, run: 1, at: STARTED, stderr: false, bytes: b"end\n" }).await;
    let query = LogQuery { follow: true, ..LogQuery::default() };
    let mut reader = scene.session.logbook().read(&query);
    for expected in ["one", "oh", "two", "end"] {
        assert_eq!(reader.next().await.unwrap().text, expected);
    }
    scene.session.close();
    assert_eq!(reader.next().await, None);
}

#[tokio::test]
async fn a_run_is_begun_with_what_its_container_was_not_made_with_and_a_tag_where_the_shim_knows_tags() {
    for (highest, tag) in [(2, Some("2 h")), (1, None)] {
        let scene = Scene::new();
        let (mut peer, welcome) = scene.shim(Hello { highest, ..scene.hello() }).await;
        assert_eq!(welcome.version, highest);
        assert_eq!(scene.session.spawn(&launch(), SOON).unwrap(), 1);
        let Heard::Spawn(spawn) = peer.hear().await else { panic!("nothing is begun") };
        let variable = EnvChange { name: b"A".to_vec(), value: Some(b"1".to_vec()) };
        assert_eq!((spawn.argv, spawn.environment), (vec![b"it".to_vec()], vec![variable]));
        assert_eq!(spawn.tag.as_deref(), tag);
    }
}
