//! What happened, numbered: the stream behind `dtma events` and every progress view.

use crate::status::GroupState;
use crate::wall::Wall;
use dtma_core::Timestamp;
use dtma_core::id::{GroupId, InstanceName, OperationId};
use dtma_core::phase::Phase;
use dtma_core::record::OperationKind;
use std::sync::Mutex;
use tokio::sync::broadcast;

/// One thing that happened.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Counts from 1 within one life of the daemon, without gaps.
    pub seq: u64,
    /// When.
    pub at: Timestamp,
    /// To which group.
    pub group: GroupId,
    /// To which of its servers, when to one.
    pub instance: Option<InstanceName>,
    /// What.
    pub kind: EventKind,
}

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub enum EventKind {
    /// A server's phase changed.
    Phase(Phase),
    /// The group's state changed.
    Group(GroupState),
    /// An image is being fetched.
    Pull {
        /// Bytes received over all layers.
        received: u64,
        /// Bytes to receive, as far as known.
        total: u64,
    },
    /// A request was accepted.
    Accepted {
        /// Its id.
        operation: OperationId,
        /// What was asked.
        kind: OperationKind,
        /// Who asked.
        author: String,
    },
    /// A request is over.
    Finished {
        /// Its id.
        operation: OperationId,
        /// What was asked.
        kind: OperationKind,
        /// Who asked.
        author: String,
        /// Why it failed, when it did.
        error: Option<String>,
    },
    /// The tools of a server differ from its contract, or do no longer.
    Contract {
        /// How many tools.
        differs: usize,
        /// What differs, a line each; of many tools only the first.
        lines: Vec<String>,
    },
    /// The group is gone.
    Removed,
}

impl EventKind {
    /// The event's name on the wire.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Phase(_) => "phase",
            Self::Group(_) => "group",
            Self::Pull { .. } => "pull",
            Self::Accepted { .. } => "accepted",
            Self::Finished { .. } => "finished",
            Self::Contract { .. } => "contract",
            Self::Removed => "removed",
        }
    }
}

/// Numbers events and hands them to every subscriber. A subscriber that falls behind loses the oldest, never blocks.
pub(crate) struct EventBus {
    sender: broadcast::Sender<Event>,
    last: Mutex<u64>,
    wall: Wall,
}

impl EventBus {
    pub(crate) fn new(buffer: usize, wall: Wall) -> Self {
        Self { sender: broadcast::Sender::new(buffer), last: Mutex::new(0), wall }
    }

    pub(crate) fn subscribe(&self) -> broadcast::Receiver<Event> {
        self.sender.subscribe()
    }

    pub(crate) fn emit(&self, group: &GroupId, instance: Option<&InstanceName>, kind: EventKind) {
        // Numbered and sent under one lock, so that the numbers arrive in order.
        let mut last = self.last.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        *last += 1;
        let event =
            Event { seq: *last, at: (self.wall)(), group: group.clone(), instance: instance.cloned(), kind };
        // No subscriber is no error.
        let _ = self.sender.send(event);
    }
}
