//! What happened, as it goes over the event stream.

use crate::group::GroupState;
use crate::mutation::OperationKind;
use crate::server::PhaseWord;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// One thing that happened: the `data` of one server-sent event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct EventView {
    /// Counts from 1 within one life of the daemon, without gaps.
    pub seq: u64,
    /// When.
    #[schema(format = DateTime)]
    pub at: String,
    /// To which group.
    pub group_id: String,
    /// To which of its servers, when to one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance_name: Option<String>,
    /// What.
    #[serde(flatten)]
    pub kind: EventKind,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum EventKind {
    /// A server's phase changed.
    Phase {
        /// The new phase.
        phase: PhaseWord,
        /// Why.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// A group's state changed.
    Group {
        /// The new state.
        state: GroupState,
    },
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
        operation: String,
        /// What was asked.
        action: OperationKind,
        /// Who asked: the name of a token.
        #[serde(default)]
        author: String,
    },
    /// A request is over.
    Finished {
        /// Its id.
        operation: String,
        /// What was asked.
        action: OperationKind,
        /// Who asked: the name of a token.
        #[serde(default)]
        author: String,
        /// Why it failed, when it did.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error: Option<String>,
    },
    /// The tools of a server are not as approved, or are so again.
    Contract {
        /// How many of them are not.
        differs: usize,
        /// What differs, a line each; of many tools only the first.
        #[serde(default)]
        lines: Vec<String>,
    },
    /// The group is gone.
    Removed,
    /// A kind that this client does not know.
    #[serde(other)]
    Unknown,
}
