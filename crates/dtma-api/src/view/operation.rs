//! Operations.

use dtma_api_types as wire;
use dtma_core::record::{Operation, OperationKind, Outcome};
use dtma_manager::OperationState;

pub(crate) fn operation(operation: &Operation) -> wire::OperationView {
    let (finished_at, error) = match &operation.outcome {
        None => (None, None),
        Some(Outcome::Done { at }) => (Some(at.to_string()), None),
        Some(Outcome::Failed { at, message }) => (Some(at.to_string()), Some(message.clone())),
    };
    wire::OperationView {
        id: operation.id.to_string(),
        kind: operation_kind(operation.kind),
        group_id: operation.group.to_string(),
        instance_name: operation.instance.as_ref().map(ToString::to_string),
        author: operation.author.clone(),
        accepted_at: operation.accepted_at.to_string(),
        finished_at,
        state: operation_state(OperationState::of(operation)),
        error,
    }
}

fn operation_state(state: OperationState) -> wire::OperationState {
    match state {
        OperationState::Running => wire::OperationState::Running,
        OperationState::Done => wire::OperationState::Done,
        OperationState::Failed => wire::OperationState::Failed,
    }
}

pub(crate) fn operation_state_of(state: wire::OperationState) -> OperationState {
    match state {
        wire::OperationState::Running => OperationState::Running,
        wire::OperationState::Done => OperationState::Done,
        wire::OperationState::Failed => OperationState::Failed,
    }
}

pub(crate) fn operation_kind(kind: OperationKind) -> wire::OperationKind {
    match kind {
        OperationKind::Deploy => wire::OperationKind::Deploy,
        OperationKind::Remove => wire::OperationKind::Remove,
        OperationKind::Restart => wire::OperationKind::Restart,
        OperationKind::Start => wire::OperationKind::Start,
        OperationKind::Stop => wire::OperationKind::Stop,
        OperationKind::Apply => wire::OperationKind::Apply,
        OperationKind::Scale => wire::OperationKind::Scale,
        OperationKind::Rollback => wire::OperationKind::Rollback,
    }
}

pub(crate) fn operation_kind_of(kind: wire::OperationKind) -> OperationKind {
    match kind {
        wire::OperationKind::Deploy => OperationKind::Deploy,
        wire::OperationKind::Remove => OperationKind::Remove,
        wire::OperationKind::Restart => OperationKind::Restart,
        wire::OperationKind::Start => OperationKind::Start,
        wire::OperationKind::Stop => OperationKind::Stop,
        wire::OperationKind::Apply => OperationKind::Apply,
        wire::OperationKind::Scale => OperationKind::Scale,
        wire::OperationKind::Rollback => OperationKind::Rollback,
    }
}
