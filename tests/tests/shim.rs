//! The static shim as process 1 of a real, hardened container without any network; the test is its daemon.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test stops where something is broken"
)]

#[path = "../../bins/dtma-shim/tests/shim/daemon.rs"]
#[expect(dead_code, reason = "the shim's own tests need more of it")]
mod daemon;

use daemon::Peer;
use dtma_tests::binaries;
use dtma_tests::engine::{docker, inspect};
use dtma_wire::{FromDaemon, Mode, Phase};
use nix::errno::Errno;
use std::fs::{self, Permissions};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};
use tempfile::TempDir;

const NONCE: &str = "000102030405060708090a0b0c0d0e0f";

/// A container whose process 1 is the shim; removed when the test is over.
struct Container {
    id: String,
    listener: UnixListener,
    _run: TempDir,
}

impl Container {
    fn start() -> Self {
        Self::start_with(&[])
    }

    fn start_with(limits: &[&str]) -> Self {
        let run = TempDir::new().unwrap();
        fs::set_permissions(run.path(), Permissions::from_mode(0o711)).unwrap();
        let listener = UnixListener::bind(run.path().join("agent.sock")).unwrap();
        fs::set_permissions(run.path().join("agent.sock"), Permissions::from_mode(0o666)).unwrap();
        let shim = binaries::shim();
        let program = format!("{}:/.dtma/bin:ro", shim.parent().unwrap().display());
        let socket = format!("{}:/.dtma/run:ro", run.path().display());
        let nonce = format!("DTMA_SHIM={NONCE}");
        let mut args = vec!["create", "--network", "none", "--read-only", "--user", "65532:65532"];
        args.extend(["--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--log-driver", "none"]);
        args.extend(["--volume", &program, "--volume", &socket, "--env", &nonce, "--tmpfs", "/tmp"]);
        args.extend(["--entrypoint", "/.dtma/bin/dtma-shim"]);
        args.extend(limits);
        args.extend(["dtma/busybox:dev", "--", "cat"]);
        let id = docker(&args).trim().to_owned();
        let container = Self { id, listener, _run: run };
        docker(&["start", &container.id]);
        container
    }

    fn welcomed(limits: &[&str]) -> (Self, Peer) {
        let container = Self::start_with(limits);
        let mut peer = Peer::accept(&container.listener);
        peer.welcome();
        (container, peer)
    }

    fn shell(script: &str) -> (Self, Peer) {
        let (container, mut peer) = Self::welcomed(&[]);
        peer.spawn(1, Mode::Messages, &["sh", "-c", script]);
        peer.until_running(1);
        (container, peer)
    }

    fn exit_code(&self) -> i64 {
        docker(&["wait", &self.id]);
        inspect(&self.id)["State"]["ExitCode"].as_i64().unwrap()
    }

    /// Command lines of its processes, as the host sees them.
    fn processes(&self) -> Vec<String> {
        let listed = docker(&["top", &self.id, "-o", "pid,args"]);
        listed.lines().skip(1).map(str::to_owned).collect()
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        docker(&["rm", "--force", "--volumes", &self.id]);
    }
}

/// The innermost number that the kernel gives to the process at the other end.
fn number_inside(peer: &Peer) -> (u32, String) {
    let credentials =
        nix::sys::socket::getsockopt(peer.stream(), nix::sys::socket::sockopt::PeerCredentials).unwrap();
    let status = fs::read_to_string(format!("/proc/{}/status", credentials.pid())).unwrap();
    let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:")).unwrap();
    (credentials.uid(), numbers.split_whitespace().next_back().unwrap().to_owned())
}

#[test]
fn it_is_process_1_and_a_line_comes_back() {
    let container = Container::start();
    let mut peer = Peer::accept(&container.listener);
    assert_eq!(number_inside(&peer), (65532, "1".to_owned()));
    assert_eq!(peer.said().nonce, u128::from_str_radix(NONCE, 16).unwrap().to_be_bytes());
    peer.welcome();
    // What stands on its command line.
    peer.spawn(1, Mode::Messages, &[]);
    peer.input(b"through a pipe and a socket\n");
    assert_eq!(peer.until_line(), "through a pipe and a socket");
    peer.send(&FromDaemon::Signal { run: 1, signal: 9 });
    assert_eq!(peer.until_exited(1), 137);
    peer.spawn(2, Mode::Messages, &["/no/such/program"]);
    peer.until("failed", |peer| matches!(peer.child.phase, Phase::Failed { errno: 2, .. }));
}

#[test]
fn a_server_sees_nothing_of_it() {
    let look = "cat /proc/1/environ; ls /proc/1/fd; head -c 1 /proc/1/mem; kill -KILL 1; kill -STOP 1; \
        cat /proc/$$/environ | tr '\\0' '\\n'";
    let (container, mut peer) =
        Container::shell(&format!("({look}) 2>&1; echo; echo that is all; read line"));
    let mut said = Vec::new();
    while said.last().is_none_or(|line: &String| line != "that is all") {
        said.push(peer.until_line());
    }
    let said = said.join("\n");
    for forbidden in ["/proc/1/environ", "/proc/1/fd", "/proc/1/mem"] {
        let refused = |line: &str| line.contains(forbidden) && line.ends_with("Permission denied");
        assert!(said.lines().any(refused), "{forbidden}: {said}");
    }
    assert!(said.contains("HOME=/tmp") && !said.contains("DTMA_SHIM"), "its own is seen: {said}");
    peer.input(b"and it is still there\n");
    assert_eq!(peer.until_exited(1), 0);
    assert_eq!(container.processes().len(), 1);
}

#[test]
fn whoever_else_dials_from_inside_is_told_apart() {
    let pretend = format!("export DTMA_SHIM={NONCE}; exec /.dtma/bin/dtma-shim cat");
    let (container, _peer) = Container::shell(&pretend);
    let stranger = Peer::accept(&container.listener);
    let (uid, number) = number_inside(&stranger);
    assert_eq!(uid, 65532);
    assert_ne!(number, "1");
}

#[test]
fn nothing_is_left_of_a_run() {
    let (container, mut peer) = Container::welcomed(&["--pids-limit", "64"]);
    let scripts = [
        ("setsid sleep 61 & (setsid sleep 62 &); sleep 0.2; exit 3", 3),
        // No program is begun once there is room for none: a shell that cannot fork ends with a code of its own.
        (
            "bomb() { bomb | bomb & }; trap '' TERM; bomb; i=0; while [ $i -lt 300000 ]; do i=$((i + 1)); done; exit 4",
            4,
        ),
    ];
    for (run, (script, code)) in (1..).zip(scripts) {
        peer.spawn(run, Mode::Messages, &["sh", "-c", script]);
        assert_eq!(peer.until_exited(run), code, "{script}");
        let processes = container.processes();
        assert_eq!(processes.len(), 1, "{processes:?}");
    }
}

#[test]
fn docker_stop_passes_through() {
    let (container, mut peer) =
        Container::shell("trap 'exit 5' TERM; echo ready; while :; do sleep 0.05; done");
    assert_eq!(peer.until_line(), "ready");
    docker(&["stop", "--time", "20", &container.id]);
    peer.until_closed();
    assert!(matches!(peer.child.phase, Phase::Exited { code: 5, .. }), "{:?}", peer.child);
    assert_eq!(container.exit_code(), 5);
}

#[test]
fn the_engines_patience_is_its_own() {
    let (container, mut peer) = Container::shell("trap '' TERM; echo ready; while :; do sleep 0.05; done");
    assert_eq!(peer.until_line(), "ready");
    docker(&["stop", "--time", "1", &container.id]);
    assert_eq!(container.exit_code(), 137);
    let (container, mut peer) = Container::shell("exit 9");
    peer.until_exited(1);
    docker(&["stop", "--time", "20", &container.id]);
    assert_eq!(container.exit_code(), 9, "of the server that ended before");
}

/// By whichever version of cgroups this machine has: both cannot have its memory at a time.
#[test]
fn want_of_memory_is_told_as_such() {
    let (_container, mut peer) = Container::welcomed(&["--memory", "32m", "--memory-swap", "32m"]);
    // The server itself, and a child that it survives.
    peer.spawn(1, Mode::Messages, &["tail", "/dev/zero"]);
    assert_eq!(peer.until_exited(1), 137);
    assert!(matches!(peer.child.phase, Phase::Exited { oom: true, .. }), "{:?}", peer.child);
    assert_eq!(peer.child.oom_kills, 1);
    peer.spawn(2, Mode::Messages, &["sh", "-c", "tail /dev/zero; read line; exit 6"]);
    peer.until("a kill", |peer| peer.child.run == 2 && peer.child.oom_kills == 1);
    assert!(matches!(peer.child.phase, Phase::Running { .. }));
    peer.input(b"go\n");
    assert_eq!(peer.until_exited(2), 6);
    assert!(matches!(peer.child.phase, Phase::Exited { oom: false, .. }), "{:?}", peer.child);
}

#[test]
fn ports_are_reached_both_ways_without_a_network() {
    let script = "read port; echo hello | nc 127.0.0.1 $port; echo told; exec nc -l -p 8080 -e cat";
    let (_container, mut peer) = Container::shell(script);
    peer.send(&FromDaemon::Listen { request: 1, port: 0 });
    peer.until("a listener", |peer| peer.sockets.contains_key(&1));
    let (port, socket) = peer.sockets.remove(&1).unwrap().unwrap();
    peer.input(format!("{port}\n").as_bytes());
    let (mut there, _) = TcpListener::from(socket).accept().unwrap();
    let mut heard = String::new();
    there.read_to_string(&mut heard).unwrap();
    assert_eq!(heard, "hello\n");
    drop(there);
    assert_eq!(peer.until_line(), "told");
    let mut stream = connected(&mut peer, 8080);
    stream.write_all(b"ping").unwrap();
    let mut echoed = [0; 4];
    stream.read_exact(&mut echoed).unwrap();
    assert_eq!(&echoed, b"ping");
}

/// Connects as soon as somebody listens.
fn connected(peer: &mut Peer, port: u16) -> TcpStream {
    for request in 2.. {
        peer.send(&FromDaemon::Connect { request, port });
        peer.until("an answer", |peer| peer.sockets.contains_key(&request));
        match peer.sockets.remove(&request).unwrap() {
            Ok((_, socket)) => {
                let stream = TcpStream::from(socket);
                stream.set_nonblocking(false).unwrap();
                return stream;
            }
            Err(errno) => assert_eq!(Errno::from_raw(errno.cast_signed()), Errno::ECONNREFUSED),
        }
    }
    unreachable!()
}

/// A shim that sees, as the file of its memory cgroup, the events of another cgroup of version 2: this machine may have
/// its memory in one of version 1, and what wakes whoever watches such a file is the same for both.
struct Watching {
    shim: Child,
    _peer: Peer,
    directory: TempDir,
}

const WATCH: &str = "set -e
cd \"$1\"; mkdir all; mount -t cgroup2 none all; mkdir all/$2
mount -t tmpfs tmpfs /sys/fs/cgroup; touch /sys/fs/cgroup/memory.events
mount --bind all/$2/cgroup.events /sys/fs/cgroup/memory.events
exec \"$3\" --socket \"$1/agent.sock\" -- cat";
const LEAVE: &str = "mount -t cgroup2 none \"$1/all\" && rmdir \"$1/all/$2\"";

impl Watching {
    fn start() -> Self {
        let directory = TempDir::new().unwrap();
        let listener = UnixListener::bind(directory.path().join("agent.sock")).unwrap();
        let mut command = own_mounts(WATCH, directory.path());
        let shim = command.arg(binaries::shim()).env("DTMA_SHIM", NONCE).spawn().unwrap();
        let mut peer = Peer::accept(&listener);
        peer.welcome();
        peer.spawn(1, Mode::Messages, &[]);
        peer.until_running(1);
        Self { shim, _peer: peer, directory }
    }

    /// Makes the file change.
    fn change(&self, frozen: u8) {
        let all = format!("/proc/{}/root{}/all", self.shim.id(), self.directory.path().display());
        fs::write(format!("{all}/{}/cgroup.freeze", name(self.directory.path())), frozen.to_string())
            .unwrap();
    }

    /// How often it went to sleep so far.
    fn sleeps(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.shim.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:")).unwrap();
        line.trim().parse().unwrap()
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        let _ = self.shim.kill();
        let _ = self.shim.wait();
        let left = own_mounts(LEAVE, self.directory.path()).status();
        assert!(left.unwrap().success() || std::thread::panicking());
    }
}

/// This script, with mounts that nobody else sees; it is told the directory and a name made from it.
fn own_mounts(script: &str, directory: &Path) -> Command {
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", script, "sh"]).arg(directory).arg(name(directory));
    command
}

fn name(directory: &Path) -> String {
    format!("dtma{}", directory.file_name().unwrap().display())
}

#[test]
fn a_cgroup_of_version_2_wakes_it_and_lets_it_sleep_again() {
    let watching = Watching::start();
    for frozen in [1, 0, 1, 0] {
        let before = watching.sleeps();
        watching.change(frozen);
        let deadline = Instant::now() + Duration::from_secs(20);
        while watching.sleeps() == before {
            assert!(Instant::now() < deadline, "it was not woken");
            std::thread::sleep(Duration::from_millis(5));
        }
        std::thread::sleep(Duration::from_millis(300));
        let woken = watching.sleeps() - before;
        assert!(woken < 10, "woken {woken} times by one change");
    }
}
