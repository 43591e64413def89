//! Spares: processes that are made before the sessions come which are to have them.
//!
//! ```text
//!   asked for as a place ─ Create ─ Start ─ comes up ─ kept in the history ─> plan: Pause ─ waits
//!                                                                                            │
//!   a session asks for a place ─ woken ─> plan: Unpause ─ greeted in its client's name <─────┘
//!                             └ another place is asked for instead
//! ```
//!
//! A spare is a place like those of sessions, but for whom it is asked: handing it out changes that and nothing else.
//! Like these it is of no use to the next daemon, so nothing of it has to be durable before it is done.

use super::GroupTask;
use dtma_core::id::{InstanceName, Member, RunKey};
use dtma_core::observation::{ContainerObservation, ContainerState, Readiness, Subject};
use dtma_core::port::RuntimeError;
use dtma_core::record::{GroupGoal, ServerGoal};
use dtma_core::rest::Depth;
use std::collections::BTreeSet;

impl GroupTask {
    /// Asks for as many spares as there are to be, and freezes those that are ready.
    pub(super) fn keep_spares(&mut self, instance: &InstanceName) {
        let mut spares = self.good_spares(instance);
        while spares.len() < self.wanted_spares(instance) && !self.blind {
            let Some(new) = self.new_place(instance) else { break };
            spares.insert(new.clone());
            if let Some(server) = self.servers.get_mut(instance) {
                server.spares.insert(new);
            }
        }
        spares.iter().for_each(|spare| self.put_by(spare));
        if let Some(server) = self.servers.get_mut(instance) {
            server.spares = spares;
        }
    }

    /// Those of the wanted configuration, at most as many as there are to be: of more than that those that come up stay
    /// before those that do not.
    fn good_spares(&self, instance: &InstanceName) -> BTreeSet<Member> {
        let config = self.record.servers.get(instance).map(|record| &record.config_hash);
        let known = self.servers.get(instance).into_iter().flat_map(|server| &server.spares);
        let mut good: Vec<&Member> = known.filter(|spare| Some(&spare.config) == config).collect();
        good.sort_by_key(|spare| std::cmp::Reverse(self.promise(spare)));
        good.into_iter().take(self.wanted_spares(instance)).cloned().collect()
    }

    /// How many there are to be.
    pub(super) fn wanted_spares(&self, instance: &InstanceName) -> usize {
        let runs = self.record.servers.get(instance).is_some_and(|record| record.goal == ServerGoal::Run);
        let spec = self.record.spec.server(instance).filter(|_| runs);
        let spec = spec.filter(|_| matches!(self.record.goal, GroupGoal::Run));
        spec.map_or(0, |spec| spec.session.spares() as usize)
    }

    /// Those that can be handed out.
    pub(super) fn ready_spares(&self, instance: &InstanceName) -> usize {
        let spares = self.servers.get(instance).into_iter().flat_map(|server| &server.spares);
        spares.filter(|spare| self.promise(spare) == Promise::Up).count()
    }

    fn promise(&self, spare: &Member) -> Promise {
        match self.live(spare) {
            Some(live) if self.seen.is_ready(live) => Promise::Up,
            Some(live) if self.seen.runs_on(live) => Promise::Starting,
            Some(_) | None => Promise::None,
        }
    }

    /// A process that has come up before anybody asked for it: nothing more is to be waited for.
    pub(super) fn is_up_unasked(&mut self, member: &Member, run: RunKey) {
        let since = self.now();
        let is_spare = |server: &super::members::Server| server.spares.contains(member);
        let is_its = self.live(member).and_then(ContainerObservation::run).is_some_and(|live| live == run);
        if is_its && self.servers.get(&member.replica.instance).is_some_and(is_spare) {
            self.seen.readiness.insert(run, Readiness::Ready { since });
        }
    }

    /// Freezes a spare, once.
    fn put_by(&mut self, spare: &Member) {
        let ready = self.live(spare).filter(|live| self.seen.is_ready(live));
        let running = ready.filter(|live| matches!(live.state, ContainerState::Running { .. }));
        let Some(run) = running.and_then(ContainerObservation::run) else { return };
        let awake = self.attendance(spare).is_none_or(|attendance| attendance.stays_awake);
        let busy = self.seen.busy.contains(&Subject::Member(spare.clone()));
        let known = self.history.of(&spare.replica).rest_in(&run.container).is_some();
        if awake || busy || known {
            return;
        }
        let now = self.now();
        self.history.of_mut(&spare.replica).put_to_rest(run, Depth::Paused, now);
        self.unsaved = true;
    }

    /// The spare for a session that has come: one that is up, else one that is starting; of several the first.
    pub(super) fn take_spare(&mut self, instance: &InstanceName) -> Option<Member> {
        let spares = &self.servers.get(instance)?.spares;
        let config = &self.record.servers.get(instance)?.config_hash;
        let good = spares.iter().filter(|spare| spare.config == *config);
        let best = good.rev().max_by_key(|spare| self.promise(spare))?;
        let best = Some(best).filter(|spare| self.promise(spare) > Promise::None)?.clone();
        self.servers.get_mut(instance)?.spares.remove(&best);
        self.hand_out(&best);
        Some(best)
    }

    /// From now on it has to answer its client in time.
    fn hand_out(&mut self, spare: &Member) {
        self.unsaved |= self.history.of_mut(&spare.replica).wake();
        let asked_since = self.now();
        if let Some(run) = self.live(spare).and_then(ContainerObservation::run) {
            let reason = "it has not answered its client yet".to_owned();
            self.seen.readiness.insert(run, Readiness::NotReady { asked_since, reason });
        }
        // What was put off after a failure is not put off for who waits.
        self.warm_up(|subject| *subject == Subject::Member(spare.clone()));
    }

    /// A spare that the engine cannot freeze goes on and serves all the same.
    pub(super) fn could_not_freeze(&mut self, member: &Member, error: &RuntimeError) {
        let unknown = matches!(
            error,
            RuntimeError::EngineAway { .. } | RuntimeError::Timeout { .. } | RuntimeError::NotFound { .. }
        );
        if unknown || !member.replica.is_place() {
            return;
        }
        self.unsaved |= self.history.of_mut(&member.replica).wake();
        if let Some(attendance) = self.attendance_mut(member) {
            attendance.stays_awake = true;
        }
    }
}

/// How soon a spare can serve; more is sooner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Promise {
    /// Nothing of it runs.
    None,
    Starting,
    Up,
}
