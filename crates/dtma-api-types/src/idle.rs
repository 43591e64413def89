//! When a server that nobody uses is put to rest.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// When an MCP server that nobody uses is put to rest. The next call wakes it; its sessions stay.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Idle {
    /// Unused for so many seconds, its containers are paused: they keep their memory and go on within milliseconds
    /// (default: never).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 2592000, example = 300)]
    pub pause_after_secs: Option<u64>,
    /// Unused for so many seconds, they are stopped, and started again when somebody needs them (default: never). Not less
    /// than `pauseAfterSecs`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 2592000, example = 3600)]
    pub stop_after_secs: Option<u64>,
}
