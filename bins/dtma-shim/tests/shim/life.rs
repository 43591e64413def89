//! A server's life: start, end, signals, other runs, what it leaves behind, and when the shim itself goes.

use crate::daemon::Peer;
use crate::fixture::{Fixture, NONCE, command};
use dtma_wire::{EnvChange, FromDaemon, Mode, Phase, Spawn};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::process::Command;

fn signal(fixture: &Fixture, signal: Signal) {
    kill(Pid::from_raw(fixture.shim.id().cast_signed()), signal).unwrap();
}

#[test]
fn hello_says_who_it_is_and_a_line_comes_back() {
    let fixture = Fixture::start();
    let mut peer = Peer::accept(&fixture.listener);
    let hello = peer.said();
    assert_eq!(hello.nonce, u128::from_str_radix(NONCE, 16).unwrap().to_be_bytes());
    assert_eq!((hello.child.run, &hello.child.phase), (0, &Phase::Idle));
    peer.welcome();
    // No command of its own: the one on the shim's command line.
    peer.spawn(1, Mode::Messages, &[]);
    peer.until_running(1);
    peer.input(b"{\"jsonrpc\":\"2.0\"}\n");
    assert_eq!(peer.until_line(), "{\"jsonrpc\":\"2.0\"}");
    peer.end_input();
    assert_eq!(peer.until_exited(1), 0);
    assert_eq!(peer.book.output_end, Some(18));
}

#[test]
fn codes_and_signals_are_told_as_a_shell_would() {
    let (_fixture, mut peer) = Fixture::welcomed();
    let cases =
        [("exit 0", 0), ("exit 7", 7), ("kill -TERM $$", 143), ("kill -KILL $$", 137), ("kill -64 $$", 192)];
    for (run, (script, code)) in (1..).zip(cases) {
        peer.spawn(run, Mode::Messages, &["/bin/sh", "-c", script]);
        assert_eq!(peer.until_exited(run), code, "{script}");
        assert!(matches!(peer.child.phase, Phase::Exited { oom: false, .. }));
    }
}

#[test]
fn a_server_starts_with_nothing_of_the_shim() {
    let (_fixture, mut peer) = Fixture::welcomed();
    let value = |text: &str| Some(text.as_bytes().to_vec());
    peer.spawn_as(Spawn {
        run: 1,
        mode: Mode::Messages,
        argv: [
            "/bin/sh",
            "-c",
            "echo \"$DTMA_SHIM|$GIVEN|$HOME\"; ls -l /proc/$$/fd; exec grep Sig /proc/self/status",
        ]
        .map(|word| word.as_bytes().to_vec())
        .to_vec(),
        environment: vec![
            EnvChange { name: b"GIVEN".to_vec(), value: value("here") },
            EnvChange { name: b"HOME".to_vec(), value: None },
        ],
        linger: 60,
        tag: None,
    });
    assert_eq!(peer.until_line(), "|here|");
    peer.until_exited(1);
    let said = String::from_utf8(std::mem::take(&mut peer.book.output)).unwrap();
    let set = |name: &str| {
        let line = said.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        u64::from_str_radix(line.trim(), 16).unwrap()
    };
    // What runs this test may ignore signals that nobody else knows of.
    assert_eq!((set("SigBlk:"), set("SigIgn:") & 0x7fff_ffff), (0, 0), "{said}");
    assert!(!said.contains("socket:"), "{said}");
}

#[test]
fn a_start_that_fails_uses_up_its_number_and_says_why() {
    let (_fixture, mut peer) = Fixture::welcomed();
    peer.spawn(1, Mode::Messages, &["/no/such/program"]);
    peer.until("failed", |peer| matches!(peer.child.phase, Phase::Failed { .. }));
    let Phase::Failed { errno, text } = &peer.child.phase else { unreachable!() };
    assert_eq!((peer.child.run, *errno), (1, 2));
    assert!(text.contains("/no/such/program"), "{text}");
    peer.spawn(2, Mode::Messages, &["/bin/sh\0"]);
    peer.until("failed", |peer| peer.child.run == 2);
    peer.shell(3, "sleep 60");
}

#[test]
fn only_the_next_run_is_begun_and_only_when_none_is_there() {
    let (_fixture, mut peer) = Fixture::welcomed();
    for wrong in [0, 2, 7] {
        let before = peer.states.len();
        peer.spawn(wrong, Mode::Messages, &["/bin/true"]);
        peer.until("an answer", |peer| peer.states.len() > before);
        assert_eq!((peer.child.run, &peer.child.phase), (0, &Phase::Idle));
    }
    peer.shell(1, "exec sleep 60");
    let before = peer.states.len();
    for run in [1, 2] {
        peer.spawn(run, Mode::Messages, &["/bin/true"]);
    }
    peer.until("an answer", |peer| peer.states.len() > before);
    assert!(matches!((peer.child.run, &peer.child.phase), (1, Phase::Running { .. })));
}

#[test]
fn the_same_container_runs_it_again_and_again() {
    let (fixture, mut peer) = Fixture::welcomed();
    for run in 1..=50 {
        peer.shell(run, &format!("read line; echo $line {run}; exit {run}"));
        peer.input(b"again\n");
        assert_eq!(peer.until_line(), format!("again {run}"));
        assert_eq!(u32::from(peer.until_exited(run)), run);
    }
    let times = peer.states.iter().filter_map(|phase| match phase {
        Phase::Exited { started, ended, .. } => Some((*started, *ended)),
        Phase::Idle | Phase::Running { .. } | Phase::Failed { .. } => None,
    });
    let times: Vec<_> = times.collect();
    let mut pauses: Vec<u64> = times.windows(2).map(|two| two[1].0 - two[0].1).collect();
    pauses.sort_unstable();
    assert!(pauses[pauses.len() / 2] < 100_000, "microseconds from an end to the next start: {pauses:?}");
    assert_eq!(fixture.below(), []);
}

#[test]
fn sigterm_comes_first_and_is_not_told_twice() {
    let (_fixture, mut peer) =
        Fixture::shell("trap 'echo term; exit 3' TERM; echo ready; while :; do sleep 0.1; done");
    assert_eq!(peer.until_line(), "ready");
    peer.stop(60_000);
    peer.stop(60_000);
    assert_eq!(peer.until_line(), "term");
    assert_eq!(peer.until_exited(1), 3);
    assert_eq!(peer.book.output, b"");
}

#[test]
fn who_ignores_sigterm_is_killed_when_its_time_is_up() {
    let (fixture, mut peer) =
        Fixture::shell("trap '' TERM; (trap '' TERM; sleep 60) & echo ready; sleep 60; sleep 60");
    assert_eq!(peer.until_line(), "ready");
    peer.stop(100);
    assert_eq!(peer.until_exited(1), 137);
    let Phase::Exited { started, ended, oom, .. } = peer.child.phase else { unreachable!() };
    assert!(ended - started >= 100_000 && !oom, "no want of memory, only of patience");
    assert_eq!(fixture.below(), []);
}

#[test]
fn signals_pass_to_the_server() {
    let (fixture, mut peer) = Fixture::shell(
        "trap 'echo hup' HUP; trap 'echo usr1' USR1; trap 'echo usr2' USR2; echo ready; while :; do sleep 0.05; done",
    );
    assert_eq!(peer.until_line(), "ready");
    signal(&fixture, Signal::SIGHUP);
    assert_eq!(peer.until_line(), "hup");
    signal(&fixture, Signal::SIGUSR1);
    assert_eq!(peer.until_line(), "usr1");
    peer.send(&FromDaemon::Signal { run: 1, signal: Signal::SIGUSR2 as u8 });
    assert_eq!(peer.until_line(), "usr2");
    peer.send(&FromDaemon::Signal { run: 0, signal: Signal::SIGKILL as u8 });
    peer.send(&FromDaemon::Signal { run: 1, signal: 0 });
    peer.send(&FromDaemon::Signal { run: 1, signal: Signal::SIGKILL as u8 });
    assert_eq!(peer.until_exited(1), 137);
}

#[test]
fn whoever_is_left_behind_is_ended_and_reaped() {
    // A child, a grandchild in a session of its own, and one that has lost its parent already.
    let script =
        "sleep 61 & setsid sh -c 'sleep 62 & sleep 63' & (setsid sleep 64 &) ; sleep 0.1; echo $$; exit 5";
    let (fixture, mut peer) = Fixture::shell(script);
    peer.until_line();
    assert_eq!(peer.until_exited(1), 5);
    assert_eq!(fixture.below(), []);
}

#[test]
fn orphans_are_reaped_while_the_server_runs() {
    let script = "for i in 1 2 3 4 5 6 7 8; do (true &); done; read line; echo $line; read line";
    let (fixture, mut peer) = Fixture::shell(script);
    peer.input(b"after\n");
    assert_eq!(peer.until_line(), "after");
    let reaped = (0..100_000).any(|_| {
        peer.barrier();
        fixture.below().len() == 1
    });
    assert!(reaped, "{:?}", fixture.below());
}

#[test]
fn after_the_last_run_it_lingers_and_leaves_with_its_code() {
    let (mut fixture, mut peer) = Fixture::welcomed();
    peer.spawn_as(Spawn {
        run: 1,
        mode: Mode::Log,
        argv: ["/bin/sh", "-c", "echo done; exit 9"].map(|word| word.as_bytes().to_vec()).to_vec(),
        environment: Vec::new(),
        linger: 0,
        tag: None,
    });
    assert_eq!(peer.until_exited(1), 9);
    assert_eq!(peer.words(), "done\n", "told before the end was");
    assert_eq!(fixture.ended().code(), Some(9));
}

#[test]
fn whoever_asks_later_is_told_by_which_tag_a_run_was_begun() {
    let (fixture, mut peer) = Fixture::welcomed();
    let spawn = |run, script: &str, tag: Option<&str>| Spawn {
        run,
        mode: Mode::Log,
        argv: ["/bin/sh", "-c", script].map(|word| word.as_bytes().to_vec()).to_vec(),
        environment: Vec::new(),
        linger: 60,
        tag: tag.map(str::to_owned),
    };
    for (run, tag) in [(1, Some("3 abc")), (2, Some("4 def")), (3, None)] {
        peer.spawn_as(spawn(run, "exit 0", tag));
        peer.until_exited(run);
        assert_eq!(peer.child.tag.as_deref(), tag);
    }
    peer.spawn_as(spawn(4, "exec sleep 60", Some("5 ghi")));
    peer.until("that it runs", |peer| matches!(peer.child.phase, Phase::Running { .. }));
    drop(peer.cut());
    let next = Peer::accept(&fixture.listener);
    assert_eq!((next.said().child.run, next.said().child.tag.as_deref()), (4, Some("5 ghi")));
}

#[test]
fn what_nobody_took_is_offered_for_a_second_before_it_leaves() {
    let (mut fixture, mut peer) = Fixture::welcomed();
    peer.window = 4;
    peer.shell(1, "echo 123456789; sleep 60");
    peer.until("a part", |peer| peer.book.received >= 4);
    signal(&fixture, Signal::SIGTERM);
    peer.until_closed();
    assert_eq!(peer.book.output, b"123456789\n");
    assert!(matches!(peer.child.phase, Phase::Exited { code: 143, .. }), "{:?}", peer.child);
    assert_eq!(fixture.ended().code(), Some(143));
}

#[test]
fn sigterm_leaves_with_the_servers_code_however_long_it_takes() {
    let script = "trap 'sleep 0.3; exit 4' TERM; echo ready; while :; do sleep 0.05; done";
    let (mut fixture, mut peer) = Fixture::shell(script);
    assert_eq!(peer.until_line(), "ready");
    signal(&fixture, Signal::SIGTERM);
    peer.until_closed();
    assert!(matches!(peer.child.phase, Phase::Exited { code: 4, .. }), "{:?}", peer.child);
    assert_eq!(fixture.ended().code(), Some(4));
}

#[test]
fn sigterm_while_nothing_runs_leaves_at_once() {
    let (mut fixture, _peer) = Fixture::welcomed();
    signal(&fixture, Signal::SIGTERM);
    assert_eq!(fixture.ended().code(), Some(143));
}

#[test]
fn without_a_daemon_it_lives_on_and_leaves_when_told() {
    let (mut fixture, mut peer) =
        Fixture::shell("trap 'exit 6' TERM; echo ready; while :; do sleep 0.05; done");
    assert_eq!(peer.until_line(), "ready");
    fixture.daemon_gone();
    drop(peer.cut());
    signal(&fixture, Signal::SIGTERM);
    assert_eq!(fixture.ended().code(), Some(6));
}

#[test]
fn it_tells_its_version_and_how_it_is_used() {
    let said = |option: &str| {
        let output = Command::new(env!("CARGO_BIN_EXE_dtma-shim")).arg(option).output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    assert_eq!(
        said("--version"),
        (Some(0), concat!("dtma-shim ", env!("CARGO_PKG_VERSION"), "\n").to_owned())
    );
    let (code, help) = said("--help");
    assert_eq!((code, help.lines().count()), (Some(0), 2), "{help}");
    assert_eq!(said("--helm").0, Some(64));
}

#[test]
fn nobody_but_the_daemon_starts_it() {
    let output = command("/nowhere".into(), &["/bin/cat"]).env_remove("DTMA_SHIM").output().unwrap();
    assert_eq!(output.status.code(), Some(64));
    assert!(String::from_utf8(output.stderr).unwrap().contains("DTMA_SHIM"));
}

#[test]
fn nobody_of_its_user_can_look_into_it() {
    let (fixture, _peer) = Fixture::shell("sleep 60");
    let owner = |name: &str| {
        use std::os::unix::fs::MetadataExt;
        fs::metadata(format!("/proc/{}/{name}", fixture.shim.id())).unwrap().uid()
    };
    assert_eq!((owner("environ"), owner("fd"), owner("mem")), (0, 0, 0));
}

#[test]
fn the_system_says_who_dials() {
    let (fixture, peer) = Fixture::welcomed();
    let credentials =
        nix::sys::socket::getsockopt(peer.stream(), nix::sys::socket::sockopt::PeerCredentials).unwrap();
    assert_eq!(credentials.pid().cast_unsigned(), fixture.shim.id());
}
