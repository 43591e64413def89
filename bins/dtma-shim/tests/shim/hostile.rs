//! What a server, or a daemon, may try: it holds up itself.

use crate::fixture::Fixture;
use dtma_wire::{FromDaemon, Mode};

#[test]
fn a_daemon_that_asks_and_never_listens_is_not_heard_for_ever() {
    let (fixture, mut peer) = Fixture::shell("exec cat");
    let most = 1_000_000;
    let asked = peer.send_until_full(&FromDaemon::Connect { request: 1, port: 1 }, most);
    assert!(asked > 0 && asked < most, "{asked} requests, none of them answered, were taken");
    assert!(fixture.grown() < 4096, "{} KiB", fixture.grown());
}

#[test]
fn a_server_in_a_hurry_to_leave_processes_behind_leaves_none() {
    let (fixture, mut peer) = Fixture::welcomed();
    for run in 1..=10 {
        let script = "for i in 1 2 3 4 5 6 7 8 9 10; do setsid sleep 60 & done; exit 0";
        peer.spawn(run, Mode::Messages, &["/bin/sh", "-c", script]);
        assert_eq!(peer.until_exited(run), 0);
        assert_eq!(fixture.below(), [], "run {run}");
    }
}

#[test]
fn a_pipe_in_a_strangers_hands_does_not_keep_a_run_alive() {
    let (fixture, mut peer) = Fixture::welcomed();
    // Somebody outside of the tree opens the server's output and holds it.
    peer.spawn(1, Mode::Messages, &["/bin/sh", "-c", "echo $$; read line"]);
    let server = peer.until_line();
    let held = std::fs::OpenOptions::new().write(true).open(format!("/proc/{server}/fd/1")).unwrap();
    peer.end_input();
    peer.until_exited(1);
    peer.until("the end of its output", |peer| peer.book.output_end.is_some());
    drop(held);
    assert_eq!(fixture.below(), []);
}

#[test]
fn a_server_that_kills_its_own_group_takes_nobody_along() {
    let (fixture, mut peer) = Fixture::welcomed();
    peer.spawn(1, Mode::Messages, &["/bin/sh", "-c", "kill -KILL 0"]);
    assert_eq!(peer.until_exited(1), 137);
    peer.shell(2, "echo again; exec sleep 60");
    assert_eq!(peer.until_line(), "again");
    assert_eq!(fixture.below().len(), 1);
}
