//! A server as it stands.

use crate::server_request::{Condition, Kind, Network, Transport, words};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

words! {
    /// Where a server is in its life.
    PhaseWord {
        /// Its image is fetched, its container made.
        Creating = "creating",
        /// Made; what it depends on does not hold yet.
        Waiting = "waiting",
        /// Its process runs and has not answered yet.
        Starting = "starting",
        /// Nothing of it runs until a client comes, whose session then has a process of its own.
        OnDemand = "on-demand",
        /// It answers.
        Ready = "ready",
        /// Nobody needs it: it is paused or stopped, and goes on with the next call.
        Idle = "idle",
        /// Its new container is being proved while the old one serves.
        Updating = "updating",
        /// It will be tried again.
        Backoff = "backoff",
        /// It ran once and exited with 0, as those who await it wanted.
        Completed = "completed",
        /// It is being stopped.
        Stopping = "stopping",
        /// A person stopped it.
        Stopped = "stopped",
        /// It will not be tried again until a person asks.
        Failed = "failed",
        /// It is being removed.
        Removing = "removing",
    }
}

words! {
    /// Whom a container serves that is no replica.
    PlaceRole {
        /// One session, which has it for itself.
        Session = "session",
        /// A session that is still to come: it is kept ready, and frozen meanwhile.
        Spare = "spare",
    }
}

/// A server, as it stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServerView {
    /// Its name.
    pub instance_name: String,
    /// Its group.
    pub group_id: String,
    /// MCP server or tool.
    pub kind: Kind,
    /// How the MCP server is spoken to inside its container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transport: Option<Transport>,
    /// The image as wanted.
    pub image: String,
    /// The image its container is made from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_id: Option<String>,
    /// Where it is in its life.
    pub phase: PhaseWord,
    /// Since when, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub phase_since: Option<String>,
    /// Why it is there; absent when the word says it all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What the daemon is doing for it right now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub activity: Option<String>,
    /// What it waits for (`waiting` only).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waiting_for: Vec<UnmetView>,
    /// When it is tried again (`backoff` only).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub retry_at: Option<String>,
    /// Which attempt that will be, from 1 (`backoff` only).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    /// The generation of the group that last changed it.
    pub generation: u64,
    /// Its container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<ContainerView>,
    /// How many replicas it is to have.
    #[serde(default = "one")]
    pub replicas: u32,
    /// Each replica, where there is more than one or an update is under way, and each container of a session's own or kept
    /// ready for one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replica_status: Vec<ReplicaView>,
    /// What is kept ready for sessions to come, where anything is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spares: Option<SparesView>,
    /// Its network.
    pub network: Network,
    /// How often it was started again, by whomever. Never falls.
    pub restarts: u64,
    /// How often it ended unasked, other than by reaching its goal. Never falls.
    #[serde(default)]
    pub crashes: u64,
    /// How its last run ended, if one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_exit: Option<ExitView>,
    /// The engine's last refusal, when nothing succeeded since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refusal: Option<RefusalView>,
    /// Forwarded host ports.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<PortView>,
    /// What it said about itself; MCP servers only, once it answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mcp: Option<McpView>,
    /// What of its tools is not as approved, in one line; MCP servers only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contract: Option<String>,
}

fn one() -> u32 {
    1
}

/// How many processes a server keeps ready for sessions to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SparesView {
    /// So many are to be.
    pub wanted: u32,
    /// So many have come up.
    pub ready: u32,
}

/// One replica of a server, as it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReplicaView {
    /// Which, from 0; from 1000 on it is no replica but what a session has for itself, or is to have (`role`).
    pub replica: u32,
    /// Whom it serves, when not everybody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<PlaceRole>,
    /// Where it is in its life.
    pub phase: PhaseWord,
    /// Why it is there; absent when the word says it all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The container that serves for it, or will.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<ContainerView>,
    /// The generation of the group that made that container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<u64>,
    /// How often it was started again, by whomever. Never falls.
    pub restarts: u64,
}

/// A dependency that does not hold yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct UnmetView {
    /// On whom it waits.
    pub instance: String,
    /// For what.
    pub condition: Condition,
}

/// A server's container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ContainerView {
    /// The engine's id.
    pub id: String,
    /// Its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExitView {
    /// When.
    #[schema(format = DateTime)]
    pub at: String,
    /// Exit code; 128 + n after signal n.
    pub code: i64,
    /// Killed for want of memory.
    pub out_of_memory: bool,
    /// Somebody asked for it: it did not count as a crash.
    pub asked: bool,
    /// How long the process ran.
    pub ran_for_ms: u64,
}

/// An engine call that was refused or failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RefusalView {
    /// When it last failed.
    #[schema(format = DateTime)]
    pub at: String,
    /// How often in a row.
    pub count: u32,
    /// What was tried.
    pub action: String,
    /// What the engine said.
    pub message: String,
}

/// A forwarded host port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PortView {
    /// The port on the host.
    pub host_port: u16,
    /// The port inside.
    pub container_port: u16,
    /// True while the daemon listens there.
    pub listening: bool,
}

/// What an MCP server said about itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct McpView {
    /// The gateway's path to it (Streamable HTTP).
    pub endpoint: String,
    /// The protocol version agreed on.
    pub protocol_version: String,
    /// The name it gave itself.
    pub server_name: String,
    /// The version it gave itself.
    pub server_version: String,
    /// Capabilities it declared, such as `tools` or `resources`.
    pub capabilities: Vec<String>,
    /// Its tools as the daemon saw them; a client with other capabilities may see others.
    pub tools: Vec<ToolView>,
}

/// A tool of an MCP server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ToolView {
    /// Its name.
    pub name: String,
    /// Its title.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// What it does, in the server's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// JSON Schema of its arguments.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub input_schema: Option<serde_json::Value>,
}
