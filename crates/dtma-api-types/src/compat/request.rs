//! Requests of the older families. Several fields say the same in different spellings; saying it once is enough.

use crate::size::ByteSize;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// A tool or MCP server to deploy. It is an MCP server when one of the MCP fields is there.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[schema(example = json!({
    "dockerImageUrl": "dtma/busybox:dev",
    "instanceNameOnToolbox": "web",
    "accountToolInstanceId": "3b241101-e2bb-4255-8caf-4136c566a962",
    "baseConfigOverrideJson": {
        "Cmd": ["httpd", "-f", "-p", "8080"],
        "HostConfig": {"PortBindings": {"8080/tcp": [{"HostPort": "18080"}]}}
    }
}))]
pub struct ToolRequest {
    /// Its name; also `tool_name` and `instanceName`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance_name_on_toolbox: Option<String>,
    /// See `instanceNameOnToolbox`.
    #[serde(rename = "tool_name", skip_serializing_if = "Option::is_none")]
    pub tool_name: Option<String>,
    /// See `instanceNameOnToolbox`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance_name: Option<String>,
    /// The image; also `dockerImage`, `docker_image` and `image`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub docker_image_url: Option<String>,
    /// See `dockerImageUrl`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub docker_image: Option<String>,
    /// See `dockerImageUrl`.
    #[serde(rename = "docker_image", skip_serializing_if = "Option::is_none")]
    pub docker_image_snake: Option<String>,
    /// See `dockerImageUrl`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// The caller's own id of this instance; it is found again by it everywhere. Needed beside `dockerImageUrl` and
    /// `instanceNameOnToolbox`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account_tool_instance_id: Option<String>,
    /// Docker's create request (`Env`, `Cmd`, `HostConfig.PortBindings`, …) or null; judged by policy. The MCP fields
    /// below may stand in it too.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub base_config_override_json: Option<Map<String, Value>>,
    /// `mcp_server` or `standard_tool`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mcp_server_type: Option<String>,
    /// `stdio` (default), `sse`, `websocket` or `streamable-http`; also `mcpTransport` and `transport`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mcp_transport_type: Option<String>,
    /// See `mcpTransportType`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mcp_transport: Option<String>,
    /// See `mcpTransportType`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transport: Option<String>,
    /// Where the MCP server answers under its port; also `mcpEndpoint` and `endpointPath`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mcp_endpoint_path: Option<String>,
    /// See `mcpEndpointPath`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mcp_endpoint: Option<String>,
    /// See `mcpEndpointPath`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint_path: Option<String>,
    /// What the caller believes the server can do. Carried as a label; the server itself is asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Value>)]
    pub mcp_server_capabilities: Option<Value>,
    /// See `mcpServerCapabilities`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Value>)]
    pub mcp_capabilities: Option<Value>,
    /// Carried as a label.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Value>)]
    pub mcp_discovery_metadata: Option<Value>,
    /// The same in another spelling.
    #[serde(rename = "mcp_config", skip_serializing_if = "Option::is_none")]
    pub mcp_config: Option<CompatMcpConfig>,
    /// Plain environment; also `environment_variables`. Not for secrets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub environment_variables: Option<BTreeMap<String, String>>,
    /// See `environmentVariables`.
    #[serde(rename = "environment_variables", skip_serializing_if = "Option::is_none")]
    pub environment_variables_snake: Option<BTreeMap<String, String>>,
    /// Names that must be in the environment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub required_env_vars: Option<Vec<String>>,
    /// Ports to publish.
    #[serde(rename = "port_mappings", skip_serializing_if = "Option::is_none")]
    pub port_mappings: Option<Vec<CompatPortMapping>>,
    /// Ports to publish, in Docker's form: `{"8080/tcp": [{"HostPort": "18080"}]}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub port_bindings: Option<Map<String, Value>>,
    /// OAuth connections whose credentials the server will get. Carried as a label.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oauth_connection_ids: Option<Vec<String>>,
    /// Carried as a label.
    #[serde(rename = "requiredOAuthProviders", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<Value>>)]
    pub required_oauth_providers: Option<Vec<Value>>,
    /// Carried as a label.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<Value>>)]
    pub credential_requirements: Option<Vec<Value>>,
    /// Limits it asks for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource_limits: Option<CompatResources>,
    /// Taken and without effect: a server has its group's own network or none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub network_config: Option<Map<String, Value>>,
    /// Taken and without effect.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health_check_url: Option<String>,
    /// Taken and without effect.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health_check_interval: Option<f64>,
    /// Taken and without effect.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health_check_timeout: Option<f64>,
    /// Taken and without effect.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure_threshold: Option<u32>,
    /// Taken and without effect.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recovery_threshold: Option<u32>,
    /// Taken and without effect.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub circuit_breaker_enabled: Option<bool>,
    /// Replaces the image's entrypoint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<Vec<String>>,
    /// Replaces the image's command.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub args: Option<Vec<String>>,
}

/// How an MCP server is spoken to, in one of the older spellings.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CompatMcpConfig {
    /// `stdio`, `sse`, `websocket` or `streamable-http`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transport: Option<String>,
    /// Where it answers under its port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint_path: Option<String>,
    /// What the caller believes it can do.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Value>)]
    pub capabilities: Option<Value>,
}

/// A port to publish.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CompatPortMapping {
    /// The port in the container.
    pub internal: u32,
    /// The port of the host.
    pub external: u32,
}

/// Limits in the older words.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct CompatResources {
    /// Memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<ByteSize>,
    /// Whole or partial CPUs; also `cpu`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpus: Option<f64>,
    /// See `cpus`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<f64>,
    /// Most processes and threads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pids: Option<u64>,
}

/// Many MCP servers to deploy as one group.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[schema(example = json!({
    "groupId": "research",
    "mcpServers": [{"instanceName": "time", "image": "dtma/mcp-server-time:dev", "mcpTransportType": "stdio"}]
}))]
pub struct DeployServersRequest {
    /// The group's name; also `id`. When absent, one that follows from the servers' names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group_id: Option<String>,
    /// See `groupId`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The servers; also `servers`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mcp_servers: Option<Vec<ToolRequest>>,
    /// See `mcpServers`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub servers: Option<Vec<ToolRequest>>,
    /// Taken and without effect: the group has a network of its own when a server needs one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub network_config: Option<Map<String, Value>>,
    /// Limits of every server that names none itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource_limits: Option<CompatResources>,
    /// Carried as a label of every server.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<Value>>)]
    pub credential_requirements: Option<Vec<Value>>,
}

/// A capability of a tool to execute: `capabilityName` with `payload` (the tool of an MCP server, else a program in the
/// container, given the payload as one JSON argument), or a `command` as it stands.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[schema(example = json!({
    "agentId": "agent-1", "accountToolInstanceId": "3b241101-e2bb-4255-8caf-4136c566a962",
    "capabilityName": "get_current_time", "payload": {"timezone": "UTC"}
}))]
pub struct ExecuteRequest {
    /// For which agent; needed with `capabilityName`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<String>,
    /// When given it must be the instance's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account_tool_instance_id: Option<String>,
    /// What to execute; also `tool`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capability_name: Option<String>,
    /// See `capabilityName`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool: Option<String>,
    /// With what; also `arguments`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub payload: Option<Map<String, Value>>,
    /// See `payload`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub arguments: Option<Map<String, Value>>,
    /// A program with its arguments, instead of a capability. No shell reads them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<Vec<String>>,
    /// What the program reads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stdin: Option<String>,
    /// Milliseconds it may take (default 30000, at most 600000).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 600_000)]
    pub timeout_ms: Option<u64>,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ExecuteView {
    /// What it said: JSON when it was JSON, else text. Of an MCP server, the result of the call.
    #[schema(value_type = Value)]
    pub output: Value,
    /// The program's exit code; 1 for an MCP tool that says it failed, else 0.
    #[serde(rename = "exitCode")]
    pub exit_code: i64,
    /// What the program wrote to standard error.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub stderr: String,
    /// True when an output was too long and its end is missing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub truncated: bool,
}

/// Another number of replicas for an MCP server. It is named by one of the spellings.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(example = json!({"instanceName": "time", "replicas": 2}))]
pub struct ScaleMcpServerRequest {
    /// Its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance_name: Option<String>,
    /// Its name, or the caller's own id of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// See `id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mcp_id: Option<String>,
    /// See `instanceName`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance_name_on_toolbox: Option<String>,
    /// The caller's own id of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account_tool_instance_id: Option<String>,
    /// How many.
    pub replicas: u32,
}

/// A command to run in a server's container.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(example = json!({"command": ["ls", "-l", "/"]}))]
pub struct ExecRequestBody {
    /// The program and its arguments. No shell reads them.
    #[schema(min_items = 1, max_items = 512)]
    pub command: Vec<String>,
    /// What it reads; without it its input is empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stdin: Option<String>,
    /// Milliseconds it may take (default 30000, at most 600000).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 600_000)]
    pub timeout_ms: Option<u64>,
}

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExecView {
    /// Its exit code.
    pub exit_code: i64,
    /// Its standard output; what is not UTF-8 is replaced.
    pub stdout: String,
    /// Its standard error, likewise.
    pub stderr: String,
    /// True when an output was longer than 1 MiB and its end is missing.
    pub truncated: bool,
}
