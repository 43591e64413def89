//! Answers to requests that change something.

use crate::group::GroupView;
use crate::server::ServerView;
use crate::server_request::words;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

words! {
    /// What was asked.
    OperationKind {
        /// Deploy a group.
        Deploy = "deploy",
        /// Remove a group.
        Remove = "remove",
        /// Restart a server or every server of a group.
        Restart = "restart",
        /// Start a stopped server.
        Start = "start",
        /// Stop a server.
        Stop = "stop",
    }
}

/// Identifies one mutation from its acceptance to its outcome; the same id stands in the event stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct OperationRef {
    /// The operation's id.
    pub id: String,
}

/// The answer to a change of a group.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct GroupChangeView {
    /// The operation.
    pub operation: OperationRef,
    /// False when everything stood already as wanted.
    pub changed: bool,
    /// How the group stands.
    pub group: GroupView,
}

/// The answer to a change of one server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServerChangeView {
    /// The operation.
    pub operation: OperationRef,
    /// False when everything stood already as wanted.
    pub changed: bool,
    /// How the server stands.
    pub server: ServerView,
}

/// The answer to a removal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RemovalView {
    /// The operation.
    pub operation: OperationRef,
    /// False when it still goes on (only with `wait=false`).
    pub gone: bool,
}
