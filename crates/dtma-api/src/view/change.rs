//! Changes and generations of a group.

use super::group;
use dtma_api_types as wire;
use dtma_core::change::{ChangeKind, FieldChange, ServerChange, between};
use dtma_core::id::{Generation, GroupId};
use dtma_core::record::{Cause, Fate, Revision};
use dtma_manager::Applied;
use serde_json::Value;

pub(crate) fn applied(applied: &Applied) -> wire::ApplyView {
    wire::ApplyView {
        operation_id: applied.deployed.operation.to_string(),
        changed: applied.deployed.changed,
        changes: diffs(&applied.changes),
        group: group(&applied.deployed.status),
    }
}

pub(crate) fn diffs(changes: &[ServerChange]) -> Vec<wire::ServerDiff> {
    let diff = |change: &ServerChange| wire::ServerDiff {
        instance: change.instance.to_string(),
        action: action(change.kind),
        fields: change.fields.iter().map(field).collect(),
    };
    changes.iter().map(diff).collect()
}

fn action(kind: ChangeKind) -> wire::ChangeAction {
    match kind {
        ChangeKind::Create => wire::ChangeAction::Create,
        ChangeKind::Replace => wire::ChangeAction::Replace,
        ChangeKind::Restart => wire::ChangeAction::Restart,
        ChangeKind::Scale => wire::ChangeAction::Scale,
        ChangeKind::Update => wire::ChangeAction::Update,
        ChangeKind::Remove => wire::ChangeAction::Remove,
    }
}

fn field(change: &FieldChange) -> wire::FieldDiff {
    let (from, to) = (change.from.clone().map(readable), change.to.clone().map(readable));
    wire::FieldDiff { path: change.path.clone(), from, to }
}

/// A duration as people write it.
fn readable(value: Value) -> Value {
    let part = |name: &str| value.get(name).and_then(Value::as_u64);
    match (value.as_object().map(serde_json::Map::len), part("secs"), part("nanos")) {
        (Some(2), Some(secs), Some(nanos)) => {
            Value::String(format!("{} ms", secs * 1000 + nanos / 1_000_000))
        }
        _ => value,
    }
}

/// The generations of a group; each shows what it changed against the one before it.
pub(crate) fn history(group: &GroupId, revisions: &[Revision], current: Generation) -> wire::HistoryView {
    let before = |index: usize| index.checked_sub(1).map(|before| &revisions[before].spec);
    let view = |(index, revision): (usize, &Revision)| {
        let (fate, at, reason) = fate(&revision.fate);
        wire::RevisionView {
            generation: revision.generation.0,
            at: revision.at.to_string(),
            author: revision.author.clone(),
            cause: cause(&revision.cause),
            fate,
            fate_at: at,
            reason,
            current: revision.generation == current,
            changes: diffs(&between(before(index), &revision.spec)),
            spec: serde_json::to_value(&revision.spec).unwrap_or_default(),
        }
    };
    let generations = revisions.iter().enumerate().map(view).collect();
    wire::HistoryView { group_id: group.to_string(), generations }
}

fn cause(cause: &Cause) -> String {
    match cause {
        Cause::Deploy => "deploy".to_owned(),
        Cause::Apply => "apply".to_owned(),
        Cause::Scale { instance, replicas } => format!("scale {instance} to {replicas}"),
        Cause::Rollback { to } => format!("rollback to {to}"),
    }
}

fn fate(fate: &Fate) -> (wire::Fate, Option<String>, Option<String>) {
    match fate {
        Fate::Rolling => (wire::Fate::Rolling, None, None),
        Fate::Established { at } => (wire::Fate::Established, Some(at.to_string()), None),
        Fate::Failed { at, reason } => (wire::Fate::Failed, Some(at.to_string()), Some(reason.clone())),
        Fate::Superseded { at } => (wire::Fate::Superseded, Some(at.to_string()), None),
    }
}
