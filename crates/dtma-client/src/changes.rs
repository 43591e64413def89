//! Changes of a group that stands.

use crate::client::Client;
use crate::error::Error;
use crate::operations::{Wait, group_path, server_path};
use crate::query::Query;
use dtma_api_types::{ApplyView, HistoryView, PlanView, RollbackRequest, ScaleRequest};
use http::header::IF_MATCH;
use http::{HeaderValue, Method};
use serde::Serialize;

/// How a change is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ChangeOptions {
    /// Whether to wait.
    pub wait: Wait,
    /// The generation that must stand for the change to be made.
    pub seen: Option<u64>,
}

impl ChangeOptions {
    fn tag(&self) -> Option<HeaderValue> {
        self.seen.and_then(|generation| HeaderValue::from_str(&format!("\"{generation}\"")).ok())
    }
}

impl Client {
    /// `PUT /mcp/groups/{groupId}`: makes another spec stand without downtime. `body` as with
    /// [`deploy_group`](Self::deploy_group).
    pub async fn put_group(
        &self,
        group: &str,
        body: &impl Serialize,
        options: &ChangeOptions,
    ) -> Result<ApplyView, Error> {
        self.change(Method::PUT, &group_path(group, ""), body, options).await
    }

    /// The same with `dryRun=true`: what it would mean.
    pub async fn plan_group(
        &self,
        group: &str,
        body: &impl Serialize,
        options: &ChangeOptions,
    ) -> Result<PlanView, Error> {
        let path = Query::default().with("dryRun", Some(true)).onto(&group_path(group, ""));
        let mut call = self.call(Method::PUT, path);
        call.headers.extend(options.tag().map(|tag| (IF_MATCH, tag)));
        call.json(body)?.data().await
    }

    /// `GET /mcp/groups/{groupId}/history`: the generations of a group.
    pub async fn get_history(&self, group: &str) -> Result<HistoryView, Error> {
        self.call(Method::GET, group_path(group, "/history")).data().await
    }

    /// `POST /mcp/groups/{groupId}/rollback`: an earlier generation again, as a new one.
    pub async fn rollback_group(
        &self,
        group: &str,
        body: &RollbackRequest,
        options: &ChangeOptions,
    ) -> Result<ApplyView, Error> {
        self.change(Method::POST, &group_path(group, "/rollback"), body, options).await
    }

    /// `PUT /mcp/servers/{instanceName}/scale`: another number of replicas.
    pub async fn scale_server(
        &self,
        instance: &str,
        body: &ScaleRequest,
        options: &ChangeOptions,
    ) -> Result<ApplyView, Error> {
        self.change(Method::PUT, &server_path(instance, "/scale"), body, options).await
    }

    async fn change(
        &self,
        method: Method,
        path: &str,
        body: &impl Serialize,
        options: &ChangeOptions,
    ) -> Result<ApplyView, Error> {
        let mut call = self.call(method, options.wait.query(Query::default()).onto(path));
        call.headers.extend(options.tag().map(|tag| (IF_MATCH, tag)));
        call.json(body)?.patience(options.wait.patience()).data().await
    }
}
