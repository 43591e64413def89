//! A daemon that breaks the rules of the wire loses the connection, and nothing else.

use crate::daemon::Peer;
use crate::fixture::{Fixture, command};
use dtma_wire::{FromDaemon, FromShim, INPUT_WINDOW, MAX_DATA, Phase, Welcome};
use std::io::Read;
use std::os::unix::net::UnixListener;

fn welcome(version: u16, output: u64) -> Vec<u8> {
    encoded(&FromDaemon::Welcome(Welcome { version, output, limit: 0, log: 0 }))
}

fn encoded(frame: &FromDaemon<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame.encode(&mut bytes).unwrap();
    bytes
}

#[test]
fn who_breaks_the_rules_is_left_and_dialled_again() {
    let (fixture, mut peer) = Fixture::shell("exec cat");
    let input = |offset: u64| encoded(&FromDaemon::Input { run: 1, offset, bytes: b"x\n" });
    let cases = [
        ("a gap", input(7)),
        ("a second welcome", welcome(2, 0)),
        ("what was never sent is acknowledged", {
            encoded(&FromDaemon::OutputWindow { run: 1, consumed: 1 << 40, limit: 1 << 41 })
        }),
        ("an unknown kind", vec![0, 0, 0, 1, 77]),
        ("a shim's frame", {
            let mut bytes = Vec::new();
            FromShim::InputClosed { run: 1 }.encode(&mut bytes).unwrap();
            bytes
        }),
        ("no kind", vec![0, 0, 0, 0]),
        ("far too long", vec![0xff; 64]),
        ("half its fields", vec![0, 0, 0, 3, 7, 1, 1]),
        (
            "counts of what is not there",
            [&[0, 0, 0, 14, 3][..], &[0; 5], &[0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff]].concat(),
        ),
    ];
    for (what, bytes) in cases {
        peer.send_bytes(&bytes);
        peer.until_closed();
        peer = Peer::accept(&fixture.listener);
        assert_eq!((peer.said().child.run, peer.said().input), (1, 0), "{what}");
        peer.welcome();
    }
    peer.input(b"still here\n");
    assert_eq!(peer.until_line(), "still here");
}

#[test]
fn who_sends_more_than_the_window_is_left() {
    let (fixture, mut peer) = Fixture::shell("exec sleep 60");
    let chunk = |at: usize| {
        let offset = (at * MAX_DATA) as u64;
        encoded(&FromDaemon::Input { run: 1, offset, bytes: &[b'\n'; MAX_DATA] })
    };
    // What the pipe itself holds, and one more.
    let chunks = (INPUT_WINDOW + (64 << 10)) / MAX_DATA + 1;
    // Written past the book, which is not to be surprised by news of it.
    peer.book.run = 0;
    peer.send_bytes(&(0..chunks).flat_map(chunk).collect::<Vec<_>>());
    peer.until_closed();
    let peer = Peer::accept(&fixture.listener);
    assert!(peer.said().input < (chunks * MAX_DATA) as u64);
}

#[test]
fn what_came_before_the_mistake_is_done() {
    let (fixture, mut peer) = Fixture::shell("read line; exec 1>&-; exit ${#line}");
    let mut bytes = encoded(&FromDaemon::Input { run: 1, offset: 0, bytes: b"7 bytes\nhal" });
    bytes.extend([0; 4]);
    peer.send_bytes(&bytes);
    peer.until_closed();
    let mut peer = Peer::accept(&fixture.listener);
    peer.welcome();
    if !matches!(peer.child.phase, Phase::Exited { .. }) {
        peer.until_exited(1);
    }
    assert!(matches!(peer.child.phase, Phase::Exited { code: 7, .. }), "{:?}", peer.child);
}

#[test]
fn nothing_comes_before_the_welcome() {
    let fixture = Fixture::start();
    let first = [
        encoded(&FromDaemon::Connect { request: 1, port: 1 }),
        encoded(&FromDaemon::Heard { run: 0 }),
        welcome(1, 0),
        welcome(3, 0),
        welcome(2, 5),
    ];
    for bytes in first {
        let mut peer = Peer::accept(&fixture.listener);
        peer.send_bytes(&bytes);
        peer.until_closed();
    }
    Peer::accept(&fixture.listener).welcome();
}

#[test]
fn a_refusal_is_said_and_the_next_daemon_asked() {
    let directory = tempfile::TempDir::new().unwrap();
    let socket = directory.path().join("agent.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let mut shim = command(socket, &["/bin/cat"]).spawn().unwrap();
    let mut peer = Peer::accept(&listener);
    assert_eq!(peer.said().version(), Some(2));
    peer.send(&FromDaemon::Refuse { text: "it speaks version 1 to 1, and I speak 7".to_owned() });
    peer.until_closed();
    Peer::accept(&listener).welcome();
    shim.kill().unwrap();
    let mut said = String::new();
    shim.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    shim.wait().unwrap();
    assert!(said.contains("refused: it speaks version 1 to 1, and I speak 7"), "{said}");
}
