//! What the daemon says about itself.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The daemon's front page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct IndexView {
    /// Always `dtma`.
    pub service: String,
    /// The daemon's version.
    pub version: String,
    /// Where the API is described for people; `/openapi.json` is the same for programs.
    pub documentation: String,
    /// What can be asked.
    pub endpoints: Vec<IndexEntry>,
}

/// One thing that can be asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct IndexEntry {
    /// The HTTP method.
    pub method: String,
    /// The path, parameters in braces.
    pub path: String,
    /// Its name in the OpenAPI document.
    pub operation_id: String,
    /// The scope a token needs; absent where none is needed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
}

/// The daemon is alive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct HealthView {
    /// Always `ok`.
    pub status: String,
    /// For how long the daemon has run.
    pub uptime_seconds: u64,
}

/// Whether the daemon can do its work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReadyView {
    /// Always `ready`; anything else is a 503.
    pub status: String,
}
