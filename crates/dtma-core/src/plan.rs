//! The decision: what is to be done for a group now, given what is wanted, seen and remembered.
//!
//! ```text
//!   GroupRecord (wanted) ─┐
//!   Observation (seen) ───┼─> plan() ─> Plan { actions that may begin now, a phase per server, when to look again }
//!   GroupHistory (past) ──┘
//! ```
//!
//! A plan holds only what may begin at this moment, all of it in parallel, at most one action per subject. Doing it
//! and planning again reaches the goal; at the goal the plan is empty. Guarantees, each a property test in
//! `tests/plan`: it converges under any sequence of failing actions, is empty at its fixpoint, never yields two
//! live containers of one configuration for one replica, leaves alone what rests, starts dependencies first and stops them last, and during an
//! update never ends what serves before what follows it is ready.
//!
//! The caller notes exits in the history (`ServerHistory::note`) before it asks; this function only reads it.

mod place;
mod removal;
mod rest;
mod rollout;
mod server;

pub use rollout::Progress;

use crate::Timestamp;
use crate::graph::Graph;
use crate::history::GroupHistory;
use crate::id::{ContainerId, InstanceName, Member, NetworkId, ReplicaId};
use crate::observation::{Asker, ContainerObservation, NetworkObservation, Observation, Subject};
use crate::phase::Phase;
use crate::record::{GroupGoal, GroupRecord, Removal, ServerGoal, ServerRecord};
use crate::spec::{NetworkMode, ServerSpec};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// What may begin now, in parallel.
    pub actions: Vec<Action>,
    /// Where each server of the spec is, its replicas taken together.
    pub phases: BTreeMap<InstanceName, Phase>,
    /// Where each replica is.
    pub replicas: BTreeMap<ReplicaId, Phase>,
    /// The containers that are to be given work now, by server; absent while none of a server's runs.
    pub serving: BTreeMap<InstanceName, Vec<ContainerId>>,
    /// How far the update under way is.
    pub progress: Progress,
    /// When to plan again if nothing is heard before.
    pub wake_at: Option<Timestamp>,
    /// The group was to be removed and nothing of it is left: the record may be forgotten.
    pub gone: bool,
}

/// One call (or a few) to the engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Make a network of the group.
    EnsureNetwork {
        /// Which of them.
        mode: NetworkMode,
    },
    /// Remove a network of the group.
    RemoveNetwork {
        /// Which.
        id: NetworkId,
    },
    /// Fetch the image, make the volumes, make the container.
    Create {
        /// Which.
        member: Member,
    },
    /// Start the container's process.
    Start {
        /// Of which member.
        member: Member,
        /// Which container.
        container: ContainerId,
        /// Whose container it is so far, when another member's process is begun in it.
        instead_of: Option<Member>,
    },
    /// End the container's process.
    Stop {
        /// Of which member.
        member: Member,
        /// Which container.
        container: ContainerId,
        /// Between SIGTERM and SIGKILL.
        grace: Duration,
        /// Why.
        reason: StopReason,
    },
    /// Freeze what runs in the container: nobody needs it.
    Pause {
        /// Of which member.
        member: Member,
        /// Which container.
        container: ContainerId,
    },
    /// Let it go on.
    Unpause {
        /// Of which member.
        member: Member,
        /// Which container.
        container: ContainerId,
    },
    /// Remove the container.
    Remove {
        /// Of which member.
        member: Member,
        /// Which container.
        container: ContainerId,
    },
    /// Give the container its replica's plain name: the one that bore it is gone.
    Rename {
        /// Of which member.
        member: Member,
        /// Which container.
        container: ContainerId,
    },
    /// Remove a volume and what is on it.
    RemoveVolume {
        /// The engine's name.
        name: String,
    },
}

/// Why a process is ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopReason {
    /// A person stopped the server.
    Asked,
    /// A person restarts the server.
    Restart,
    /// The group is removed.
    Removal,
    /// It is not the container that is wanted.
    Surplus,
    /// Its successor serves, or it is to make room for it: what it has begun may be finished first.
    Replaced {
        /// How long that may take.
        drain: Duration,
    },
    /// Another process takes its place in the same container: what it has begun may be finished first.
    Renewed {
        /// How long that may take.
        drain: Duration,
    },
    /// It did not become ready in time.
    StartTimeout,
    /// Nobody needs it.
    Rest,
}

impl Action {
    /// Everything it acts on. A container that is given another member's process is of both until that is seen.
    pub fn subjects(&self) -> impl Iterator<Item = Subject> + use<> {
        let before = match self {
            Self::Start { instead_of, .. } => instead_of.clone(),
            Self::EnsureNetwork { .. }
            | Self::RemoveNetwork { .. }
            | Self::Create { .. }
            | Self::Stop { .. }
            | Self::Pause { .. }
            | Self::Unpause { .. }
            | Self::Remove { .. }
            | Self::Rename { .. }
            | Self::RemoveVolume { .. } => None,
        };
        std::iter::once(self.subject()).chain(before.map(Subject::Member))
    }

    /// What it acts on; at most one action is under way for each subject.
    #[must_use]
    pub fn subject(&self) -> Subject {
        match self {
            Self::EnsureNetwork { .. } | Self::RemoveNetwork { .. } => Subject::Network,
            Self::Create { member }
            | Self::Start { member, .. }
            | Self::Stop { member, .. }
            | Self::Pause { member, .. }
            | Self::Unpause { member, .. }
            | Self::Remove { member, .. }
            | Self::Rename { member, .. } => Subject::Member(member.clone()),
            Self::RemoveVolume { .. } => Subject::Volumes,
        }
    }

    /// True for what may be done to a container whoever runs in it.
    fn is_of_whatever_runs(&self) -> bool {
        match self {
            Self::Stop { reason, .. } => matches!(reason, StopReason::Restart | StopReason::Rest),
            other => matches!(other, Self::Pause { .. } | Self::Unpause { .. }),
        }
    }

    /// One word for logs and messages.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::EnsureNetwork { .. } => "create network",
            Self::RemoveNetwork { .. } => "remove network",
            Self::Create { .. } => "create",
            Self::Start { .. } => "start",
            Self::Stop { .. } => "stop",
            Self::Pause { .. } => "pause",
            Self::Unpause { .. } => "unpause",
            Self::Remove { .. } => "remove",
            Self::Rename { .. } => "rename",
            Self::RemoveVolume { .. } => "remove volume",
        }
    }
}

/// Decides what is to be done for a group. Pure: the same arguments give the same plan.
#[must_use]
pub fn plan(desired: &GroupRecord, observed: &Observation, history: &GroupHistory, now: Timestamp) -> Plan {
    let graph = Graph::unchecked(&desired.spec.servers);
    let context = Context { desired, observed, history, graph, now };
    let mut plan = match &desired.goal {
        GroupGoal::Run => context.run(),
        GroupGoal::Remove(how) => context.remove(how),
    };
    keep_one_per_subject(&mut plan.actions, &observed.busy);
    plan
}

/// Everything a decision may look at.
struct Context<'a> {
    desired: &'a GroupRecord,
    observed: &'a Observation,
    history: &'a GroupHistory,
    graph: Graph<'a>,
    now: Timestamp,
}

impl Context<'_> {
    fn run(&self) -> Plan {
        let mut plan = Plan::default();
        let stranded = self.stranded();
        plan.actions.extend(stranded.iter().map(|seen| self.discard(seen)));
        let missing = NetworkMode::JOINED.into_iter().filter(|mode| self.lacks(*mode));
        let missing = missing.filter(|_| stranded.is_empty()).filter(|mode| self.needs(*mode));
        plan.actions.extend(missing.map(|mode| Action::EnsureNetwork { mode }));
        plan.actions.extend(self.idle_networks());
        for (spec, record) in self.servers() {
            for replica in spec.places() {
                let step = self.replica(&replica, record);
                plan.take(replica, step);
            }
        }
        // What a session's own process does is that session's affair.
        plan.phases = together(&plan.replicas);
        self.add_places(&mut plan);
        plan.serving = self.serving();
        self.see_update_through(&mut plan);
        plan
    }

    fn servers(&self) -> impl Iterator<Item = (&ServerSpec, &ServerRecord)> {
        let known = self.desired.spec.servers.iter();
        known.filter_map(|spec| Some((spec, self.desired.servers.get(&spec.instance)?)))
    }

    /// What is to be done for sessions with a process of their own.
    fn add_places(&self, plan: &mut Plan) {
        for (spec, record) in self.servers().filter(|(spec, _)| spec.count() == 0) {
            let still = record.goal == ServerGoal::Stop;
            let phase = if still { Phase::Stopped } else { Phase::OnDemand };
            plan.phases.insert(spec.instance.clone(), phase);
        }
        let proved = self.proved(plan);
        for (spec, record) in self.servers() {
            for place in self.asked(spec, Asker::Session) {
                let step = self.place(&place, record, proved);
                if record.goal == ServerGoal::Stop && step.phase == Phase::Stopping {
                    plan.phases.insert(spec.instance.clone(), Phase::Stopping);
                }
                plan.take(place, step);
            }
        }
        let may_begin = proved && !self.sessions_come_up(plan);
        for (spec, record) in self.servers() {
            for place in self.asked(spec, Asker::Spare) {
                let step = self.spare(&place, record, proved, may_begin);
                plan.take(place, step);
            }
        }
    }

    fn remove(&self, how: &Removal) -> Plan {
        let mut plan = Plan::default();
        for instance in self.desired.servers.keys() {
            plan.phases.insert(instance.clone(), Phase::Removing);
            plan.actions.extend(self.server_removal(instance, how));
        }
        plan.actions.extend(self.leavers().map(|leaver| self.discard(leaver)));
        if self.observed.containers.is_empty() && self.observed.busy.is_empty() {
            plan.actions.extend(self.leftovers(how));
            plan.gone = plan.actions.is_empty();
        }
        plan
    }

    /// Networks that no server of this or the former generation joins, once no container can be on them.
    fn idle_networks(&self) -> Vec<Action> {
        let wanted = |mode| self.desired.servers.values().any(|record| record.config.network == mode);
        let joined = |mode| self.observed.containers.iter().any(|seen| seen.joined == Some(mode));
        let idle = |network: &&NetworkObservation| !wanted(network.mode) && !joined(network.mode);
        let may_go = self.desired.update().is_none();
        let networks = self.observed.networks.iter().filter(|_| may_go).filter(idle);
        networks.map(|network| Action::RemoveNetwork { id: network.id.clone() }).collect()
    }

    /// Containers that stand still and were made for a network that is gone (somebody pruned it): they can never be
    /// started again, not even on another network of that name.
    fn stranded(&self) -> Vec<&ContainerObservation> {
        let before = self.desired.update().map(|update| &update.from.servers);
        let joined_one_that_is_gone = |seen: &&ContainerObservation| {
            let records = [Some(&self.desired.servers), before].into_iter().flatten();
            let mut made_from = records.filter_map(|servers| servers.get(&seen.slot.instance));
            made_from.any(|made| {
                self.lacks(made.config.network) && (made.config_hash == seen.config_hash || made.fits(seen))
            })
        };
        let still = self.observed.containers.iter().filter(|seen| !seen.is_live());
        still.filter(joined_one_that_is_gone).collect()
    }

    /// True for a network of the group that is not there.
    fn lacks(&self, mode: NetworkMode) -> bool {
        NetworkMode::JOINED.contains(&mode)
            && self.observed.networks.iter().all(|network| network.mode != mode)
    }

    fn needs(&self, mode: NetworkMode) -> bool {
        let wants = |record: &ServerRecord| record.goal == ServerGoal::Run && record.config.network == mode;
        self.desired.servers.values().any(wants)
    }

    /// Containers that bear the group's label and stand in a place that the spec does not know.
    fn leavers(&self) -> impl Iterator<Item = &ContainerObservation> {
        self.observed.containers.iter().filter(|seen| !self.has_place(&seen.replica()))
    }

    fn has_place(&self, replica: &ReplicaId) -> bool {
        self.is_own(replica) || self.is_asked(replica)
    }

    /// A replica that the spec has.
    fn is_own(&self, replica: &ReplicaId) -> bool {
        let spec = self.desired.spec.server(&replica.instance);
        spec.is_some_and(|spec| replica.replica < spec.count())
    }
}

impl Plan {
    fn take(&mut self, replica: ReplicaId, step: Step) {
        self.actions.extend(step.actions);
        self.wake_at = earliest(self.wake_at, step.wake_at);
        self.replicas.insert(replica, step.phase);
    }
}

/// What is decided for one replica.
struct Step {
    actions: Vec<Action>,
    phase: Phase,
    wake_at: Option<Timestamp>,
}

/// The phases of servers from those of their replicas.
fn together(replicas: &BTreeMap<ReplicaId, Phase>) -> BTreeMap<InstanceName, Phase> {
    let mut servers: BTreeMap<InstanceName, Vec<Phase>> = BTreeMap::new();
    for (replica, phase) in replicas {
        servers.entry(replica.instance.clone()).or_default().push(phase.clone());
    }
    servers.into_iter().filter_map(|(instance, phases)| Some((instance, Phase::of_all(phases)?))).collect()
}

/// Drops actions on what is being acted on already, and all but the first on the same subject.
fn keep_one_per_subject(actions: &mut Vec<Action>, busy: &BTreeSet<Subject>) {
    let mut taken = busy.clone();
    actions.retain(|action| {
        let free = action.subjects().all(|subject| !taken.contains(&subject));
        if free {
            taken.extend(action.subjects());
        }
        free
    });
}

fn earliest(a: Option<Timestamp>, b: Option<Timestamp>) -> Option<Timestamp> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (one, other) => one.or(other),
    }
}
