//! An engine and what the daemon remembers of it: what is planned is done here, where every call succeeds or fails at once.

use crate::group::name;
use dtma_core::Timestamp;
use dtma_core::graph::Graph;
use dtma_core::hash::shape;
use dtma_core::history::GroupHistory;
use dtma_core::id::{
    ConfigHash, ContainerId, Generation, ImageId, InstanceName, Member, ReplicaId, RunKey, SlotId,
};
use dtma_core::observation::{
    ContainerObservation, ContainerState, NetworkObservation, Observation, Readiness,
};
use dtma_core::plan::{Action, Plan, plan};
use dtma_core::record::{GroupGoal, GroupRecord, ServerRecord};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// The engine and the daemon's memory of it.
pub(crate) struct World {
    pub(crate) desired: GroupRecord,
    pub(crate) seen: Observation,
    pub(crate) history: GroupHistory,
    pub(crate) now: Timestamp,
    pub(crate) made: u64,
    /// Containers whose network is gone.
    pub(crate) stranded: BTreeSet<String>,
    /// What the processes of containers with a shim were begun with.
    pub(crate) begun: BTreeMap<ContainerId, ConfigHash>,
}

impl World {
    pub(crate) fn new(desired: GroupRecord) -> Self {
        let now = Timestamp::from_second(1_000_000).unwrap();
        let (seen, history) = (Observation::default(), GroupHistory::default());
        Self { desired, seen, history, now, made: 0, stranded: BTreeSet::new(), begun: BTreeMap::new() }
    }

    /// The same, where containers are begun by the shim.
    pub(crate) fn with_shims(mut desired: GroupRecord) -> Self {
        desired.servers.values_mut().for_each(|server| server.config.shim = true);
        Self::new(desired)
    }

    pub(crate) fn pass(&mut self) -> Plan {
        self.note();
        self.probe();
        plan(&self.desired, &self.seen, &self.history, self.now)
    }

    pub(crate) fn once(&self, instance: &InstanceName) -> bool {
        Graph::unchecked(&self.desired.spec.servers).runs_once(instance)
    }

    pub(crate) fn note(&mut self) {
        for seen in self.seen.containers.clone() {
            let instance = &seen.slot.instance;
            let asked = seen.run().is_some_and(|run| self.desired.asked_to_end(instance, &run));
            let once = self.once(instance) && self.desired.is_wanted(&seen);
            let history = self.history.of_mut(&seen.replica());
            history.note(&seen, asked, once);
            history.is_up_again(&seen);
        }
    }

    /// Everything that runs answers; what is to run once is done.
    pub(crate) fn probe(&mut self) {
        for index in 0..self.seen.containers.len() {
            let (instance, live) =
                (self.seen.containers[index].slot.instance.clone(), self.seen.containers[index].is_live());
            let runs = matches!(self.seen.containers[index].state, ContainerState::Running { .. });
            if runs && self.once(&instance) {
                self.exit(index, 0);
            } else if let Some(run) = self.seen.containers[index].run().filter(|_| live) {
                self.seen.readiness.entry(run).or_insert(Readiness::Ready { since: self.now });
            }
        }
        self.note();
    }

    pub(crate) fn exit(&mut self, index: usize, code: i64) {
        let Some(RunKey { started_at, .. }) = self.seen.containers[index].run() else { return };
        self.seen.containers[index].state =
            ContainerState::Exited { started_at, finished_at: self.now, code, oom: false };
    }

    pub(crate) fn tick(&mut self, by: Duration) {
        self.now = self.now.checked_add(by).unwrap();
    }

    pub(crate) fn find(&self, id: &ContainerId) -> usize {
        self.seen.containers.iter().position(|container| container.id == *id).expect("acts on what is there")
    }

    pub(crate) fn live(&self, instance: &InstanceName) -> usize {
        self.seen.of(instance).filter(|container| container.is_live()).count()
    }

    /// Does it, unless it fails; checks that it may be done now.
    pub(crate) fn act(&mut self, action: &Action, fails: bool) {
        self.check(action);
        if fails {
            let replica = match action {
                Action::Create { member } | Action::Start { member, .. } => member.replica.clone(),
                Action::Stop { .. }
                | Action::Pause { .. }
                | Action::Unpause { .. }
                | Action::Remove { .. }
                | Action::Rename { .. }
                | Action::EnsureNetwork { .. }
                | Action::RemoveNetwork { .. }
                | Action::RemoveVolume { .. } => return,
            };
            let now = self.now;
            self.history.of_mut(&replica).refuse(action.word(), "no".to_owned(), false, now);
            return;
        }
        match action {
            Action::EnsureNetwork { mode } => {
                let (id, name) = (mode.as_str().into(), mode.as_str().to_owned());
                assert!(self.seen.networks.iter().all(|network| network.id != id), "made twice");
                self.seen.networks.push(NetworkObservation { id, name, mode: *mode });
            }
            Action::RemoveNetwork { id } => self.seen.networks.retain(|network| network.id != *id),
            Action::Create { member } => self.create(&member.replica, &member.config),
            Action::Start { container, member, .. } => self.begin(container, member),
            Action::Stop { container, .. } => {
                let index = self.find(container);
                self.exit(index, 143);
            }
            Action::Pause { container, .. } => self.freeze(container, true),
            Action::Unpause { container, .. } => self.freeze(container, false),
            Action::Remove { container, .. } => {
                let index = self.find(container);
                self.seen.containers.remove(index);
            }
            Action::Rename { container, .. } => {
                let index = self.find(container);
                self.seen.containers[index].name = "plain".to_owned();
            }
            Action::RemoveVolume { name } => drop(self.seen.volumes.remove(name)),
        }
        self.tick(Duration::from_millis(1));
    }

    fn freeze(&mut self, container: &ContainerId, frozen: bool) {
        let index = self.find(container);
        let seen = &mut self.seen.containers[index];
        let started_at = seen.run().unwrap().started_at;
        seen.state = match frozen {
            true => ContainerState::Paused { started_at },
            false => ContainerState::Running { started_at },
        };
    }

    pub(crate) fn begin(&mut self, container: &ContainerId, member: &Member) {
        let (index, started_at) = (self.find(container), self.now);
        let seen = &mut self.seen.containers[index];
        seen.state = ContainerState::Running { started_at };
        if seen.shape.is_some() {
            (seen.config_hash, seen.in_doubt) = (member.config.clone(), false);
            self.begun.insert(container.clone(), member.config.clone());
        }
    }

    /// The server's record in which this configuration is known; an unknown one is as the wanted one is.
    pub(crate) fn record_of(&self, replica: &ReplicaId, config: &ConfigHash) -> &ServerRecord {
        let wanted = &self.desired.servers[&replica.instance];
        let before = self.desired.update().and_then(|update| update.from.servers.get(&replica.instance));
        let known = [Some(wanted), before].into_iter().flatten().find(|record| record.config_hash == *config);
        known.unwrap_or(wanted)
    }

    pub(crate) fn create(&mut self, replica: &ReplicaId, config: &ConfigHash) {
        self.made += 1;
        let slot = SlotId {
            group: "g".parse().unwrap(),
            instance: replica.instance.clone(),
            replica: replica.replica,
        };
        let alone = self.seen.at(replica).next().is_none();
        let shape = shape(&self.record_of(replica, config).config);
        self.seen.containers.push(ContainerObservation {
            id: format!("c{}", self.made).into(),
            name: if alone { "plain".to_owned() } else { format!("plain-{}", config.short()) },
            slot,
            generation: Generation(1),
            config_hash: config.clone(),
            made_from: config.clone(),
            in_doubt: false,
            shim: shape.is_some(),
            shape,
            image_id: ImageId::from("i"),
            state: ContainerState::Created,
            joined: None,
        });
    }

    pub(crate) fn members(&self, member: &Member) -> impl Iterator<Item = &ContainerObservation> {
        self.seen.containers.iter().filter(move |seen| seen.member() == *member)
    }

    /// Acts on every plan without faults until nothing is left to do.
    pub(crate) fn settle(&mut self) -> Plan {
        for _ in 0..500 {
            let plan = self.decide();
            let steady = self.desired.update().is_none() || self.desired.goal != GroupGoal::Run;
            if plan.actions.is_empty() && plan.wake_at.is_none() && steady {
                return self.pass();
            }
            let wake = plan.wake_at.unwrap_or(self.now);
            for action in &plan.actions {
                self.act(action, false);
            }
            if plan.actions.is_empty() {
                self.now = self.now.max(wake);
            }
        }
        panic!("no fixpoint within 500 passes: {:?}", self.pass());
    }

    /// Does what is planned, once.
    pub(crate) fn step(&mut self) -> Plan {
        let plan = self.pass();
        plan.actions.iter().for_each(|action| self.act(action, false));
        plan
    }

    pub(crate) fn serving(&mut self) -> Vec<String> {
        let serving = self.pass().serving.remove(&name(0)).unwrap_or_default();
        let hash = |id| self.seen.containers[self.find(id)].config_hash.to_string();
        serving.iter().map(hash).collect()
    }
}
