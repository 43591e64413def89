//! Everything the engine in memory has, and what each call does to it. Synchronous: time and scripts are
//! [`engine`](super::engine)'s business.

use super::clock::Clock;
use super::logbook::{LogReader, Logbook};
use super::ports::Ports;
use super::program::{Idle, Program, Sinks};
use super::shelf::Image;
use bytes::Bytes;
use dtma_core::Timestamp;
use dtma_core::container::{CreateContainer, Launch, LogDriver};
use dtma_core::id::{ContainerId, GroupId, ImageRef, NetworkId, OwnerId};
use dtma_core::image_gc::DiskUsage;
use dtma_core::label;
use dtma_core::observation::{ContainerObservation, ContainerState, NetworkObservation};
use dtma_core::port::runtime::{
    ContainerChange, CreateNetwork, EngineEvent, EnsureVolume, LogQuery, OutputChunk, RuntimeError, Scope,
    VolumeObservation,
};
use dtma_core::spec::NetworkMode;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

/// Bytes that every pull moves.
pub(super) const IMAGE_BYTES: u64 = 1_000_000;
/// Chunks between an attached client and the process before the writer waits.
const PIPE_CHUNKS: usize = 64;
/// Exit code after SIGKILL.
const KILLED: i64 = 137;

type Labels = BTreeMap<String, String>;

pub(super) struct World {
    pub(super) clock: Arc<Mutex<Clock>>,
    pub(super) images: BTreeMap<ImageRef, Image>,
    pub(super) disk: Option<DiskUsage>,
    pub(super) containers: BTreeMap<ContainerId, Container>,
    pub(super) networks: BTreeMap<NetworkId, Network>,
    pub(super) volumes: BTreeMap<String, Labels>,
    /// Names borne by containers of somebody else.
    pub(super) foreign: BTreeSet<String>,
    pub(super) listeners: Vec<(OwnerId, mpsc::UnboundedSender<EngineEvent>)>,
    pub(super) events_broken: bool,
    made: u64,
}

pub(super) struct Container {
    pub(super) request: CreateContainer,
    pub(super) state: ContainerState,
    pub(super) program: Arc<dyn Program>,
    pub(super) run: Option<Run>,
    /// What its last process was begun with, where the shim begins it.
    pub(super) launch: Option<Launch>,
    pub(super) input: mpsc::Sender<Bytes>,
    /// Waits for the process that will read it.
    pub(super) unread: Option<mpsc::Receiver<Bytes>>,
    pub(super) frozen: watch::Sender<bool>,
    pub(super) sinks: Arc<Mutex<Sinks>>,
    /// What its process listens on.
    pub(super) ports: Ports,
}

/// A process under way.
pub(super) struct Run {
    pub(super) started_at: Timestamp,
    pub(super) terminated: CancellationToken,
    pub(super) ended: CancellationToken,
    pub(super) task: tokio::task::AbortHandle,
}

pub(super) struct Network {
    name: String,
    labels: Labels,
    mode: NetworkMode,
}

/// What a client holds of an attachment.
pub(super) struct AttachEnd {
    pub(super) output: mpsc::Receiver<OutputChunk>,
    pub(super) input: mpsc::Sender<Bytes>,
    /// Cancelled when the engine goes away.
    pub(super) cut: CancellationToken,
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let states = self.containers.values().map(|container| (&container.request.name, container.state));
        f.debug_map().entries(states).finish()
    }
}

fn missing(what: impl std::fmt::Display) -> RuntimeError {
    RuntimeError::NotFound { what: what.to_string() }
}

fn in_scope(labels: &Labels, scope: &Scope) -> bool {
    let is = |key, value: &str| labels.get(key).is_some_and(|found| found == value);
    is(label::MANAGED, "true")
        && is(label::OWNER, scope.owner.as_str())
        && scope.group.as_ref().is_none_or(|group| is(label::GROUP, group.as_str()))
}

impl World {
    pub(super) fn new() -> Self {
        Self {
            clock: Arc::new(Mutex::new(Clock::new())),
            images: BTreeMap::new(),
            disk: Some(DiskUsage { total: 1 << 40, free: 1 << 39 }),
            containers: BTreeMap::new(),
            networks: BTreeMap::new(),
            volumes: BTreeMap::new(),
            foreign: BTreeSet::new(),
            listeners: Vec::new(),
            events_broken: false,
            made: 0,
        }
    }

    pub(super) fn tick(&self) -> Timestamp {
        self.clock.lock().expect("no panic while the clock is held").tick()
    }

    fn new_id(&mut self) -> String {
        self.made += 1;
        format!("{:012x}{:052x}", self.made, 0)
    }

    pub(super) fn container(&mut self, id: &ContainerId) -> Result<&mut Container, RuntimeError> {
        self.containers.get_mut(id).ok_or_else(|| missing(format_args!("container {id}")))
    }

    // Seeing

    pub(super) fn observe(&self, scope: &Scope) -> Vec<ContainerObservation> {
        let within = |container: &&Container| in_scope(&container.request.labels, scope);
        let ids = self.containers.iter().filter(|(_, container)| within(container));
        ids.filter_map(|(id, container)| container.observe(id)).collect()
    }

    pub(super) fn inspect(&self, id: &ContainerId) -> Result<ContainerObservation, RuntimeError> {
        let container = self.containers.get(id).and_then(|container| container.observe(id));
        container.ok_or_else(|| missing(format_args!("container {id}")))
    }

    // Containers

    pub(super) fn create(&mut self, request: &CreateContainer) -> Result<ContainerId, RuntimeError> {
        let program = self.program_of(request)?;
        self.check_name(&request.name)?;
        self.check_parts(request)?;
        let id = ContainerId::from(self.new_id());
        let log = match request.config.log {
            LogDriver::None => None,
            LogDriver::Bounded { .. } => Some(Logbook::new(Arc::clone(&self.clock))),
        };
        self.containers.insert(id.clone(), Container::new(request.clone(), program, log));
        Ok(id)
    }

    fn program_of(&self, request: &CreateContainer) -> Result<Arc<dyn Program>, RuntimeError> {
        let by_id = |image: &&Image| image.local && image.facts.id == request.image.id;
        let found = self.images.values().find(by_id).map(|image| Arc::clone(&image.program));
        found.ok_or_else(|| RuntimeError::ImageMissing {
            image: request.config.image.clone(),
            problem: format!("no image with the id {}", request.image.id),
        })
    }

    fn check_name(&self, name: &str) -> Result<(), RuntimeError> {
        let taken = self.foreign.contains(name) || self.containers.values().any(|c| c.request.name == name);
        if taken { Err(RuntimeError::NameTaken { name: name.to_owned() }) } else { Ok(()) }
    }

    fn check_parts(&self, request: &CreateContainer) -> Result<(), RuntimeError> {
        if let Some(network) = wanted_network(request)
            && !self.networks.contains_key(network)
        {
            return Err(missing(format_args!("network {network}")));
        }
        match request.config.volumes().find(|name| !self.volumes.contains_key(*name)) {
            Some(name) => Err(missing(format_args!("volume {name}"))),
            None => Ok(()),
        }
    }

    /// What runs a command in this container, and what the container was made from.
    pub(super) fn program_in(
        &mut self,
        id: &ContainerId,
    ) -> Result<(Arc<dyn Program>, CreateContainer), RuntimeError> {
        let container = self.container(id)?;
        match container.state {
            ContainerState::Running { .. } => Ok((Arc::clone(&container.program), container.request.clone())),
            ContainerState::Created
            | ContainerState::Exited { .. }
            | ContainerState::Paused { .. }
            | ContainerState::Dead => {
                let problem = "the container is not running".to_owned();
                Err(RuntimeError::Conflict { call: "execute", problem })
            }
        }
    }

    /// What a start needs to know, when there is something to start.
    pub(super) fn startable(&mut self, id: &ContainerId) -> Result<Option<Timestamp>, RuntimeError> {
        let refuse = |problem: &str| {
            Err(RuntimeError::Conflict { call: "start container", problem: problem.to_owned() })
        };
        match self.container(id)?.state {
            ContainerState::Created | ContainerState::Exited { .. } => Ok(Some(self.tick())),
            ContainerState::Running { .. } => Ok(None),
            ContainerState::Paused { .. } => refuse("the container is paused"),
            ContainerState::Dead => refuse("the container is marked for removal"),
        }
    }

    pub(super) fn started(&mut self, id: &ContainerId, run: Run) -> Result<(), RuntimeError> {
        let container = self.container(id)?;
        container.state = ContainerState::Running { started_at: run.started_at };
        container.run = Some(run);
        self.tell(id, ContainerChange::Started);
        Ok(())
    }

    /// The process of this run is over. A run that is over already changes nothing.
    pub(super) fn ended(&mut self, id: &ContainerId, started_at: Timestamp, code: i64, oom: bool) {
        let finished_at = self.tick();
        let Some(container) = self.containers.get_mut(id) else { return };
        let Some(run) = container.run.take_if(|run| run.started_at == started_at) else { return };
        container.state = ContainerState::Exited { started_at, finished_at, code, oom };
        container.close();
        run.task.abort();
        run.ended.cancel();
        if oom {
            self.tell(id, ContainerChange::OutOfMemory);
        }
        self.tell(id, ContainerChange::Died);
    }

    pub(super) fn end_now(&mut self, id: &ContainerId, code: i64, oom: bool) {
        let run = self.containers.get(id).and_then(|container| container.run.as_ref());
        if let Some(started_at) = run.map(|run| run.started_at) {
            self.ended(id, started_at, code, oom);
        }
    }

    pub(super) fn kill(&mut self, id: &ContainerId) -> Result<(), RuntimeError> {
        self.container(id)?;
        self.end_now(id, KILLED, false);
        Ok(())
    }

    pub(super) fn rename(&mut self, id: &ContainerId, name: &str) -> Result<(), RuntimeError> {
        if self.container(id)?.request.name == name {
            return Ok(());
        }
        self.check_name(name)?;
        name.clone_into(&mut self.container(id)?.request.name);
        self.tell(id, ContainerChange::Other);
        Ok(())
    }

    pub(super) fn remove(&mut self, id: &ContainerId) -> Result<(), RuntimeError> {
        self.kill(id)?;
        self.tell(id, ContainerChange::Destroyed);
        self.containers.remove(id);
        Ok(())
    }

    pub(super) fn pause(&mut self, id: &ContainerId) -> Result<(), RuntimeError> {
        let problem = "the container is not running".to_owned();
        let still = RuntimeError::Conflict { call: "pause container", problem };
        match self.container(id)?.state {
            ContainerState::Running { .. } | ContainerState::Paused { .. } => self.set_paused(id, true),
            ContainerState::Created | ContainerState::Exited { .. } | ContainerState::Dead => {
                return Err(still);
            }
        }
        Ok(())
    }

    pub(super) fn unpause(&mut self, id: &ContainerId) -> Result<(), RuntimeError> {
        self.container(id)?;
        self.set_paused(id, false);
        Ok(())
    }

    /// Freezes a running container or thaws it. Its program reads nothing meanwhile.
    pub(super) fn set_paused(&mut self, id: &ContainerId, paused: bool) {
        let Some(container) = self.containers.get_mut(id) else { return };
        let Some(run) = &container.run else { return };
        let started_at = run.started_at;
        container.frozen.send_replace(paused);
        container.state = if paused {
            ContainerState::Paused { started_at }
        } else {
            ContainerState::Running { started_at }
        };
        self.tell(id, ContainerChange::Other);
    }

    pub(super) fn attach(&mut self, id: &ContainerId) -> Result<AttachEnd, RuntimeError> {
        let container = self.container(id)?;
        let (sink, output) = mpsc::channel(PIPE_CHUNKS);
        let cut = CancellationToken::new();
        let mut sinks = container.sinks.lock().expect("no panic while the sinks are held");
        sinks.attached.push((sink, cut.clone()));
        drop(sinks);
        Ok(AttachEnd { output, input: container.input.clone(), cut })
    }

    pub(super) fn cut_attachments(&mut self) {
        for container in self.containers.values() {
            let mut sinks = container.sinks.lock().expect("no panic while the sinks are held");
            sinks.attached.drain(..).for_each(|(_, cut)| cut.cancel());
        }
    }

    pub(super) fn read_log(&mut self, id: &ContainerId, query: &LogQuery) -> Result<LogReader, RuntimeError> {
        let container = self.container(id)?;
        let sinks = container.sinks.lock().expect("no panic while the sinks are held");
        let log = sinks.log.as_ref().ok_or_else(|| RuntimeError::Refused {
            call: "read logs",
            problem: "configured logging driver does not support reading".to_owned(),
        })?;
        Ok(log.reader(query))
    }

    // Networks and volumes

    pub(super) fn create_network(&mut self, request: &CreateNetwork) -> Result<NetworkId, RuntimeError> {
        if let Some((id, found)) = self.networks.iter().find(|(_, network)| network.name == request.name) {
            let ours = found.labels == request.labels;
            let taken = RuntimeError::NameTaken { name: request.name.clone() };
            return if ours { Ok(id.clone()) } else { Err(taken) };
        }
        let id = NetworkId::from(self.new_id());
        let (name, labels, mode) = (request.name.clone(), request.labels.clone(), request.mode);
        self.networks.insert(id.clone(), Network { name, labels, mode });
        Ok(id)
    }

    pub(super) fn networks(&self, scope: &Scope) -> Vec<NetworkObservation> {
        let ours = self.networks.iter().filter(|(_, network)| in_scope(&network.labels, scope));
        ours.map(|(id, network)| NetworkObservation {
            id: id.clone(),
            name: network.name.clone(),
            mode: network.mode,
        })
        .collect()
    }

    pub(super) fn remove_network(&mut self, id: &NetworkId) -> Result<(), RuntimeError> {
        let joined = |c: &Container| c.run.is_some() && wanted_network(&c.request) == Some(id);
        if self.containers.values().any(joined) {
            let problem = "it has active endpoints".to_owned();
            return Err(RuntimeError::Conflict { call: "remove network", problem });
        }
        let gone = self.networks.remove(id);
        gone.map(drop).ok_or_else(|| missing(format_args!("network {id}")))
    }

    pub(super) fn ensure_volume(&mut self, request: &EnsureVolume) -> Result<(), RuntimeError> {
        let found = self.volumes.entry(request.name.clone()).or_insert_with(|| request.labels.clone());
        let taken = RuntimeError::NameTaken { name: request.name.clone() };
        if *found == request.labels { Ok(()) } else { Err(taken) }
    }

    pub(super) fn volumes(&self, scope: &Scope) -> Vec<VolumeObservation> {
        let ours = self.volumes.iter().filter(|(_, labels)| in_scope(labels, scope));
        ours.map(|(name, labels)| VolumeObservation { name: name.clone(), labels: labels.clone() }).collect()
    }

    pub(super) fn remove_volume(&mut self, name: &str) -> Result<(), RuntimeError> {
        let used = |container: &Container| container.request.config.volumes().any(|used| used == name);
        if self.containers.values().any(used) {
            let problem = "it is in use".to_owned();
            return Err(RuntimeError::Conflict { call: "remove volume", problem });
        }
        let gone = self.volumes.remove(name);
        gone.map(drop).ok_or_else(|| missing(format_args!("volume {name}")))
    }

    // Events

    pub(super) fn listen(&mut self, owner: &OwnerId) -> mpsc::UnboundedReceiver<EngineEvent> {
        let (listener, events) = mpsc::unbounded_channel();
        if !self.events_broken {
            let _ = listener.send(EngineEvent::Resync);
        }
        self.listeners.push((owner.clone(), listener));
        events
    }

    pub(super) fn mend_events(&mut self) {
        self.events_broken = false;
        self.listeners.retain(|(_, listener)| listener.send(EngineEvent::Resync).is_ok());
    }

    fn tell(&mut self, id: &ContainerId, change: ContainerChange) {
        let Some(container) = self.containers.get(id) else { return };
        let Some((owner, group)) = container.owner_and_group() else { return };
        if !self.events_broken {
            let event = EngineEvent::Container { id: id.clone(), group, change };
            let deliver = |(of, listener): &(OwnerId, mpsc::UnboundedSender<EngineEvent>)| {
                *of != owner || listener.send(event.clone()).is_ok()
            };
            self.listeners.retain(deliver);
        }
    }
}

pub(super) fn wanted_network(request: &CreateContainer) -> Option<&NetworkId> {
    match request.config.network {
        NetworkMode::None => None,
        NetworkMode::Group | NetworkMode::Open => request.network.as_ref(),
    }
}

impl Container {
    fn new(request: CreateContainer, program: Arc<dyn Program>, log: Option<Logbook>) -> Self {
        let (input, unread) = mpsc::channel(PIPE_CHUNKS);
        Self {
            request,
            state: ContainerState::Created,
            program,
            run: None,
            launch: None,
            input,
            unread: Some(unread),
            frozen: watch::Sender::new(false),
            sinks: Arc::new(Mutex::new(Sinks { attached: Vec::new(), log })),
            ports: Ports::default(),
        }
    }

    /// Everybody who is attached sees the end, and the next run gets streams of its own.
    fn close(&mut self) {
        let mut sinks = self.sinks.lock().expect("no panic while the sinks are held");
        sinks.attached.clear();
        if let Some(log) = &sinks.log {
            log.close();
        }
        drop(sinks);
        let (input, unread) = mpsc::channel(PIPE_CHUNKS);
        self.frozen.send_replace(false);
        (self.input, self.unread, self.ports) = (input, Some(unread), Ports::default());
    }

    fn has_shim(&self) -> bool {
        self.request.shim.is_some() || self.request.config.shim
    }

    pub(super) fn begin(&mut self, launch: &Launch) {
        self.launch = Some(launch.clone()).filter(|_| self.has_shim());
    }

    /// What it was made from, as its process sees it.
    pub(super) fn process(&self) -> CreateContainer {
        let mut made = self.request.clone();
        if let Some(launch) = &self.launch {
            made.config.environment.clone_from(&launch.environment);
            if let Some(argv) = &launch.argv {
                (made.config.command, made.config.args) = (Some(argv.clone()), None);
            }
        }
        made
    }

    fn identity(&self) -> Option<label::Identity> {
        let (shim, with) = label::shim(self.has_shim());
        let label = |key: &str| match key == shim {
            true => Some(with.as_str()),
            false => self.request.labels.get(key).map(String::as_str),
        };
        let identity = label::identity(label)?;
        identity.may_bear(&self.request.name).then_some(identity)
    }

    fn owner_and_group(&self) -> Option<(OwnerId, GroupId)> {
        let identity = self.identity()?;
        Some((identity.owner, identity.slot.group))
    }

    pub(super) fn observe(&self, id: &ContainerId) -> Option<ContainerObservation> {
        let identity = self.identity()?;
        Some(ContainerObservation {
            id: id.clone(),
            name: self.request.name.clone(),
            slot: identity.slot,
            generation: self.launch.as_ref().map_or(identity.generation, |launch| launch.generation),
            made_from: identity.config_hash.clone(),
            config_hash: self
                .launch
                .as_ref()
                .map_or(identity.config_hash, |launch| launch.config_hash.clone()),
            shape: identity.shape,
            in_doubt: false,
            image_id: self.request.image.id.clone(),
            state: self.state,
            shim: self.has_shim(),
            joined: self
                .run
                .as_ref()
                .and_then(|_| wanted_network(&self.request))
                .map(|_| self.request.config.network),
        })
    }
}

/// What an image contains when nobody said.
pub(super) fn idle() -> Arc<dyn Program> {
    Arc::new(Idle)
}
