//! Every process below the shim: signalling, killing, reaping.
//!
//! As process 1 the shim owns all of its pid namespace; who was sent in from outside (`docker exec`) ends with a run, as
//! it would with the container. As an ordinary process (in tests) it is its descendants'
//! subreaper and touches nobody else: whoever loses its parent becomes a child of the shim, and is killed then.

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::{Pid, getpid};
use rustix::process::{WaitOptions, wait};
use std::fs;

/// Which processes are the shim's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tree {
    /// All of the pid namespace.
    Namespace,
    /// Children, and who becomes one.
    Children,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ended {
    /// Its exit code; 128 + n after signal n.
    pub(crate) code: u8,
    /// It was SIGKILL.
    pub(crate) killed: bool,
}

impl Tree {
    pub(crate) fn ours() -> Self {
        if getpid().as_raw() == 1 { Self::Namespace } else { Self::Children }
    }

    /// Sends SIGKILL to all. Who is a grandchild of an ordinary shim is a child after that: ask again.
    pub(crate) fn kill_all(self) {
        match self {
            Self::Namespace => signal_one(Pid::from_raw(-1), Signal::SIGKILL),
            Self::Children => children().into_iter().for_each(|pid| signal_one(pid, Signal::SIGKILL)),
        }
    }
}

fn children() -> Vec<Pid> {
    let list = fs::read_to_string(format!("/proc/self/task/{}/children", getpid())).unwrap_or_default();
    list.split_whitespace().filter_map(|pid| pid.parse().ok()).map(Pid::from_raw).collect()
}

/// Tells a server and its group.
pub(crate) fn signal_group(server: Pid, signal: Signal) {
    if killpg(server, signal) == Err(Errno::ESRCH) {
        // It went to another group.
        signal_one(server, signal);
    }
}

/// Tells a server; that it is gone will be heard anyway.
pub(crate) fn signal_one(server: Pid, signal: Signal) {
    let _ = kill(server, signal);
}

/// Reaps whoever has ended, and says how `server` did, and whether nobody is left.
pub(crate) fn reap(server: Option<Pid>) -> (Option<Ended>, bool) {
    let mut ended = None;
    loop {
        match wait(WaitOptions::NOHANG) {
            Ok(Some((pid, status))) => {
                if server.is_some_and(|server| server.as_raw() == pid.as_raw_nonzero().get()) {
                    ended = Some(judge(status.exit_status(), status.terminating_signal()));
                }
            }
            Ok(None) => return (ended, false),
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return (ended, true),
        }
    }
}

fn judge(status: Option<i32>, signal: Option<i32>) -> Ended {
    let code = status.or(signal.map(|signal| 128 + signal)).unwrap_or(255);
    Ended { code: u8::try_from(code).unwrap_or(255), killed: signal == Some(Signal::SIGKILL as i32) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_is_told_as_a_shell_would() {
        assert_eq!(judge(Some(7), None), Ended { code: 7, killed: false });
        assert_eq!(judge(None, Some(15)), Ended { code: 143, killed: false });
        assert_eq!(judge(None, Some(9)), Ended { code: 137, killed: true });
        assert_eq!(judge(None, Some(64)), Ended { code: 192, killed: false }, "real-time signals too");
    }
}
