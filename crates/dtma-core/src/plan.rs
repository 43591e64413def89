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
//! `tests/plan.rs`: it converges under any sequence of failing actions, is empty at its fixpoint, never yields two
//! live containers for one slot, starts dependencies first and stops them last.
//!
//! The caller notes exits in the history (`ServerHistory::note`) before it asks; this function only reads it.

mod removal;
mod server;

use crate::Timestamp;
use crate::graph::Graph;
use crate::history::GroupHistory;
use crate::id::{ContainerId, InstanceName, NetworkId};
use crate::observation::{Observation, Subject};
use crate::phase::Phase;
use crate::record::{GroupGoal, GroupRecord, Removal, ServerGoal};
use crate::spec::NetworkMode;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// What may begin now, in parallel.
    pub actions: Vec<Action>,
    /// Where each server of the spec is.
    pub phases: BTreeMap<InstanceName, Phase>,
    /// When to plan again if nothing is heard before.
    pub wake_at: Option<Timestamp>,
    /// The group was to be removed and nothing of it is left: the record may be forgotten.
    pub gone: bool,
}

/// One call (or a few) to the engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Make the group's network.
    EnsureNetwork,
    /// Remove a network of the group.
    RemoveNetwork {
        /// Which.
        id: NetworkId,
    },
    /// Fetch the image, make the volumes, make the container.
    Create {
        /// For which server.
        instance: InstanceName,
    },
    /// Start the container's process.
    Start {
        /// Of which server.
        instance: InstanceName,
        /// Which container.
        container: ContainerId,
    },
    /// End the container's process.
    Stop {
        /// Of which server.
        instance: InstanceName,
        /// Which container.
        container: ContainerId,
        /// Between SIGTERM and SIGKILL.
        grace: Duration,
        /// Why.
        reason: StopReason,
    },
    /// Remove the container.
    Remove {
        /// Of which server.
        instance: InstanceName,
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
    /// It did not become ready in time.
    StartTimeout,
}

impl Action {
    /// What it acts on; at most one action is under way for each subject.
    #[must_use]
    pub fn subject(&self) -> Subject {
        match self {
            Self::EnsureNetwork | Self::RemoveNetwork { .. } => Subject::Network,
            Self::Create { instance }
            | Self::Start { instance, .. }
            | Self::Stop { instance, .. }
            | Self::Remove { instance, .. } => Subject::Server(instance.clone()),
            Self::RemoveVolume { .. } => Subject::Volumes,
        }
    }

    /// One word for logs and messages.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::EnsureNetwork => "create network",
            Self::RemoveNetwork { .. } => "remove network",
            Self::Create { .. } => "create",
            Self::Start { .. } => "start",
            Self::Stop { .. } => "stop",
            Self::Remove { .. } => "remove",
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
        if self.needs_network() && self.observed.networks.is_empty() {
            plan.actions.push(Action::EnsureNetwork);
        }
        for (instance, record) in &self.desired.servers {
            let step = self.server(instance, record);
            plan.actions.extend(step.action);
            plan.wake_at = earliest(plan.wake_at, step.wake_at);
            plan.phases.insert(instance.clone(), step.phase);
        }
        plan.actions.extend(self.strangers());
        plan
    }

    fn remove(&self, how: &Removal) -> Plan {
        let mut plan = Plan::default();
        for instance in self.desired.servers.keys() {
            plan.phases.insert(instance.clone(), Phase::Removing);
            plan.actions.extend(self.server_removal(instance, how));
        }
        plan.actions.extend(self.strangers());
        if self.observed.containers.is_empty() && self.observed.busy.is_empty() {
            plan.actions.extend(self.leftovers(how));
            plan.gone = plan.actions.is_empty();
        }
        plan
    }

    /// True while something is done to this server of which the outcome is not seen yet.
    fn is_busy(&self, instance: &InstanceName) -> bool {
        self.observed.busy.contains(&Subject::Server(instance.clone()))
    }

    fn needs_network(&self) -> bool {
        let wants = |record: &crate::record::ServerRecord| {
            record.goal == ServerGoal::Run && record.config.network == NetworkMode::Group
        };
        self.desired.servers.values().any(wants)
    }

    /// Containers that bear the group's label and a name the spec does not know.
    fn strangers(&self) -> Vec<Action> {
        let unknown = |instance: &InstanceName| !self.desired.servers.contains_key(instance);
        let strangers = self.observed.containers.iter().filter(|seen| unknown(&seen.slot.instance));
        strangers.map(server::discard).collect()
    }
}

/// What is decided for one server.
struct Step {
    action: Option<Action>,
    phase: Phase,
    wake_at: Option<Timestamp>,
}

/// Drops actions on what is being acted on already, and all but the first on the same subject.
fn keep_one_per_subject(actions: &mut Vec<Action>, busy: &BTreeSet<Subject>) {
    let mut taken = busy.clone();
    actions.retain(|action| taken.insert(action.subject()));
}

fn earliest(a: Option<Timestamp>, b: Option<Timestamp>) -> Option<Timestamp> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (one, other) => one.or(other),
    }
}
