//! From the domain to the wire: what the manager reports, as callers read it.

mod change;
mod connection;
mod event;
mod operation;
mod server;

pub(crate) use change::{applied, diffs, history};
pub(crate) use connection::connection;
pub(crate) use event::event;
pub(crate) use operation::{operation, operation_kind, operation_kind_of, operation_state_of};
pub(crate) use server::{server, transport};

use dtma_api_types as wire;
use dtma_core::log::OriginLine;
use dtma_core::phase::Phase;
use dtma_core::port::runtime::OutputStream;
use dtma_manager::{Deployed, GroupState, GroupStatus, Removed};

pub(crate) fn group(status: &GroupStatus) -> wire::GroupView {
    wire::GroupView {
        group_id: status.group_id.to_string(),
        generation: status.generation.0,
        state: group_state(status.state),
        servers: status.servers.iter().map(|one| server(&status.group_id, one)).collect(),
        network: status.network.clone(),
        labels: status.labels.clone(),
        operation: status.operation.as_ref().map(ToString::to_string),
        trouble: status.trouble.clone(),
        created_at: status.created_at.to_string(),
        updated_at: status.updated_at.to_string(),
    }
}

pub(crate) fn group_state(state: GroupState) -> wire::GroupState {
    match state {
        GroupState::Deploying => wire::GroupState::Deploying,
        GroupState::Updating => wire::GroupState::Updating,
        GroupState::Ready => wire::GroupState::Ready,
        GroupState::Degraded => wire::GroupState::Degraded,
        GroupState::Failed => wire::GroupState::Failed,
        GroupState::Removing => wire::GroupState::Removing,
    }
}

pub(crate) fn group_change(deployed: &Deployed) -> wire::GroupChangeView {
    wire::GroupChangeView {
        operation_id: deployed.operation.to_string(),
        changed: deployed.changed,
        group: group(&deployed.status),
    }
}

pub(crate) fn removal(removed: &Removed) -> wire::RemovalView {
    wire::RemovalView { operation_id: removed.operation.to_string(), gone: removed.gone }
}

pub(crate) fn log_line(OriginLine { origin, line }: OriginLine) -> wire::LogLineView {
    wire::LogLineView {
        at: line.at.to_string(),
        stream: stream_name(line.stream),
        replica: origin.replica,
        generation: origin.generation.0,
        text: line.text,
    }
}

pub(crate) fn stream_name(stream: OutputStream) -> wire::LogStreamName {
    match stream {
        OutputStream::Stdout => wire::LogStreamName::Stdout,
        OutputStream::Stderr => wire::LogStreamName::Stderr,
    }
}

pub(crate) fn phase(phase: &Phase) -> wire::PhaseWord {
    match phase {
        Phase::Creating => wire::PhaseWord::Creating,
        Phase::Waiting { .. } => wire::PhaseWord::Waiting,
        Phase::Starting { .. } => wire::PhaseWord::Starting,
        Phase::OnDemand => wire::PhaseWord::OnDemand,
        Phase::Ready { .. } => wire::PhaseWord::Ready,
        Phase::Idle { .. } => wire::PhaseWord::Idle,
        Phase::Updating { .. } => wire::PhaseWord::Updating,
        Phase::Backoff { .. } => wire::PhaseWord::Backoff,
        Phase::Completed { .. } => wire::PhaseWord::Completed,
        Phase::Stopping => wire::PhaseWord::Stopping,
        Phase::Stopped => wire::PhaseWord::Stopped,
        Phase::Failed { .. } => wire::PhaseWord::Failed,
        Phase::Removing => wire::PhaseWord::Removing,
    }
}

pub(crate) fn group_totals<'a>(groups: impl Iterator<Item = &'a GroupStatus>) -> wire::GroupTotals {
    let mut totals = wire::GroupTotals::default();
    for group in groups {
        totals.total += 1;
        let count = match group.state {
            GroupState::Deploying => &mut totals.deploying,
            GroupState::Updating => &mut totals.updating,
            GroupState::Ready => &mut totals.ready,
            GroupState::Degraded => &mut totals.degraded,
            GroupState::Failed => &mut totals.failed,
            GroupState::Removing => &mut totals.removing,
        };
        *count += 1;
    }
    totals
}

pub(crate) fn server_totals<'a>(phases: impl Iterator<Item = &'a Phase>) -> wire::ServerTotals {
    let mut totals = wire::ServerTotals::default();
    for phase in phases {
        totals.total += 1;
        let count = match phase {
            Phase::Creating => &mut totals.creating,
            Phase::Waiting { .. } => &mut totals.waiting,
            Phase::Starting { .. } => &mut totals.starting,
            Phase::OnDemand => &mut totals.on_demand,
            Phase::Ready { .. } => &mut totals.ready,
            Phase::Idle { .. } => &mut totals.idle,
            Phase::Updating { .. } => &mut totals.updating,
            Phase::Backoff { .. } => &mut totals.backoff,
            Phase::Completed { .. } => &mut totals.completed,
            Phase::Stopping => &mut totals.stopping,
            Phase::Stopped => &mut totals.stopped,
            Phase::Failed { .. } => &mut totals.failed,
            Phase::Removing => &mut totals.removing,
        };
        *count += 1;
    }
    totals
}
