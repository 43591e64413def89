//! Attending to what runs: the MCP owner of each stdio server, attaching again to what was adopted, asking tools
//! whether they answer.

use super::{GroupTask, Server};
use crate::forward::Forward;
use crate::registry::Registry;
use crate::status::McpSummary;
use dtma_core::id::{ContainerId, InstanceName, RunKey};
use dtma_core::observation::{ContainerObservation, Readiness, Subject};
use dtma_core::port::{ProbeTarget, RuntimeError};
use dtma_core::record::{GatewaySession, Handshake};
use dtma_core::restart::after;
use dtma_core::spec::ServerSpec;
use dtma_mcp::{Attachment, Door, MemberId, Parts, ServerHandle, ServerState};
use futures_util::FutureExt;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinError;

/// How long one question to a tool's port may take.
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);
/// Between the end of a server's output and the next attempt to attach, while its process lives.
const REATTACH: Duration = Duration::from_millis(200);

/// What a watcher has to say.
pub(super) enum Sign {
    /// The MCP state of a server changed.
    Mcp(InstanceName, watch::Receiver<ServerState>),
    /// A tool answers, or has run for its settle time.
    Ready(RunKey),
    /// Attaching to a running server succeeded or not.
    Attached(InstanceName, ContainerId, Result<(), RuntimeError>),
    /// A pause after a failure is over.
    Cooled(Subject),
    /// The MCP owner of a server ended.
    Closed,
}

impl GroupTask {
    /// Makes what every server needs besides its container.
    pub(super) fn furnish(
        &mut self,
        mut forwards: BTreeMap<InstanceName, Vec<Forward>>,
        handshakes: &[(InstanceName, Handshake)],
        sessions: &[GatewaySession],
    ) {
        for spec in self.record.spec.servers.clone() {
            let door = spec.kind.is_stdio().then(|| self.door(&spec.instance, sessions));
            let mcp = door.as_ref().and_then(|door| self.member(door));
            let ours = handshakes.iter().filter(|(instance, _)| *instance == spec.instance);
            let server = Server {
                door,
                mcp,
                forwards: forwards.remove(&spec.instance).unwrap_or_default(),
                handshakes: ours.map(|(_, handshake)| handshake.clone()).collect(),
                ..Server::default()
            };
            self.servers.insert(spec.instance, server);
        }
    }

    fn door(&self, instance: &InstanceName, sessions: &[GatewaySession]) -> Door {
        let backends = &self.registry.backends;
        let parts = Parts {
            store: Arc::clone(&backends.store),
            wall: Arc::clone(&backends.wall),
            limits: dtma_mcp::Limits::default(),
        };
        let door = Door::new(instance.clone(), parts);
        // Before anybody has the door, so no client is told that its session is unknown.
        door.restore(sessions.iter().filter(|kept| kept.instance == *instance).cloned());
        door
    }

    /// The only process that ever stands behind a door, and serves from the start.
    fn member(&mut self, door: &Door) -> Option<ServerHandle> {
        let only = MemberId::from("0");
        let (handle, owner) = door.admit(only.clone()).ok()?;
        door.serve(&[only]);
        self.watchers.spawn(owner.run().map(|()| Sign::Closed));
        self.watch_mcp(door.instance().clone(), handle.state());
        Some(handle)
    }

    fn watch_mcp(&mut self, instance: InstanceName, mut state: watch::Receiver<ServerState>) {
        self.watch_for(async move {
            match state.changed().await {
                Ok(()) => Sign::Mcp(instance, state),
                Err(_) => Sign::Closed,
            }
        });
    }

    pub(super) fn watch_for(&mut self, watcher: impl Future<Output = Sign> + Send + 'static) {
        self.watchers.spawn(watcher);
    }

    /// Sees to it that every process that runs has somebody who listens to it or asks it.
    pub(super) fn attend(&mut self) {
        for spec in self.record.spec.servers.clone() {
            if self.seen.busy.contains(&Subject::Server(spec.instance.clone())) {
                continue;
            }
            let live = self.live(&spec.instance).cloned();
            self.end_probe_of_another_run(&spec.instance, live.as_ref());
            let Some(live) = live else { continue };
            let Some(run) = live.run() else { continue };
            if spec.kind.is_stdio() {
                self.attach_again(&spec.instance, run);
            } else {
                self.probe(&spec, &live, run);
            }
        }
    }

    fn attach_again(&mut self, instance: &InstanceName, run: RunKey) {
        let runtime = Arc::clone(&self.registry.backends.runtime);
        let Some(server) = self.servers.get_mut(instance) else { return };
        let Some(mcp) = server.mcp.clone().filter(|_| server.linked.as_ref() != Some(&run)) else { return };
        server.linked = Some(run.clone());
        let handshake = server.handshakes.iter().find(|handshake| handshake.run == run).cloned();
        let instance = instance.clone();
        self.watch_for(async move {
            let container = run.container.clone();
            let attached = runtime.attach(&container).await;
            let linked = match attached {
                Ok(attached) => {
                    // A closed owner means that the group is going.
                    let _ = mcp.connect(run, attached, Attachment::Adopted { handshake }).await;
                    Ok(())
                }
                Err(error) => Err(error),
            };
            Sign::Attached(instance, container, linked)
        });
    }

    fn end_probe_of_another_run(&mut self, instance: &InstanceName, live: Option<&ContainerObservation>) {
        let Some(server) = self.servers.get_mut(instance) else { return };
        let run = live.and_then(ContainerObservation::run);
        if let Some((_, probe)) = server.probed.take_if(|(probed, _)| Some(&*probed) != run.as_ref()) {
            probe.abort();
        }
    }

    fn probe(&mut self, spec: &ServerSpec, live: &ContainerObservation, run: RunKey) {
        let settled = super::until(self.now(), after(run.started_at, spec.readiness.settle));
        let Some(server) = self.servers.get_mut(&spec.instance) else { return };
        if server.probed.is_some() {
            return;
        }
        let (registry, probed) = (Arc::clone(&self.registry), run.clone());
        let port = live.ip.zip(spec.port).map(|(ip, port)| SocketAddr::new(ip, port));
        let probe = self.watchers.spawn(async move {
            match port {
                Some(address) => until_accepting(&registry, address).await,
                None => tokio::time::sleep(settled).await,
            }
            Sign::Ready(run)
        });
        server.probed = Some((probed, probe));
    }

    /// Takes in what a watcher says.
    pub(super) async fn signed(&mut self, sign: Result<Sign, JoinError>) {
        match sign {
            Ok(Sign::Mcp(instance, state)) => {
                self.watch_mcp(instance.clone(), state);
                self.take_mcp_state(&instance);
                self.look_when_down(&instance).await;
            }
            Ok(Sign::Ready(run)) => self.ready(run),
            Ok(Sign::Attached(instance, container, Err(error))) => {
                tracing::warn!(%instance, %error, "could not attach to the running server");
                self.unlink_later(&instance);
                self.look_at(&container).await;
            }
            Ok(Sign::Attached(instance, _, Ok(()))) => self.take_mcp_state(&instance),
            Ok(Sign::Cooled(subject)) => self.cooled(&subject),
            Ok(Sign::Closed) => {}
            Err(defect) if defect.is_cancelled() => {}
            Err(defect) => self.trouble_with("a watcher ended by a defect", &defect),
        }
    }

    fn ready(&mut self, run: RunKey) {
        let since = self.now();
        if self.seen.containers.iter().any(|seen| seen.is_live() && seen.run().as_ref() == Some(&run)) {
            self.seen.readiness.insert(run, Readiness::Ready { since });
        }
    }

    /// Turns the MCP state of a server into readiness.
    pub(super) fn take_mcp_state(&mut self, instance: &InstanceName) {
        let Some(server) = self.servers.get_mut(instance) else { return };
        let Some(mcp) = &server.mcp else { return };
        let state = mcp.state().borrow().clone();
        match state {
            ServerState::Ready(ready) => {
                server.summary = Some(Arc::new(summary(&ready)));
                let since = ready.since;
                if self.live(instance).and_then(ContainerObservation::run).as_ref() == Some(&ready.run) {
                    self.seen.readiness.insert(ready.run.clone(), Readiness::Ready { since });
                }
            }
            // One that this daemon did not start is asked again instead, see `needs_new_link`.
            ServerState::Failed { run, reason: failed } => {
                if let Some(Readiness::NotReady { reason, .. }) = self.seen.readiness.get_mut(&run) {
                    *reason = failed.to_string();
                }
            }
            ServerState::Down { .. } | ServerState::Connecting { .. } => {}
        }
    }

    /// The output of a server ended: its process did, or the engine went away for a moment.
    async fn look_when_down(&mut self, instance: &InstanceName) {
        if !self.needs_new_link(instance) {
            return;
        }
        if let Some(container) = self.live(instance).map(|live| live.id.clone()) {
            self.look_at(&container).await;
            if self.live(instance).is_some() {
                self.unlink_later(instance);
            }
        }
    }

    /// True when nobody listens to a server any more, or when one that ran before this daemon did does not answer
    /// yet: it may be busy, and is never ended merely because the daemon was restarted.
    fn needs_new_link(&self, instance: &InstanceName) -> bool {
        let Some(mcp) = self.servers.get(instance).and_then(|server| server.mcp.as_ref()) else {
            return false;
        };
        let state = mcp.state();
        match &*state.borrow() {
            ServerState::Down { .. } => true,
            ServerState::Failed { run, .. } => {
                !matches!(self.seen.readiness.get(run), Some(Readiness::NotReady { .. }))
            }
            ServerState::Connecting { .. } | ServerState::Ready(_) => false,
        }
    }

    /// A pause is over. One that was cut short is not over a second time: something may be under way there.
    fn cooled(&mut self, subject: &Subject) {
        if self.cooling.remove(subject) {
            self.seen.busy.remove(subject);
            if let Subject::Server(instance) = subject {
                self.unlink(instance);
            }
        }
    }

    /// Somebody wants something: the pauses after failures are cut short.
    pub(super) fn warm_up(&mut self, of: impl Fn(&Subject) -> bool) {
        let cooling: Vec<_> = self.cooling.iter().filter(|subject| of(subject)).cloned().collect();
        for subject in cooling {
            self.cooled(&subject);
            self.failures.remove(&subject);
        }
    }

    /// Lets nobody else touch a subject for a while.
    pub(super) fn cool(&mut self, subject: Subject, pause: Duration) {
        self.seen.busy.insert(subject.clone());
        self.cooling.insert(subject.clone());
        self.watch_for(async move {
            tokio::time::sleep(pause).await;
            Sign::Cooled(subject)
        });
    }

    /// Lets go of the link after a pause, so that the next pass attaches again if the process still lives.
    fn unlink_later(&mut self, instance: &InstanceName) {
        let subject = Subject::Server(instance.clone());
        if !self.seen.busy.contains(&subject) {
            self.cool(subject, REATTACH);
        }
    }

    fn unlink(&mut self, instance: &InstanceName) {
        if self.needs_new_link(instance)
            && let Some(server) = self.servers.get_mut(instance)
        {
            server.linked = None;
        }
    }
}

/// Ports.
impl GroupTask {
    /// Tries ports again that somebody else held when they were to be opened.
    pub(super) fn open_ports(&mut self) {
        let address = self.registry.settings.publish_address;
        for spec in &self.record.spec.servers {
            let Some(server) = self.servers.get_mut(&spec.instance) else { continue };
            for publish in &spec.publish {
                if server.forwards.iter().all(|open| open.publish != *publish) {
                    server.forwards.extend(Forward::open(address, *publish).ok());
                }
            }
        }
    }

    /// Gives all ports back.
    pub(super) async fn close_ports(&mut self) {
        for server in self.servers.values_mut() {
            for forward in server.forwards.drain(..) {
                forward.close().await;
            }
        }
    }
}

async fn until_accepting(registry: &Registry, address: SocketAddr) {
    let probe = &registry.backends.probe;
    while probe.probe(ProbeTarget::Tcp(address), PROBE_TIMEOUT).await.is_err() {
        tokio::time::sleep(registry.settings.probe_interval).await;
    }
}

fn summary(ready: &dtma_mcp::Ready) -> McpSummary {
    let raw = |tool: &dtma_mcp::Tool| (tool.name.clone(), String::from_utf8_lossy(&tool.raw).into_owned());
    McpSummary {
        protocol_version: ready.greeting.protocol_version.clone(),
        server_name: ready.greeting.server_name.clone(),
        server_version: ready.greeting.server_version.clone(),
        capabilities: ready.greeting.capabilities.clone(),
        tools: ready.tools.known().iter().map(raw).collect(),
    }
}
