//! One method for each operation of the OpenAPI document, named after its operation id. A test holds the two
//! against each other.

use crate::client::Client;
use crate::error::Error;
use crate::query::{Query, escape};
use crate::stream::{EventStream, LogLines, events, log_lines};
use dtma_api_types::{
    GroupChangeView, GroupList, GroupView, HealthView, IndexView, LogStreamName, LogView, OperationKind,
    OperationList, OperationState, OperationView, ReadyView, RemovalView, ServerChangeView, StatsView,
    StatusView, TemplateList, TemplateView, ValidationView,
};
use http::Method;
use http::header::{ACCEPT, HeaderName};
use serde::Serialize;
use std::time::Duration;

/// Whether a mutation waits for its outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Wait {
    /// As long as the daemon allows by itself (five minutes).
    #[default]
    UntilDone,
    /// So long; afterwards the daemon answers 504 and the work goes on.
    Until(Duration),
    /// The daemon answers 202 as soon as the request is durable.
    No,
}

/// How a mutation is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Mutation {
    /// Whether to wait.
    pub wait: Wait,
    /// The caller's own name for the request, 1 to 255 visible ASCII characters: asked again with the same one (after
    /// a connection that broke, say), it has no second effect and gets the same answer.
    pub key: Option<String>,
}

/// How a group is removed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RemoveOptions {
    /// Whether to wait.
    pub wait: Wait,
    /// Kill instead of stop.
    pub force: bool,
    /// Instead of each server's own grace.
    pub grace: Option<Duration>,
    /// Remove its volumes too.
    pub volumes: bool,
    /// The caller's own name for the request, as in [`Mutation`].
    pub key: Option<String>,
}

/// Which operations; what is absent fits all.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OperationQuery {
    /// Of this group.
    pub group: Option<String>,
    /// Of this server alone.
    pub instance: Option<String>,
    /// Of this kind.
    pub kind: Option<OperationKind>,
    /// That are so far.
    pub state: Option<OperationState>,
    /// At most so many (the daemon's own bound is 100).
    pub limit: Option<u32>,
}

/// Which part of a log.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LogOptions {
    /// Only the last so many lines.
    pub tail: Option<u32>,
    /// Only lines at or after this: RFC 3339, or a duration back from now (`10m`).
    pub since: Option<String>,
    /// Only lines before this, written likewise.
    pub until: Option<String>,
    /// Only lines of this replica, counted from 0.
    pub replica: Option<u32>,
    /// Only lines of these outputs; empty means both.
    pub streams: Vec<LogStreamName>,
    /// Only lines that match this regular expression.
    pub grep: Option<String>,
    /// `grep` is plain text.
    pub fixed: bool,
    /// Only lines of the run before the present one.
    pub previous: bool,
}

/// How long the daemon waits by itself, with a margin.
const DAEMONS_OWN_WAIT: Duration = Duration::from_secs(310);

impl Wait {
    pub(crate) fn query(self, query: Query) -> Query {
        match self {
            Self::UntilDone => query,
            Self::Until(time) => query.with("timeout", Some(format!("{}ms", time.as_millis()))),
            Self::No => query.with("wait", Some(false)),
        }
    }

    pub(crate) fn patience(self) -> Duration {
        match self {
            Self::UntilDone => DAEMONS_OWN_WAIT,
            Self::Until(time) => time,
            Self::No => Duration::ZERO,
        }
    }
}

impl LogOptions {
    fn query(&self) -> Query {
        let streams: Vec<&str> = self.streams.iter().map(|stream| stream.as_str()).collect();
        Query::default()
            .with("tail", self.tail)
            .with("since", self.since.as_ref())
            .with("until", self.until.as_ref())
            .with("replica", self.replica)
            .with("stream", (!streams.is_empty()).then(|| streams.join(",")))
            .with("grep", self.grep.as_ref())
            .with("fixed", self.fixed.then_some(true))
            .with("previous", self.previous.then_some(true))
    }
}

pub(crate) fn group_path(group: &str, rest: &str) -> String {
    format!("/mcp/groups/{}{rest}", escape(group))
}

pub(crate) fn server_path(instance: &str, rest: &str) -> String {
    format!("/mcp/servers/{}{rest}", escape(instance))
}

const EVENT_STREAM: http::HeaderValue = http::HeaderValue::from_static("text/event-stream");

/// Each method fails with [`Error`]; what the daemon refuses is [`Error::Refused`].
impl Client {
    /// `GET /`: what can be asked.
    pub async fn get_index(&self) -> Result<IndexView, Error> {
        self.call(Method::GET, "/").data().await
    }

    /// `GET /health`: `OK`. Needs no token.
    pub async fn get_health(&self) -> Result<String, Error> {
        self.call(Method::GET, "/health").text().await
    }

    /// `GET /healthz`: the daemon is alive. Needs no token.
    pub async fn get_healthz(&self) -> Result<HealthView, Error> {
        self.call(Method::GET, "/healthz").data().await
    }

    /// `GET /readyz`: the daemon can do its work (503 when not). Needs no token.
    pub async fn get_readyz(&self) -> Result<ReadyView, Error> {
        self.call(Method::GET, "/readyz").data().await
    }

    /// `GET /openapi.json`: the OpenAPI document, as text.
    pub async fn get_openapi(&self) -> Result<String, Error> {
        self.call(Method::GET, "/openapi.json").text().await
    }

    /// `GET /docs`: the API for people, as a page.
    pub async fn get_docs(&self) -> Result<String, Error> {
        self.call(Method::GET, "/docs").text().await
    }

    /// `GET /docs/docs.js`: the page's program.
    pub async fn get_docs_script(&self) -> Result<String, Error> {
        self.call(Method::GET, "/docs/docs.js").text().await
    }

    /// `GET /docs/docs.css`: the page's looks.
    pub async fn get_docs_style(&self) -> Result<String, Error> {
        self.call(Method::GET, "/docs/docs.css").text().await
    }

    /// `GET /metrics`: in the Prometheus text format.
    pub async fn get_metrics(&self) -> Result<String, Error> {
        self.call(Method::GET, "/metrics").text().await
    }

    /// `GET /mcp/status`: everything, with totals.
    pub async fn get_status(&self) -> Result<StatusView, Error> {
        self.call(Method::GET, "/mcp/status").data().await
    }

    /// `GET /mcp/stats`: what servers use of the machine.
    pub async fn get_stats(&self) -> Result<StatsView, Error> {
        self.call(Method::GET, "/mcp/stats").data().await
    }

    /// `GET /events`: what happens from now on, or from after the event with the id `after`.
    pub async fn stream_events(&self, after: Option<&str>) -> Result<EventStream, Error> {
        let mut call = self.call(Method::GET, "/events");
        call.headers.insert(ACCEPT, EVENT_STREAM);
        if let Some(id) = after.and_then(|id| http::HeaderValue::from_str(id).ok()) {
            call.headers.insert(HeaderName::from_static("last-event-id"), id);
        }
        Ok(events(call.send().await?.into_body()))
    }

    /// The same with `follow=false`: what the daemon remembers, then the end.
    pub async fn list_events(&self) -> Result<EventStream, Error> {
        let mut call = self.call(Method::GET, "/events?follow=false");
        call.headers.insert(ACCEPT, EVENT_STREAM);
        Ok(events(call.send().await?.into_body()))
    }

    /// `GET /operations`: operations, the newest first.
    pub async fn list_operations(&self, which: &OperationQuery) -> Result<OperationList, Error> {
        let query = Query::default()
            .with("groupId", which.group.as_ref())
            .with("instanceName", which.instance.as_ref())
            .with("kind", which.kind)
            .with("state", which.state)
            .with("limit", which.limit);
        self.call(Method::GET, query.onto("/operations")).data().await
    }

    /// `GET /operations/{operationId}`: one operation, also of a group that is gone.
    pub async fn get_operation(&self, id: &str) -> Result<OperationView, Error> {
        self.call(Method::GET, format!("/operations/{}", escape(id))).data().await
    }

    /// `POST /mcp/groups`: deploys a group. `body` is a [`GroupRequest`](dtma_api_types::GroupRequest), or a
    /// document that a person wrote and that should be one: the daemon then lists every mistake.
    pub async fn deploy_group(
        &self,
        body: &impl Serialize,
        options: &Mutation,
    ) -> Result<GroupChangeView, Error> {
        let path = options.wait.query(Query::default()).onto("/mcp/groups");
        self.call(Method::POST, path)
            .json(body)?
            .patience(options.wait.patience())
            .key(options.key.as_deref())
            .data()
            .await
    }

    /// `POST /mcp/validate`: what would happen.
    pub async fn validate_group(&self, body: &impl Serialize) -> Result<ValidationView, Error> {
        self.call(Method::POST, "/mcp/validate").json(body)?.data().await
    }

    /// `GET /mcp/groups`: every group.
    pub async fn list_groups(&self) -> Result<GroupList, Error> {
        self.call(Method::GET, "/mcp/groups").data().await
    }

    /// `GET /mcp/groups/{groupId}`: one group.
    pub async fn get_group(&self, group: &str) -> Result<GroupView, Error> {
        self.call(Method::GET, group_path(group, "")).data().await
    }

    /// `DELETE /mcp/groups/{groupId}`: removes a group.
    pub async fn remove_group(&self, group: &str, options: &RemoveOptions) -> Result<RemovalView, Error> {
        let query = options
            .wait
            .query(Query::default())
            .with("forceRemove", options.force.then_some(true))
            .with("gracefulTimeoutMs", options.grace.map(|grace| grace.as_millis()))
            .with("volumes", options.volumes.then_some(true));
        let path = query.onto(&group_path(group, ""));
        self.call(Method::DELETE, path)
            .patience(options.wait.patience())
            .key(options.key.as_deref())
            .data()
            .await
    }

    /// `POST /mcp/groups/{groupId}/restart`: restarts every running server of a group.
    pub async fn restart_group(&self, group: &str, options: &Mutation) -> Result<GroupChangeView, Error> {
        let path = options.wait.query(Query::default()).onto(&group_path(group, "/restart"));
        self.call(Method::POST, path)
            .patience(options.wait.patience())
            .key(options.key.as_deref())
            .data()
            .await
    }

    /// `POST /mcp/servers/{instanceName}/restart`: restarts a server and resets its budget.
    pub async fn restart_server(
        &self,
        instance: &str,
        options: &Mutation,
    ) -> Result<ServerChangeView, Error> {
        self.change_server(instance, "/restart", options).await
    }

    /// `POST /mcp/servers/{instanceName}/start`: starts a stopped or failed server.
    pub async fn start_server(&self, instance: &str, options: &Mutation) -> Result<ServerChangeView, Error> {
        self.change_server(instance, "/start", options).await
    }

    /// `POST /mcp/servers/{instanceName}/stop`: stops a server until somebody starts it.
    pub async fn stop_server(&self, instance: &str, options: &Mutation) -> Result<ServerChangeView, Error> {
        self.change_server(instance, "/stop", options).await
    }

    async fn change_server(
        &self,
        instance: &str,
        verb: &str,
        options: &Mutation,
    ) -> Result<ServerChangeView, Error> {
        let path = options.wait.query(Query::default()).onto(&server_path(instance, verb));
        self.call(Method::POST, path)
            .patience(options.wait.patience())
            .key(options.key.as_deref())
            .data()
            .await
    }

    /// `GET /mcp/servers/{instanceName}/logs`: a part of a server's log.
    pub async fn get_logs(&self, instance: &str, options: &LogOptions) -> Result<LogView, Error> {
        let path = options.query().onto(&server_path(instance, "/logs"));
        self.call(Method::GET, path).data().await
    }

    /// The same with `follow=true`: goes on with new lines.
    pub async fn follow_logs(&self, instance: &str, options: &LogOptions) -> Result<LogLines, Error> {
        let path = options.query().with("follow", Some(true)).onto(&server_path(instance, "/logs"));
        let mut call = self.call(Method::GET, path);
        call.headers.insert(ACCEPT, EVENT_STREAM);
        Ok(log_lines(call.send().await?.into_body()))
    }

    /// `GET /mcp/templates`: the configuration templates.
    pub async fn list_templates(&self) -> Result<TemplateList, Error> {
        self.call(Method::GET, "/mcp/templates").data().await
    }

    /// `GET /mcp/templates/{name}`: one template, inheritance resolved.
    pub async fn get_template(&self, name: &str) -> Result<TemplateView, Error> {
        self.call(Method::GET, format!("/mcp/templates/{}", escape(name))).data().await
    }
}
