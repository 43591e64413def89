//! What servers use of the machine.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What every running server uses, all at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct StatsView {
    /// When it was read.
    #[schema(format = DateTime)]
    pub at: String,
    /// Why nothing can be read at all, when that is so (an engine on another machine, no cgroups).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unavailable: Option<String>,
    /// Every container of every server, by group, name, replica and generation.
    pub servers: Vec<ServerStats>,
}

/// What one container of a server uses. What could not be read is absent; nothing is guessed.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServerStats {
    /// Its group.
    pub group_id: String,
    /// The server's name.
    pub instance_name: String,
    /// Which of its replicas it is, from 0.
    #[serde(default)]
    pub replica: u32,
    /// The generation of the group that made it: during an update old and new stand side by side.
    #[serde(default)]
    pub generation: u64,
    /// The engine's id.
    #[serde(default)]
    pub container_id: String,
    /// CPU time since its container started, in microseconds. Two readings give the share in between.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_micros: Option<u64>,
    /// CPU time it may use, in thousandths of a core; absent when it is not limited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_limit_millis: Option<u64>,
    /// Memory in bytes, without the page cache that could be dropped at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// Memory it may use, in bytes; absent when it is not limited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_limit_bytes: Option<u64>,
    /// Processes and threads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pids: Option<u64>,
    /// Processes and threads it may have; absent when it is not limited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pids_limit: Option<u64>,
}
