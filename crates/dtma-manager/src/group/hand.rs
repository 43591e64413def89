//! The hand that acts: engine calls of one action, and what they saw. It knows nothing of the plan.

use super::Activities;
use super::begin::Effect;
use super::reach::Reach;
use super::ways::WantedWays;
use crate::event::EventKind;
use crate::registry::Registry;
use dtma_core::container::{CreateContainer, ImageFacts, Launch};
use dtma_core::hash::shape;
use dtma_core::id::{
    ContainerId, GroupId, InstanceName, NetworkId, RunKey, SlotId, container_name, network_name,
};
use dtma_core::label;
use dtma_core::observation::{ContainerObservation, ContainerState, NetworkObservation};
use dtma_core::plan::StopReason;
use dtma_core::port::RuntimeError;
use dtma_core::port::runtime::{CreateNetwork, EnsureVolume, PullProgress, Scope};
use dtma_core::record::ServerRecord;
use dtma_core::spec::{NetworkMode, ServerKind};
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// How long the engine may take to list a container whose name it holds.
const UNLISTED: Duration = Duration::from_secs(1);
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// What a container is made from.
pub(super) struct Making {
    pub(super) slot: SlotId,
    pub(super) name: String,
    pub(super) record: ServerRecord,
    pub(super) kind: ServerKind,
    pub(super) network: Option<NetworkId>,
}

/// Everything an action needs, its own copy.
pub(super) struct Hand {
    pub(super) registry: Arc<Registry>,
    pub(super) group: GroupId,
    pub(super) permits: Arc<Semaphore>,
    pub(super) activities: Activities,
    pub(super) pulls: CancellationToken,
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

    pub(super) async fn ensure_network(&self, mode: NetworkMode) -> Result<Effect, RuntimeError> {
        let name = network_name(&self.registry.owner, &self.group, mode);
        let (group, labels) = (self.group.clone(), self.labels());
        let request = CreateNetwork { name: name.clone(), group, mode, labels };
        let id = self.runtime().create_network(&request).await?;
        Ok(Effect::Network(NetworkObservation { id, name, mode }))
    }

    pub(super) async fn remove_network(&self, id: NetworkId) -> Result<Effect, RuntimeError> {
        gone(self.runtime().remove_network(&id).await)?;
        Ok(Effect::NetworkLost(id))
    }

    pub(super) async fn remove_volume(&self, name: String) -> Result<Effect, RuntimeError> {
        gone(self.runtime().remove_volume(&name).await)?;
        Ok(Effect::VolumeLost(name))
    }

    pub(super) async fn create(&self, made: Making) -> Result<Effect, RuntimeError> {
        let _making = self.registry.making.read().await;
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
                seen.slot == request.slot && seen.made_from == request.config_hash
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
        labels.extend([label::shape(shape(config).as_ref())]);
        Ok(CreateContainer {
            name: made.name.clone(),
            slot,
            generation,
            config_hash: made.record.config_hash.clone(),
            config: config.finished_for(&image),
            image,
            run_as,
            network: made.network.clone(),
            labels,
            shim: None,
        })
    }

    async fn image(&self, made: &Making) -> Result<ImageFacts, RuntimeError> {
        let config = &made.record.config;
        let progress = |progress: PullProgress| self.tell_progress(&made.slot.instance, &progress);
        self.runtime().ensure_image(&config.image, config.pull, config.platform.as_ref(), &progress).await
    }

    fn tell_progress(&self, instance: &InstanceName, progress: &PullProgress) {
        let (received, total) = (progress.received, progress.total);
        let text = format!("pulling {} of {} MB", received >> 20, total >> 20);
        let mut activities = self.activities.lock().unwrap_or_else(PoisonError::into_inner);
        if activities.insert(instance.clone(), text.clone()).as_ref() != Some(&text) {
            self.registry.events.emit(&self.group, Some(instance), EventKind::Pull { received, total });
        }
    }

    /// Attaches before the start, so that not a byte is missed, and serves what its process will find inside. A start
    /// that succeeds without a run after `before`, the last one that was seen, is a failure: the next pass would begin it
    /// again at once, and for ever.
    pub(super) async fn start(
        &self,
        id: ContainerId,
        launch: Launch,
        before: Option<RunKey>,
        reach: Option<Reach>,
        ways: Option<WantedWays>,
    ) -> Result<Effect, RuntimeError> {
        let _turn = self.turn().await;
        let prepared = match reach {
            Some(reach) => Some(reach.prepare(self.runtime(), &id).await?),
            None => None,
        };
        let ways = match ways {
            Some(wanted) => Some(wanted.open(&self.registry, &id).await?),
            None => None,
        };
        self.runtime().start(&id, &launch).await?;
        let seen = self.runtime().inspect(&id).await?;
        if !seen.is_live() && seen.run() == before {
            let problem = "it was started, and no run of it is seen".to_owned();
            return Err(RuntimeError::Broken { call: "start container", problem });
        }
        if let (Some(prepared), Some(run)) = (prepared, seen.run()) {
            prepared.begin(run).await;
        }
        Ok(Effect::Started(Box::new(seen), ways))
    }

    pub(super) async fn stop(
        &self,
        id: ContainerId,
        grace: Duration,
        reason: StopReason,
    ) -> Result<Effect, RuntimeError> {
        tracing::info!(group = %self.group, container = id.short(), ?reason, "stopping");
        let ended = match reason {
            StopReason::Restart | StopReason::Renewed { .. } => self.runtime().end_process(&id, grace).await,
            StopReason::Asked
            | StopReason::Replaced { .. }
            | StopReason::Surplus
            | StopReason::Removal
            | StopReason::StartTimeout
            | StopReason::Rest => self.runtime().stop(&id, grace).await,
        };
        match ended {
            Err(RuntimeError::NotFound { .. }) => return Ok(Effect::Lost(id)),
            other => other?,
        }
        self.look(id).await
    }

    pub(super) async fn pause(&self, id: ContainerId) -> Result<Effect, RuntimeError> {
        let paused = gone(self.runtime().pause(&id).await);
        let seen = self.look(id).await?;
        let runs = matches!(&seen, Effect::Saw(seen) if matches!(seen.state, ContainerState::Running { .. }));
        // One that ended meanwhile needs not be frozen.
        if runs { paused.map(|()| seen) } else { Ok(seen) }
    }

    pub(super) async fn unpause(&self, id: ContainerId) -> Result<Effect, RuntimeError> {
        gone(self.runtime().unpause(&id).await)?;
        self.look(id).await
    }

    pub(super) async fn rename(&self, id: ContainerId, slot: SlotId) -> Result<Effect, RuntimeError> {
        gone(self.runtime().rename(&id, &container_name(&self.registry.owner, &slot)).await)?;
        self.look(id).await
    }

    pub(super) async fn remove(
        &self,
        mcp: Option<InstanceName>,
        id: ContainerId,
    ) -> Result<Effect, RuntimeError> {
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
