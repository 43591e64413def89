//! What is seen of a group: its containers as the engine reports them, and what the daemon itself knows of them.

use crate::Timestamp;
use crate::id::{
    ConfigHash, ContainerId, Generation, ImageId, InstanceName, Member, NetworkId, ReplicaId, RunKey,
    ShapeHash, SlotId,
};
use crate::spec::NetworkMode;
use std::collections::{BTreeMap, BTreeSet};

/// One container as the engine reports it, with the identity its labels carry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerObservation {
    /// The engine's id.
    pub id: ContainerId,
    /// Its name, without the leading slash.
    pub name: String,
    /// The place it fills.
    pub slot: SlotId,
    /// The generation of [`config_hash`](Self::config_hash).
    pub generation: Generation,
    /// The configuration that its process was begun with; before there was any, the one it was made from.
    pub config_hash: ConfigHash,
    /// The configuration it was made from.
    pub made_from: ConfigHash,
    /// What of that a process of another configuration must share to run in it; `None`: none ever does.
    pub shape: Option<ShapeHash>,
    /// Its process was begun with a configuration of this shape, and nobody has said which yet.
    pub in_doubt: bool,
    /// The image it was made from.
    pub image_id: ImageId,
    /// What it does.
    pub state: ContainerState,
    /// It runs on this network of the group: that one cannot go before it.
    pub joined: Option<NetworkMode>,
    /// Its first process is the shim.
    pub shim: bool,
}

/// What a container does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContainerState {
    /// Made, never started.
    Created,
    /// Its process runs.
    Running {
        /// Since when.
        started_at: Timestamp,
    },
    /// Its process is frozen: at rest, or, where the history knows of none, by somebody else.
    Paused {
        /// Since when it runs.
        started_at: Timestamp,
    },
    /// Its process ended.
    Exited {
        /// When it began.
        started_at: Timestamp,
        /// When it ended.
        finished_at: Timestamp,
        /// Exit code; 128 + n after signal n.
        code: i64,
        /// Killed for want of memory.
        oom: bool,
    },
    /// Being removed, or half removed by an engine that failed at it.
    Dead,
}

impl ContainerObservation {
    /// The replica it is.
    #[must_use]
    pub fn replica(&self) -> ReplicaId {
        ReplicaId::new(self.slot.instance.clone(), self.slot.replica)
    }

    /// Which replica it is, made from which configuration.
    #[must_use]
    pub fn member(&self) -> Member {
        Member { replica: self.replica(), config: self.config_hash.clone() }
    }

    /// The run it shows, when its process was ever started.
    #[must_use]
    pub fn run(&self) -> Option<RunKey> {
        let started_at = match self.state {
            ContainerState::Running { started_at }
            | ContainerState::Paused { started_at }
            | ContainerState::Exited { started_at, .. } => started_at,
            ContainerState::Created | ContainerState::Dead => return None,
        };
        Some(RunKey { container: self.id.clone(), started_at })
    }

    /// True when this was certainly seen before `later`: looks that overlap may arrive in the wrong order, and a
    /// process that ended does not come back to life.
    #[must_use]
    pub fn is_older_than(&self, later: &Self) -> bool {
        let progress = |seen: &Self| {
            let ended = matches!(seen.state, ContainerState::Exited { .. } | ContainerState::Dead);
            (seen.run().map(|run| run.started_at), ended)
        };
        self.id == later.id && later.state != ContainerState::Dead && progress(self) < progress(later)
    }

    /// True while its process exists.
    #[must_use]
    pub fn is_live(&self) -> bool {
        match self.state {
            ContainerState::Running { .. } | ContainerState::Paused { .. } => true,
            ContainerState::Created | ContainerState::Exited { .. } | ContainerState::Dead => false,
        }
    }
}

/// A network of the group as seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkObservation {
    /// The engine's id.
    pub id: NetworkId,
    /// Its name.
    pub name: String,
    /// Which of the group's networks it is.
    pub mode: NetworkMode,
}

/// What the prober knows of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Readiness {
    /// It answered.
    Ready {
        /// Since when.
        since: Timestamp,
    },
    /// It did not yet, or not any more. Absent altogether for a run this daemon did not start and has not heard
    /// from yet: such a run is never ended for being late.
    NotReady {
        /// When this daemon began to ask.
        asked_since: Timestamp,
        /// What the last probe said.
        reason: String,
    },
}

/// Everything seen of one group at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Observation {
    /// Its containers, whatever their state.
    pub containers: Vec<ContainerObservation>,
    /// Its networks; more than one of a mode only after a lost reply.
    pub networks: Vec<NetworkObservation>,
    /// The engine's names of its volumes.
    pub volumes: BTreeSet<String>,
    /// What the prober knows, by run.
    pub readiness: BTreeMap<RunKey, Readiness>,
    /// What is being acted on right now; nothing else may be begun there.
    pub busy: BTreeSet<Subject>,
    /// Runs that were told to end because something else takes their place: whatever is wanted by now, they end, so
    /// nothing more may be given to them.
    pub ending: BTreeSet<RunKey>,
    /// Places for sessions with a process of their own, and for whom, by server: numbers from
    /// [`FIRST_PLACE`](crate::id::FIRST_PLACE) on. What stands in one that nobody asks for goes.
    pub asked: BTreeMap<InstanceName, BTreeMap<u32, Asker>>,
}

/// For whom a place is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Asker {
    /// A session, which has it for itself.
    Session,
    /// A session that is still to come: its process is kept ready, and frozen meanwhile.
    Spare,
}

/// What an action acts on. At most one action at a time is under way for each.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    /// The containers of one member of a server.
    Member(Member),
    /// The group's network.
    Network,
    /// The group's volumes.
    Volumes,
}

impl Observation {
    /// The places of a server that are asked for, and for whom.
    pub fn asked_of(&self, instance: &InstanceName) -> impl Iterator<Item = (ReplicaId, Asker)> + '_ {
        let numbers = self.asked.get_key_value(instance);
        numbers.into_iter().flat_map(|(instance, numbers)| {
            numbers.iter().map(|(number, asker)| (ReplicaId::new(instance.clone(), *number), *asker))
        })
    }

    /// For whom this place is asked, if it is.
    #[must_use]
    pub fn asker_of(&self, place: &ReplicaId) -> Option<Asker> {
        self.asked.get(&place.instance)?.get(&place.replica).copied()
    }

    /// The containers of one server.
    pub fn of<'a>(&'a self, instance: &InstanceName) -> impl Iterator<Item = &'a ContainerObservation> {
        self.containers.iter().filter(move |container| container.slot.instance == *instance)
    }

    /// The containers of one replica, old and new.
    pub fn at<'a>(&'a self, replica: &'a ReplicaId) -> impl Iterator<Item = &'a ContainerObservation> {
        self.of(&replica.instance).filter(move |seen| seen.slot.replica == replica.replica)
    }

    /// True when what runs in this container answered, as far as is known, and is to run on.
    #[must_use]
    pub fn is_ready(&self, container: &ContainerObservation) -> bool {
        let readiness = container.run().filter(|_| self.runs_on(container));
        readiness.is_some_and(|run| matches!(self.readiness_of(&run), Some(Readiness::Ready { .. })))
    }

    /// True while its process exists and was not told to end.
    #[must_use]
    pub fn runs_on(&self, container: &ContainerObservation) -> bool {
        container.is_live() && !container.run().is_some_and(|run| self.ending.contains(&run))
    }

    /// True while something is done to this server of which the outcome is not seen yet.
    #[must_use]
    pub fn is_busy(&self, instance: &InstanceName) -> bool {
        let concerns = |subject: &Subject| match subject {
            Subject::Member(member) => member.replica.instance == *instance,
            Subject::Network | Subject::Volumes => false,
        };
        self.busy.iter().any(concerns)
    }

    /// True while a container of the same replica that is made from something else may come, go or change its name
    /// unseen: that one may hold the plain name.
    #[must_use]
    pub fn is_busy_beside(&self, member: &Member) -> bool {
        let beside = |subject: &Subject| match subject {
            Subject::Member(other) => other.replica == member.replica && other.config != member.config,
            Subject::Network | Subject::Volumes => false,
        };
        self.busy.iter().any(beside)
    }

    /// What is known of this run.
    #[must_use]
    pub fn readiness_of(&self, run: &RunKey) -> Option<&Readiness> {
        self.readiness.get(run)
    }
}

#[cfg(test)]
pub(crate) mod testing {
    //! Short words for observations in tests.
    use super::*;

    pub(crate) fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }
    pub(crate) fn running(since: i64) -> ContainerState {
        ContainerState::Running { started_at: at(since) }
    }
    pub(crate) fn exited(from: i64, to: i64, code: i64) -> ContainerState {
        ContainerState::Exited { started_at: at(from), finished_at: at(to), code, oom: false }
    }
    pub(crate) fn container(id: &str, state: ContainerState) -> ContainerObservation {
        ContainerObservation {
            id: id.into(),
            name: id.to_owned(),
            slot: SlotId { group: "g".parse().unwrap(), instance: "a".parse().unwrap(), replica: 0 },
            generation: Generation(1),
            config_hash: "h".into(),
            made_from: "h".into(),
            shape: None,
            in_doubt: false,
            image_id: "i".into(),
            state,
            joined: None,
            shim: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::testing::{container, exited, running};
    use super::*;

    #[test]
    fn what_was_seen_before_is_told_from_what_was_seen_after() {
        let in_order = [
            ContainerState::Created,
            running(1),
            exited(1, 2, 0),
            running(3),
            ContainerState::Paused { started_at: testing::at(3) },
            exited(3, 4, 1),
        ];
        for (index, earlier) in in_order.iter().enumerate() {
            for later in &in_order[index..] {
                let (earlier, later) = (container("c", *earlier), container("c", *later));
                assert!(!later.is_older_than(&earlier), "{later:?} {earlier:?}");
            }
        }
        assert!(container("c", running(1)).is_older_than(&container("c", exited(1, 2, 0))));
        assert!(container("c", ContainerState::Created).is_older_than(&container("c", running(1))));
        assert!(!container("c", running(1)).is_older_than(&container("d", exited(1, 2, 0))));
    }

    #[test]
    fn who_is_beside_is_made_from_something_else_and_of_the_same_replica() {
        let member = |instance: &str, replica, config: &str| Member {
            replica: ReplicaId::new(instance.parse().unwrap(), replica),
            config: config.into(),
        };
        let me = member("a", 1, "new");
        let beside = |busy: Subject| {
            let observed = Observation { busy: BTreeSet::from([busy]), ..Observation::default() };
            observed.is_busy_beside(&me)
        };
        assert!(beside(Subject::Member(member("a", 1, "old"))));
        let elsewhere = [me.clone(), member("a", 0, "old"), member("b", 1, "old")].map(Subject::Member);
        for busy in elsewhere.into_iter().chain([Subject::Network, Subject::Volumes]) {
            assert!(!beside(busy.clone()), "{busy:?}");
        }
        let both = BTreeSet::from([me.clone(), member("a", 1, "old")].map(Subject::Member));
        assert!(Observation { busy: both, ..Observation::default() }.is_busy_beside(&me));
    }
}
