//! What a test scripts about calls (failures, delays, held calls) and the record of every call made.

use dtma_core::Timestamp;
use dtma_core::port::RuntimeError;
use std::collections::HashMap;
use std::time::Duration;
use tokio::sync::watch;

/// Which method of the port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verb {
    /// `info`
    Info,
    /// `containers`
    Containers,
    /// `inspect`
    Inspect,
    /// `ensure_image`
    EnsureImage,
    /// `create`
    Create,
    /// `start`
    Start,
    /// `stop`
    Stop,
    /// `end_process`
    EndProcess,
    /// `kill`
    Kill,
    /// `pause`
    Pause,
    /// `unpause`
    Unpause,
    /// `rename`
    Rename,
    /// `remove`
    Remove,
    /// `attach`
    Attach,
    /// `exec`
    Exec,
    /// `dial`
    Dial,
    /// `listen`
    Listen,
    /// `logs`
    Logs,
    /// `events`
    Events,
    /// `create_network`
    CreateNetwork,
    /// `networks`
    Networks,
    /// `remove_network`
    RemoveNetwork,
    /// `ensure_volume`
    EnsureVolume,
    /// `volumes`
    Volumes,
    /// `remove_volume`
    RemoveVolume,
    /// `images`
    Images,
    /// `disk`
    Disk,
    /// `remove_image`
    RemoveImage,
}

/// One call, noted when it arrives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// Which method.
    pub verb: Verb,
    /// On what: a container's or volume's name, an image, a network's name or id; empty for the whole engine.
    pub subject: String,
    /// When, by the engine's clock.
    pub at: Timestamp,
}

/// Calls of one verb wait as long as this lives.
#[derive(Debug)]
#[must_use = "dropping it lets the calls go on"]
pub struct Held {
    _open: watch::Sender<()>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum When {
    /// Nothing happens.
    Before,
    /// The call has its effect and the answer is lost.
    After,
}

#[derive(Debug)]
struct Failure {
    verb: Verb,
    subject: String,
    when: When,
    left: usize,
    error: RuntimeError,
}

#[derive(Debug, Default)]
pub(super) struct Script {
    failures: Vec<Failure>,
    delays: HashMap<Verb, Duration>,
    held: HashMap<Verb, watch::Receiver<()>>,
    /// Starts that succeed and start nothing.
    empty_starts: usize,
    pub(super) calls: Vec<Call>,
}

impl Script {
    pub(super) fn fail(&mut self, verb: Verb, subject: &str, when: When, times: usize, error: RuntimeError) {
        self.failures.push(Failure { verb, subject: subject.to_owned(), when, left: times, error });
    }

    /// The scripted failure of this call, used up by asking.
    pub(super) fn failure(&mut self, verb: Verb, subject: &str, when: When) -> Result<(), RuntimeError> {
        let fits = |failure: &&mut Failure| {
            failure.verb == verb
                && failure.when == when
                && failure.left > 0
                && subject.contains(&failure.subject)
        };
        match self.failures.iter_mut().find(fits) {
            None => Ok(()),
            Some(failure) => {
                failure.left -= 1;
                Err(failure.error.clone())
            }
        }
    }

    pub(super) fn empty_starts(&mut self, times: usize) {
        self.empty_starts = times;
    }

    /// Whether this start starts nothing, used up by asking.
    pub(super) fn starts_nothing(&mut self) -> bool {
        let nothing = self.empty_starts > 0;
        self.empty_starts = self.empty_starts.saturating_sub(1);
        nothing
    }

    pub(super) fn delay(&mut self, verb: Verb, delay: Duration) {
        self.delays.insert(verb, delay);
    }

    pub(super) fn delay_of(&self, verb: Verb) -> Duration {
        self.delays.get(&verb).copied().unwrap_or_default()
    }

    pub(super) fn hold(&mut self, verb: Verb) -> Held {
        let (open, closed) = watch::channel(());
        self.held.insert(verb, closed);
        Held { _open: open }
    }

    pub(super) fn gate_of(&self, verb: Verb) -> Option<watch::Receiver<()>> {
        self.held.get(&verb).cloned()
    }
}
