//! How a server is ended, and when the shim itself goes: deadlines as data, so that the loop has only to ask.

use dtma_wire::{Child, Phase};
use std::time::{Duration, Instant};

/// How long the shim waits, before it leaves, for the daemon to take what is left.
pub(crate) const FLUSH: Duration = Duration::from_secs(1);

/// The end of a run that was asked for.
#[derive(Debug, Default)]
pub(crate) struct Stop {
    asked: bool,
    kill_at: Option<Instant>,
}

impl Stop {
    /// Somebody wants the server to end within `grace`. True when it is to be told; a second wish only brings the
    /// deadline forward, for the second SIGTERM of some servers means "at once".
    pub(crate) fn ask(&mut self, now: Instant, grace: Duration) -> bool {
        let deadline = now + grace;
        self.kill_at = Some(self.kill_at.map_or(deadline, |earlier| earlier.min(deadline)));
        !std::mem::replace(&mut self.asked, true)
    }

    /// When SIGKILL is due.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.kill_at
    }

    /// True once, when patience is at its end.
    pub(crate) fn is_due(&mut self, now: Instant) -> bool {
        self.kill_at.take_if(|deadline| *deadline <= now).is_some()
    }
}

/// Whether and when the shim leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Leave {
    /// Not yet.
    Stay,
    /// As soon as the server is gone, because the engine said so.
    WhenOver,
    /// Then, when no other run is asked for.
    Linger(Instant),
    /// As soon as the daemon has taken everything, or then.
    Flush(Instant),
}

impl Leave {
    /// What becomes of it. `over`: no process of a run is there.
    pub(crate) fn next(self, now: Instant, over: bool) -> Self {
        match self {
            Self::WhenOver if over => Self::Flush(now + FLUSH),
            Self::Linger(until) if until <= now => Self::Flush(now + FLUSH),
            Self::Stay | Self::WhenOver | Self::Linger(_) | Self::Flush(_) => self,
        }
    }

    /// When to look again.
    pub(crate) fn deadline(self) -> Option<Instant> {
        match self {
            Self::Linger(until) | Self::Flush(until) => Some(until),
            Self::Stay | Self::WhenOver => None,
        }
    }

    /// True when no other run may begin.
    pub(crate) fn is_decided(self) -> bool {
        matches!(self, Self::WhenOver | Self::Flush(_))
    }
}

/// The shim's own exit code: the server's, as a shell would tell it where it never ran.
pub(crate) fn exit_code(child: &Child) -> u8 {
    const NOT_FOUND: u32 = nix::errno::Errno::ENOENT as u32;
    match child.phase {
        Phase::Idle | Phase::Running { .. } => 143,
        Phase::Exited { code, .. } => code,
        Phase::Failed { errno: NOT_FOUND, .. } => 127,
        Phase::Failed { .. } => 126,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    #[test]
    fn a_second_wish_only_brings_the_deadline_forward() {
        let (now, second) = (clock::now(), Duration::from_secs(1));
        let mut stop = Stop::default();
        assert!(stop.ask(now, 10 * second));
        assert!(!stop.ask(now, 20 * second));
        assert_eq!(stop.deadline(), Some(now + 10 * second));
        assert!(!stop.ask(now, second));
        assert!(!stop.is_due(now));
        assert!(stop.is_due(now + second));
        assert!(!stop.is_due(now + 2 * second), "once");
    }

    #[test]
    fn it_leaves_when_nothing_keeps_it() {
        let now = clock::now();
        let flush = Leave::Flush(now + FLUSH);
        let cases = [
            (Leave::Stay, true, Leave::Stay),
            (Leave::WhenOver, false, Leave::WhenOver),
            (Leave::WhenOver, true, flush),
            (Leave::Linger(now), true, flush),
            (Leave::Linger(now + FLUSH), true, Leave::Linger(now + FLUSH)),
        ];
        for (leave, over, wanted) in cases {
            assert_eq!(leave.next(now, over), wanted, "{leave:?}, over: {over}");
        }
    }

    #[test]
    fn its_code_is_the_servers() {
        let code = |phase| exit_code(&Child { run: 1, phase, ..Child::default() });
        assert_eq!(code(Phase::Idle), 143);
        assert_eq!(code(Phase::Exited { started: 0, ended: 1, code: 7, oom: false }), 7);
        assert_eq!(code(Phase::Failed { errno: 2, text: String::new() }), 127);
        assert_eq!(code(Phase::Failed { errno: 13, text: String::new() }), 126);
    }
}
