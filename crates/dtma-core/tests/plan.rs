//! Properties of the plan, over a small world in which every call may fail, every reply may be lost, and processes
//! die when they like.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failing property must say where"
)]

use dtma_core::Timestamp;
use dtma_core::container::{ContainerConfig, Isolation, Limits, LogDriver};
use dtma_core::graph::Graph;
use dtma_core::hash::shape;
use dtma_core::history::GroupHistory;
use dtma_core::id::{
    ConfigHash, ContainerId, Generation, ImageId, ImageRef, InstanceName, Member, ReplicaId, RunKey, SlotId,
    is_provisional,
};
use dtma_core::observation::{
    ContainerObservation, ContainerState, NetworkObservation, Observation, Readiness,
};
use dtma_core::phase::Phase;
use dtma_core::plan::{Action, Plan, Progress, StopReason, plan};
use dtma_core::record::{GroupGoal, GroupRecord, Removal, Rollout, ServerGoal, ServerRecord, Update};
use dtma_core::restart::RestartPolicy;
use dtma_core::spec::{
    Condition, Dependency, GroupOptions, GroupSpec, NetworkMode, PullPolicy, ServerKind, ServerSpec,
    UpdateOrder,
};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

fn name(index: usize) -> InstanceName {
    format!("s{index}").parse().unwrap()
}

fn config(network: NetworkMode) -> ContainerConfig {
    ContainerConfig {
        image: ImageRef::from("i"),
        platform: None,
        pull: PullPolicy::Never,
        command: None,
        args: None,
        environment: BTreeMap::new(),
        labels: BTreeMap::new(),
        mounts: Vec::new(),
        network,
        limits: Limits {
            memory: 1,
            cpu_millis: 1,
            pids: 1,
            nofile_soft: 1,
            nofile_hard: 1,
            oom_score_adj: 0,
        },
        isolation: Isolation { read_only_root: true, cap_drop: vec![], no_new_privileges: true, init: true },
        open_stdin: false,
        log: LogDriver::None,
        stop_grace: Duration::from_secs(1),
        shim: false,
        egress: Vec::new(),
        connects: Vec::new(),
    }
}

/// A group of `edges.len()` servers; server n depends on the lower-numbered ones its bits name.
fn group(edges: &[(u8, Condition)], networked: bool) -> GroupRecord {
    let network = if networked { NetworkMode::Group } else { NetworkMode::None };
    let servers: Vec<ServerSpec> = edges.iter().enumerate().map(|(n, edge)| server(n, *edge)).collect();
    let record = |_: &ServerSpec| ServerRecord {
        config: config(network),
        config_hash: "wanted".into(),
        generation: Generation(1),
        goal: ServerGoal::Run,
        restart: BTreeSet::new(),
    };
    GroupRecord {
        servers: servers.iter().map(|server| (server.instance.clone(), record(server))).collect(),
        spec: GroupSpec {
            group_id: "g".parse().unwrap(),
            servers,
            options: GroupOptions::default(),
            labels: BTreeMap::new(),
        },
        generation: Generation(1),
        goal: GroupGoal::Run,
        rollout: Rollout::Established,
        created_at: Timestamp::UNIX_EPOCH,
        updated_at: Timestamp::UNIX_EPOCH,
    }
}

fn server(index: usize, (bits, condition): (u8, Condition)) -> ServerSpec {
    let mut spec = ServerSpec::new(name(index), ServerKind::Tool, "i".into());
    spec.restart = RestartPolicy { attempts: 1000, ..RestartPolicy::default() };
    spec.depends_on = (0..index)
        .filter(|other| bits & (1 << other) != 0)
        .map(|other| Dependency { instance: name(other), condition, connect: None })
        .collect();
    spec
}

/// The engine and the daemon's memory of it.
struct World {
    desired: GroupRecord,
    seen: Observation,
    history: GroupHistory,
    now: Timestamp,
    made: u64,
    /// Containers whose network is gone.
    stranded: BTreeSet<String>,
    /// What the processes of containers with a shim were begun with.
    begun: BTreeMap<ContainerId, ConfigHash>,
}

impl World {
    fn new(desired: GroupRecord) -> Self {
        let now = Timestamp::from_second(1_000_000).unwrap();
        let (seen, history) = (Observation::default(), GroupHistory::default());
        Self { desired, seen, history, now, made: 0, stranded: BTreeSet::new(), begun: BTreeMap::new() }
    }

    /// The same, where containers are begun by the shim.
    fn with_shims(mut desired: GroupRecord) -> Self {
        desired.servers.values_mut().for_each(|server| server.config.shim = true);
        Self::new(desired)
    }

    fn pass(&mut self) -> Plan {
        self.note();
        self.probe();
        plan(&self.desired, &self.seen, &self.history, self.now)
    }

    fn once(&self, instance: &InstanceName) -> bool {
        Graph::unchecked(&self.desired.spec.servers).runs_once(instance)
    }

    fn note(&mut self) {
        for seen in self.seen.containers.clone() {
            let instance = &seen.slot.instance;
            let asked = seen.run().is_some_and(|run| self.desired.asked_to_end(instance, &run));
            let once = self.once(instance) && self.desired.is_wanted(&seen);
            self.history.of_mut(&seen.replica()).note(&seen, asked, once);
        }
    }

    /// Everything that runs answers; what is to run once is done.
    fn probe(&mut self) {
        for index in 0..self.seen.containers.len() {
            let (instance, live) =
                (self.seen.containers[index].slot.instance.clone(), self.seen.containers[index].is_live());
            if live && self.once(&instance) {
                self.exit(index, 0);
            } else if let Some(run) = self.seen.containers[index].run().filter(|_| live) {
                self.seen.readiness.entry(run).or_insert(Readiness::Ready { since: self.now });
            }
        }
        self.note();
    }

    fn exit(&mut self, index: usize, code: i64) {
        let Some(RunKey { started_at, .. }) = self.seen.containers[index].run() else { return };
        self.seen.containers[index].state =
            ContainerState::Exited { started_at, finished_at: self.now, code, oom: false };
    }

    fn tick(&mut self, by: Duration) {
        self.now = self.now.checked_add(by).unwrap();
    }

    fn find(&self, id: &ContainerId) -> usize {
        self.seen.containers.iter().position(|container| container.id == *id).expect("acts on what is there")
    }

    fn live(&self, instance: &InstanceName) -> usize {
        self.seen.of(instance).filter(|container| container.is_live()).count()
    }

    /// Does it, unless it fails; checks that it may be done now.
    fn act(&mut self, action: &Action, fails: bool) {
        self.check(action);
        if fails {
            let replica = match action {
                Action::Create { member } | Action::Start { member, .. } => member.replica.clone(),
                Action::Stop { .. }
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

    fn begin(&mut self, container: &ContainerId, member: &Member) {
        let (index, started_at) = (self.find(container), self.now);
        let seen = &mut self.seen.containers[index];
        seen.state = ContainerState::Running { started_at };
        if seen.shape.is_some() {
            (seen.config_hash, seen.in_doubt) = (member.config.clone(), false);
            self.begun.insert(container.clone(), member.config.clone());
        }
    }

    /// The server's record in which this configuration is known; an unknown one is as the wanted one is.
    fn record_of(&self, replica: &ReplicaId, config: &ConfigHash) -> &ServerRecord {
        let wanted = &self.desired.servers[&replica.instance];
        let before = self.desired.update().and_then(|update| update.from.servers.get(&replica.instance));
        let known = [Some(wanted), before].into_iter().flatten().find(|record| record.config_hash == *config);
        known.unwrap_or(wanted)
    }

    fn create(&mut self, replica: &ReplicaId, config: &ConfigHash) {
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

    fn members(&self, member: &Member) -> impl Iterator<Item = &ContainerObservation> {
        self.seen.containers.iter().filter(move |seen| seen.member() == *member)
    }

    fn check(&self, action: &Action) {
        match action {
            Action::Start { member, container, instead_of } => {
                self.check_vessel(member, container, instead_of.as_ref());
                let networked = self.desired.servers.values().any(|s| s.config.network == NetworkMode::Group);
                assert!(
                    !networked || !self.stranded.contains(container.as_str()),
                    "started without its network"
                );
                let mut others = self.members(member).filter(|seen| seen.id != *container);
                assert!(!others.any(ContainerObservation::is_live), "a second live container for {member}");
                let standing = self.desired.servers.get(&member.replica.instance);
                if standing.is_some_and(|record| record.config_hash == member.config) {
                    self.check_dependencies(&member.replica.instance);
                }
            }
            Action::Create { member } => {
                assert_eq!(self.members(member).count(), 0, "a second container for {member}");
            }
            Action::Stop { member, reason: StopReason::Replaced { .. }, .. } => self.check_successor(member),
            Action::Stop { member, container, reason: StopReason::Renewed { .. }, .. } => {
                self.check_renewed(member, container);
            }
            Action::Stop { member, reason: StopReason::Removal, .. } => {
                let instance = &member.replica.instance;
                let graph = Graph::unchecked(&self.desired.spec.servers);
                let needed = graph.dependents(instance).any(|dependent| self.live(dependent) > 0);
                assert!(!needed, "{instance} is stopped before its dependents");
            }
            Action::RemoveVolume { .. } => {
                assert!(self.seen.containers.is_empty(), "removed under the feet of a container");
            }
            Action::RemoveNetwork { id } => {
                let joins = |seen: &ContainerObservation| {
                    let record = self.desired.servers.get(&seen.slot.instance);
                    record.is_none_or(|record| record.config.network.as_str() == id.as_str())
                };
                let needed = self.seen.containers.iter().any(joins);
                assert!(!needed, "removed under the feet of a container");
            }
            Action::Rename { container, .. } => {
                let seen = &self.seen.containers[self.find(container)];
                assert!(is_provisional(&seen.name, &seen.made_from), "{}", seen.name);
                assert_eq!(self.seen.at(&seen.replica()).count(), 1, "the name is taken");
            }
            Action::EnsureNetwork { .. } | Action::Stop { .. } | Action::Remove { .. } => {}
        }
    }

    /// What serves is ended only when what follows it is ready, or is about to be started in its place.
    fn check_successor(&self, member: &Member) {
        let instance = &member.replica.instance;
        let (Some(spec), Some(record)) =
            (self.desired.spec.server(instance), self.desired.servers.get(instance))
        else {
            return;
        };
        if member.replica.replica >= spec.replicas {
            return;
        }
        let next = Member { replica: member.replica.clone(), config: record.config_hash.clone() };
        let mut next = self.members(&next);
        let completed = self.history.of(&member.replica).completed();
        match spec.update_order() {
            UpdateOrder::StartFirst => {
                assert!(completed || next.any(|seen| self.seen.is_ready(seen)), "{member} has no successor");
            }
            UpdateOrder::StopFirst => {
                let mut empty = self.seen.at(&member.replica).filter(|seen| !seen.is_live());
                let follows = next.next().is_some() || empty.any(|seen| record.fits(seen));
                assert!(completed || follows, "{member} has no successor");
            }
        }
    }

    /// A process is begun in the container of its own configuration, or in one of its shape in which nothing runs.
    fn check_vessel(&self, member: &Member, container: &ContainerId, instead_of: Option<&Member>) {
        let seen = &self.seen.containers[self.find(container)];
        assert_eq!(instead_of, Some(&seen.member()).filter(|before| *before != member));
        if instead_of.is_some() {
            let fits = self.record_of(&member.replica, &member.config).fits(seen);
            assert!(fits && !seen.is_live(), "{member} is begun in what runs {}", seen.member());
        }
    }

    /// What serves is ended for another process in its container only where nothing is to serve beside it.
    fn check_renewed(&self, member: &Member, container: &ContainerId) {
        let seen = &self.seen.containers[self.find(container)];
        let record = &self.desired.servers[&member.replica.instance];
        let spec = self.desired.spec.server(&member.replica.instance).unwrap();
        let alone = spec.update_order() == UpdateOrder::StopFirst || seen.made_from == record.config_hash;
        assert!(alone && record.fits(seen) && seen.config_hash != record.config_hash, "{member} makes room");
    }

    fn check_dependencies(&self, instance: &InstanceName) {
        for wanted in &self.desired.spec.server(instance).unwrap().depends_on {
            let completed = self.history.completed(&wanted.instance);
            let holds = match wanted.condition {
                Condition::Completed => completed,
                Condition::Started | Condition::Healthy => completed || self.live(&wanted.instance) > 0,
            };
            assert!(holds, "{instance} starts before {} is {}", wanted.instance, wanted.condition.as_str());
        }
    }

    /// Acts on every plan without faults until nothing is left to do.
    fn settle(&mut self) -> Plan {
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
}

/// What the world does between two passes.
#[derive(Debug, Clone)]
enum Fault {
    /// The n-th action of the next plan fails, the others succeed.
    Fail(usize),
    /// Nothing of the next plan is done (the daemon was killed).
    Killed,
    /// Some process exits.
    Exit(usize, i64),
    /// A container nobody wants is there.
    Stranger(usize),
    /// A person restarts, stops or starts a server.
    Restart(usize),
    Stop(usize),
    Start(usize),
    /// Somebody changes a server: its configuration, its replicas, how it is updated.
    Apply(usize, u8, u32, bool),
    /// Somebody prunes what nobody uses just now.
    Prune,
    /// No process survives, and only the engine remembers what containers were made from.
    Reboot,
    /// Of no shim is heard what it runs while one plan is made and done.
    Deaf,
    /// Time passes.
    Later(u64),
}

fn fault() -> impl Strategy<Value = Fault> {
    prop_oneof![
        (0..6_usize).prop_map(Fault::Fail),
        Just(Fault::Killed),
        (0..6_usize, 0..3_i64).prop_map(|(n, code)| Fault::Exit(n, code)),
        (0..6_usize).prop_map(Fault::Stranger),
        (0..6_usize).prop_map(Fault::Restart),
        (0..6_usize).prop_map(Fault::Stop),
        (0..6_usize).prop_map(Fault::Start),
        (0..6_usize, 0..3_u8, 1..4_u32, any::<bool>())
            .prop_map(|(n, to, replicas, stop)| { Fault::Apply(n, to, replicas, stop) }),
        Just(Fault::Prune),
        Just(Fault::Reboot),
        Just(Fault::Deaf),
        (1..700_u64).prop_map(Fault::Later),
    ]
}

fn edges() -> impl Strategy<Value = Vec<(u8, Condition)>> {
    let condition =
        prop_oneof![Just(Condition::Started), Just(Condition::Healthy), Just(Condition::Completed)];
    proptest::collection::vec((any::<u8>(), condition), 1..6)
}

impl World {
    fn suffer(&mut self, fault: &Fault) {
        let count = self.desired.servers.len();
        match fault {
            Fault::Fail(n) => {
                let plan = self.decide();
                for (index, action) in plan.actions.iter().enumerate() {
                    self.act(action, index == n % plan.actions.len());
                }
            }
            Fault::Killed => drop(self.pass()),
            Fault::Exit(n, code) if !self.seen.containers.is_empty() => {
                let index = n % self.seen.containers.len();
                if self.seen.containers[index].is_live() {
                    self.exit(index, *code);
                }
            }
            Fault::Exit(..) => {}
            Fault::Stranger(n) => self.create(&ReplicaId::first(&name(n % count)), &"older".into()),
            Fault::Apply(n, to, replicas, stop_first) => {
                self.apply(&name(n % count), &format!("wanted{to}"), *replicas, *stop_first);
            }
            Fault::Restart(n) => self.person(&name(n % count), ServerGoal::Run, true),
            Fault::Stop(n) => self.person(&name(n % count), ServerGoal::Stop, false),
            Fault::Start(n) => self.person(&name(n % count), ServerGoal::Run, false),
            Fault::Prune if self.seen.containers.iter().all(|seen| !seen.is_live()) => {
                self.seen.networks.clear();
                self.stranded = self.seen.containers.iter().map(|seen| seen.id.to_string()).collect();
            }
            Fault::Prune => {}
            Fault::Reboot => self.reboot(),
            Fault::Deaf => self.act_unheard(),
            Fault::Later(seconds) => self.tick(Duration::from_secs(*seconds)),
        }
    }

    fn reboot(&mut self) {
        for index in 0..self.seen.containers.len() {
            self.exit(index, 255);
            let seen = &mut self.seen.containers[index];
            seen.config_hash = seen.made_from.clone();
        }
    }

    fn act_unheard(&mut self) {
        for seen in self.seen.containers.iter_mut().filter(|seen| seen.is_live() && seen.shape.is_some()) {
            (seen.in_doubt, seen.config_hash) = (true, seen.made_from.clone());
        }
        let plan = self.decide();
        plan.actions.iter().for_each(|action| self.act(action, false));
        for seen in self.seen.containers.iter_mut().filter(|seen| seen.in_doubt) {
            seen.in_doubt = false;
            if let Some(begun) = self.begun.get(&seen.id).filter(|_| seen.is_live()) {
                seen.config_hash = begun.clone();
            }
        }
    }

    /// What the owner of a group does with an accepted change. Configurations are of one shape but for the last.
    fn apply(&mut self, instance: &InstanceName, config: &str, replicas: u32, stop_first: bool) {
        let from = match &self.desired.rollout {
            Rollout::Updating(update) => update.from.clone(),
            Rollout::Established | Rollout::Deploying { .. } => self.desired.as_previous(),
        };
        let (now, once) = (self.now, self.once(instance));
        let record = self.desired.servers.get_mut(instance).unwrap();
        if record.config_hash.as_str() != config {
            self.history.reset(instance, now);
        }
        record.config_hash = config.into();
        record.config.environment.insert("VERSION".to_owned(), config.to_owned());
        record.config.limits.memory = if config.ends_with('2') { 2 } else { 1 };
        let spec = self.desired.spec.servers.iter_mut().find(|server| server.instance == *instance).unwrap();
        spec.replicas = if once { 1 } else { replicas };
        spec.update.order = stop_first.then_some(UpdateOrder::StopFirst);
        self.desired.rollout =
            Rollout::Updating(Box::new(Update { from, since: now, reverting: None, failed: None }));
    }

    /// What the owner of a group does with what a plan says of an update: then it plans anew.
    fn decide(&mut self) -> Plan {
        let plan = self.pass();
        match &plan.progress {
            Progress::Steady | Progress::Rolling => return plan,
            Progress::Through => self.desired.rollout = Rollout::Established,
            Progress::Failed { .. } => self.revert(),
        }
        self.pass()
    }

    fn revert(&mut self) {
        let Rollout::Updating(update) = self.desired.rollout.clone() else { return };
        if update.reverting.is_some() {
            return;
        }
        let (from, now) = (self.desired.as_previous(), self.now);
        let names: Vec<_> = self.desired.servers.keys().cloned().collect();
        names.iter().for_each(|name| self.history.reset(name, now));
        let goals: Vec<_> =
            names.iter().map(|name| (name.clone(), self.desired.servers[name].goal)).collect();
        (self.desired.spec, self.desired.servers) = (update.from.spec, update.from.servers);
        for (name, goal) in goals {
            self.desired.servers.get_mut(&name).unwrap().goal = goal;
        }
        let reverting = Some("it failed".to_owned());
        self.desired.rollout =
            Rollout::Updating(Box::new(Update { from, since: now, reverting, failed: None }));
    }

    fn person(&mut self, instance: &InstanceName, goal: ServerGoal, restart: bool) {
        let run = self.seen.of(instance).find(|seen| seen.is_live()).and_then(ContainerObservation::run);
        let (now, record) = (self.now, self.desired.servers.get_mut(instance).unwrap());
        record.goal = goal;
        if restart {
            record.restart = run.into_iter().collect();
        }
        if goal == ServerGoal::Run {
            self.history.reset(instance, now);
        }
    }
}

fn ends_well(phase: &Phase) -> bool {
    matches!(phase, Phase::Ready { .. } | Phase::Completed { .. })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn it_converges_after_any_faults_and_is_idempotent_there(
        edges in edges(), networked: bool, shims: bool, faults in proptest::collection::vec(fault(), 0..40),
    ) {
        let record = group(&edges, networked);
        let mut world = if shims { World::with_shims(record) } else { World::new(record) };
        for fault in &faults {
            world.suffer(fault);
        }
        for index in 0..edges.len() {
            world.person(&name(index), ServerGoal::Run, false);
        }
        let last = world.settle();
        prop_assert!(last.phases.values().all(ends_well), "{:?}", last.phases);
        let places: Vec<_> = world.desired.spec.servers.iter().flat_map(ServerSpec::places).collect();
        // What is done is not made again when its container goes with its network.
        let done = |replica: &&ReplicaId| {
            world.history.of(replica).completed() && world.seen.at(replica).next().is_none()
        };
        let needed = places.len() - places.iter().filter(done).count();
        prop_assert_eq!(world.seen.containers.len(), needed, "one container for each replica");
        for seen in &world.seen.containers {
            let wanted = &world.desired.servers[&seen.slot.instance].config_hash;
            prop_assert!(seen.config_hash == *wanted && seen.name == "plain" && places.contains(&seen.replica()));
        }
        prop_assert_eq!(world.pass(), last);
    }

    #[test]
    fn removal_leaves_nothing_after_any_faults(
        edges in edges(), networked: bool, force: bool, volumes: bool,
        faults in proptest::collection::vec(fault(), 0..30),
    ) {
        let mut world = World::with_shims(group(&edges, networked));
        world.seen.volumes = ["kept".to_owned(), "gone".to_owned()].into();
        let (before, after) = faults.split_at(faults.len() / 2);
        for fault in before {
            world.suffer(fault);
        }
        let how = Removal { force, grace: None, volumes, keep: ["kept".to_owned()].into() };
        world.desired.goal = GroupGoal::Remove(how);
        for fault in after {
            world.suffer(fault);
        }
        let last = world.settle();
        prop_assert!(last.gone && world.seen.containers.is_empty() && world.seen.networks.is_empty());
        prop_assert_eq!(world.seen.volumes.contains("gone"), !volumes);
        prop_assert!(world.seen.volumes.contains("kept"));
    }

    #[test]
    fn restart_counts_never_fall(edges in edges(), faults in proptest::collection::vec(fault(), 0..40)) {
        let mut world = World::with_shims(group(&edges, false));
        let mut last = BTreeMap::new();
        for fault in &faults {
            world.suffer(fault);
            for (replica, history) in &world.history.servers {
                let before = last.insert(replica.clone(), history.restarts()).unwrap_or(0);
                prop_assert!(history.restarts() >= before);
            }
        }
    }
}

/// One server whose container shows `state`; what is planned and which phase it is in, as text.
#[track_caller]
fn check(world: &mut World, action: &str, phase: &str) {
    let plan = plan(&world.desired, &world.seen, &world.history, world.now);
    let actions: Vec<_> = plan.actions.iter().map(Action::word).collect();
    assert_eq!((actions.join(","), plan.phases[&name(0)].word()), (action.to_owned(), phase));
}

fn one() -> World {
    let mut world = World::new(group(&[(0, Condition::Started)], false));
    world.create(&ReplicaId::first(&name(0)), &"wanted".into());
    world
}

#[test]
fn a_late_start_is_ended_and_counts() {
    let mut world = one();
    world.seen.containers[0].state = ContainerState::Running { started_at: world.now };
    let run = world.seen.containers[0].run().unwrap();
    check(&mut world, "", "starting");
    let not_ready = Readiness::NotReady { asked_since: world.now, reason: "silence".to_owned() };
    world.seen.readiness.insert(run, not_ready);
    check(&mut world, "", "starting");
    world.tick(Duration::from_secs(60));
    check(&mut world, "stop", "stopping");
    world.exit(0, 143);
    world.note();
    assert_eq!(world.history.of(&ReplicaId::first(&name(0))).counted().len(), 1);
}

#[test]
fn an_adopted_run_that_has_not_been_asked_yet_is_never_late() {
    let mut world = one();
    world.seen.containers[0].state = ContainerState::Running { started_at: world.now };
    world.tick(Duration::from_secs(100_000));
    check(&mut world, "", "starting");
}

#[test]
fn a_person_restarts_a_running_server_once() {
    let mut world = one();
    world.seen.containers[0].state = ContainerState::Running { started_at: world.now };
    world.note();
    world.person(&name(0), ServerGoal::Run, true);
    check(&mut world, "stop", "stopping");
    world.tick(Duration::from_secs(1));
    world.exit(0, 143);
    world.note();
    assert!(
        world.history.of(&ReplicaId::first(&name(0))).counted().is_empty(),
        "a person's restart is not counted"
    );
    check(&mut world, "start", "starting");
    world.seen.containers[0].state = ContainerState::Running { started_at: world.now };
    check(&mut world, "", "starting");
}

#[test]
fn a_server_that_used_up_its_budget_stays_failed_until_a_person_starts_it() {
    let mut world = one();
    world.desired.spec.servers[0].restart = RestartPolicy { attempts: 0, ..RestartPolicy::default() };
    world.seen.containers[0].state = ContainerState::Running { started_at: world.now };
    world.tick(Duration::from_secs(1));
    world.exit(0, 1);
    world.note();
    check(&mut world, "", "failed");
    world.tick(Duration::from_secs(1_000_000));
    check(&mut world, "", "failed");
    world.person(&name(0), ServerGoal::Run, false);
    check(&mut world, "start", "starting");
}

#[test]
fn independent_servers_are_planned_together() {
    let mut world = World::new(group(&[(0, Condition::Started); 5], false));
    assert_eq!(world.pass().actions.len(), 5);
}

#[test]
fn what_is_busy_is_left_alone() {
    let mut world = one();
    world.seen.busy.insert(dtma_core::observation::Subject::Member(world.seen.containers[0].member()));
    check(&mut world, "", "starting");
}

/// A world in which one server stands and is ready, and a change of its configuration was accepted.
fn updating(stop_first: bool) -> World {
    let mut world = World::new(group(&[(0, Condition::Started)], false));
    world.settle();
    world.apply(&name(0), "newer", 1, stop_first);
    world
}

impl World {
    /// Does what is planned, once.
    fn step(&mut self) -> Plan {
        let plan = self.pass();
        plan.actions.iter().for_each(|action| self.act(action, false));
        plan
    }

    fn serving(&mut self) -> Vec<String> {
        let serving = self.pass().serving.remove(&name(0)).unwrap_or_default();
        let hash = |id| self.seen.containers[self.find(id)].config_hash.to_string();
        serving.iter().map(hash).collect()
    }
}

#[test]
fn the_new_one_is_made_and_proved_beside_the_old_one() {
    let mut world = updating(false);
    check(&mut world, "create", "updating");
    world.step();
    assert_eq!(world.serving(), ["wanted"]);
    check(&mut world, "start", "updating");
    world.step();
    assert_eq!(world.serving(), ["newer"], "the prober of this world is quick");
    check(&mut world, "stop", "ready");
    world.step();
    check(&mut world, "remove", "ready");
    world.step();
    check(&mut world, "rename", "ready");
    world.step();
    assert_eq!(world.pass().progress, Progress::Through);
}

#[test]
fn two_that_write_to_one_volume_never_run_together() {
    let mut world = updating(true);
    for action in ["create", "stop", "start", "remove", "rename"] {
        assert_eq!(world.step().actions.iter().map(Action::word).collect::<Vec<_>>(), [action]);
        assert!(world.live(&name(0)) <= 1);
    }
    assert_eq!(world.pass().progress, Progress::Through);
}

#[test]
fn a_new_one_that_exits_twice_has_failed_and_the_old_one_serves_on() {
    for exits in [1, 2] {
        let mut world = updating(false);
        world.step();
        for _ in 0..exits {
            let index = world.seen.containers.len() - 1;
            world.seen.containers[index].state = ContainerState::Running { started_at: world.now };
            world.tick(Duration::from_secs(1));
            world.exit(index, 3);
            world.note();
        }
        let plan = plan(&world.desired, &world.seen, &world.history, world.now);
        let failed = matches!(&plan.progress, Progress::Failed { reason, .. } if reason.contains("code 3"));
        assert_eq!(failed, exits == 2, "{:?}", plan.progress);
        assert_eq!(world.serving(), ["wanted"]);
    }
}

#[test]
fn an_update_that_is_refused_for_good_or_too_late_has_failed() {
    let mut world = updating(false);
    let now = world.now;
    world.history.of_mut(&ReplicaId::first(&name(0))).refuse("create", "no image".to_owned(), true, now);
    assert!(matches!(&world.pass().progress, Progress::Failed { reason, .. } if reason.contains("no image")));
    let mut world = updating(false);
    world.tick(Duration::from_secs(601));
    assert!(
        matches!(&world.pass().progress, Progress::Failed { instance: None, reason } if reason.contains("600 s"))
    );
}

#[test]
fn a_network_that_nobody_joins_any_more_goes() {
    let mut world = World::new(group(&[(0, Condition::Started)], true));
    world.settle();
    assert_eq!(world.seen.networks.len(), 1);
    world.apply(&name(0), "newer", 1, false);
    world.desired.servers.get_mut(&name(0)).unwrap().config.network = NetworkMode::None;
    world.settle();
    assert!(world.seen.networks.is_empty() && world.live(&name(0)) == 1);
}

#[test]
fn each_network_is_there_for_those_who_join_it() {
    let mut world = World::new(group(&[(0, Condition::Started), (0, Condition::Started)], true));
    world.desired.servers.get_mut(&name(1)).unwrap().config.network = NetworkMode::Open;
    world.settle();
    let modes = |world: &World| world.seen.networks.iter().map(|network| network.mode).collect::<Vec<_>>();
    assert_eq!(modes(&world), NetworkMode::JOINED);
    world.apply(&name(1), "newer", 1, false);
    world.desired.servers.get_mut(&name(1)).unwrap().config.network = NetworkMode::None;
    world.settle();
    assert_eq!(modes(&world), [NetworkMode::Group]);
    assert_eq!((world.live(&name(0)), world.live(&name(1))), (1, 1));
}

#[test]
fn what_a_new_spec_does_not_know_goes_last_and_dependents_first() {
    let mut world = World::new(group(
        &[(0, Condition::Started), (1, Condition::Healthy), (0, Condition::Started)],
        false,
    ));
    world.settle();
    let from = world.desired.as_previous();
    for gone in [name(0), name(1)] {
        world.desired.servers.remove(&gone);
        world.desired.spec.servers.retain(|server| server.instance != gone);
    }
    world.desired.servers.get_mut(&name(2)).unwrap().config_hash = "newer".into();
    let since = world.now;
    world.desired.rollout =
        Rollout::Updating(Box::new(Update { from, since, reverting: None, failed: None }));
    let mut stopped = Vec::new();
    for _ in 0..20 {
        for action in world.step().actions {
            if let Action::Stop { member, .. } = action {
                stopped.push(member.replica.to_string());
            }
        }
    }
    assert_eq!(stopped, ["s2", "s1", "s0"], "the changed one is proved, then the others go");
    assert_eq!(world.seen.containers.len(), 1);
}

/// The same as [`updating`], with shims.
fn renewing(stop_first: bool, config: &str) -> World {
    let mut world = World::with_shims(group(&[(0, Condition::Started)], false));
    world.settle();
    world.apply(&name(0), config, 1, stop_first);
    world
}

fn words(plan: &Plan) -> Vec<&'static str> {
    plan.actions.iter().map(Action::word).collect()
}

#[test]
fn another_environment_is_a_restart_in_place_where_nothing_serves_beside() {
    let mut world = renewing(true, "newer");
    let first = world.step();
    assert!(matches!(first.actions[..], [Action::Stop { reason: StopReason::Renewed { .. }, .. }]));
    assert!(matches!(first.phases[&name(0)], Phase::Updating { serving: Some(_), .. }));
    let begun = world.step();
    assert!(matches!(begun.actions[..], [Action::Start { instead_of: Some(_), .. }]), "{begun:?}");
    assert_eq!(world.pass().progress, Progress::Through);
    assert_eq!((world.made, world.serving()), (1, vec!["newer".to_owned()]));
    world.settle();
    assert_eq!(world.history.of(&ReplicaId::first(&name(0))).restarts(), 0, "an update is no restart");
}

#[test]
fn another_shape_or_another_order_is_a_replacement() {
    for mut world in [renewing(true, "newer2"), renewing(false, "newer")] {
        assert_eq!(words(&world.step()), ["create"]);
        world.settle();
        assert_eq!((world.made, world.seen.containers.len()), (2, 1));
    }
}

#[test]
fn a_process_that_ends_twice_in_its_container_makes_room_for_the_one_before() {
    let mut world = renewing(true, "newer");
    world.step();
    world.step();
    for exits in [1, 2] {
        world.seen.containers[0].state = ContainerState::Running { started_at: world.now };
        world.tick(Duration::from_secs(1));
        world.exit(0, 3);
        world.note();
        let plan = plan(&world.desired, &world.seen, &world.history, world.now);
        let failed = matches!(&plan.progress, Progress::Failed { reason, .. } if reason.contains("code 3"));
        assert_eq!(failed, exits == 2, "{:?}", plan.progress);
    }
    world.settle();
    assert_eq!((world.made, world.serving()), (1, vec!["wanted".to_owned()]));
}

#[test]
fn the_old_process_runs_until_what_the_new_one_depends_on_holds() {
    let mut world = World::with_shims(group(&[(0, Condition::Healthy), (1, Condition::Healthy)], false));
    world.settle();
    world.apply(&name(1), "newer", 1, true);
    world.person(&name(0), ServerGoal::Stop, false);
    world.step();
    for _ in 0..3 {
        assert_eq!((words(&world.step()), world.live(&name(1))), (vec![], 1));
    }
    world.person(&name(0), ServerGoal::Run, false);
    world.settle();
    assert_eq!(world.made, 2, "one container for each");
}

#[test]
fn nothing_is_begun_in_a_container_while_its_last_process_is_being_ended() {
    let mut world = renewing(true, "newer");
    let old = world.seen.containers[0].member();
    world.step();
    world.seen.busy.insert(dtma_core::observation::Subject::Member(old));
    assert_eq!(words(&world.pass()), Vec::<&str>::new());
    world.seen.busy.clear();
    assert_eq!(words(&world.pass()), ["start"]);
    let both: Vec<_> = world.pass().actions[0].subjects().collect();
    assert_eq!(both.len(), 2, "{both:?}");
}

#[test]
fn a_container_that_was_given_another_process_is_known_again_after_a_reboot_and_while_its_shim_is_silent() {
    let mut world = renewing(true, "newer");
    world.settle();
    world.suffer(&Fault::Deaf);
    assert_eq!((world.live(&name(0)), world.made), (1, 1), "it was left alone");
    world.suffer(&Fault::Reboot);
    world.settle();
    assert_eq!((world.made, world.serving()), (1, vec!["newer".to_owned()]));
}
