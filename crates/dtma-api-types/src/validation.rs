//! The answer to a question without consequences.

use crate::envelope::ErrorDetail;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// What would happen to a request. A request that is not even well formed is answered with 400 instead.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ValidationView {
    /// True when the group could be deployed.
    pub valid: bool,
    /// Broken rules.
    pub errors: Vec<ErrorDetail>,
    /// What is allowed and yet unwise.
    pub warnings: Vec<ErrorDetail>,
    /// What each container would be made from, by instance name; empty when there are errors.
    #[schema(value_type = BTreeMap<String, Object>)]
    pub effective: BTreeMap<String, serde_json::Value>,
    /// In sentences, by instance name, what a server reaches and what reaches it; only those with anything to say.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub exposed: BTreeMap<String, Vec<String>>,
}
