//! Connections of agents: which servers and tools an agent may reach, until when, how often.

use crate::envelope::ErrorDetail;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What is granted to an agent. Several connections of one agent grant together what any of them grants.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(example = json!({
    "agent": "researcher",
    "servers": [{"instanceName": "time", "tools": ["get_*"]}, {"groupId": "lab"}],
    "expiresAt": "2027-01-31T00:00:00Z",
    "rate": {"callsPerMinute": 60, "burst": 10}
}))]
pub struct ConnectionRequest {
    /// To whom: the name of a token, as `dtma-daemon token ls` lists it. It stays that when the token is rotated. Either
    /// this or `tokenHash`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// To whom, by the token itself: its SHA-256, 64 hex digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_hash: Option<String>,
    /// What: at least one.
    #[schema(max_items = 256)]
    pub servers: Vec<GrantBody>,
    /// From then on it grants nothing (RFC 3339).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub expires_at: Option<String>,
    /// How often tools, prompts and resources may be called; as often as anybody when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<RateBody>,
}

/// Servers, and which of their tools. A server need not be there yet.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GrantBody {
    /// The server of this name; `*` stands for any characters. Either this or `groupId`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance_name: Option<String>,
    /// Every server of this group, whichever these are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group_id: Option<String>,
    /// The tools that are listed and may be called; `*` stands for any characters. All of them when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_items = 256)]
    pub tools: Option<Vec<String>>,
}

/// How often an agent may call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RateBody {
    /// Calls in a minute, in the long run.
    #[schema(minimum = 1, maximum = 1_000_000)]
    pub calls_per_minute: u32,
    /// Calls at once, after a rest (default: those of a minute).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 1_000_000)]
    pub burst: Option<u32>,
}

/// A connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConnectionView {
    /// Its id.
    pub connection_id: String,
    /// Whose it is: the name of a token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// Whose it is: the SHA-256 of a token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_hash: Option<String>,
    /// What it grants.
    pub servers: Vec<GrantBody>,
    /// From then on it grants nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub expires_at: Option<String>,
    /// That time has come.
    pub expired: bool,
    /// How often calls are let through.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<RateBody>,
    /// The MCP servers that are there now and that it reaches.
    pub reaches: Vec<String>,
    /// Counts its changes, from 1; `If-Match` takes it.
    pub revision: u64,
    /// Who changed it last: the name of a token.
    pub author: String,
    /// When it was made.
    #[schema(format = DateTime)]
    pub created_at: String,
    /// When it was changed last.
    #[schema(format = DateTime)]
    pub updated_at: String,
    /// What may not be as it was meant: servers or tokens that are not there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<ErrorDetail>,
}

/// Every connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConnectionList {
    /// By id.
    pub connections: Vec<ConnectionView>,
    /// How many.
    pub total: usize,
    /// Agents without a connection reach nothing (the setting `require_connections`).
    pub required: bool,
}
