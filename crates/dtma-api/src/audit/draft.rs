//! What a request brings into the audit log, and what its answer adds.

use super::record::Record;
use crate::answer::{Failure, OPERATION_ID};
use crate::app::App;
use crate::mutation::{IDEMPOTENCY_KEY, REPLAYED};
use crate::observe::RequestId;
use crate::serve::Peer;
use axum::extract::{FromRequestParts, Query, RawPathParams, Request};
use axum::response::Response;
use dtma_api_types::AuditOutcome;
use dtma_core::Timestamp;
use dtma_core::id::OperationId;
use dtma_core::record::Operation;
use http::request::Parts;
use http::{StatusCode, Uri};
use serde::Deserialize;
use std::net::{IpAddr, Ipv4Addr};

/// The longest text that is taken from a request, in characters.
const LONGEST: usize = 256;

/// What is known of a request before anything is done.
#[derive(Debug)]
pub(crate) struct Draft {
    request_id: String,
    actor: Option<String>,
    /// Where no connection is (a test without one), everybody is the same.
    pub(crate) peer: IpAddr,
    action: &'static str,
    method: String,
    path: String,
    group: Option<String>,
    instance: Option<String>,
    has_key: bool,
    dry_run: bool,
}

/// What of a query says that nothing is to be done.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Dry {
    dry_run: Option<String>,
}

impl Draft {
    /// Of a request for the operation `action`, and the request back.
    pub(crate) async fn of(request: Request, action: &'static str, actor: Option<&str>) -> (Self, Request) {
        let (mut parts, body) = request.into_parts();
        let (group, instance) = subject(&mut parts).await;
        let draft = Self {
            request_id: parts.extensions.get::<RequestId>().map_or_else(String::new, |id| id.0.clone()),
            actor: actor.map(clean),
            peer: parts.extensions.get::<Peer>().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.0),
            action,
            method: parts.method.as_str().to_owned(),
            path: clean(parts.uri.path()),
            group,
            instance,
            has_key: parts.headers.contains_key(IDEMPOTENCY_KEY),
            dry_run: is_dry_run(&parts.uri),
        };
        (draft, Request::from_parts(parts, body))
    }

    pub(super) fn record(self, now: Timestamp) -> Record {
        Record {
            request_id: self.request_id,
            actor: self.actor,
            peer: Some(self.peer),
            group_id: self.group,
            instance_name: self.instance,
            idempotency_key: self.has_key,
            dry_run: self.dry_run,
            ..Record::new(now, self.action, self.method, self.path)
        }
    }
}

/// Whatever else the query says: what of it is wrong is refused.
fn is_dry_run(uri: &Uri) -> bool {
    let query = Query::<Dry>::try_from_uri(uri);
    query.is_ok_and(|Query(dry)| dry.dry_run.is_some_and(|dry| dry == "true"))
}

/// Which group and which server the path names.
async fn subject(parts: &mut Parts) -> (Option<String>, Option<String>) {
    let (mut group, mut instance) = (None, None);
    let of_groups = parts.uri.path().starts_with("/container-groups/");
    if let Ok(parameters) = RawPathParams::from_request_parts(parts, &()).await {
        for (name, value) in &parameters {
            match name {
                "groupId" => group = Some(clean(value)),
                "id" if of_groups => group = Some(clean(value)),
                "instanceName" | "name" | "id" => instance = Some(clean(value)),
                _ => {}
            }
        }
    }
    (group, instance)
}

/// Without what a terminal would obey, and not too long.
pub(crate) fn clean(text: &str) -> String {
    let harmless = |letter: char| if letter.is_control() { char::REPLACEMENT_CHARACTER } else { letter };
    text.chars().take(LONGEST).map(harmless).collect()
}

/// What an answer says about how a change ended.
pub(crate) struct Ended {
    outcome: AuditOutcome,
    status: StatusCode,
    code: Option<String>,
    operation: Option<Operation>,
}

impl Ended {
    pub(crate) fn of(app: &App, response: &Response) -> Self {
        let id = response.headers().get(OPERATION_ID).and_then(|id| id.to_str().ok()).map(OperationId::from);
        Self {
            outcome: outcome(response.status(), response.headers().contains_key(REPLAYED)),
            status: response.status(),
            code: response.extensions().get::<Failure>().map(|failure| failure.code().to_owned()),
            operation: id.and_then(|id| app.manager().operation(&id)),
        }
    }

    pub(crate) fn add_to(self, record: &mut Record) {
        record.outcome = Some(self.outcome);
        record.status = Some(self.status.as_u16());
        record.code = self.code;
        if let Some(operation) = self.operation {
            record.operation_id = Some(operation.id.to_string());
            record.group_id = Some(operation.group.to_string());
            if let Some(instance) = operation.instance {
                record.instance_name = Some(instance.to_string());
            }
        }
    }
}

fn outcome(status: StatusCode, is_replayed: bool) -> AuditOutcome {
    match status.as_u16() {
        _ if is_replayed => AuditOutcome::Replayed,
        202 => AuditOutcome::Accepted,
        ..400 => AuditOutcome::Done,
        400..500 => AuditOutcome::Refused,
        500.. => AuditOutcome::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_does_not_get_in() {
        assert_eq!(clean("a\u{1b}[2J\n\u{9b}\u{7f}b"), "a\u{fffd}[2J\u{fffd}\u{fffd}\u{fffd}b");
        assert_eq!(clean(&"x".repeat(1000)).len(), LONGEST);
    }

    #[test]
    fn a_dry_run_is_known_by_its_query() {
        for (uri, expected) in [
            ("/x?wait=false&dryRun=true", true),
            ("/x?dry%52un=%74rue", true),
            ("/x?dryRun=false", false),
            ("/x?dryrun=true", false),
            ("/x", false),
        ] {
            assert_eq!(is_dry_run(&uri.parse().unwrap()), expected, "{uri}");
        }
    }

    #[test]
    fn how_it_ended_is_read_from_the_answer() {
        for (status, replayed, expected) in [
            (200, false, AuditOutcome::Done),
            (201, true, AuditOutcome::Replayed),
            (202, false, AuditOutcome::Accepted),
            (422, false, AuditOutcome::Refused),
            (504, false, AuditOutcome::Failed),
        ] {
            assert_eq!(outcome(StatusCode::from_u16(status).unwrap(), replayed), expected, "{status}");
        }
    }
}
