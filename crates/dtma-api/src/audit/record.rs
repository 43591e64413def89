//! A line of the audit log as it stands in the file.

use dtma_api_types::{AuditEntryView, AuditOutcome, CallView, EgressView};
use dtma_core::Timestamp;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// One line. The fields are those of [`AuditEntryView`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Record {
    pub(crate) seq: u64,
    pub(crate) at: Timestamp,
    pub(crate) request_id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) actor: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) peer: Option<IpAddr>,
    pub(crate) action: String,
    pub(crate) method: String,
    pub(crate) path: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) group_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) instance_name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) operation_id: Option<String>,
    #[serde(default)]
    pub(crate) idempotency_key: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) dry_run: bool,
    /// None in a line that says that a change begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) outcome: Option<AuditOutcome>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) status: Option<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) code: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) duration_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) left_out: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) egress: Option<EgressView>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) call: Option<CallView>,
    /// The number of the line that said that this change begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) begun: Option<u64>,
}

impl Record {
    /// What was asked for and when; the rest is not known, and its number is given when it is written.
    pub(crate) fn new(at: Timestamp, action: &str, method: String, path: String) -> Self {
        Self {
            seq: 0,
            at,
            request_id: String::new(),
            actor: None,
            peer: None,
            action: action.to_owned(),
            method,
            path,
            group_id: None,
            instance_name: None,
            operation_id: None,
            idempotency_key: false,
            dry_run: false,
            outcome: None,
            status: None,
            code: None,
            duration_ms: None,
            left_out: None,
            egress: None,
            call: None,
            begun: None,
        }
    }

    pub(super) fn read(line: &[u8]) -> Option<Self> {
        serde_json::from_slice(line).ok()
    }

    /// What is said of a change that a daemon before this one did not end.
    pub(super) fn interrupted(self, now: Timestamp) -> Self {
        Self { begun: Some(self.seq), at: now, outcome: Some(AuditOutcome::Interrupted), ..self }
    }

    /// As it is shown; nothing for a line that says that a change begins.
    pub(super) fn view(self) -> Option<AuditEntryView> {
        Some(AuditEntryView {
            seq: self.seq,
            at: self.at.to_string(),
            request_id: self.request_id,
            actor: self.actor,
            peer: self.peer.map(|peer| peer.to_string()),
            action: self.action,
            method: self.method,
            path: self.path,
            group_id: self.group_id,
            instance_name: self.instance_name,
            operation_id: self.operation_id,
            idempotency_key: self.idempotency_key,
            dry_run: self.dry_run,
            outcome: self.outcome?,
            status: self.status,
            code: self.code,
            duration_ms: self.duration_ms,
            left_out: self.left_out,
            egress: self.egress,
            call: self.call,
        })
    }
}

#[cfg(test)]
pub(super) fn sample(action: &str) -> Record {
    Record {
        request_id: "r".into(),
        actor: Some("ann".into()),
        peer: Some(IpAddr::from([127, 0, 0, 1])),
        group_id: Some("g".into()),
        ..Record::new(Timestamp::UNIX_EPOCH, action, "POST".into(), "/mcp/groups".into())
    }
}
