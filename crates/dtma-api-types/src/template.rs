//! Configuration templates.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Every template.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TemplateList {
    /// The templates, by name.
    pub templates: Vec<TemplateSummary>,
}

/// A template in one line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TemplateSummary {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub description: String,
}

/// A template, inheritance resolved.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TemplateView {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// The template it varies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inherits: Option<String>,
    /// What a server gets from it.
    #[schema(value_type = Object)]
    pub settings: serde_json::Value,
}
