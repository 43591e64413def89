//! A group as it stands.

use crate::server::ServerView;
use crate::server_request::words;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::ToSchema;

words! {
    /// All servers of a group taken together.
    GroupState {
        /// On its way: nothing failed, not everything settled.
        Deploying = "deploying",
        /// Every server is ready, completed, or stopped by a person.
        Ready = "ready",
        /// What changed is being replaced; what stood before serves meanwhile.
        Updating = "updating",
        /// Stood once; at least one server is not ready now.
        Degraded = "degraded",
        /// At least one server is failed.
        Failed = "failed",
        /// On its way out.
        Removing = "removing",
    }
}

/// A group, as it stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct GroupView {
    /// The group.
    pub group_id: String,
    /// Counts the accepted changes of its spec, from 1.
    pub generation: u64,
    /// All servers taken together.
    pub state: GroupState,
    /// Its servers, in the order of the request.
    pub servers: Vec<ServerView>,
    /// The name of its network, when it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
    /// Labels of the request.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// The operation under way, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<String>,
    /// What stands in the way of the group as a whole, such as an engine that does not answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
    /// When it was accepted.
    #[schema(format = DateTime)]
    pub created_at: String,
    /// When a person last changed it.
    #[schema(format = DateTime)]
    pub updated_at: String,
}

/// Every group, by id.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct GroupList {
    /// The groups.
    pub groups: Vec<GroupView>,
}
