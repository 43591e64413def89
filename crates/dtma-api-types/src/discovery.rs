//! What MCP servers offer, and what of that was approved. Where a server's own words are passed on they are raw JSON:
//! as they were sent, to the byte.

use crate::server::PhaseWord;
use crate::server_request::{Pinning, Transport, words};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// What MCP servers offer.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DiscoveryView {
    /// The servers that fit, by name.
    pub servers: Vec<DiscoveredView>,
    /// How many.
    pub total: usize,
}

/// What one MCP server offers, as far as it was ever heard.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DiscoveredView {
    /// Its name, in the words of the original.
    pub instance_id: String,
    /// Its name.
    pub instance_name: String,
    /// Its group.
    pub group_id: String,
    /// How it is spoken to inside its container.
    pub transport_type: Transport,
    /// Where agents reach it: the gateway's path to it (Streamable HTTP).
    pub endpoint_url: String,
    /// Where it is in its life.
    pub phase: PhaseWord,
    /// `healthy`, `unhealthy` or `unknown`.
    pub health_status: String,
    /// When it was last asked and answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub last_health_check: Option<String>,
    /// How old this is; absent until it answered for the first time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub age_seconds: Option<u64>,
    /// Nothing that runs now has confirmed it, or the last attempt to ask failed: this is what it offered last.
    pub stale: bool,
    /// Why the last attempt to ask failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// When it was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub discovered_at: Option<String>,
    /// The image that was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_id: Option<String>,
    /// The configuration that was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_hash: Option<String>,
    /// The generation that was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<u64>,
    /// The protocol version agreed on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol_version: Option<String>,
    /// Its name and version, as it sent them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub server_info: Option<Box<RawValue>>,
    /// What it declared, as it sent it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub capabilities: Option<Box<RawValue>>,
    /// What it tells those who use it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instructions: Option<String>,
    /// Its tools, as it sent them; a client with other capabilities may see others.
    #[schema(value_type = Vec<Object>)]
    pub tools: Vec<Box<RawValue>>,
    /// Its prompts, as it sent them.
    #[schema(value_type = Vec<Object>)]
    pub prompts: Vec<Box<RawValue>>,
    /// Its resources, as it sent them.
    #[schema(value_type = Vec<Object>)]
    pub resources: Vec<Box<RawValue>>,
    /// Its resource templates, as it sent them.
    #[schema(value_type = Vec<Object>)]
    pub resource_templates: Vec<Box<RawValue>>,
    /// Lists of which there is more than is told, and why.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub cut: BTreeMap<String, String>,
    /// What follows when its tools are not those that were approved.
    pub pinning: Pinning,
    /// How many of its tools are not as approved.
    pub contract_drift: usize,
}

/// The contract of an MCP server: what was approved of its tools, and what differs since.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ContractView {
    /// The server.
    pub instance_name: String,
    /// Its group.
    pub group_id: String,
    /// What follows when its tools are not those that were approved.
    pub pinning: Pinning,
    /// What was approved; absent until something was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approved: Option<ApprovedView>,
    /// The hash of what it offers; absent until it answered for the first time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offered_hash: Option<String>,
    /// When it was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub offered_at: Option<String>,
    /// Nothing that runs now has confirmed what it offers.
    pub stale: bool,
    /// The tools that are not as approved.
    pub drift: Vec<DriftView>,
}

/// What was approved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApprovedView {
    /// SHA-256 over the canonical JSON of all tools.
    pub hash: String,
    /// When.
    #[schema(format = DateTime)]
    pub at: String,
    /// By whom: the name of a token, or `first-discovery` when nobody was asked.
    pub by: String,
    /// The image that offered it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_id: Option<String>,
    /// The configuration that offered it.
    pub config_hash: String,
    /// The tools by name, each with its own hash.
    pub tools: BTreeMap<String, String>,
}

words! {
    /// What became of a tool.
    DriftKind {
        /// It was not there when the contract was approved.
        Added = "added",
        /// It is not there any more.
        Removed = "removed",
        /// It is another.
        Changed = "changed",
    }
}

/// A tool that is not as approved.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DriftView {
    /// Its name.
    pub tool: String,
    /// What became of it.
    pub change: DriftKind,
    /// It is kept from clients.
    pub quarantined: bool,
    /// The fields that differ, of one that changed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<crate::FieldDiff>,
    /// The same for people.
    pub lines: Vec<String>,
}

/// What is approved of.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(example = json!({"tool": "get_current_time"}))]
pub struct ApproveRequest {
    /// Only this tool; by default everything the server offers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool: Option<String>,
    /// Only if what it offers has this hash (`offeredHash`); otherwise 412.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hash: Option<String>,
}
