//! The audit log: who asked for a change, or was turned away, and how it ended.

use crate::server_request::words;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

words! {
    /// How a request that the audit log tells of ended.
    AuditOutcome {
        /// Done, or nothing was to be done.
        Done = "done",
        /// Accepted; the work went on after the answer (`wait=false`).
        Accepted = "accepted",
        /// Answered like the earlier request with the same `Idempotency-Key`; nothing was done again.
        Replayed = "replayed",
        /// Refused: something was wrong with the request, or stood in its way (4xx).
        Refused = "refused",
        /// Turned away at the door: no token, a wrong one, one that may not do this, or too often.
        Denied = "denied",
        /// It did not succeed, or not in time (5xx).
        Failed = "failed",
        /// The daemon was ended before it could answer; the operation tells what became of it.
        Interrupted = "interrupted",
    }
}

/// One request that changed something, or was turned away. Never a body, a value of the query, an environment or a
/// token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuditEntryView {
    /// Its number: later entries have higher ones. A number that is missing belongs to a line that says a request
    /// began, which is not shown.
    pub seq: u64,
    /// When it was answered.
    #[schema(format = DateTime)]
    pub at: String,
    /// Its request id.
    pub request_id: String,
    /// Who asked: the name of a token; `-` when nobody needs one. Absent when the token is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<String>,
    /// The address it came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<String>,
    /// What was asked: the `operationId` of the OpenAPI document; `egress` when a server asked to get out,
    /// `call` when an agent asked a server for something.
    pub action: String,
    /// The HTTP method; of a server that asked to get out `CONNECT` or `HTTP`; of a call that of MCP.
    pub method: String,
    /// The path without its query, at most 256 characters; of a server that asked to get out, host and port; of a
    /// call the name of its tool or prompt, or the address of its resource.
    pub path: String,
    /// The group, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group_id: Option<String>,
    /// The server, where it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance_name: Option<String>,
    /// The operation that came of it, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation_id: Option<String>,
    /// True when it bore an `Idempotency-Key`.
    pub idempotency_key: bool,
    /// True when it only asked what a change would mean (`dryRun=true`): nothing was changed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
    /// How it ended.
    pub outcome: AuditOutcome,
    /// The status of the answer; absent when there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The `code` of the answer, when it was a failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Milliseconds from the request to its answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
    /// So many requests were turned away before this one without a line of their own, because their addresses had
    /// had too many already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_out: Option<u64>,
    /// When a server asked to get out: what came of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub egress: Option<EgressView>,
    /// When an agent asked a server for something: how.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call: Option<CallView>,
}

/// What an agent asked an MCP server for. Which server, which method and about what stands beside it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CallView {
    /// The door it came by: `http`, `sse` or `websocket`.
    pub door: String,
    /// Bytes of the request.
    pub sent: u64,
    /// Bytes of the answer and of everything said before it.
    pub received: u64,
    /// Microseconds from the request to the end of its answer.
    pub micros: u64,
    /// The arguments as JSON, at most 4096 characters; only where the operator wants them written down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arguments: Option<String>,
}

/// What a server reached outside, or tried to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct EgressView {
    /// Which of the server's replicas.
    pub replica: u32,
    /// Why it was refused, or did not end in order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The address that it was connected to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Bytes to that address.
    pub sent: u64,
    /// Bytes from it.
    pub received: u64,
}

/// A part of the audit log, the newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuditList {
    /// The entries.
    pub entries: Vec<AuditEntryView>,
    /// There are older ones: ask again with this as `cursor`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<u64>,
}
