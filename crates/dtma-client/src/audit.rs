//! The audit log.

use crate::client::Client;
use crate::error::Error;
use crate::query::Query;
use dtma_api_types::{AuditList, AuditOutcome};
use http::Method;

/// Which entries of the audit log; what is absent fits all.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AuditQuery {
    /// Only at or after this: RFC 3339, or a duration back from now (`10m`).
    pub since: Option<String>,
    /// Only before this, written likewise.
    pub until: Option<String>,
    /// Only of the token with this name.
    pub actor: Option<String>,
    /// Only of this `operationId`.
    pub action: Option<String>,
    /// Only about this group.
    pub group: Option<String>,
    /// Only about this server.
    pub instance: Option<String>,
    /// Only those that ended so.
    pub outcome: Option<AuditOutcome>,
    /// At most so many (the daemon's own bound is 100, and 1000 at most).
    pub limit: Option<u32>,
    /// Only older ones: what an earlier answer gave as `next`.
    pub cursor: Option<u64>,
}

impl AuditQuery {
    fn query(&self) -> Query {
        Query::default()
            .with("since", self.since.as_ref())
            .with("until", self.until.as_ref())
            .with("actor", self.actor.as_ref())
            .with("action", self.action.as_ref())
            .with("group", self.group.as_ref())
            .with("instance", self.instance.as_ref())
            .with("outcome", self.outcome)
            .with("limit", self.limit)
            .with("cursor", self.cursor)
    }
}

impl Client {
    /// `GET /audit`: who changed what or was turned away, the newest first.
    ///
    /// # Errors
    /// [`Error`]; what the daemon refuses is [`Error::Refused`].
    pub async fn list_audit(&self, which: &AuditQuery) -> Result<AuditList, Error> {
        self.call(Method::GET, which.query().onto("/audit")).data().await
    }

    /// `GET /audit/egress`: what servers reached outside or were refused, the newest first. Neither actor nor action is
    /// known there.
    ///
    /// # Errors
    /// [`Error`]; what the daemon refuses is [`Error::Refused`].
    pub async fn list_egress(&self, which: &AuditQuery) -> Result<AuditList, Error> {
        self.call(Method::GET, which.query().onto("/audit/egress")).data().await
    }

    /// `GET /audit/calls`: what agents asked MCP servers for, the newest first. No action is known
    /// there; a group is that which was asked as one.
    ///
    /// # Errors
    /// [`Error`]; what the daemon refuses is [`Error::Refused`].
    pub async fn list_calls(&self, which: &AuditQuery) -> Result<AuditList, Error> {
        self.call(Method::GET, which.query().onto("/audit/calls")).data().await
    }
}
