//! Doing what was planned: each action is a future of its own that calls the engine and says what it saw. Nothing
//! is decided here.

use super::{Activities, GroupTask};
use crate::event::EventKind;
use crate::forward::Traffic;
use crate::registry::Registry;
use dtma_core::container::{CreateContainer, ImageFacts};
use dtma_core::id::{
    ContainerId, GroupId, InstanceName, Member, NetworkId, ReplicaId, SlotId, container_name, network_name,
    provisional_name,
};
use dtma_core::label;
use dtma_core::observation::{ContainerObservation, NetworkObservation, Readiness, Subject};
use dtma_core::plan::{Action, StopReason};
use dtma_core::port::RuntimeError;
use dtma_core::port::runtime::{CreateNetwork, EnsureVolume, PullProgress, Scope};
use dtma_core::record::ServerRecord;
use dtma_core::restart::exponential;
use dtma_core::spec::ServerKind;
use dtma_mcp::{Door, MemberId};
use futures_util::future::join_all;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::task::JoinError;
use tokio_util::sync::CancellationToken;

/// First pause after a failed action on a subject; doubles up to [`COOL_MAX`].
const COOL_BASE: Duration = Duration::from_millis(250);
/// Longest pause after a failed action.
const COOL_MAX: Duration = Duration::from_secs(30);

/// How long the engine may take to list a container whose name it holds.
const UNLISTED: Duration = Duration::from_secs(1);
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// An action that ended.
pub(super) struct Done {
    action: Action,
    result: Result<Effect, RuntimeError>,
}

/// What an action saw.
enum Effect {
    /// This container, as it is now.
    Saw(Box<ContainerObservation>),
    /// This container runs, and its streams are in the hands of its MCP owner (if it has one).
    Started(Box<ContainerObservation>),
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
        self.seen.busy.insert(action.subject());
        let action = action.clone();
        match &action {
            Action::EnsureNetwork => self.spawn(action, async move { hand.ensure_network().await }),
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
            Action::Start { member, container } => {
                let mcp = self.attendance(member).and_then(|attendance| attendance.mcp.clone());
                let container = container.clone();
                self.spawn(action, async move { hand.start(container, mcp).await });
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
        let network = self.seen.networks.first().map(|network| network.id.clone());
        let (owner, slot) = (&self.registry.owner, self.slot(&member.replica));
        let name = match self.seen.at(&member.replica).next() {
            None => container_name(owner, &slot),
            Some(_) => provisional_name(owner, &slot, &member.config),
        };
        Some(Making { slot, name, record: record.clone(), kind, network })
    }

    fn slot(&self, replica: &ReplicaId) -> SlotId {
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
        let (run, ip) = (seen.run(), seen.ip);
        let drain = match reason {
            StopReason::Replaced { drain } => *drain,
            StopReason::Surplus => {
                self.ending.extend(run);
                return None;
            }
            StopReason::Asked | StopReason::Restart | StopReason::Removal | StopReason::StartTimeout => {
                return None;
            }
        };
        self.ending.extend(run);
        let door = self.servers.get(&member.replica.instance).and_then(|server| server.door.clone());
        Some(Farewell { door, member: super::members::id(member), traffic: self.traffic(), ip, drain })
    }

    /// Takes in what an action saw.
    pub(super) async fn done(&mut self, done: Result<Done, JoinError>) {
        let Done { action, result } = match done {
            Ok(done) => done,
            // Its subject stays busy: nothing more is done there until the daemon is restarted.
            Err(defect) => return self.trouble_with("an action ended by a defect", &defect),
        };
        let subject = action.subject();
        self.seen.busy.remove(&subject);
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
            Effect::Started(seen) => self.started(action, *seen),
            Effect::Lost(id) => self.lost(&id),
            Effect::Network(network) => self.seen.networks.push(network),
            Effect::NetworkLost(id) => self.seen.networks.retain(|network| network.id != id),
            Effect::VolumeLost(name) => drop(self.seen.volumes.remove(&name)),
            Effect::GivenUp => {}
        }
    }

    /// A run that this daemon began: it has to become ready in time.
    fn started(&mut self, action: &Action, seen: ContainerObservation) {
        let (run, now) = (seen.run(), self.now());
        self.saw(seen);
        let (Subject::Member(member), Some(run)) = (action.subject(), run) else { return };
        if let Some(attendance) = self.attendance_mut(&member)
            && attendance.mcp.is_some()
        {
            attendance.linked = Some(run.clone());
        }
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
            RuntimeError::NotFound { .. } | RuntimeError::Conflict { .. } | RuntimeError::Broken { .. } => {
                self.blind = true;
                self.refused(action, &error);
            }
            RuntimeError::NameTaken { .. }
            | RuntimeError::PortTaken { .. }
            | RuntimeError::ImageMissing { .. }
            | RuntimeError::OutOfSpace { .. }
            | RuntimeError::Refused { .. } => self.refused(action, &error),
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
    fn cool_down(&mut self, subject: Subject, problem: String) {
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
    ip: Option<IpAddr>,
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
            if let Some(ip) = self.ip {
                let ended = join_all(self.traffic.iter().map(|traffic| traffic.ended(ip)));
                // Those that are still open are cut off by the end of the process.
                let _ = tokio::time::timeout(self.drain, ended).await;
            }
        };
        tokio::join!(calls, connections);
    }
}

/// What a container is made from.
struct Making {
    slot: SlotId,
    name: String,
    record: ServerRecord,
    kind: ServerKind,
    network: Option<NetworkId>,
}

/// Everything an action needs, its own copy.
struct Hand {
    registry: Arc<Registry>,
    group: GroupId,
    permits: Arc<Semaphore>,
    activities: Activities,
    pulls: CancellationToken,
}

impl Hand {
    fn runtime(&self) -> &dyn dtma_core::port::ContainerRuntime {
        &*self.registry.backends.runtime
    }

    fn labels(&self) -> BTreeMap<String, String> {
        [
            (label::MANAGED, "true".to_owned()),
            (label::OWNER, self.registry.owner.to_string()),
            (label::GROUP, self.group.to_string()),
        ]
        .map(|(key, value)| (key.to_owned(), value))
        .into()
    }

    /// Waits for a place among the group's and among all groups' creates and starts.
    async fn turn(&self) -> impl Drop {
        // The semaphores are never closed, so there is always a permit in the end.
        let group = Arc::clone(&self.permits).acquire_owned().await.ok();
        let all = Arc::clone(&self.registry.permits).acquire_owned().await.ok();
        Turn(group, all)
    }

    async fn ensure_network(&self) -> Result<Effect, RuntimeError> {
        let name = network_name(&self.registry.owner, &self.group);
        let request = CreateNetwork { name: name.clone(), group: self.group.clone(), labels: self.labels() };
        let id = self.runtime().create_network(&request).await?;
        Ok(Effect::Network(NetworkObservation { id, name }))
    }

    async fn remove_network(&self, id: NetworkId) -> Result<Effect, RuntimeError> {
        gone(self.runtime().remove_network(&id).await)?;
        Ok(Effect::NetworkLost(id))
    }

    async fn remove_volume(&self, name: String) -> Result<Effect, RuntimeError> {
        gone(self.runtime().remove_volume(&name).await)?;
        Ok(Effect::VolumeLost(name))
    }

    async fn create(&self, made: Making) -> Result<Effect, RuntimeError> {
        // Before there is a place for it: a registry that hangs must not hold up other starts.
        let image = self.pulls.run_until_cancelled(self.image(&made)).await;
        self.activities.lock().unwrap_or_else(PoisonError::into_inner).remove(&made.slot.instance);
        let _turn = self.turn().await;
        let Some(image) = image.filter(|_| !self.pulls.is_cancelled()) else { return Ok(Effect::GivenUp) };
        let request = self.request(&made, image?).await?;
        match self.runtime().create(&request).await {
            Ok(id) => Ok(Effect::Saw(Box::new(self.runtime().inspect(&id).await?))),
            Err(taken @ RuntimeError::NameTaken { .. }) => match self.made_before(&request).await? {
                Some(seen) => Ok(Effect::Saw(Box::new(seen))),
                None => Err(taken),
            },
            Err(error) => Err(error),
        }
    }

    /// The very container that was asked for, when an earlier daemon had asked for it too: the engine finishes a
    /// create whose caller was killed, and holds the name before it lists the container.
    async fn made_before(
        &self,
        request: &CreateContainer,
    ) -> Result<Option<ContainerObservation>, RuntimeError> {
        let scope = Scope { owner: self.registry.owner.clone(), group: Some(self.group.clone()) };
        let deadline = tokio::time::Instant::now() + UNLISTED;
        loop {
            let seen = self.runtime().containers(&scope).await?;
            let same = |seen: &ContainerObservation| {
                seen.slot == request.slot && seen.config_hash == request.config_hash
            };
            let found = seen.into_iter().find(same);
            if found.is_some() || tokio::time::Instant::now() >= deadline {
                return Ok(found);
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Gets the volumes, and says from what the container is made.
    async fn request(&self, made: &Making, image: ImageFacts) -> Result<CreateContainer, RuntimeError> {
        let config = &made.record.config;
        let run_as = image.run_as();
        for name in config.volumes() {
            let labels = self.labels();
            self.runtime()
                .ensure_volume(&EnsureVolume { name: name.to_owned(), labels, owner: run_as })
                .await?;
        }
        let (owner, slot, generation) = (&self.registry.owner, made.slot.clone(), made.record.generation);
        let mut labels = config.labels.clone();
        labels.extend(label::for_container(owner, &slot, made.kind, generation, &made.record.config_hash));
        Ok(CreateContainer {
            name: made.name.clone(),
            slot,
            generation,
            config_hash: made.record.config_hash.clone(),
            config: config.finished_for(&image),
            image_id: image.id,
            run_as,
            network: made.network.clone(),
            labels,
        })
    }

    async fn image(&self, made: &Making) -> Result<ImageFacts, RuntimeError> {
        let config = &made.record.config;
        let progress = |progress: PullProgress| self.tell_progress(&made.slot.instance, &progress);
        self.runtime().ensure_image(&config.image, config.pull, &progress).await
    }

    fn tell_progress(&self, instance: &InstanceName, progress: &PullProgress) {
        let (received, total) = (progress.received, progress.total);
        let text = format!("pulling {} of {} MB", received >> 20, total >> 20);
        let mut activities = self.activities.lock().unwrap_or_else(PoisonError::into_inner);
        if activities.insert(instance.clone(), text.clone()).as_ref() != Some(&text) {
            self.registry.events.emit(&self.group, Some(instance), EventKind::Pull { received, total });
        }
    }

    /// Attaches before the start, so that not a byte is missed.
    async fn start(
        &self,
        id: ContainerId,
        mcp: Option<dtma_mcp::ServerHandle>,
    ) -> Result<Effect, RuntimeError> {
        let _turn = self.turn().await;
        let attached = match &mcp {
            Some(_) => Some(self.runtime().attach(&id).await?),
            None => None,
        };
        self.runtime().start(&id).await?;
        let seen = self.runtime().inspect(&id).await?;
        if let (Some(mcp), Some(attached), Some(run)) = (mcp, attached, seen.run()) {
            // A closed owner means that the group is going: nobody will ask for this server.
            let _ = mcp.connect(run, attached, dtma_mcp::Attachment::Fresh).await;
        }
        Ok(Effect::Started(Box::new(seen)))
    }

    async fn stop(
        &self,
        id: ContainerId,
        grace: Duration,
        reason: StopReason,
    ) -> Result<Effect, RuntimeError> {
        tracing::info!(group = %self.group, container = id.short(), ?reason, "stopping");
        match self.runtime().stop(&id, grace).await {
            Err(RuntimeError::NotFound { .. }) => return Ok(Effect::Lost(id)),
            other => other?,
        }
        self.look(id).await
    }

    async fn rename(&self, id: ContainerId, slot: SlotId) -> Result<Effect, RuntimeError> {
        gone(self.runtime().rename(&id, &container_name(&self.registry.owner, &slot)).await)?;
        self.look(id).await
    }

    async fn remove(&self, mcp: Option<InstanceName>, id: ContainerId) -> Result<Effect, RuntimeError> {
        gone(self.runtime().remove(&id).await)?;
        if let Some(instance) = mcp {
            let forgotten = self.registry.backends.store.forget_handshake(&instance, &id).await;
            if let Err(error) = forgotten {
                // It goes with its server at the latest, and no other container will ever be taken for this one.
                tracing::warn!(%instance, %error, "the handshake with a removed container stays in the store");
            }
        }
        Ok(Effect::Lost(id))
    }

    async fn look(&self, id: ContainerId) -> Result<Effect, RuntimeError> {
        match self.runtime().inspect(&id).await {
            Ok(seen) => Ok(Effect::Saw(Box::new(seen))),
            Err(RuntimeError::NotFound { .. }) => Ok(Effect::Lost(id)),
            Err(error) => Err(error),
        }
    }
}

/// A place among creates and starts; given back when dropped.
struct Turn(Option<tokio::sync::OwnedSemaphorePermit>, Option<tokio::sync::OwnedSemaphorePermit>);

impl Drop for Turn {
    fn drop(&mut self) {
        drop((self.0.take(), self.1.take()));
    }
}

/// What was to be removed and is not there is removed.
fn gone(result: Result<(), RuntimeError>) -> Result<(), RuntimeError> {
    match result {
        Err(RuntimeError::NotFound { .. }) => Ok(()),
        other => other,
    }
}
