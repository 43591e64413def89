//! Who changed what.

use super::logs::moment;
use super::table;
use crate::answer::{Answer, ok};
use crate::app::App;
use crate::audit::{AuditLog, Filter};
use crate::error::ApiError;
use crate::query::Asked;
use axum::extract::State;
use dtma_api_types::{AuditList, AuditOutcome, Envelope};
use serde::Deserialize;
use utoipa::IntoParams;

/// Entries given when nobody says how many.
const DEFAULT_LIMIT: usize = 100;
/// The most of one answer.
const MOST: usize = 1000;

/// Which entries.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct AuditQuery {
    /// Only at or after this: RFC 3339, or a duration back from now (`10m`).
    since: Option<String>,
    /// Only before this, written likewise.
    until: Option<String>,
    /// Only of the token with this name.
    actor: Option<String>,
    /// Only of this `operationId`.
    #[param(example = "deployGroup")]
    action: Option<String>,
    /// Only about this group.
    group: Option<String>,
    /// Only about this server.
    instance: Option<String>,
    /// Only those that ended so.
    outcome: Option<AuditOutcome>,
    /// At most so many (default 100, at most 1000).
    limit: Option<usize>,
    /// Only older ones: what an earlier answer gave as `next`.
    cursor: Option<u64>,
}

/// Which requests of servers to get out.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct EgressQuery {
    /// Only at or after this: RFC 3339, or a duration back from now (`10m`).
    since: Option<String>,
    /// Only before this, written likewise.
    until: Option<String>,
    /// Only of this group.
    group: Option<String>,
    /// Only of this server.
    instance: Option<String>,
    /// Only those that ended so.
    outcome: Option<AuditOutcome>,
    /// At most so many (default 100, at most 1000).
    limit: Option<usize>,
    /// Only older ones: what an earlier answer gave as `next`.
    cursor: Option<u64>,
}

/// Which calls of agents.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct CallsQuery {
    /// Only at or after this: RFC 3339, or a duration back from now (`10m`).
    since: Option<String>,
    /// Only before this, written likewise.
    until: Option<String>,
    /// Only of the token with this name.
    actor: Option<String>,
    /// Only those that asked all of this group as one.
    group: Option<String>,
    /// Only to this server.
    instance: Option<String>,
    /// Only those that ended so.
    outcome: Option<AuditOutcome>,
    /// At most so many (default 100, at most 1000).
    limit: Option<usize>,
    /// Only older ones: what an earlier answer gave as `next`.
    cursor: Option<u64>,
}

impl From<CallsQuery> for AuditQuery {
    fn from(query: CallsQuery) -> Self {
        let CallsQuery { since, until, actor, group, instance, outcome, limit, cursor } = query;
        Self { since, until, actor, action: None, group, instance, outcome, limit, cursor }
    }
}

impl From<EgressQuery> for AuditQuery {
    fn from(query: EgressQuery) -> Self {
        let EgressQuery { since, until, group, instance, outcome, limit, cursor } = query;
        Self { since, until, actor: None, action: None, group, instance, outcome, limit, cursor }
    }
}

impl AuditQuery {
    async fn look(self, app: &App, log: &AuditLog) -> Answer {
        let limit = match self.limit.unwrap_or(DEFAULT_LIMIT) {
            limit @ 1..=MOST => limit,
            limit => return Err(ApiError::Query(format!("limit: {limit} is not between 1 and {MOST}"))),
        };
        let found = log.search(app, self.filter(app)?, limit).await?;
        let list = AuditList { entries: found.entries, next: found.next };
        ok(format!("{} entries", list.entries.len()), list)
    }

    fn filter(self, app: &App) -> Result<Filter, ApiError> {
        let at = |text: Option<String>| text.map(|text| moment(&text, app.now())).transpose();
        if let Some(action) = &self.action
            && !table().iter().any(|route| route.operation == action)
        {
            return Err(ApiError::Query(format!("action: there is no operation {action:?}")));
        }
        Ok(Filter {
            since: at(self.since)?,
            until: at(self.until)?,
            actor: self.actor,
            action: self.action,
            group: self.group,
            instance: self.instance,
            outcome: self.outcome,
            before: self.cursor.map(cursor).transpose()?,
        })
    }
}

/// The document says `int64`.
fn cursor(value: u64) -> Result<u64, ApiError> {
    match i64::try_from(value) {
        Ok(_) => Ok(value),
        Err(_) => Err(ApiError::Query(format!("cursor: {value} is larger than {}", i64::MAX))),
    }
}

/// Read the audit log
///
/// Every change that was asked for, and everybody who was turned away, the newest first, as far back as the log
/// reaches. There is never a body, an environment or a token in it.
#[utoipa::path(get, path = "/audit", operation_id = "listAudit", tag = "daemon",
    params(AuditQuery),
    responses((status = 200, description = "Entries, the newest first", body = Envelope<AuditList>)))]
pub(crate) async fn list_audit(State(app): State<App>, Asked(query): Asked<AuditQuery>) -> Answer {
    query.look(&app, app.audit()).await
}

/// Read what servers reached outside
///
/// Every host that a server asked the daemon's proxy for, by `egress` of its spec, the newest first: what was let
/// through, when it ended, with the bytes each way, and what was refused, with the reason.
#[utoipa::path(get, path = "/audit/egress", operation_id = "listEgress", tag = "daemon",
    params(EgressQuery),
    responses((status = 200, description = "Entries, the newest first", body = Envelope<AuditList>)))]
pub(crate) async fn list_egress(State(app): State<App>, Asked(query): Asked<EgressQuery>) -> Answer {
    AuditQuery::from(query).look(&app, app.egress()).await
}

/// Read what agents asked MCP servers for
///
/// Every request through the gateway, the newest first: who asked which server for what, how long it took, how it ended
/// and how many bytes it had. `code` says why one did not succeed: `rpc_error_CODE`, `tool_error` (the tool said so),
/// `client_left`. What was asked and answered is not in it.
#[utoipa::path(get, path = "/audit/calls", operation_id = "listCalls", tag = "daemon",
    params(CallsQuery),
    responses((status = 200, description = "Entries, the newest first", body = Envelope<AuditList>)))]
pub(crate) async fn list_calls(State(app): State<App>, Asked(query): Asked<CallsQuery>) -> Answer {
    AuditQuery::from(query).look(&app, app.calls().log()).await
}
