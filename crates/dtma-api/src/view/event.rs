//! Events.

use super::{group_state, operation_kind, phase};
use dtma_api_types as wire;
use dtma_manager::{Event, EventKind};

pub(crate) fn event(event: Event) -> wire::EventView {
    wire::EventView {
        seq: event.seq,
        at: event.at.to_string(),
        group_id: event.group.to_string(),
        instance_name: event.instance.map(|instance| instance.to_string()),
        kind: kind(event.kind),
    }
}

fn kind(kind: EventKind) -> wire::EventKind {
    match kind {
        EventKind::Phase(at) => wire::EventKind::Phase { phase: phase(&at), reason: at.reason() },
        EventKind::Group(state) => wire::EventKind::Group { state: group_state(state) },
        EventKind::Pull { received, total } => wire::EventKind::Pull { received, total },
        EventKind::Accepted { operation, kind, author } => wire::EventKind::Accepted {
            operation: operation.to_string(),
            action: operation_kind(kind),
            author,
        },
        EventKind::Finished { operation, kind, author, error } => {
            let (operation, action) = (operation.to_string(), operation_kind(kind));
            wire::EventKind::Finished { operation, action, author, error }
        }
        EventKind::Contract { differs, lines } => wire::EventKind::Contract { differs, lines },
        EventKind::Removed => wire::EventKind::Removed,
    }
}
