//! A line of the audit log as it stands in the file.

use dtma_api_types::{AuditEntryView, AuditOutcome};
use dtma_core::Timestamp;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// One line. The fields are those of [`AuditEntryView`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Record {
    pub(super) seq: u64,
    pub(super) at: Timestamp,
    pub(super) request_id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) actor: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) peer: Option<IpAddr>,
    pub(super) action: String,
    pub(super) method: String,
    pub(super) path: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) group_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) instance_name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) operation_id: Option<String>,
    #[serde(default)]
    pub(super) idempotency_key: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) dry_run: bool,
    /// None in a line that says that a change begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) outcome: Option<AuditOutcome>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) status: Option<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) code: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) duration_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) left_out: Option<u64>,
    /// The number of the line that said that this change begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) begun: Option<u64>,
}

impl Record {
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
        })
    }
}

#[cfg(test)]
pub(super) fn sample(action: &str) -> Record {
    Record {
        seq: 0,
        at: Timestamp::UNIX_EPOCH,
        request_id: "r".into(),
        actor: Some("ann".into()),
        peer: Some(IpAddr::from([127, 0, 0, 1])),
        action: action.into(),
        method: "POST".into(),
        path: "/mcp/groups".into(),
        group_id: Some("g".into()),
        instance_name: None,
        operation_id: None,
        idempotency_key: false,
        dry_run: false,
        outcome: None,
        status: None,
        code: None,
        duration_ms: None,
        left_out: None,
        begun: None,
    }
}
