//! Replicas, where a server has several: `web/1`; and what sessions have for themselves, or are to have: `web/1000`.

use super::short_id;
use crate::output::ink::{Ink, Mood};
use crate::output::table::{Field, field, number, number_if, word};
use crate::output::text::line;
use dtma_client::types::{PhaseWord, PlaceRole, ReplicaView, ServerView};

/// The replicas of a server that has, or is to have, more than one, its sessions' own containers, and those kept ready.
pub(super) fn told_apart(server: &ServerView) -> &[ReplicaView] {
    let any_own = server.replica_status.iter().any(|one| one.role.is_some());
    let several = server.replicas > 1 || server.replica_status.len() > 1 || any_own;
    if several { &server.replica_status } else { &[] }
}

/// A spare that is frozen needs no explanation.
pub(super) fn waits_as_it_should(one: &ReplicaView) -> bool {
    one.role == Some(PlaceRole::Spare) && one.phase == PhaseWord::Idle
}

/// `web/1`.
pub(super) fn name(server: &ServerView, one: &ReplicaView) -> String {
    format!("{}/{}", server.instance_name, one.replica)
}

/// Its row below the server's.
pub(super) fn narrow(server: &ServerView, one: &ReplicaView) -> Vec<Field> {
    vec![
        field(line(&server.group_id)),
        field(line(&name(server, one))),
        field(one.role.map_or(server.kind.as_str(), PlaceRole::as_str)),
        word(one.phase),
        number_if(None),
        field(""),
        number_if(None),
        field(""),
    ]
}

/// The further columns of that row.
pub(super) fn wide(one: &ReplicaView) -> Vec<Field> {
    vec![
        number(one.restarts),
        field(""),
        field(container(one)),
        number_if(one.generation),
        field(one.reason.as_deref().map(line).unwrap_or_default()),
    ]
}

fn container(one: &ReplicaView) -> String {
    one.container.as_ref().map(|container| short_id(&container.id)).unwrap_or_default()
}

/// `2 of 3 ready`, how many sessions have a container, and how many are kept ready; nothing where there is one replica
/// alone.
pub(super) fn summary(server: &ServerView) -> String {
    let replicas = told_apart(server);
    if replicas.is_empty() {
        return String::new();
    }
    let (own, replicas): (Vec<_>, Vec<_>) = replicas.iter().partition(|one| one.role.is_some());
    let ready = replicas.iter().filter(|one| one.phase == PhaseWord::Ready).count();
    let sessions = own.iter().filter(|one| one.role == Some(PlaceRole::Session)).count();
    let sessions = if sessions == 0 { String::new() } else { format!(", {sessions} of sessions") };
    let spares = server.spares.map(|spares| format!(", {} of {} spares ready", spares.ready, spares.wanted));
    format!("{ready} of {} ready{sessions}{}", server.replicas, spares.unwrap_or_default())
}

/// Everything about it in a line.
pub(super) fn detail(one: &ReplicaView, ink: Ink) -> String {
    let phase = ink.paint(Mood::from(one.phase), one.phase.as_str());
    let generation = one.generation.map(|generation| format!(", generation {generation}"));
    let container = match container(one) {
        none if none.is_empty() => none,
        id => format!(", container {id}"),
    };
    let reason = one.reason.as_deref().map(|reason| format!(": {}", line(reason)));
    let (generation, reason) = (generation.unwrap_or_default(), reason.unwrap_or_default());
    let role = match one.role {
        None => "",
        Some(PlaceRole::Session) => ", of a session",
        Some(PlaceRole::Spare) => ", a spare",
    };
    format!("{phase}{role}{generation}{container}, {} restarts{reason}", one.restarts)
}
