//! The engine as the manager sees it: containers with a shim are looked at, spoken to and restarted through it, all
//! others as before.

use crate::attachment::attach;
use crate::error::OpenError;
use crate::key::{Key, hex};
use crate::overlay::overlay;
use crate::places::Places;
use crate::session::{Check, Known, Session, Tell};
use crate::versions::Versions;
use crate::{launch, peer, request};
use async_trait::async_trait;
use dtma_core::container::{CreateContainer, ImageFacts, Launch};
use dtma_core::id::{ContainerId, GroupId, ImageRef, NetworkId, OwnerId};
use dtma_core::observation::{ContainerObservation, ContainerState, NetworkObservation};
use dtma_core::platform::Platform;
use dtma_core::port::ContainerRuntime;
use dtma_core::port::runtime::{
    Attached, ContainerChange, CreateNetwork, EngineEvent, EngineInfo, EnsureVolume, ExecRequest, ExecResult,
    LogLine, LogQuery, OnProgress, RuntimeError, Scope, VolumeObservation,
};
use dtma_core::shim::ShimMount;
use dtma_core::spec::PullPolicy;
use dtma_wire::{Child, Phase};
use futures_util::StreamExt;
use futures_util::future::{join_all, try_join_all};
use futures_util::stream::{self, BoxStream};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::broadcast;
use tokio::time::Instant;
use tokio_stream::wrappers::BroadcastStream;
use tokio_util::task::TaskTracker;

/// How long a shim that runs may take to be heard after the daemon began to listen, before a look goes on without it.
const FIRST_WORD: Duration = Duration::from_secs(2);
/// How long a shim may take to be heard, and to start its server, when that is waited for.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a connection to a port inside may take.
const CONNECT: Duration = Duration::from_secs(5);
/// How long a shim stays after its server's end, so that the next run needs no new container.
const LINGER: Duration = Duration::from_secs(60);
/// How long a server may outlive the grace that it was given to end by itself.
const AFTER_GRACE: Duration = Duration::from_secs(10);
/// Changes that may wait for whoever watches; who is slower has to look at everything.
const CHANGES: usize = 1024;

/// Where shims and their sockets are.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Whose containers they are.
    pub owner: OwnerId,
    /// Keeps the program and the installation's secret; must allow programs to be executed.
    pub state_dir: PathBuf,
    /// Keeps the sockets; may be empty after a boot.
    pub runtime_dir: PathBuf,
}

/// A [`ContainerRuntime`] that goes through the shim of a container wherever it has one.
pub struct ShimRuntime {
    inner: Arc<dyn ContainerRuntime>,
    owner: OwnerId,
    places: Arc<Places>,
    versions: Versions,
    check: Check,
    table: Arc<Mutex<Table>>,
    changes: broadcast::Sender<EngineEvent>,
    tasks: TaskTracker,
}

#[derive(Default)]
struct Table {
    sessions: BTreeMap<Key, Arc<Session>>,
    keys: BTreeMap<ContainerId, Key>,
    /// Who a session's container is, for telling of it.
    named: BTreeMap<Key, (ContainerId, GroupId)>,
}

impl ShimRuntime {
    /// Makes the places ready. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// A directory that cannot be used.
    pub fn open(settings: &Settings, inner: Arc<dyn ContainerRuntime>) -> Result<Self, OpenError> {
        let versions = Versions::open(&settings.state_dir)?;
        let places = Arc::new(Places::open(&settings.runtime_dir, &settings.state_dir, &settings.owner)?);
        Ok(Self {
            inner,
            owner: settings.owner.clone(),
            places,
            versions,
            check: peer::check,
            table: Arc::default(),
            changes: broadcast::Sender::new(CHANGES),
            tasks: TaskTracker::new(),
        })
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        lock(&self.table)
    }

    // --- sessions ---

    fn key_of(&self, seen: &ContainerObservation) -> Key {
        Key::new(&self.owner, &seen.slot, seen.generation, &seen.config_hash)
    }

    /// The session of this container, listening; a new one when there is none, or its socket was cleared away.
    fn session(&self, key: &Key) -> io::Result<Arc<Session>> {
        let mut table = self.table();
        if let Some(known) = table.sessions.get(key) {
            if self.places.is_there(key) {
                return Ok(Arc::clone(known));
            }
            known.close();
        }
        let listener = self.places.listen(key)?;
        let session = Session::new(key.clone(), self.places.nonce(key), self.check, self.teller(key));
        self.tasks.spawn(Arc::clone(&session).run(listener, Arc::clone(&self.places)));
        table.sessions.insert(key.clone(), Arc::clone(&session));
        Ok(session)
    }

    fn teller(&self, key: &Key) -> Tell {
        let (key, changes, table) = (key.clone(), self.changes.clone(), Arc::downgrade(&self.table));
        Box::new(move |change: ContainerChange| {
            let named = table.upgrade().and_then(|table| lock(&table).named.get(&key).cloned());
            if let Some((id, group)) = named {
                // Nobody watches: nobody needs to know.
                let _ = changes.send(EngineEvent::Container { id, group, change });
            }
        })
    }

    /// The session of a container that is known to have a shim.
    fn known_session(&self, id: &ContainerId) -> Result<Option<Arc<Session>>, RuntimeError> {
        let Some(key) = self.table().keys.get(id).cloned() else { return Ok(None) };
        self.session(&key).map(Some).map_err(|error| broken("listen for the shim", &error))
    }

    /// The same, after a look at a container of which nothing is known yet.
    async fn session_of(&self, id: &ContainerId) -> Result<Option<Arc<Session>>, RuntimeError> {
        if let Some(known) = self.known_session(id)? {
            return Ok(Some(known));
        }
        let seen = self.inner.inspect(id).await?;
        if !seen.shim {
            return Ok(None);
        }
        self.meet(&seen).map(Some).map_err(|error| broken("listen for the shim", &error))
    }

    /// Remembers whose session it is.
    fn meet(&self, seen: &ContainerObservation) -> io::Result<Arc<Session>> {
        let key = self.key_of(seen);
        let session = self.session(&key)?;
        let mut table = self.table();
        table.keys.insert(seen.id.clone(), key.clone());
        table.named.insert(key, (seen.id.clone(), seen.slot.group.clone()));
        Ok(session)
    }

    fn forget(&self, id: &ContainerId) {
        let mut table = self.table();
        let Some(key) = table.keys.remove(id) else { return };
        // Another container of the same configuration may have come after it already.
        if table.named.get(&key).is_none_or(|(named, _)| named != id) {
            return;
        }
        table.named.remove(&key);
        let session = table.sessions.remove(&key);
        drop(table);
        if let Some(session) = session {
            session.close();
        }
        if let Err(error) = self.places.remove(&key) {
            tracing::warn!(container = %key, %error, "its socket stays behind");
        }
    }

    /// Removes the directories of containers that are not there any more, and shims that none has.
    fn clear_away(&self, seen: &[ContainerObservation]) {
        let theirs: BTreeSet<Key> = seen.iter().map(|seen| self.key_of(seen)).collect();
        let table = self.table();
        let idle = |key: &Key| !theirs.contains(key) && !table.sessions.contains_key(key);
        for key in self.places.keys().into_iter().filter(idle) {
            if let Err(error) = self.places.remove(&key) {
                tracing::warn!(container = %key, %error, "the socket of a container that is gone stays behind");
            }
        }
        let shims = seen.iter().filter(|seen| seen.shim).map(|seen| self.key_of(seen)).collect();
        if let Err(error) = self.versions.clear_away(&shims, |key| !idle(key)) {
            tracing::warn!(%error, "shims that no container has any more stay behind");
        }
    }

    /// What the container shows, with what its shim says; a shim that should have been heard is waited for.
    async fn corrected(&self, seen: ContainerObservation) -> ContainerObservation {
        if !seen.shim {
            return seen;
        }
        let session = match self.meet(&seen) {
            Ok(session) => session,
            Err(error) => {
                tracing::warn!(container = seen.name, %error, "its shim cannot be heard");
                return seen;
            }
        };
        match seen.state {
            ContainerState::Running { .. } => {
                let until = session.since() + FIRST_WORD;
                let heard = session.known();
                let _ =
                    tokio::time::timeout_at(until, until_known(heard, |known| known.child.is_some())).await;
            }
            ContainerState::Exited { .. } | ContainerState::Dead => session.died(),
            ContainerState::Created | ContainerState::Paused { .. } => {}
        }
        let known = session.known().borrow().clone();
        let seen = overlay(seen, known.child.as_ref());
        // One that was turned away will not be heard: then what the engine knows has to do.
        ContainerObservation { in_doubt: seen.in_doubt && known.refused.is_none(), ..seen }
    }

    // --- the server ---

    /// Begins the container, and waits until its shim is there.
    async fn begin(&self, id: &ContainerId, session: &Session) -> Result<(), RuntimeError> {
        let mut known = session.known();
        if !known.borrow().connected {
            // What its server is begun with is not the engine's business.
            self.inner.start(id, &Launch::default()).await?;
        }
        until(&mut known, "hear the shim", |known| known.connected).await
    }

    /// Begins a run in a container whose shim is there.
    async fn spawn(&self, session: &Session, launch: &Launch) -> Result<(), RuntimeError> {
        let mut known = session.known();
        if let Some(running) = known.borrow().child.as_ref().filter(|child| runs(Some(child))) {
            return launch::is_begun(running, launch);
        }
        let run = session.spawn(launch, LINGER).map_err(|error| broken("start the server", &error))?;
        let begun = |known: &Known| {
            known.child.as_ref().is_some_and(|child| child.run >= run && child.phase != Phase::Idle)
        };
        until(&mut known, "start the server", begun).await?;
        let child = known.borrow().child.clone();
        match child.map(|child| child.phase) {
            Some(Phase::Failed { text, .. }) => {
                Err(RuntimeError::Refused { call: "start container", problem: text })
            }
            _ => Ok(()),
        }
    }

    async fn connect(&self, session: &Session, port: u16) -> Result<TcpStream, RuntimeError> {
        let closed = |error: io::Error| RuntimeError::PortClosed { port, problem: error.to_string() };
        let answer = session.connect(port).map_err(closed)?;
        match tokio::time::timeout(CONNECT, answer).await {
            Ok(Ok(answer)) => answer.and_then(request::stream).map_err(closed),
            Ok(Err(_)) => Err(closed(io::ErrorKind::NotConnected.into())),
            Err(_) => Err(RuntimeError::Timeout { call: "connect to a port inside", after: CONNECT }),
        }
    }

    async fn listen_at(&self, session: &Session, port: u16) -> Result<TcpListener, RuntimeError> {
        const CALL: &str = "listen inside";
        let answer = session.listen(port).map_err(|error| broken(CALL, &error))?;
        let refused =
            |error: io::Error| RuntimeError::Refused { call: CALL, problem: format!("port {port}: {error}") };
        match tokio::time::timeout(CONNECT, answer).await {
            Ok(Ok(answer)) => answer.and_then(request::listener).map_err(refused),
            Ok(Err(_)) => Err(broken(CALL, &io::ErrorKind::NotConnected.into())),
            Err(_) => Err(RuntimeError::Timeout { call: CALL, after: CONNECT }),
        }
    }

    /// What this container needs besides its own configuration.
    fn mount(&self, request: &CreateContainer, key: &Key) -> Result<ShimMount, RuntimeError> {
        let refused = |problem| RuntimeError::Refused { call: "create container", problem };
        let image = &request.image;
        if image.platform.as_ref().is_some_and(|platform| !platform.is_here()) {
            return Err(refused(format!(
                "image {} is for another kind of machine, on which the shim cannot run: set `shim: false`",
                request.config.image
            )));
        }
        let argv = request.config.argv(image);
        if argv.is_empty() {
            let image = &request.config.image;
            return Err(refused(format!("image {image} has no command: say one in `command`")));
        }
        launch::fits("create container", &request.launch())?;
        let nonce = hex(&self.places.nonce(key));
        Ok(ShimMount { bin_dir: self.versions.present(), run_dir: self.places.dir(key), nonce, argv })
    }
}

fn lock(table: &Mutex<Table>) -> MutexGuard<'_, Table> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

fn runs(child: Option<&Child>) -> bool {
    matches!(child, Some(Child { phase: Phase::Running { .. }, .. }))
}

fn broken(call: &'static str, error: &io::Error) -> RuntimeError {
    RuntimeError::Broken { call, problem: error.to_string() }
}

async fn until_known(mut known: tokio::sync::watch::Receiver<Known>, holds: impl Fn(&Known) -> bool) {
    // Its sender is in the session, which is held by whoever waits.
    let _ = known.wait_for(|known| holds(known) || known.refused.is_some()).await;
}

/// Waits until this is known of the shim.
async fn until(
    known: &mut tokio::sync::watch::Receiver<Known>,
    call: &'static str,
    holds: impl Fn(&Known) -> bool,
) -> Result<(), RuntimeError> {
    let wait = known.wait_for(|known| holds(known) || known.refused.is_some());
    let found = tokio::time::timeout(PATIENCE, wait).await;
    let found = found.map_err(|_| RuntimeError::Timeout { call, after: PATIENCE })?;
    match found.ok().and_then(|known| known.refused.clone()) {
        Some(problem) => Err(RuntimeError::Refused { call, problem: problem.to_string() }),
        None => Ok(()),
    }
}

#[async_trait]
impl ContainerRuntime for ShimRuntime {
    async fn info(&self) -> Result<EngineInfo, RuntimeError> {
        self.inner.info().await
    }

    async fn containers(&self, scope: &Scope) -> Result<Vec<ContainerObservation>, RuntimeError> {
        let seen = self.inner.containers(scope).await?;
        if scope.group.is_none() {
            self.clear_away(&seen);
        }
        Ok(join_all(seen.into_iter().map(|seen| self.corrected(seen))).await)
    }

    async fn inspect(&self, id: &ContainerId) -> Result<ContainerObservation, RuntimeError> {
        Ok(self.corrected(self.inner.inspect(id).await?).await)
    }

    async fn ensure_image(
        &self,
        image: &ImageRef,
        policy: PullPolicy,
        platform: Option<&Platform>,
        progress: OnProgress<'_>,
    ) -> Result<ImageFacts, RuntimeError> {
        self.inner.ensure_image(image, policy, platform, progress).await
    }

    async fn create(&self, request: &CreateContainer) -> Result<ContainerId, RuntimeError> {
        if !request.config.shim {
            return self.inner.create(request).await;
        }
        let key = Key::new(&self.owner, &request.slot, request.generation, &request.config_hash);
        let shim = Some(self.mount(request, &key)?);
        self.session(&key).map_err(|error| broken("listen for the shim", &error))?;
        self.versions.note(&key).map_err(|error| broken("note the shim's version", &error))?;
        let id = self.inner.create(&CreateContainer { shim, ..request.clone() }).await?;
        let mut table = self.table();
        table.keys.insert(id.clone(), key.clone());
        table.named.insert(key, (id.clone(), request.slot.group.clone()));
        Ok(id)
    }

    /// Through the shim when that is there: the container runs on, and only the server begins anew.
    async fn start(&self, id: &ContainerId, launch: &Launch) -> Result<(), RuntimeError> {
        let Some(session) = self.session_of(id).await? else { return self.inner.start(id, launch).await };
        launch::fits("start container", launch)?;
        self.begin(id, &session).await?;
        self.spawn(&session, launch).await
    }

    async fn stop(&self, id: &ContainerId, grace: Duration) -> Result<(), RuntimeError> {
        self.inner.stop(id, grace).await?;
        if let Some(session) = self.known_session(id)? {
            session.died();
        }
        Ok(())
    }

    async fn end_process(&self, id: &ContainerId, grace: Duration) -> Result<(), RuntimeError> {
        let session = self.session_of(id).await?.filter(|session| session.known().borrow().connected);
        let Some(session) = session else { return self.stop(id, grace).await };
        // A shim that is frozen hears nothing.
        self.inner.unpause(id).await?;
        session.stop(grace).map_err(|error| broken("stop the server", &error))?;
        let over = until_known(session.known(), |known| !runs(known.child.as_ref()) || !known.connected);
        let after = grace + AFTER_GRACE;
        tokio::time::timeout(after, over)
            .await
            .map_err(|_| RuntimeError::Timeout { call: "stop the server", after })
    }

    async fn kill(&self, id: &ContainerId) -> Result<(), RuntimeError> {
        self.inner.kill(id).await
    }

    async fn pause(&self, id: &ContainerId) -> Result<(), RuntimeError> {
        self.inner.pause(id).await
    }

    /// One that was frozen when this daemon began to listen is heard only now.
    async fn unpause(&self, id: &ContainerId) -> Result<(), RuntimeError> {
        self.inner.unpause(id).await?;
        let heard = self.known_session(id)?.map(|session| session.known());
        if let Some(heard) = heard {
            let heard = until_known(heard, |known| known.child.is_some());
            let _ = tokio::time::timeout(FIRST_WORD, heard).await;
        }
        Ok(())
    }

    async fn rename(&self, id: &ContainerId, new_name: &str) -> Result<(), RuntimeError> {
        self.inner.rename(id, new_name).await
    }

    async fn remove(&self, id: &ContainerId) -> Result<(), RuntimeError> {
        let removed = self.inner.remove(id).await;
        if matches!(removed, Ok(()) | Err(RuntimeError::NotFound { .. })) {
            self.forget(id);
        }
        removed
    }

    async fn attach(&self, id: &ContainerId) -> Result<Attached, RuntimeError> {
        let Some(session) = self.session_of(id).await? else { return self.inner.attach(id).await };
        if session.known().borrow().child.is_none() {
            // One that runs is heard in a moment; of one that does not nothing will be heard.
            let until = session.since().max(Instant::now() - FIRST_WORD) + FIRST_WORD;
            if matches!(self.inner.inspect(id).await?.state, ContainerState::Running { .. }) {
                let heard = until_known(session.known(), |known| known.child.is_some());
                let _ = tokio::time::timeout_at(until, heard).await;
            }
        }
        Ok(attach(&session))
    }

    async fn exec(&self, id: &ContainerId, request: &ExecRequest) -> Result<ExecResult, RuntimeError> {
        self.inner.exec(id, request).await
    }

    async fn dial(&self, id: &ContainerId, port: u16) -> Result<TcpStream, RuntimeError> {
        match self.session_of(id).await? {
            Some(session) => self.connect(&session, port).await,
            None => self.inner.dial(id, port).await,
        }
    }

    async fn listen(&self, id: &ContainerId, ports: &[u16]) -> Result<Vec<TcpListener>, RuntimeError> {
        let Some(session) = self.session_of(id).await? else { return self.inner.listen(id, ports).await };
        self.begin(id, &session).await?;
        try_join_all(ports.iter().map(|port| self.listen_at(&session, *port))).await
    }

    async fn logs(
        &self,
        id: &ContainerId,
        query: &LogQuery,
    ) -> Result<BoxStream<'static, Result<LogLine, RuntimeError>>, RuntimeError> {
        let Some(session) = self.session_of(id).await? else { return self.inner.logs(id, query).await };
        let reader = session.logbook().read(query);
        Ok(stream::unfold(reader, async |mut reader| Some((Ok(reader.next().await?), reader))).boxed())
    }

    fn events(&self, owner: &OwnerId) -> BoxStream<'static, EngineEvent> {
        let ours = BroadcastStream::new(self.changes.subscribe());
        let ours = ours.map(|change| change.unwrap_or(EngineEvent::Resync));
        stream::select(self.inner.events(owner), ours).boxed()
    }

    async fn create_network(&self, request: &CreateNetwork) -> Result<NetworkId, RuntimeError> {
        self.inner.create_network(request).await
    }

    async fn networks(&self, scope: &Scope) -> Result<Vec<NetworkObservation>, RuntimeError> {
        self.inner.networks(scope).await
    }

    async fn remove_network(&self, id: &NetworkId) -> Result<(), RuntimeError> {
        self.inner.remove_network(id).await
    }

    async fn ensure_volume(&self, request: &EnsureVolume) -> Result<(), RuntimeError> {
        self.inner.ensure_volume(request).await
    }

    async fn volumes(&self, scope: &Scope) -> Result<Vec<VolumeObservation>, RuntimeError> {
        self.inner.volumes(scope).await
    }

    async fn remove_volume(&self, name: &str) -> Result<(), RuntimeError> {
        self.inner.remove_volume(name).await
    }
}

#[cfg(test)]
mod tests {
    /// What the engine is told and what the shim looks for are said in two places, by two sides that know nothing of
    /// each other.
    #[test]
    fn both_sides_mean_the_same_places() {
        assert_eq!(dtma_core::shim::PROGRAM, dtma_wire::PROGRAM);
        assert_eq!(dtma_core::shim::NONCE_VARIABLE, dtma_wire::NONCE_VARIABLE);
        assert_eq!(format!("{}/agent.sock", dtma_core::shim::RUN_DIR), dtma_wire::SOCKET);
    }
}
