//! The daemon's status in both older shapes.

use super::tool::ToolInstanceView;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The daemon's status. Without a token only the first three fields are there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct CompatStatusView {
    /// Always `dtma`.
    pub service: String,
    /// The daemon's version.
    pub version: String,
    /// `operational`, or `degraded` when a server failed.
    pub status: String,
    /// The daemon's version, again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dtma_version: Option<String>,
    /// Always `production`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    /// The machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system_metrics: Option<SystemMetrics>,
    /// Every tool and every MCP server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_instances: Option<Vec<ToolInstanceView>>,
    /// Every tool that is no MCP server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub standard_tools: Option<Vec<ToolInstanceView>>,
    /// Every MCP server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mcp_servers: Option<Vec<ToolInstanceView>>,
    /// MCP servers by transport.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transport_distribution: Option<TransportDistribution>,
    /// OAuth connections. None can be made yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oauth_status: Option<OauthStatusView>,
    /// The reports to the backend; absent when there is no backend.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heartbeat: Option<HeartbeatView>,
}

/// How the reports to the backend fare.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct HeartbeatView {
    /// Where they go.
    pub url: String,
    /// How many were taken since the daemon's start.
    pub successes: u64,
    /// How many were not.
    pub failures: u64,
    /// How many in a row were not, up to the last.
    pub consecutive_failures: u64,
    /// When the last was taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_success: Option<String>,
    /// Why the last was not taken, when it was not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
}

/// Every MCP server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct McpServersView {
    /// The servers.
    pub mcp_servers: Vec<ToolInstanceView>,
    /// How many there are.
    pub total: usize,
    /// By transport.
    pub transport_distribution: TransportDistribution,
}

/// MCP servers by transport.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct TransportDistribution {
    /// Standard input and output.
    pub stdio: u64,
    /// HTTP with server-sent events.
    pub sse: u64,
    /// WebSocket.
    pub websocket: u64,
    /// Streamable HTTP.
    #[serde(rename = "streamable-http")]
    pub streamable_http: u64,
}

/// OAuth connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct OauthStatusView {
    /// How many there are.
    pub connections: u64,
    /// How many of them have expired.
    pub expired: u64,
}

/// The machine the daemon runs on.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ToSchema)]
pub struct SystemMetrics {
    /// Of all cores together, since the last look at it; 0 at the first.
    pub cpu_load_percent: f64,
    /// Memory.
    pub memory: MemoryMetrics,
    /// The disk with the daemon's state.
    pub disk: DiskMetrics,
    /// Since the machine started.
    pub uptime_seconds: u64,
}

/// Memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct MemoryMetrics {
    /// All.
    pub total_bytes: u64,
    /// In use by programs.
    pub active_bytes: u64,
    /// In use by nobody.
    pub free_bytes: u64,
    /// In use, the page cache included.
    pub used_bytes: u64,
}

/// A disk.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct DiskMetrics {
    /// A path on it.
    pub mount: String,
    /// All.
    pub total_bytes: u64,
    /// In use.
    pub used_bytes: u64,
    /// Left for programs without privileges.
    pub free_bytes: u64,
}
