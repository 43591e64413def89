//! Beginning what was planned, and taking in what came of it: each action is a future of its own (`hand.rs`) that calls
//! the engine and says what it saw. Nothing is decided here.

use super::GroupTask;
use super::hand::{Hand, Making};
use super::ways::Ways;
use crate::forward::Traffic;
use dtma_core::container::Launch;
use dtma_core::id::{
    ContainerId, Member, NetworkId, ReplicaId, RunKey, SlotId, container_name, provisional_name,
};
use dtma_core::observation::{ContainerObservation, NetworkObservation, Readiness, Subject};
use dtma_core::plan::{Action, StopReason};
use dtma_core::port::RuntimeError;
use dtma_core::record::ServerRecord;
use dtma_core::restart::exponential;
use dtma_mcp::{Door, MemberId};
use futures_util::future::join_all;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinError;

/// First pause after a failed action on a subject; doubles up to [`COOL_MAX`].
const COOL_BASE: Duration = Duration::from_millis(250);
/// Longest pause after a failed action.
const COOL_MAX: Duration = Duration::from_secs(30);

/// An action that ended.
pub(super) struct Done {
    action: Action,
    result: Result<Effect, RuntimeError>,
}

/// What an action saw.
pub(super) enum Effect {
    /// This container, as it is now.
    Saw(Box<ContainerObservation>),
    /// This container runs, its streams are in the hands of its MCP owner (if it has one), and its ways are open.
    Started(Box<ContainerObservation>, Option<Ways>),
    /// This container is gone.
    Lost(ContainerId),
    /// The group's network is there.
    Network(NetworkObservation),
    /// This network is gone.
    NetworkLost(NetworkId),
    /// This volume is gone.
    VolumeLost(String),
    /// It was not done, because the group is to go.
    GivenUp,
}

impl GroupTask {
    /// Begins an action and marks its subject busy.
    pub(super) fn begin(&mut self, action: &Action) {
        tracing::debug!(group = %self.group_id(), ?action, "begin");
        let hand = self.hand();
        self.seen.busy.extend(action.subjects());
        let action = action.clone();
        match &action {
            Action::EnsureNetwork { mode } => {
                let mode = *mode;
                self.spawn(action, async move { hand.ensure_network(mode).await });
            }
            Action::RemoveNetwork { id } => {
                let id = id.clone();
                self.spawn(action, async move { hand.remove_network(id).await });
            }
            Action::RemoveVolume { name } => {
                let name = name.clone();
                self.spawn(action, async move { hand.remove_volume(name).await });
            }
            Action::Create { member } => {
                let Some(made) = self.making(member) else { return };
                self.spawn(action, async move { hand.create(made).await });
            }
            Action::Start { member, container, .. } => {
                let reach = self.reach(member, container);
                let (container, before) = (container.clone(), self.run_of(container));
                let (launch, ways) = (self.launch(member), self.wanted_ways(member));
                self.spawn(action, async move { hand.start(container, launch, before, reach, ways).await });
            }
            Action::Stop { member, container, grace, reason } => {
                let farewell = self.farewell(member, container, reason);
                let (container, grace, reason) = (container.clone(), *grace, *reason);
                self.spawn(action, async move {
                    if let Some(farewell) = farewell {
                        farewell.take().await;
                    }
                    hand.stop(container, grace, reason).await
                });
            }
            Action::Pause { container, .. } => {
                let container = container.clone();
                self.spawn(action, async move { hand.pause(container).await });
            }
            Action::Unpause { container, .. } => {
                let container = container.clone();
                self.spawn(action, async move { hand.unpause(container).await });
            }
            Action::Rename { container, member } => {
                let (container, slot) = (container.clone(), self.slot(&member.replica));
                self.spawn(action, async move { hand.rename(container, slot).await });
            }
            Action::Remove { member, container } => {
                let instance = &member.replica.instance;
                let is_mcp = self.servers.get(instance).is_some_and(|server| server.door.is_some());
                let (instance, container) = (is_mcp.then(|| instance.clone()), container.clone());
                self.spawn(action, async move { hand.remove(instance, container).await });
            }
        }
    }

    fn spawn(
        &mut self,
        action: Action,
        work: impl Future<Output = Result<Effect, RuntimeError>> + Send + 'static,
    ) {
        self.actions.spawn(async move { Done { action, result: work.await } });
    }

    fn hand(&self) -> Hand {
        Hand {
            registry: Arc::clone(&self.registry),
            group: self.group_id().clone(),
            permits: Arc::clone(&self.permits),
            activities: Arc::clone(&self.activities),
            pulls: self.pulls.clone(),
        }
    }

    fn making(&self, member: &Member) -> Option<Making> {
        let instance = &member.replica.instance;
        let record = self.record.servers.get(instance)?;
        let kind = self.record.spec.server(instance)?.kind;
        let of_mode = self.seen.networks.iter().find(|network| network.mode == record.config.network);
        let network = of_mode.map(|network| network.id.clone());
        let (owner, slot) = (&self.registry.owner, self.slot(&member.replica));
        // One of an earlier generation may be on its way under the plain name: seen or not, it is there first.
        let alone = self.seen.at(&member.replica).next().is_none() && !self.seen.is_busy_beside(member);
        let name = match alone {
            true => container_name(owner, &slot),
            false => provisional_name(owner, &slot, &member.config),
        };
        Some(Making { slot, name, record: record.clone(), kind, network })
    }

    /// The last run of a container, as far as was seen.
    fn run_of(&self, container: &ContainerId) -> Option<RunKey> {
        self.seen.containers.iter().find(|seen| seen.id == *container)?.run()
    }

    /// What a member's process is begun with. Nobody begins what is of neither generation.
    fn launch(&self, member: &Member) -> Launch {
        let unknown = || Launch { config_hash: member.config.clone(), ..Launch::default() };
        self.record_of(member).map_or_else(unknown, ServerRecord::launch)
    }

    pub(super) fn slot(&self, replica: &ReplicaId) -> SlotId {
        SlotId {
            group: self.group_id().clone(),
            instance: replica.instance.clone(),
            replica: replica.replica,
        }
    }

    /// What is to be seen through before this process is ended: what it has begun, when it is replaced.
    fn farewell(
        &mut self,
        member: &Member,
        container: &ContainerId,
        reason: &StopReason,
    ) -> Option<Farewell> {
        let seen = self.seen.containers.iter().find(|seen| seen.id == *container)?;
        let run = seen.run();
        let drain = match reason {
            StopReason::Replaced { drain } | StopReason::Renewed { drain } => *drain,
            StopReason::Surplus | StopReason::Rest => {
                self.seen.ending.extend(run);
                return None;
            }
            StopReason::Asked | StopReason::Restart | StopReason::Removal | StopReason::StartTimeout => {
                return None;
            }
        };
        self.seen.ending.extend(run);
        let door = self.servers.get(&member.replica.instance).and_then(|server| server.door.clone());
        let (member, container) = (super::members::id(member), container.clone());
        Some(Farewell { door, member, traffic: self.traffic(), container, drain })
    }

    /// Takes in what an action saw.
    pub(super) async fn done(&mut self, done: Result<Done, JoinError>) {
        let Done { action, result } = match done {
            Ok(done) => done,
            // Its subject stays busy: nothing more is done there until the daemon is restarted.
            Err(defect) => return self.trouble_with("an action ended by a defect", &defect),
        };
        let subject = action.subject();
        for subject in action.subjects() {
            self.seen.busy.remove(&subject);
        }
        match result {
            Ok(effect) => {
                self.failures.remove(&subject);
                self.take_in(&action, effect);
            }
            Err(error) => self.failed(&action, error).await,
        }
    }

    fn take_in(&mut self, action: &Action, effect: Effect) {
        match effect {
            Effect::Saw(seen) => self.saw(*seen),
            Effect::Started(seen, ways) => self.started(action, *seen, ways),
            Effect::Lost(id) => self.lost(&id),
            Effect::Network(network) => self.seen.networks.push(network),
            Effect::NetworkLost(id) => self.seen.networks.retain(|network| network.id != id),
            Effect::VolumeLost(name) => drop(self.seen.volumes.remove(&name)),
            Effect::GivenUp => {}
        }
    }

    /// A run that this daemon began: it has to become ready in time.
    fn started(&mut self, action: &Action, seen: ContainerObservation, ways: Option<Ways>) {
        let (run, now) = (seen.run(), self.now());
        self.saw(seen);
        let (Subject::Member(member), Some(run)) = (action.subject(), run) else { return };
        if let Some(attendance) = self.attendance_mut(&member)
            && attendance.mcp.is_some()
        {
            attendance.linked = Some(run.clone());
        }
        self.have_ways(&member, Some(run.clone()), ways);
        let reason = "it has not answered yet".to_owned();
        self.seen.readiness.entry(run).or_insert(Readiness::NotReady { asked_since: now, reason });
        // The owner may have greeted it before this end of the action was heard.
        self.take_mcp_state(&member);
    }

    async fn failed(&mut self, action: &Action, error: RuntimeError) {
        let subject = action.subject();
        tracing::warn!(group = %self.group_id(), ?subject, %error, "could not {}", action.word());
        self.cool_down(subject, format!("{} failed: {error}", action.word()));
        match &error {
            // Whether it had an effect is unknown: look before anything else is done.
            RuntimeError::EngineAway { .. } | RuntimeError::Timeout { .. } => self.went_blind(&error),
            RuntimeError::NotFound { .. }
            | RuntimeError::PortClosed { .. }
            | RuntimeError::Conflict { .. }
            | RuntimeError::Broken { .. } => {
                self.blind = true;
                self.refused(action, &error);
            }
            RuntimeError::NameTaken { .. }
            | RuntimeError::PortTaken { .. }
            | RuntimeError::ImageMissing { .. }
            | RuntimeError::PullStalled { .. }
            | RuntimeError::OutOfSpace { .. }
            | RuntimeError::Refused { .. } => self.refused(action, &error),
        }
        if let Action::Pause { member, .. } = action {
            self.could_not_freeze(member, &error);
        }
        if !error.is_transient() {
            self.undo_deployment(action, error).await;
        }
    }

    fn refused(&mut self, action: &Action, error: &RuntimeError) {
        if let Action::Create { member } | Action::Start { member, .. } = action {
            let (now, permanent) = (self.now(), !error.is_transient());
            self.history.of_mut(&member.replica).refuse(action.word(), error.to_string(), permanent, now);
            self.unsaved = true;
        }
    }

    /// Keeps a subject busy for a while after a failure, so that a pass cannot spin on it.
    pub(super) fn cool_down(&mut self, subject: Subject, problem: String) {
        let failures = self.failures.entry(subject.clone()).or_default();
        let pause = exponential(COOL_BASE, COOL_MAX, failures.count, 0);
        (failures.count, failures.last) = (failures.count + 1, problem);
        self.cool(subject, pause);
    }
}

/// Seeing through what a container that is replaced has begun.
struct Farewell {
    door: Option<Door>,
    member: MemberId,
    traffic: Vec<Arc<Traffic>>,
    container: ContainerId,
    drain: Duration,
}

impl Farewell {
    async fn take(self) {
        let calls = async {
            if let Some(door) = &self.door {
                let left = door.drain(&self.member, self.drain).await.unanswered;
                if left > 0 {
                    tracing::warn!(member = %self.member, left, "calls were not answered within the drain");
                }
            }
        };
        let connections = async {
            let ended = join_all(self.traffic.iter().map(|traffic| traffic.ended(&self.container)));
            // Those that are still open are cut off by the end of the process.
            let _ = tokio::time::timeout(self.drain, ended).await;
        };
        tokio::join!(calls, connections);
    }
}
