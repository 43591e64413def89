//! Where a server is in its life. The data lives in the variant, so a phase that cannot be cannot be written.

use crate::Timestamp;
use crate::id::{InstanceName, RunKey};
use crate::rest::Depth;
use crate::spec::Condition;

/// Where a server is.
///
/// ```text
///                          +------ Idle (at rest, until somebody needs it)
///                          v         ^
///  Creating -> Waiting -> Starting -> Ready -> Stopping -> Stopped
///      ^          |           |       ^  |         |
///      |          |           |       |  v         |
///      |          |           |      Updating      |
///      |          |           +----+----+          v
///      +-- Backoff <---------------+            Removing
///             |                    |
///             v                    v
///           Failed             Completed
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Phase {
    /// Its image is fetched, its container made.
    Creating,
    /// Made; what it depends on does not hold yet.
    Waiting {
        /// What is missing.
        on: Vec<Unmet>,
    },
    /// Its process runs (or is being started) and has not answered yet.
    Starting {
        /// The run, when it began.
        run: Option<RunKey>,
        /// What the last probe said.
        reason: Option<String>,
    },
    /// Nothing of it runs until a client comes, whose session then has a process of its own.
    OnDemand,
    /// It answers.
    Ready {
        /// The run.
        run: RunKey,
        /// Since when.
        since: Timestamp,
    },
    /// Nobody needs it: it rests, and goes on with the next call.
    Idle {
        /// How deep it rests.
        depth: Depth,
        /// Since when.
        since: Timestamp,
    },
    /// Its new container is being proved while the old one serves.
    Updating {
        /// What serves meanwhile, if anything does.
        serving: Option<RunKey>,
        /// Where the new one is.
        candidate: Box<Phase>,
    },
    /// It will be tried again.
    Backoff {
        /// When.
        until: Timestamp,
        /// Which attempt that will be, from 1.
        attempt: u32,
        /// Why.
        reason: Trouble,
    },
    /// It ran once and exited with 0, as those who await it wanted.
    Completed {
        /// When.
        at: Timestamp,
    },
    /// It is being stopped.
    Stopping,
    /// A person stopped it.
    Stopped,
    /// It will not be tried again until a person asks.
    Failed {
        /// Since when.
        at: Timestamp,
        /// Why.
        reason: Trouble,
    },
    /// It is being removed.
    Removing,
}

/// A dependency that does not hold yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unmet {
    /// On whom it waits.
    pub instance: InstanceName,
    /// For what.
    pub condition: Condition,
}

/// What went wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// Its process ended.
    Exited {
        /// Exit code; 128 + n after signal n.
        code: i64,
        /// Killed for want of memory.
        oom: bool,
    },
    /// The engine refused a call.
    Refused {
        /// What was tried.
        action: String,
        /// What the engine said.
        message: String,
    },
}

impl std::fmt::Display for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Exited { oom: true, .. } => f.write_str("killed: out of memory"),
            Self::Exited { code, oom: false } => write!(f, "exited with code {code}"),
            Self::Refused { action, message } => write!(f, "{action} failed: {message}"),
        }
    }
}

impl Phase {
    /// One word for tables and filters.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Creating => "creating",
            Self::Waiting { .. } => "waiting",
            Self::Starting { .. } => "starting",
            Self::OnDemand => "on-demand",
            Self::Ready { .. } => "ready",
            Self::Idle { .. } => "idle",
            Self::Updating { .. } => "updating",
            Self::Backoff { .. } => "backoff",
            Self::Completed { .. } => "completed",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
            Self::Failed { .. } => "failed",
            Self::Removing => "removing",
        }
    }

    /// Why it is there, for people; empty when the word says it all.
    #[must_use]
    pub fn reason(&self) -> Option<String> {
        match self {
            Self::Waiting { on } => {
                let missing: Vec<_> = on
                    .iter()
                    .map(|unmet| format!("{} {}", unmet.instance, unmet.condition.as_str()))
                    .collect();
                Some(format!("waiting for {}", missing.join(", ")))
            }
            Self::Starting { reason, .. } => reason.clone(),
            Self::Idle { depth, .. } => Some(format!("{} until somebody needs it", depth.as_str())),
            Self::Updating { serving, candidate } => {
                let old = if serving.is_some() { "the old one serves" } else { "nothing serves" };
                let new = candidate.reason().map(|reason| format!(" ({reason})")).unwrap_or_default();
                Some(format!("the new one is {}{new}; {old}", candidate.word()))
            }
            Self::Backoff { reason, attempt, .. } => Some(format!("{reason}; attempt {attempt}")),
            Self::Failed { reason, .. } => Some(reason.to_string()),
            Self::Creating
            | Self::OnDemand
            | Self::Ready { .. }
            | Self::Completed { .. }
            | Self::Stopping
            | Self::Stopped
            | Self::Removing => None,
        }
    }

    /// True when nothing more happens by itself: ready, on demand, at rest, completed, stopped or failed.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        match self {
            Self::OnDemand
            | Self::Ready { .. }
            | Self::Idle { .. }
            | Self::Completed { .. }
            | Self::Stopped
            | Self::Failed { .. } => true,
            Self::Creating
            | Self::Waiting { .. }
            | Self::Starting { .. }
            | Self::Updating { .. }
            | Self::Backoff { .. }
            | Self::Stopping
            | Self::Removing => false,
        }
    }

    /// True when it is as wanted: it answers, or would if anybody asked, is done, or stands still because a person wants
    /// it to.
    #[must_use]
    pub fn is_as_wanted(&self) -> bool {
        self.is_settled() && !matches!(self, Self::Failed { .. })
    }

    /// The phase of a server whose replicas are in these: the one that most needs a look.
    #[must_use]
    pub fn of_all(replicas: impl IntoIterator<Item = Self>) -> Option<Self> {
        replicas
            .into_iter()
            .reduce(|worst, other| if other.urgency() > worst.urgency() { other } else { worst })
    }

    fn urgency(&self) -> u8 {
        match self {
            Self::OnDemand | Self::Ready { .. } | Self::Completed { .. } => 0,
            Self::Idle { .. } => 1,
            Self::Stopped => 2,
            Self::Updating { .. } => 3,
            Self::Starting { .. } => 4,
            Self::Creating | Self::Waiting { .. } => 5,
            Self::Stopping => 6,
            Self::Backoff { .. } => 7,
            Self::Failed { .. } => 8,
            Self::Removing => 9,
        }
    }
}
