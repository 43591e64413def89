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

#[test]
fn nothing_that_stands_still_keeps_it_busy() {
    let cases = [
        ("a server that waits", "exec cat"),
        ("closed input and output", "exec 0<&- 1>&- 2>&-; exec sleep 60"),
        ("output that nobody takes", "yes | head -c 3000000; exec sleep 60"),
        ("such output, and closed", "yes | head -c 1100000; exec 1>&-; exec sleep 60"),
        ("such output of a server that ended", "yes | head -c 1100000"),
        ("input that nobody reads", "exec sleep 60"),
        ("zombies that nobody reaps", "(sleep 0 & exec sleep 60)"),
    ];
    for (what, script) in cases {
        let (fixture, mut peer) = Fixture::welcomed();
        peer.window = 0;
        peer.shell(1, script);
        peer.input(&vec![b'\n'; 1 << 20]);
        (0..50).for_each(|_| peer.barrier());
        let connected = fixture.busy();
        fixture.daemon_gone();
        drop(peer.cut());
        let alone = fixture.busy();
        assert!(connected <= 10 && alone <= 10, "{what}: {connected} with a daemon, {alone} without");
    }
}
