//! Answers of the older families about tools, in Docker's words where their callers expect those.

use crate::envelope::ErrorDetail;
use crate::group::GroupState;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// A deployed tool.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ToolDeployedView {
    /// Its container; absent while there is none yet (`wait=false`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container_id: Option<String>,
    /// Its name.
    pub instance_name_on_toolbox: String,
    /// The caller's own id of it.
    pub account_tool_instance_id: Option<String>,
    /// Its image.
    pub image: String,
    /// `{"8080/tcp": [{"HostIp": "127.0.0.1", "HostPort": "18080"}]}`.
    pub ports: BTreeMap<String, Vec<PortBinding>>,
    /// The state of its container.
    pub state: DockerState,
    /// What was taken and has no effect, or another one than the caller may think.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<ErrorDetail>,
}

/// One published port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct PortBinding {
    /// The host's address.
    pub host_ip: String,
    /// The host's port.
    pub host_port: String,
}

/// The state of a container, as Docker tells it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct DockerState {
    /// `running`, `starting`, `exited`, `error`, …
    pub status: String,
    /// True when it answers.
    pub running: bool,
    /// True when it will be tried again.
    pub restarting: bool,
    /// True when its last process was killed for want of memory.
    #[serde(rename = "OOMKilled")]
    pub oom_killed: bool,
    /// The exit code of its last process.
    pub exit_code: i64,
    /// What went wrong; empty when nothing did.
    pub error: String,
    /// When its process started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<String>,
    /// When its last process ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<String>,
}

/// The state of a tool after a start or a stop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ToolStateView {
    /// Its name.
    pub instance_name_on_toolbox: String,
    /// The state of its container.
    pub state: DockerState,
}

/// A tool that was removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ToolRemovedView {
    /// Its name.
    pub instance_name_on_toolbox: String,
    /// False when the removal still goes on (`wait=false`).
    pub gone: bool,
}

/// One tool or MCP server, in both older shapes at once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ToolInstanceView {
    /// The caller's own id of it.
    pub account_tool_instance_id: Option<String>,
    /// Its name.
    pub instance_name_on_toolbox: String,
    /// Its container.
    pub container_id: Option<String>,
    /// `running`, `starting`, `exited`, `error`, `stopping`, `removing`.
    pub status: String,
    /// Its image.
    pub image: String,
    /// Its published ports.
    pub ports: Vec<DockerPort>,
    /// When it was accepted, in seconds since 1970.
    pub created: i64,
    /// Its container, again.
    pub id: Option<String>,
    /// The container's names, each with a slash in front.
    pub names: Vec<String>,
    /// The image's id.
    pub image_id: Option<String>,
    /// What was asked to be run in place of the image's own; empty when nothing was.
    pub command: String,
    /// The same as `status`.
    pub state: String,
    /// When its process started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<String>,
    /// Why it is where it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Its group.
    pub group_id: String,
    /// Of an MCP server: `stdio`, `sse`, `websocket`, `streamable-http`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mcp_transport_type: Option<String>,
    /// Of an MCP server: `active`, `stopped`, `starting`, `error`, `unknown`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mcp_status: Option<String>,
    /// Of an MCP server: `running`, `stopped`, `starting`, `error`, `unknown`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mcp_state: Option<String>,
    /// Of an MCP server: `healthy`, `unhealthy`, `unknown`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mcp_health: Option<String>,
    /// Where agents reach it, when the gateway serves it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
}

/// One published port, as Docker lists it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct DockerPort {
    /// The host's address.
    #[serde(rename = "IP")]
    pub ip: String,
    /// The port in the container.
    pub private_port: u16,
    /// The host's port.
    pub public_port: u16,
    /// Always `tcp`.
    #[serde(rename = "Type")]
    pub kind: String,
}

/// Tools, or all of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ToolListView {
    /// The tools.
    pub tools: Vec<ToolInstanceView>,
    /// How many there are.
    pub total: usize,
}

/// MCP servers that were deployed as one group.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeployedServersView {
    /// The group.
    #[serde(flatten)]
    pub group: ContainerGroupView,
    /// What was taken and has no effect, or another one than the caller may think.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<ErrorDetail>,
}

/// A group in the older words.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ContainerGroupView {
    /// Its id.
    pub id: String,
    /// Its servers.
    pub mcp_servers: Vec<ToolInstanceView>,
    /// Where it is.
    pub status: GroupState,
    /// `healthy`, `degraded`, `unhealthy`, `unknown`.
    pub health_state: String,
    /// Its network, when it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
}
