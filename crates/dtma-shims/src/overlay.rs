//! What a container shows, from what the engine says of its first process and the shim of the server. Pure.
//!
//! The first run since the container was started bears the engine's time of its start, so that somebody who knows only
//! the engine knows it by the same name; later runs bear the shim's.

use crate::launch;
use dtma_core::Timestamp;
use dtma_core::observation::{ContainerObservation, ContainerState};
use dtma_wire::{Child, Phase};

/// The engine's view, corrected. Without a word from the shim it stays as it is, and what runs in a container that may
/// have been given another process is in doubt.
pub(crate) fn overlay(mut seen: ContainerObservation, child: Option<&Child>) -> ContainerObservation {
    let Some(child) = child else {
        seen.in_doubt = seen.is_live() && seen.shape.is_some();
        return seen;
    };
    seen.state = state(seen.state, child);
    if let Some((generation, config)) = child.tag.as_deref().and_then(launch::told) {
        (seen.generation, seen.config_hash) = (generation, config);
    }
    seen
}

fn state(engine: ContainerState, child: &Child) -> ContainerState {
    match engine {
        ContainerState::Created | ContainerState::Dead => engine,
        // What the shim said in an earlier life of this container is no news of this one.
        ContainerState::Running { started_at }
        | ContainerState::Paused { started_at }
        | ContainerState::Exited { started_at, .. }
            if is_stale(started_at, child) =>
        {
            engine
        }
        ContainerState::Running { started_at } | ContainerState::Paused { started_at } => {
            inside(engine, started_at, child)
        }
        ContainerState::Exited { started_at, finished_at, code, oom } => match child.phase {
            Phase::Exited { .. } => inside(engine, started_at, child),
            Phase::Running { .. } => {
                ContainerState::Exited { started_at: begun(started_at, child), finished_at, code, oom }
            }
            Phase::Idle => engine,
            Phase::Failed { .. } => failed(started_at, child),
        },
    }
}

/// While the shim lives, what counts is the server.
fn inside(engine: ContainerState, container_started: Timestamp, child: &Child) -> ContainerState {
    let started_at = begun(container_started, child);
    match child.phase {
        Phase::Idle => ContainerState::Created,
        Phase::Running { .. } => match engine {
            ContainerState::Paused { .. } => ContainerState::Paused { started_at },
            _ => ContainerState::Running { started_at },
        },
        Phase::Exited { ended, code, oom, .. } => {
            let finished_at = time(ended).unwrap_or(started_at).max(started_at);
            ContainerState::Exited { started_at, finished_at, code: i64::from(code), oom }
        }
        Phase::Failed { .. } => failed(container_started, child),
    }
}

/// As with an engine that could not start a process: there was no run.
fn failed(container_started: Timestamp, child: &Child) -> ContainerState {
    match child.run {
        0 | 1 => ContainerState::Created,
        // The run before was noted when it ended.
        _ => ContainerState::Exited {
            started_at: container_started,
            finished_at: container_started,
            code: NOT_STARTED,
            oom: false,
        },
    }
}

/// As shells say of a command that is not there.
const NOT_STARTED: i64 = 127;

fn begun(container_started: Timestamp, child: &Child) -> Timestamp {
    let told = match child.phase {
        Phase::Running { started } | Phase::Exited { started, .. } => time(started),
        Phase::Idle | Phase::Failed { .. } => None,
    };
    match told {
        // Never before the container's own start, whatever the clocks say: runs have an order.
        Some(started) if child.run > 1 => started.max(container_started),
        _ => container_started,
    }
}

fn is_stale(container_started: Timestamp, child: &Child) -> bool {
    match child.phase {
        Phase::Running { started } | Phase::Exited { started, .. } => {
            time(started).is_some_and(|started| started < container_started)
        }
        Phase::Idle | Phase::Failed { .. } => false,
    }
}

/// A moment that the shim told.
pub(crate) fn time(microseconds: u64) -> Option<Timestamp> {
    Timestamp::from_microsecond(i64::try_from(microseconds).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use dtma_core::id::{Generation, SlotId};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn child(run: u32, phase: Phase) -> Child {
        Child { run, phase, oom_kills: 0, tag: None }
    }

    fn seen(state: ContainerState, shape: Option<&str>) -> ContainerObservation {
        ContainerObservation {
            id: "c".into(),
            name: "c".to_owned(),
            slot: SlotId { group: "g".parse().unwrap(), instance: "a".parse().unwrap(), replica: 0 },
            generation: Generation(1),
            config_hash: "made".into(),
            made_from: "made".into(),
            shape: shape.map(Into::into),
            in_doubt: false,
            image_id: "i".into(),
            state,
            joined: None,
            shim: true,
        }
    }

    #[test]
    fn what_runs_is_of_the_configuration_that_the_shim_says() {
        let (running, exited) = (
            ContainerState::Running { started_at: at(10) },
            ContainerState::Exited { started_at: at(10), finished_at: at(20), code: 0, oom: false },
        );
        let tagged =
            |tag: &str| Child { tag: Some(tag.to_owned()), ..child(2, Phase::Running { started: s(15) }) };
        for state in [running, exited] {
            let shown = overlay(seen(state, Some("s")), Some(&tagged("5 given")));
            assert_eq!((shown.generation, shown.config_hash), (Generation(5), "given".into()));
            assert_eq!((shown.made_from, shown.in_doubt), ("made".into(), false));
        }
        let of_old = overlay(seen(running, None), Some(&child(1, Phase::Running { started: s(11) })));
        assert_eq!((of_old.generation, of_old.config_hash), (Generation(1), "made".into()));
        let doubt = |state, shape| overlay(seen(state, shape), None).in_doubt;
        assert_eq!(
            [doubt(running, Some("s")), doubt(running, None), doubt(exited, Some("s"))],
            [true, false, false]
        );
    }

    const fn s(second: u64) -> u64 {
        second * 1_000_000
    }

    #[test]
    fn the_server_counts_while_the_shim_lives_and_the_engine_when_it_does_not() {
        let engine = ContainerState::Running { started_at: at(10) };
        let exited = |from, to, code| ContainerState::Exited {
            started_at: at(from),
            finished_at: at(to),
            code,
            oom: false,
        };
        let gone = exited(10, 90, 137);
        let ran =
            |started, ended, code| Phase::Exited { started: s(started), ended: s(ended), code, oom: false };
        let running = |since| Phase::Running { started: s(since) };
        let missing = Phase::Failed { errno: 2, text: "no such file".into() };
        for (engine, child, expected) in [
            (engine, child(0, Phase::Idle), ContainerState::Created),
            (engine, child(1, running(11)), engine),
            (engine, child(2, running(20)), ContainerState::Running { started_at: at(20) }),
            (engine, child(1, ran(11, 12, 3)), exited(10, 12, 3)),
            (engine, child(2, ran(20, 22, 4)), exited(20, 22, 4)),
            (engine, child(1, missing.clone()), ContainerState::Created),
            (gone, child(1, running(11)), gone),
            (gone, child(2, running(20)), exited(20, 90, 137)),
            (gone, child(2, ran(20, 22, 4)), exited(20, 22, 4)),
            (gone, child(5, ran(1, 2, 4)), gone),
            (engine, child(1, ran(1, 2, 143)), engine),
            (engine, child(1, running(1)), engine),
            (gone, child(0, Phase::Idle), gone),
            (
                ContainerState::Paused { started_at: at(10) },
                child(2, running(20)),
                ContainerState::Paused { started_at: at(20) },
            ),
            (ContainerState::Created, child(2, running(20)), ContainerState::Created),
        ] {
            assert_eq!(state(engine, &child), expected, "{engine:?} {child:?}");
        }
    }
}
