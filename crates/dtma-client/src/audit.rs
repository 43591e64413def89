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

impl Client {
    /// `GET /audit`: who changed what or was turned away, the newest first.
    ///
    /// # Errors
    /// [`Error`]; what the daemon refuses is [`Error::Refused`].
    pub async fn list_audit(&self, which: &AuditQuery) -> Result<AuditList, Error> {
        let query = Query::default()
            .with("since", which.since.as_ref())
            .with("until", which.until.as_ref())
            .with("actor", which.actor.as_ref())
            .with("action", which.action.as_ref())
            .with("group", which.group.as_ref())
            .with("instance", which.instance.as_ref())
            .with("outcome", which.outcome)
            .with("limit", which.limit)
            .with("cursor", which.cursor);
        self.call(Method::GET, query.onto("/audit")).data().await
    }
}
