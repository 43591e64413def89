//! A group as a caller asks for it.

use crate::gateway::GroupGateway;
use crate::server_request::ServerRequest;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// A group of servers to deploy together.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(example = json!({
    "groupId": "demo",
    "servers": [
        {"instanceName": "time", "image": "dtma/mcp-server-time:dev", "transport": "stdio"},
        {"instanceName": "web", "kind": "tool", "image": "dtma/busybox:dev", "port": 8080,
         "command": ["httpd", "-f", "-p", "8080"], "dependsOn": [{"instance": "time", "condition": "started"}]}
    ]
}))]
pub struct GroupRequest {
    /// The group's name, unique per daemon: `[A-Za-z0-9][A-Za-z0-9_.-]{0,62}` without `__` and `..`.
    pub group_id: String,
    /// Its servers. Their order has no meaning; `dependsOn` has.
    pub servers: Vec<ServerRequest>,
    /// How the group is deployed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub options: Option<GroupOptions>,
    /// How its MCP servers look as one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<GroupGateway>,
    /// Which change of the spec this is, where the caller counts: higher than the present one. The present one again
    /// changes nothing with the same spec and is a conflict with another. By default the next one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1)]
    pub generation: Option<u64>,
    /// Configuration template of every server that names none itself; `standard` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<String>,
    /// Labels for people and other tools, carried onto every container. Keys below `io.dtma.` are reserved.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// How a group is deployed.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GroupOptions {
    /// Servers may ask for the group's networks (default true). When false none gets one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shared_networking: Option<bool>,
    /// Starts wait for `dependsOn` (default true). When false all start at once and only removal is ordered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dependency_order: Option<bool>,
    /// Most servers created or started at the same moment (default 16).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 256)]
    pub max_concurrent_deployments: Option<u32>,
    /// An update that fails goes back to what stood before (default true). When false it is tried on, and what stood
    /// before serves meanwhile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auto_revert: Option<bool>,
    /// Milliseconds after which an update that is not through has failed (default 600000).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress_deadline_ms: Option<u64>,
}

/// Another number of replicas.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(example = json!({"replicas": 3}))]
pub struct ScaleRequest {
    /// How many containers are to serve at the same time.
    #[schema(minimum = 1, maximum = 32)]
    pub replicas: u32,
}

/// Which generation is to stand again.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(example = json!({"toGeneration": 1}))]
pub struct RollbackRequest {
    /// By default the last one that stood before the present one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1)]
    pub to_generation: Option<u64>,
}
