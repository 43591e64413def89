//! The decision for a replica that was put to rest: frozen or ended as deep as it is to rest, left alone then, and woken
//! when somebody needs it. An update of a server wakes it: what stood serves while its successor is proved.

use super::server::stop;
use super::{Action, Context, Step, StopReason};
use crate::id::ReplicaId;
use crate::observation::{ContainerObservation, ContainerState};
use crate::phase::Phase;
use crate::record::{ServerRecord, Update};
use crate::rest::{Depth, Rest};

impl Context<'_> {
    /// What is to be done because this container was put to rest; `None`: it was not, or is as one that was not.
    pub(super) fn at_rest(
        &self,
        replica: &ReplicaId,
        record: &ServerRecord,
        container: &ContainerObservation,
    ) -> Option<Step> {
        let rest = self.history.of(replica).rest_in(&container.id)?;
        if self.is_spare(replica) && !container.is_live() {
            // It is of no use to the session that is to come.
            return None;
        }
        if self.is_woken(replica, rest) {
            let reason = Some("it is being woken".to_owned());
            let phase = Phase::Starting { run: container.run(), reason };
            return self.thaw(replica, container).map(|thaw| Step::act(thaw, phase));
        }
        let phase = Phase::Idle { depth: rest.depth, since: rest.since };
        Some(match self.deeper(record, container, rest.depth) {
            Some(action) => Step::act(action, phase),
            None => Step::rest(phase),
        })
    }

    /// What is left to do until it rests so deep. One whose process ended otherwise needs nothing: it is started when
    /// somebody needs it.
    fn deeper(
        &self,
        record: &ServerRecord,
        container: &ContainerObservation,
        depth: Depth,
    ) -> Option<Action> {
        let (member, id) = (container.member(), container.id.clone());
        match (container.state, depth) {
            (ContainerState::Running { .. }, Depth::Paused) => Some(Action::Pause { member, container: id }),
            (ContainerState::Running { .. } | ContainerState::Paused { .. }, Depth::Stopped) => {
                Some(stop(container, record.config.stop_grace, StopReason::Rest))
            }
            (ContainerState::Paused { .. }, Depth::Paused)
            | (ContainerState::Created | ContainerState::Exited { .. } | ContainerState::Dead, _) => None,
        }
    }

    /// Lets a container go on that was frozen for rest and is needed. What somebody else froze stays so.
    pub(super) fn thaw(&self, replica: &ReplicaId, container: &ContainerObservation) -> Option<Action> {
        let rest = self.history.of(replica).rest_in(&container.id)?;
        let frozen = matches!(container.state, ContainerState::Paused { .. });
        (frozen && self.is_woken(replica, rest))
            .then(|| Action::Unpause { member: container.member(), container: container.id.clone() })
    }

    /// True for what was put to rest and is not needed yet.
    pub(super) fn rests(&self, container: &ContainerObservation) -> bool {
        let replica = container.replica();
        self.history.of(&replica).rest_in(&container.id).is_some_and(|rest| !self.is_woken(&replica, rest))
    }

    fn is_woken(&self, replica: &ReplicaId, rest: &Rest) -> bool {
        let changed = |update: &Update| update.changes(self.desired, &replica.instance);
        rest.woken || self.desired.update().is_some_and(changed)
    }
}
