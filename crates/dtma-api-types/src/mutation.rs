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
        /// Change a group's spec.
        Apply = "apply",
        /// Change a server's number of replicas.
        Scale = "scale",
        /// Go back to an earlier generation.
        Rollback = "rollback",
    }
}

words! {
    /// How far an operation is.
    OperationState {
        /// Under way.
        Running = "running",
        /// Over, as wanted.
        Done = "done",
        /// Over, and not as wanted.
        Failed = "failed",
    }
}

/// One mutation from its acceptance to its outcome.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct OperationView {
    /// Its id; the same stands in the event stream and in the audit log.
    pub id: String,
    /// What was asked.
    pub kind: OperationKind,
    /// Of which group.
    pub group_id: String,
    /// Of which of its servers, when of one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance_name: Option<String>,
    /// Who asked: the name of a token.
    pub author: String,
    /// When it was accepted.
    #[schema(format = DateTime)]
    pub accepted_at: String,
    /// When it ended, when it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub finished_at: Option<String>,
    /// How far it is.
    pub state: OperationState,
    /// Why it failed, when it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Operations, the newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct OperationList {
    /// The operations.
    pub operations: Vec<OperationView>,
}

/// The answer to a change of a group.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct GroupChangeView {
    /// The operation, to be found again at `GET /operations/{operationId}`.
    pub operation_id: String,
    /// False when everything stood already as wanted.
    pub changed: bool,
    /// How the group stands.
    pub group: GroupView,
}

/// The answer to a change of one server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServerChangeView {
    /// The operation, to be found again at `GET /operations/{operationId}`.
    pub operation_id: String,
    /// False when everything stood already as wanted.
    pub changed: bool,
    /// How the server stands.
    pub server: ServerView,
}

/// The answer to a removal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RemovalView {
    /// The operation, to be found again at `GET /operations/{operationId}`.
    pub operation_id: String,
    /// False when it still goes on (only with `wait=false`).
    pub gone: bool,
}
