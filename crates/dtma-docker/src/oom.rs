//! Who was killed for want of memory. Under an init as PID 1 the engine's inspection does not always say so (20.10: its
//! `OOMKilled` depends on which of two events comes first), but its `oom` event does; so that is kept.

use dtma_core::id::ContainerId;
use dtma_core::observation::{ContainerObservation, ContainerState};
use dtma_core::port::runtime::ContainerChange;
use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

/// 128 and SIGKILL: how an init ends whose child the kernel killed.
const KILLED: i64 = 137;
/// Containers remembered; past that the memory is cleared, and what is forgotten is called killed.
const MOST: usize = 4096;

/// The containers of which an `oom` was heard during their last run.
#[derive(Debug, Default)]
pub(crate) struct Ooms(Mutex<BTreeSet<ContainerId>>);

impl Ooms {
    pub(crate) fn note(&self, id: &ContainerId, change: ContainerChange) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match change {
            ContainerChange::OutOfMemory => {
                if known.len() >= MOST {
                    known.clear();
                }
                known.insert(id.clone());
            }
            ContainerChange::Started | ContainerChange::Destroyed => {
                known.remove(id);
            }
            ContainerChange::Died | ContainerChange::Other => {}
        }
    }

    /// Adds what was heard to what is seen. A process that lived on without its killed child, and ended by itself, was
    /// not killed.
    pub(crate) fn complete(&self, mut seen: ContainerObservation) -> ContainerObservation {
        if let ContainerState::Exited { code: KILLED, oom, .. } = &mut seen.state {
            *oom |= self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(&seen.id);
        }
        seen
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dtma_core::Timestamp;
    use dtma_core::id::Generation;
    use dtma_testing::sample;

    fn ended(code: i64) -> ContainerObservation {
        let at = Timestamp::UNIX_EPOCH;
        ContainerObservation {
            id: "ab12".into(),
            name: String::new(),
            slot: sample::slot("g", "a"),
            generation: Generation(1),
            config_hash: "h".into(),
            made_from: "h".into(),
            shape: None,
            in_doubt: false,
            image_id: "i".into(),
            state: ContainerState::Exited { started_at: at, finished_at: at, code, oom: false },
            joined: None,
            shim: false,
        }
    }

    #[track_caller]
    fn check(heard: &[ContainerChange], code: i64, expected: bool) {
        let ooms = Ooms::default();
        heard.iter().for_each(|change| ooms.note(&"ab12".into(), *change));
        let state = ooms.complete(ended(code)).state;
        assert!(
            matches!(state, ContainerState::Exited { oom, .. } if oom == expected),
            "{heard:?}: {state:?}"
        );
    }

    #[test]
    fn only_a_run_that_was_killed_after_an_oom_ended_for_want_of_memory() {
        use ContainerChange::{Died, OutOfMemory, Started};
        check(&[Started, OutOfMemory, Died], KILLED, true);
        check(&[Started, Died], KILLED, false);
        check(&[Started, OutOfMemory, Died], 0, false);
        check(&[Started, OutOfMemory, Died, Started, Died], KILLED, false);
    }
}
