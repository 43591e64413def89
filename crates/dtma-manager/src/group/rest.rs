//! Rest of MCP servers that nobody uses: who is put to it, who is woken, and when to look again.
//!
//! ```text
//!   unused for pauseAfter ─ owner agrees ─ kept in the history ─> plan: Pause ─ still unused ─ kept ─> plan: Stop
//!                                                                    │                                   │
//!   somebody waits at the door (or a person, or an update) ─ woken ──┴─> plan: Unpause ─ go on           └─> Start
//! ```
//!
//! Nothing is frozen or ended before its owner has agreed that nobody uses it and before that is durable; no owner passes
//! anything on to a process that is not seen running again.

use super::GroupTask;
use super::attend::Sign;
use dtma_core::history::ServerHistory;
use dtma_core::id::{InstanceName, Member};
use dtma_core::observation::{ContainerObservation, ContainerState, Subject};
use dtma_core::phase::Phase;
use dtma_core::record::{GroupGoal, Rollout, ServerGoal};
use dtma_core::rest::{Depth, Rest};
use dtma_core::spec::IdleSpec;
use dtma_mcp::{Door, Memory, ServerHandle};
use std::time::Duration;
use tokio::time::Instant;

/// A server whose lists are being asked, or whose processes were not all found idle, is looked at again after this.
const AGAIN: Duration = Duration::from_secs(1);

/// How the door of a server takes part in its rest.
#[derive(Default)]
pub(super) struct Bed {
    /// The door was told that the server lies down.
    lies: bool,
    /// Somebody is told when the server is needed.
    watched: bool,
    /// Somebody needs it.
    needed: bool,
}

impl GroupTask {
    /// Puts to rest what nobody uses, and wakes what somebody does.
    pub(super) async fn keep_rest(&mut self) {
        self.rest_due = None;
        if !matches!(self.record.goal, GroupGoal::Run) {
            return;
        }
        let servers = self.record.spec.servers.iter().filter(|spec| spec.kind.is_mcp());
        let servers: Vec<_> = servers.map(|spec| (spec.instance.clone(), spec.idle)).collect();
        for (instance, idle) in servers {
            let door = self.servers.get(&instance).and_then(|server| server.door.clone());
            let Some(door) = door else { continue };
            match self.rest_of(&instance) {
                Some(rest) => self.tend(&instance, idle, &rest, &door),
                None => {
                    self.raise(&instance, &door).await;
                    self.tire(&instance, idle, &door).await;
                }
            }
        }
    }

    /// How a server rests that nobody has woken.
    fn rest_of(&self, instance: &InstanceName) -> Option<Rest> {
        let seen = |rest: &Rest| self.seen.of(instance).any(|seen| seen.id == rest.run.container);
        let resting = |history: &ServerHistory| history.rest.clone().filter(|rest| !rest.woken && seen(rest));
        self.history.all_of(instance).find_map(resting)
    }

    // --- at rest ---

    fn tend(&mut self, instance: &InstanceName, idle: IdleSpec, rest: &Rest, door: &Door) {
        let needed = self.servers.get(instance).is_some_and(|server| server.bed.needed);
        if needed || self.is_to_be_up(instance, idle) {
            return self.wake(instance, needed, door);
        }
        self.lie_down(instance, door);
        let asleep = Duration::try_from(self.now().duration_since(rest.since)).unwrap_or_default();
        // What was paused went unused for that long before.
        let unused = asleep + idle.pause_after.filter(|_| rest.depth == Depth::Paused).unwrap_or_default();
        match idle.depth(unused).filter(|depth| *depth > rest.depth) {
            Some(depth) => self.put_to_rest(instance, depth),
            None if rest.depth == Depth::Paused => self.look_in(idle.next(unused)),
            None => {}
        }
    }

    /// A server that is not to rest any more, or of which something runs whose owner knows nothing of rest: the daemon was
    /// killed between the two.
    fn is_to_be_up(&self, instance: &InstanceName, idle: IdleSpec) -> bool {
        let goal = self.record.servers.get(instance).map(|server| server.goal);
        let changes = self.record.update().is_some_and(|update| update.changes(&self.record, instance));
        let awake = |seen: &ContainerObservation| {
            let paused = self.history.of(&seen.replica()).rest_in(&seen.id);
            let runs = matches!(seen.state, ContainerState::Running { .. }) && self.seen.runs_on(seen);
            let owner = self.attendance(&seen.member()).and_then(|attendance| attendance.mcp.as_ref());
            runs && paused.is_some_and(|rest| rest.depth == Depth::Paused)
                && !self.seen.busy.contains(&Subject::Member(seen.member()))
                && !owner.is_some_and(ServerHandle::rests)
        };
        goal != Some(ServerGoal::Run) || changes || idle.is_never() || self.seen.of(instance).any(awake)
    }

    /// Where somebody needs it, what it is remembered by goes on answering until it answers itself.
    fn wake(&mut self, instance: &InstanceName, needed: bool, door: &Door) {
        self.wake_what_rests(instance);
        if !needed {
            self.get_up(instance, door);
        }
        // What was put off after a failure is not put off for who waits.
        self.warm_up(|subject| Self::concerns(subject, instance));
    }

    pub(super) fn wake_what_rests(&mut self, instance: &InstanceName) {
        let of_server = self.history.servers.iter_mut().filter(|(replica, _)| replica.instance == *instance);
        for (_, history) in of_server {
            self.unsaved |= history.wake();
        }
    }

    /// Tells the door, once, what to answer meanwhile.
    fn lie_down(&mut self, instance: &InstanceName, door: &Door) {
        let lies = self.servers.get(instance).is_some_and(|server| server.bed.lies);
        if !lies {
            door.lie_down(self.memory(instance));
        }
        let Some(server) = self.servers.get_mut(instance) else { return };
        server.bed.lies = true;
        if std::mem::replace(&mut server.bed.watched, true) {
            return;
        }
        let (door, instance) = (door.clone(), instance.clone());
        self.watch_for(async move {
            door.needed().await;
            Sign::Needed(instance)
        });
    }

    /// What its process would say, where that was heard of this very image and configuration and is not in doubt.
    fn memory(&self, instance: &InstanceName) -> Option<Memory> {
        let (known, record) = (self.registry.discovery.get(instance)?, self.record.servers.get(instance)?);
        let seen = self.seen.of(instance).find(|seen| record.is_of(seen))?;
        let catalogue = known.catalogue.clone().filter(|_| known.problem.is_none())?;
        let same = catalogue.config == record.config_hash && catalogue.image.as_ref() == Some(&seen.image_id);
        Memory::of(seen.run()?, catalogue).filter(|_| same)
    }

    pub(super) fn needed(&mut self, instance: &InstanceName) {
        if let Some(server) = self.servers.get_mut(instance) {
            (server.bed.watched, server.bed.needed) = (false, true);
        }
    }

    // --- up ---

    /// Lets calls through to what runs again.
    async fn raise(&mut self, instance: &InstanceName, door: &Door) {
        let up = |seen: &&ContainerObservation| {
            let runs = matches!(seen.state, ContainerState::Running { .. }) && self.seen.runs_on(seen);
            runs && !self.seen.busy.contains(&Subject::Member(seen.member()))
        };
        let up: Vec<ContainerObservation> = self.seen.of(instance).filter(up).cloned().collect();
        for seen in up {
            self.unsaved |= self.history.of_mut(&seen.replica()).is_up_again(&seen);
            let owner = self.attendance(&seen.member()).and_then(|attendance| attendance.mcp.clone());
            if let Some(owner) = owner.filter(ServerHandle::rests) {
                owner.go_on().await;
            }
        }
        let waits = || match self.phases.get(instance) {
            Some(Phase::Idle { .. } | Phase::Starting { .. } | Phase::Ready { .. }) => !door.is_ready(),
            _ => false,
        };
        if !waits() {
            self.get_up(instance, door);
        }
    }

    fn get_up(&mut self, instance: &InstanceName, door: &Door) {
        let Some(server) = self.servers.get_mut(instance) else { return };
        server.bed.needed = false;
        if std::mem::take(&mut server.bed.lies) {
            door.get_up();
        }
    }

    async fn tire(&mut self, instance: &InstanceName, idle: IdleSpec, door: &Door) {
        if idle.is_never() || !self.may_rest(instance) {
            return;
        }
        let Some(last_use) = door.last_use() else { return };
        let unused = last_use.elapsed();
        let Some(depth) = idle.depth(unused) else { return self.look_in(idle.next(unused)) };
        if !self.lists_are_known(instance) {
            return self.look_in(Some(AGAIN));
        }
        match door.put_to_rest(last_use).await {
            true => self.put_to_rest(instance, depth),
            false => self.look_in(Some(idle.next(Duration::ZERO).unwrap_or(AGAIN))),
        }
    }

    /// A server that stands as it is wanted, and with which nothing is done just now.
    fn may_rest(&self, instance: &InstanceName) -> bool {
        let ready = matches!(self.phases.get(instance), Some(Phase::Ready { .. }));
        let runs = |seen: &ContainerObservation| {
            matches!(seen.state, ContainerState::Running { .. }) && self.record.is_wanted(seen)
        };
        ready
            && matches!(self.record.rollout, Rollout::Established)
            && !self.seen.is_busy(instance)
            && self.seen.of(instance).all(runs)
    }

    /// Whether nothing of what it lists has changed since it was asked, or it cannot be asked.
    fn lists_are_known(&self, instance: &InstanceName) -> bool {
        let known = |(member, mcp): (Member, ServerHandle)| {
            let asked = self.attendance(&member).and_then(|attendance| attendance.asked);
            asked == Some(*mcp.lists_changed().borrow())
        };
        let failed = self.registry.discovery.get(instance).is_some_and(|known| known.problem.is_some());
        failed || self.owners(instance).into_iter().all(known)
    }

    fn owners(&self, instance: &InstanceName) -> Vec<(Member, ServerHandle)> {
        let members = self.servers.get(instance).into_iter().flat_map(|server| &server.members);
        members.filter_map(|(member, attendance)| Some((member.clone(), attendance.mcp.clone()?))).collect()
    }

    /// It is durable before anything is done to a process.
    fn put_to_rest(&mut self, instance: &InstanceName, depth: Depth) {
        let now = self.now();
        tracing::info!(server = %instance, depth = depth.as_str(), "nobody uses it: it is put to rest");
        for seen in self.seen.containers.iter().filter(|seen| seen.slot.instance == *instance) {
            if let Some(run) = seen.run().filter(|_| seen.is_live()) {
                self.history.of_mut(&seen.replica()).put_to_rest(run, depth, now);
                self.owed = true;
            }
        }
        // What was rest before is tended in the next pass.
        self.look_in(Some(Duration::ZERO));
    }

    fn look_in(&mut self, after: Option<Duration>) {
        let due = after.map(|after| Instant::now() + after);
        self.rest_due = [self.rest_due, due].into_iter().flatten().min();
    }
}
