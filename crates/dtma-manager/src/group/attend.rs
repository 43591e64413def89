//! Attending to what runs: attaching again to what was adopted, asking tools whether they answer, hearing what MCP
//! owners say.

use super::GroupTask;
use super::ways::Ways;
use crate::registry::Registry;
use crate::status::McpSummary;
use dtma_core::id::{ContainerId, InstanceName, Member, RunKey};
use dtma_core::observation::{ContainerObservation, ContainerState, Readiness, Subject};
use dtma_core::port::RuntimeError;
use dtma_core::restart::after;
use dtma_mcp::discovery::{Follower, News};
use dtma_mcp::{Door, ServerState};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinError;
use tokio::time::timeout;

/// How long one question to a tool's port may take.
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);
/// Between the end of a server's output and the next attempt to attach, while its process lives.
const REATTACH: Duration = Duration::from_millis(200);

/// What a watcher has to say.
pub(super) enum Sign {
    /// The MCP state of a member changed.
    Mcp(Member, watch::Receiver<ServerState>),
    /// A tool answers, or has run for its settle time.
    Ready(RunKey),
    /// Attaching to a running member succeeded or not.
    Attached(Member, ContainerId, Result<(), RuntimeError>),
    /// The ways of a run were opened, or could not be.
    Opened(Member, RunKey, Result<Ways, RuntimeError>),
    /// A pause after a failure is over.
    Cooled(Subject),
    /// A member was asked what it offers.
    Discovered(Member, Box<Follower>, News),
    /// There will be nothing more to ask it.
    Undiscovered(Member),
    /// Somebody needs a server that rests.
    Needed(InstanceName),
    /// Places of a server were asked for or given back.
    Places(InstanceName, Door, watch::Receiver<()>),
    /// What was to be kept is kept, as far as the store takes it.
    Kept,
    /// The MCP owner of a server ended.
    Closed,
}

impl GroupTask {
    pub(super) fn watch_mcp(&mut self, member: Member, mut state: watch::Receiver<ServerState>) {
        self.watch_for(async move {
            match state.changed().await {
                Ok(()) => Sign::Mcp(member, state),
                Err(_) => Sign::Closed,
            }
        });
    }

    pub(super) fn watch_for(&mut self, watcher: impl Future<Output = Sign> + Send + 'static) {
        self.watchers.spawn(watcher);
    }

    /// Sees to it that every process that runs has somebody who listens to it or asks it.
    pub(super) fn attend(&mut self) {
        let members: Vec<Member> =
            self.servers.values().flat_map(|server| server.members.keys().cloned()).collect();
        for member in members {
            if self.seen.busy.contains(&Subject::Member(member.clone())) {
                continue;
            }
            let live = self.live(&member).cloned();
            if live.as_ref().is_some_and(|live| matches!(live.state, ContainerState::Paused { .. })) {
                // Nobody in there hears or answers anything.
                continue;
            }
            self.end_probe_of_another_run(&member, live.as_ref());
            let Some(run) = live.and_then(|live| live.run()) else {
                self.have_ways(&member, None, None);
                self.end_session(&member);
                continue;
            };
            self.open_ways_again(&member, &run);
            match self.attendance(&member).is_some_and(|attendance| attendance.mcp.is_some()) {
                true => self.attach_again(&member, run),
                false => self.probe(&member, run),
            }
        }
    }

    fn attach_again(&mut self, member: &Member, run: RunKey) {
        let runtime = Arc::clone(&self.registry.backends.runtime);
        let Some(server) = self.servers.get_mut(&member.replica.instance) else { return };
        let handshake = server.handshakes.iter().find(|handshake| handshake.run == run).cloned();
        let Some(attendance) = server.members.get_mut(member) else { return };
        if attendance.linked.as_ref() == Some(&run) {
            return;
        }
        attendance.linked = Some(run.clone());
        let Some(reach) = self.reach(member, &run.container) else { return };
        let member = member.clone();
        self.watch_for(async move {
            let container = run.container.clone();
            let linked = match reach.prepare(&*runtime, &container).await {
                Ok(prepared) => {
                    prepared.adopt(run, handshake).await;
                    Ok(())
                }
                Err(error) => Err(error),
            };
            Sign::Attached(member, container, linked)
        });
    }

    /// The process ended: its owner need not find that out by asking it.
    fn end_session(&mut self, member: &Member) {
        if let Some(attendance) = self.attendance_mut(member) {
            attendance.session = None;
        }
    }

    fn end_probe_of_another_run(&mut self, member: &Member, live: Option<&ContainerObservation>) {
        let Some(attendance) = self.attendance_mut(member) else { return };
        let run = live.and_then(ContainerObservation::run);
        if let Some((_, probe)) = attendance.probed.take_if(|(probed, _)| Some(&*probed) != run.as_ref()) {
            probe.abort();
        }
    }

    fn probe(&mut self, member: &Member, run: RunKey) {
        let Some(spec) = self.spec_of(member) else { return };
        let settled = super::until(self.now(), after(run.started_at, spec.readiness.settle));
        let port = spec.port;
        if self.attendance(member).is_none_or(|attendance| attendance.probed.is_some()) {
            return;
        }
        let (registry, probed) = (Arc::clone(&self.registry), run.clone());
        let probe = self.watchers.spawn(async move {
            match port {
                Some(port) => until_accepting(&registry, &run.container, port).await,
                None => tokio::time::sleep(settled).await,
            }
            Sign::Ready(run)
        });
        if let Some(attendance) = self.attendance_mut(member) {
            attendance.probed = Some((probed, probe));
        }
    }

    /// A server that only has to run for a while is ready as soon as that is so: one that was found running at the
    /// daemon's start is at once, and nobody sees it as anything else.
    pub(super) fn settle(&mut self) {
        let now = self.now();
        let settled = |seen: &ContainerObservation| {
            let spec = self.spec_of(&seen.member())?;
            let run = seen.run().filter(|_| seen.is_live() && spec.port.is_none() && !spec.kind.is_mcp())?;
            (after(run.started_at, spec.readiness.settle) <= now && !self.seen.is_ready(seen)).then_some(run)
        };
        let runs: Vec<RunKey> = self.seen.containers.iter().filter_map(settled).collect();
        runs.into_iter().for_each(|run| self.ready(run));
    }

    /// Takes in what a watcher says.
    pub(super) async fn signed(&mut self, sign: Result<Sign, JoinError>) {
        match sign {
            Ok(Sign::Mcp(member, state)) => {
                // One that was dismissed meanwhile is nobody's business any more.
                if self.attendance(&member).is_some() {
                    self.watch_mcp(member.clone(), state);
                    self.take_mcp_state(&member);
                    self.look_when_down(&member).await;
                }
            }
            Ok(Sign::Ready(run)) => self.ready(run),
            Ok(Sign::Attached(member, container, Err(error))) => {
                tracing::warn!(%member, %error, "could not attach to the running server");
                self.unlink_later(&member);
                self.look_at(&container).await;
            }
            Ok(Sign::Attached(member, _, Ok(()))) => self.take_mcp_state(&member),
            Ok(Sign::Opened(member, run, opened)) => self.opened(&member, run, opened),
            Ok(Sign::Cooled(subject)) => self.cooled(&subject),
            Ok(Sign::Discovered(member, follower, news)) => self.discovered(member, follower, news),
            Ok(Sign::Undiscovered(member)) => self.undiscovered(&member),
            Ok(Sign::Needed(instance)) => self.needed(&instance),
            // The pass that follows looks.
            Ok(Sign::Places(instance, door, changes)) => self.watch_places(instance, door, changes),
            Ok(Sign::Closed | Sign::Kept) => {}
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

    /// Turns the MCP state of a member into readiness.
    pub(super) fn take_mcp_state(&mut self, member: &Member) {
        let Some(attendance) = self.attendance_mut(member) else { return };
        let Some(mcp) = &attendance.mcp else { return };
        let state = mcp.state().borrow().clone();
        match state {
            ServerState::Ready(ready) => {
                attendance.summary = Some(Arc::new(summary(&ready)));
                let since = ready.since;
                self.judge_tools(member, &ready);
                if self.live(member).and_then(ContainerObservation::run).as_ref() == Some(&ready.run) {
                    self.seen.readiness.insert(ready.run.clone(), Readiness::Ready { since });
                }
            }
            // One that this daemon did not start is asked again instead, see `needs_new_link`.
            ServerState::Failed { run, reason: failed } => {
                if let Some(Readiness::NotReady { reason, .. }) = self.seen.readiness.get_mut(&run) {
                    *reason = failed.to_string();
                }
            }
            ServerState::Expecting { run } => self.is_up_unasked(member, run),
            ServerState::Down { .. } | ServerState::Connecting { .. } | ServerState::Resting(_) => {}
        }
    }

    /// The output of a member ended: its process did, or the engine went away for a moment.
    async fn look_when_down(&mut self, member: &Member) {
        if !self.needs_new_link(member) {
            return;
        }
        if let Some(container) = self.live(member).map(|live| live.id.clone()) {
            self.look_at(&container).await;
            if self.live(member).is_some() {
                self.unlink_later(member);
            }
        }
    }

    /// True when nobody listens to a member any more, or when one that ran before this daemon did does not answer
    /// yet: it may be busy, and is never ended merely because the daemon was restarted.
    fn needs_new_link(&self, member: &Member) -> bool {
        let Some(mcp) = self.attendance(member).and_then(|attendance| attendance.mcp.as_ref()) else {
            return false;
        };
        let state = mcp.state();
        match &*state.borrow() {
            ServerState::Down { .. } => true,
            ServerState::Failed { run, .. } => {
                !matches!(self.seen.readiness.get(run), Some(Readiness::NotReady { .. }))
            }
            ServerState::Connecting { .. }
            | ServerState::Expecting { .. }
            | ServerState::Resting(_)
            | ServerState::Ready(_) => false,
        }
    }

    /// A pause is over. One that was cut short is not over a second time: something may be under way there.
    fn cooled(&mut self, subject: &Subject) {
        if self.cooling.remove(subject) {
            self.seen.busy.remove(subject);
            if let Subject::Member(member) = subject {
                self.unlink(member);
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
    fn unlink_later(&mut self, member: &Member) {
        let subject = Subject::Member(member.clone());
        if !self.seen.busy.contains(&subject) {
            self.cool(subject, REATTACH);
        }
    }

    fn unlink(&mut self, member: &Member) {
        if self.needs_new_link(member)
            && let Some(attendance) = self.attendance_mut(member)
        {
            attendance.linked = None;
        }
    }

    /// True for the subjects of this server.
    pub(super) fn concerns(subject: &Subject, instance: &InstanceName) -> bool {
        match subject {
            Subject::Member(member) => member.replica.instance == *instance,
            Subject::Network | Subject::Volumes => false,
        }
    }
}

/// Connects and hangs up.
async fn until_accepting(registry: &Registry, container: &ContainerId, port: u16) {
    let dial = || registry.backends.runtime.dial(container, port);
    while !matches!(timeout(PROBE_TIMEOUT, dial()).await, Ok(Ok(_))) {
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
