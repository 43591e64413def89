//! A shim below a test, and what the system says of it.

use crate::daemon::Peer;
use nix::poll::poll;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::io::Read;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use tempfile::TempDir;

pub(crate) const NONCE: &str = "000102030405060708090a0b0c0d0e0f";

/// A running shim; ended, with all below it, when the test is over.
pub(crate) struct Fixture {
    pub(crate) listener: UnixListener,
    pub(crate) shim: Child,
    directory: TempDir,
    /// Its memory in the beginning, in KiB.
    idle: u64,
}

impl Fixture {
    pub(crate) fn start() -> Self {
        Self::start_with(&["/bin/cat"])
    }

    pub(crate) fn start_with(argv: &[&str]) -> Self {
        let directory = TempDir::new().unwrap();
        let listener = UnixListener::bind(directory.path().join("agent.sock")).unwrap();
        let shim = command(directory.path().join("agent.sock"), argv).spawn().unwrap();
        Self { listener, shim, directory, idle: 0 }
    }

    /// A shim that was welcomed.
    pub(crate) fn welcomed() -> (Self, Peer) {
        let fixture = Self::start();
        let mut peer = Peer::accept(&fixture.listener);
        peer.welcome();
        (fixture, peer)
    }

    /// One whose server is this shell script.
    pub(crate) fn shell(script: &str) -> (Self, Peer) {
        let (mut fixture, mut peer) = Self::welcomed();
        peer.shell(1, script);
        fixture.idle = fixture.memory("VmHWM:");
        (fixture, peer)
    }

    /// The daemon goes away, socket and all.
    pub(crate) fn daemon_gone(&self) {
        fs::remove_file(self.socket()).unwrap();
    }

    pub(crate) fn daemon_back(&mut self) {
        self.listener = UnixListener::bind(self.socket()).unwrap();
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.directory.path().join("agent.sock")
    }

    /// Waits for the shim itself to end.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        self.shim.wait().unwrap()
    }

    /// The most memory it ever had, in KiB, beyond what it had in the beginning.
    pub(crate) fn grown(&self) -> u64 {
        self.memory("VmHWM:").saturating_sub(self.idle)
    }

    fn memory(&self, name: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.shim.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// How much of a processor it takes while nothing happens: hundredths of a second in half a second.
    pub(crate) fn busy(&self) -> u64 {
        let before = self.ticks();
        let _ = poll(&mut [], 500_u16);
        self.ticks() - before
    }

    fn ticks(&self) -> u64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.shim.id())).unwrap();
        let fields = stat.rsplit(')').next().unwrap().split_whitespace();
        fields.skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap()).sum()
    }

    /// Every process below the shim that is there, zombies included.
    pub(crate) fn below(&self) -> Vec<i32> {
        let path = format!("/proc/{0}/task/{0}/children", self.shim.id());
        let list = fs::read_to_string(path).unwrap_or_default();
        list.split_whitespace().map(|pid| pid.parse().unwrap()).collect()
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        let before = self.shim.try_wait().unwrap();
        if before.is_none() {
            // First whoever is below it: a server may take its time.
            self.below().into_iter().for_each(|pid| signal(pid, Signal::SIGKILL));
            signal(self.shim.id().cast_signed(), Signal::SIGTERM);
        }
        let ended = self.shim.wait().unwrap();
        if std::thread::panicking() {
            let mut said = String::new();
            let _ = self.shim.stderr.take().unwrap().read_to_string(&mut said);
            println!("the shim ended before: {before:?}, then: {ended:?}, and said: {said}");
        }
    }
}

fn signal(pid: i32, signal: Signal) {
    // Who is gone is gone.
    let _ = kill(Pid::from_raw(pid), signal);
}

/// The shim's command line.
pub(crate) fn command(socket: PathBuf, argv: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dtma-shim"));
    command.arg("--socket").arg(socket).arg("--").args(argv);
    command.env("DTMA_SHIM", NONCE).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    command
}
