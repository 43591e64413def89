//! Everything at a glance.

use crate::group::GroupView;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// All groups and servers, with totals.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct StatusView {
    /// The daemon.
    pub daemon: DaemonView,
    /// The container engine.
    pub engine: EngineView,
    /// Groups by state.
    pub groups_total: GroupTotals,
    /// Servers by phase.
    pub servers_total: ServerTotals,
    /// The groups.
    pub groups: Vec<GroupView>,
}

/// The daemon that answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DaemonView {
    /// Its version.
    pub version: String,
    /// When it started.
    #[schema(format = DateTime)]
    pub started_at: String,
    /// For how long it has run.
    pub uptime_seconds: u64,
    /// False when it was started without tokens (`--dev-no-auth`).
    pub auth_required: bool,
}

/// The container engine the daemon uses.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct EngineView {
    /// True when it answered just now.
    pub reachable: bool,
    /// `Docker Engine 20.10.24`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub product: Option<String>,
    /// The API version agreed on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_version: Option<String>,
    /// Where it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// Why it did not answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// Groups by state.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct GroupTotals {
    /// All.
    pub total: u64,
    /// On their way.
    pub deploying: u64,
    /// With an update under way.
    #[serde(default)]
    pub updating: u64,
    /// Standing.
    pub ready: u64,
    /// Stood once, not whole now.
    pub degraded: u64,
    /// With a failed server.
    pub failed: u64,
    /// On their way out.
    pub removing: u64,
}

/// Servers by phase.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServerTotals {
    /// All.
    pub total: u64,
    /// Being made.
    pub creating: u64,
    /// Waiting for what they depend on.
    pub waiting: u64,
    /// Running, not answering yet.
    pub starting: u64,
    /// With a new container being proved while the old one serves.
    #[serde(default)]
    pub updating: u64,
    /// Answering.
    pub ready: u64,
    /// At rest until somebody needs them.
    #[serde(default)]
    pub idle: u64,
    /// Standing still until a client comes.
    #[serde(default)]
    pub on_demand: u64,
    /// Tried again later.
    pub backoff: u64,
    /// Ran once, as wanted.
    pub completed: u64,
    /// Being stopped.
    pub stopping: u64,
    /// Stopped by a person.
    pub stopped: u64,
    /// Not tried again.
    pub failed: u64,
    /// Being removed.
    pub removing: u64,
}
