//! Changes of a group: what one means before, what became of it after.

use crate::group::GroupView;
use crate::server_request::words;
use crate::validation::ValidationView;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

words! {
    /// What a change of the spec does to a server.
    ChangeAction {
        /// It is new.
        Create = "create",
        /// Its containers are replaced.
        Replace = "replace",
        /// Its processes begin anew in the containers they are in.
        Restart = "restart",
        /// It gets more or fewer replicas.
        Scale = "scale",
        /// It is treated differently; its containers stay.
        Update = "update",
        /// It goes.
        Remove = "remove",
    }
}

words! {
    /// What became of a generation.
    Fate {
        /// On its way.
        Rolling = "rolling",
        /// It stood as a whole.
        Established = "established",
        /// It did not come to stand.
        Failed = "failed",
        /// A later one took its place before it stood.
        Superseded = "superseded",
    }
}

/// What a change does to one server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServerDiff {
    /// The server.
    pub instance: String,
    /// What happens to it.
    pub action: ChangeAction,
    /// Which parts of its spec differ.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<FieldDiff>,
}

/// One difference.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct FieldDiff {
    /// JSON pointer into the server's spec, or into a tool.
    pub path: String,
    /// Before; absent when it was not there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<serde_json::Value>,
    /// After; absent when it is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<serde_json::Value>,
}

/// The answer to a change of a group's spec.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApplyView {
    /// The operation, to be found again at `GET /operations/{operationId}`.
    pub operation_id: String,
    /// False when everything stood already as wanted.
    pub changed: bool,
    /// What it means for each server that it concerns.
    pub changes: Vec<ServerDiff>,
    /// How the group stands.
    pub group: GroupView,
}

/// What a change would mean (`dryRun=true`). Nothing was done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlanView {
    /// The generation that stands; absent when there is no such group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<u64>,
    /// True when something would happen.
    pub changed: bool,
    /// What would happen to each server that it concerns.
    pub changes: Vec<ServerDiff>,
    /// Whether it would be accepted, and what the containers would be made from.
    pub validation: ValidationView,
}

/// The answer to `PUT /mcp/groups/{groupId}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum PutGroupView {
    /// It was done, or is under way.
    Applied(Box<ApplyView>),
    /// It was only asked what it would mean.
    Planned(Box<PlanView>),
}

/// One generation of a group.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RevisionView {
    /// Which.
    pub generation: u64,
    /// When it was accepted.
    #[schema(format = DateTime)]
    pub at: String,
    /// Who wanted it: the name of a token.
    pub author: String,
    /// Why: `deploy`, `apply`, `scale web to 3`, `rollback to 2`.
    pub cause: String,
    /// What became of it.
    pub fate: Fate,
    /// Since when; absent while it is on its way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub fate_at: Option<String>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// True for the generation that is wanted now.
    pub current: bool,
    /// What it changed against the generation before it that is kept.
    pub changes: Vec<ServerDiff>,
    /// Its spec, in the daemon's own words.
    #[schema(value_type = Object)]
    pub spec: serde_json::Value,
}

/// The generations of a group that are kept, the oldest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct HistoryView {
    /// The group.
    pub group_id: String,
    /// Its generations.
    pub generations: Vec<RevisionView>,
}
