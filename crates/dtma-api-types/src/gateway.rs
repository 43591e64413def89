//! How a group's MCP servers look as one, as a caller asks for it.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// A group as one MCP server (`/gateway/groups/{groupId}/mcp`). What is said here does not touch the servers' own doors; who
/// may reach what is said by connections. A change takes effect at once and restarts nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(example = json!({
    "servers": ["time", "git-*"],
    "tools": {"deny": ["*__delete_*"], "rename": {"time__get_current_time": "now"}}
}))]
pub struct GroupGateway {
    /// The servers that are part of it; `*` stands for any characters. Every MCP server of the group when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_items = 256)]
    pub servers: Option<Vec<String>>,
    /// The tools that are part of it, and what they are called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tools: Option<GroupTools>,
}

/// Tools of a group as one server. A tool is meant by `SERVER__TOOL`, both as they are called themselves.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GroupTools {
    /// These are listed and may be called, and no others; `*` stands for any characters. All of them when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_items = 256)]
    pub allow: Option<Vec<String>>,
    /// These are not, whatever `allow` says.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(max_items = 256)]
    pub deny: Vec<String>,
    /// What a tool is called instead: 1 to 64 letters, digits, `_` and `-`, without `__`, no two alike.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub rename: BTreeMap<String, String>,
}
