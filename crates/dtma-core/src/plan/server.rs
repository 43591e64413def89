//! The decision for one replica of a server that is to run or to stand still.

use super::{Action, Context, Step, StopReason};
use crate::Timestamp;
use crate::history::Exit;
use crate::id::{ConfigHash, ContainerId, InstanceName, Member, ReplicaId, RunKey, is_provisional};
use crate::observation::{ContainerObservation, ContainerState, Readiness, Subject};
use crate::phase::{Phase, Trouble, Unmet};
use crate::record::{ServerGoal, ServerRecord};
use crate::restart::{Decision, after, decide, exponential};
use crate::spec::{Condition, ServerSpec, UpdateOrder};
use std::time::Duration;

/// First delay after the engine refused a call; doubles up to [`RETRY_MAX`].
const RETRY_BASE: Duration = Duration::from_secs(1);
/// Longest delay after the engine refused a call.
const RETRY_MAX: Duration = Duration::from_secs(60);

impl Step {
    pub(super) fn rest(phase: Phase) -> Self {
        Self { actions: Vec::new(), phase, wake_at: None }
    }
    pub(super) fn act(action: Action, phase: Phase) -> Self {
        Self { actions: vec![action], phase, wake_at: None }
    }
    fn wait(until: Timestamp, phase: Phase) -> Self {
        Self { actions: Vec::new(), phase, wake_at: Some(until) }
    }
    fn starts(&self) -> bool {
        self.actions.iter().any(|action| matches!(action, Action::Start { .. }))
    }
}

impl Context<'_> {
    /// What is to be done for one replica of a server of the spec.
    pub(super) fn replica(&self, replica: &ReplicaId, record: &ServerRecord) -> Step {
        if record.goal == ServerGoal::Stop {
            return self.stand_still(replica, record);
        }
        let slot = self.slot(replica, record);
        let mut step = match (slot.wanted, slot.standing) {
            (Some(container), _) => self.keep_running(replica, record, container),
            (None, Some(old)) if self.renews(record, old) => self.start(replica, record, old),
            (None, _) => self.bring_into_being(replica, record),
        };
        if let Some(old) = slot.standing {
            step = self.succeed(replica, record, slot.wanted, old, step);
        }
        if self.observed.at(replica).any(|seen| seen.in_doubt) {
            // Who cannot be told from whom is left alone, unless it is all the same.
            step.actions.retain(Action::is_of_whatever_runs);
            return step;
        }
        // Whatever is to be done for the wanted one waits until nothing that is good for nothing stands in its place.
        if !slot.surplus.is_empty() {
            let of_wanted = |action: &Action| matches!(action.subject(), Subject::Member(member) if member.config == record.config_hash);
            step.actions.retain(|action| !of_wanted(action));
            step.actions.extend(slot.surplus.iter().map(|surplus| self.discard(surplus)));
        } else if step.actions.is_empty() {
            step.actions.extend(self.rename(replica, slot.wanted));
        }
        step
    }

    /// A container that was made beside another one gets the plain name when it is alone.
    fn rename(&self, replica: &ReplicaId, wanted: Option<&ContainerObservation>) -> Option<Action> {
        let seen = wanted.filter(|seen| is_provisional(&seen.name, &seen.made_from))?;
        let alone = self.observed.at(replica).count() == 1 && !self.observed.is_busy_beside(&seen.member());
        alone.then(|| Action::Rename { member: seen.member(), container: seen.id.clone() })
    }

    /// The new container takes the old one's place: beside it until it is ready, or after it.
    fn succeed(
        &self,
        replica: &ReplicaId,
        record: &ServerRecord,
        wanted: Option<&ContainerObservation>,
        old: &ContainerObservation,
        mut step: Step,
    ) -> Step {
        if step.phase.is_as_wanted() {
            step.actions.push(self.retire(old));
            return step;
        }
        // It serves until its successor is ready.
        step.actions.extend(self.thaw(replica, old));
        let in_place = wanted.is_none() && self.renews(record, old);
        match self.order(&replica.instance) {
            _ if in_place => {
                if step.starts() {
                    step.actions = vec![self.vacate(old)];
                }
            }
            UpdateOrder::StartFirst => {
                let (again, wake) = self.stand_again(replica, old);
                step.actions.extend(again);
                step.wake_at = super::earliest(step.wake_at, wake);
            }
            UpdateOrder::StopFirst => {
                if step.starts() && old.is_live() {
                    step.actions = vec![self.retire(old)];
                } else if wanted.is_none() {
                    let (again, wake) = self.stand_again(replica, old);
                    step.actions.extend(again);
                    step.wake_at = super::earliest(step.wake_at, wake);
                }
            }
        }
        let serving = old.run().filter(|_| old.is_live());
        step.phase = Phase::Updating { serving, candidate: Box::new(step.phase) };
        step
    }

    /// The old container is kept up while the new one is not ready, as far as its own budget goes.
    fn stand_again(
        &self,
        replica: &ReplicaId,
        old: &ContainerObservation,
    ) -> (Option<Action>, Option<Timestamp>) {
        let stands = match old.state {
            ContainerState::Created | ContainerState::Exited { .. } => false,
            ContainerState::Running { .. } | ContainerState::Paused { .. } | ContainerState::Dead => true,
        };
        if stands || self.graph.runs_once(&replica.instance) {
            return (None, None);
        }
        match self.budget(replica, &old.id, &old.config_hash) {
            Ok((due, _)) if self.now < due => (None, Some(due)),
            Ok(_) => (Some(begin(old.member(), old)), None),
            Err(_) => (None, None),
        }
    }

    pub(super) fn stand_still(&self, replica: &ReplicaId, record: &ServerRecord) -> Step {
        let slot = self.slot(replica, record);
        let mut step = match slot.wanted.filter(|container| container.is_live()) {
            Some(live) => Step::act(stop(live, record.config.stop_grace, StopReason::Asked), Phase::Stopping),
            // It may just be starting.
            None if self.observed.is_busy(&replica.instance) => Step::rest(Phase::Stopping),
            None => Step::rest(Phase::Stopped),
        };
        let others = slot.standing.into_iter().chain(slot.surplus);
        step.actions.extend(others.map(|other| self.discard(other)));
        if !step.actions.is_empty() {
            step.phase = Phase::Stopping;
        }
        step
    }

    fn bring_into_being(&self, replica: &ReplicaId, record: &ServerRecord) -> Step {
        let history = self.history.of(replica);
        if let Some(at) = history.completed_at {
            return Step::rest(Phase::Completed { at });
        }
        if let Some(wait) = self.refused(replica) {
            return wait;
        }
        if self.lacks(record.config.network) {
            return Step::rest(Phase::Creating);
        }
        let member = Member { replica: replica.clone(), config: record.config_hash.clone() };
        Step::act(Action::Create { member }, Phase::Creating)
    }

    fn keep_running(
        &self,
        replica: &ReplicaId,
        record: &ServerRecord,
        container: &ContainerObservation,
    ) -> Step {
        if container.is_live() && container.run().is_some_and(|run| record.restart.contains(&run)) {
            let end = stop(container, record.config.stop_grace, StopReason::Restart);
            return Step::act(end, Phase::Stopping);
        }
        if container.is_live() && !self.observed.runs_on(container) {
            // It is wanted again too late: it was told to end, and is started anew when it has.
            let end = stop(container, record.config.stop_grace, StopReason::Surplus);
            return Step::act(end, Phase::Stopping);
        }
        if let Some(rest) = self.at_rest(replica, record, container) {
            return rest;
        }
        if container.in_doubt {
            let reason = Some("its shim has not been heard yet".to_owned());
            return Step::rest(Phase::Starting { run: container.run(), reason });
        }
        match container.state {
            ContainerState::Created | ContainerState::Exited { .. } => self.start(replica, record, container),
            ContainerState::Paused { .. } => Step::rest(Phase::Starting {
                run: container.run(),
                reason: Some("its container is paused".to_owned()),
            }),
            ContainerState::Running { started_at } => {
                let run = RunKey { container: container.id.clone(), started_at };
                self.running(replica, record, container, run)
            }
            // Never wanted, see `slot`: it is discarded as surplus.
            ContainerState::Dead => Step::rest(Phase::Creating),
        }
    }

    fn running(
        &self,
        replica: &ReplicaId,
        record: &ServerRecord,
        container: &ContainerObservation,
        run: RunKey,
    ) -> Step {
        let end = |reason| stop(container, record.config.stop_grace, reason);
        match self.observed.readiness_of(&run) {
            Some(Readiness::Ready { since }) => Step::rest(Phase::Ready { run, since: *since }),
            Some(Readiness::NotReady { asked_since, reason }) => {
                let late = after(*asked_since, self.start_timeout(&replica.instance));
                let phase = Phase::Starting { run: Some(run), reason: Some(reason.clone()) };
                if self.is_spare(&container.replica()) {
                    // Nobody waits for it yet.
                    return Step::rest(phase);
                }
                if self.now < late {
                    return Step::wait(late, phase);
                }
                Step::act(end(StopReason::StartTimeout), Phase::Stopping)
            }
            None => Step::rest(Phase::Starting { run: Some(run), reason: None }),
        }
    }

    /// Start a container that stands still, or will in a moment, unless its budget, its dependencies or a refusal say
    /// otherwise.
    fn start(&self, replica: &ReplicaId, record: &ServerRecord, container: &ContainerObservation) -> Step {
        let history = self.history.of(replica);
        if let Some(at) = history.completed_at {
            return Step::rest(Phase::Completed { at });
        }
        let (due, attempt) = match self.budget(replica, &container.id, &record.config_hash) {
            Ok(start) => start,
            Err(failed) => return Step::rest(failed),
        };
        let unmet = self.unmet(&replica.instance);
        if !unmet.is_empty() {
            return Step::rest(Phase::Waiting { on: unmet });
        }
        if let Some(wait) = self.refused(replica) {
            return wait;
        }
        if self.now < due {
            let reason = history.exits.last().map_or(UNKNOWN, trouble);
            return Step::wait(due, Phase::Backoff { until: due, attempt, reason });
        }
        let member = Member { replica: replica.clone(), config: record.config_hash.clone() };
        Step::act(begin(member, container), Phase::Starting { run: None, reason: None })
    }

    /// When the restart budget of a container allows its next start, or the phase of one that used it up.
    fn budget(
        &self,
        replica: &ReplicaId,
        container: &ContainerId,
        config: &ConfigHash,
    ) -> Result<(Timestamp, u32), Phase> {
        let counted = self.history.of(replica).counted_of(container, config);
        let policy = self.spec(&replica.instance).map(|spec| spec.restart).unwrap_or_default();
        match decide(&policy, &counted, self.seed(replica)) {
            Decision::StartAt { due, attempt } => Ok((due, attempt)),
            Decision::GiveUp { .. } => {
                let last = counted.last();
                let at = last.map_or(self.now, |exit| exit.at);
                Err(Phase::Failed { at, reason: last.map_or(UNKNOWN, trouble) })
            }
        }
    }

    /// The wait after the engine refused a call for this replica, while it lasts.
    fn refused(&self, replica: &ReplicaId) -> Option<Step> {
        let refusal = self.history.of(replica).refusal.as_ref()?;
        let step = refusal.count.saturating_sub(1) as usize;
        let until = after(refusal.at, exponential(RETRY_BASE, RETRY_MAX, step, self.seed(replica)));
        let reason = Trouble::Refused { action: refusal.action.clone(), message: refusal.message.clone() };
        (self.now < until)
            .then(|| Step::wait(until, Phase::Backoff { until, attempt: refusal.count, reason }))
    }

    /// The dependencies that do not hold.
    fn unmet(&self, instance: &InstanceName) -> Vec<Unmet> {
        if !self.desired.spec.options.dependency_order {
            return Vec::new();
        }
        let wanted = self.graph.dependencies(instance).iter();
        wanted
            .filter(|dependency| !self.holds(instance, &dependency.instance, dependency.condition))
            .map(|dependency| Unmet {
                instance: dependency.instance.clone(),
                condition: dependency.condition,
            })
            .collect()
    }

    /// True when the condition holds of one replica of `other`. What ran to completion was started and is as healthy
    /// as it gets. Who is changed by an update waits for what it depends on to be changed before; who is not may go
    /// on with what stood before.
    fn holds(&self, instance: &InstanceName, other: &InstanceName, condition: Condition) -> bool {
        if self.history.completed(other) {
            return true;
        }
        let Some(record) = self.desired.servers.get(other).filter(|record| record.goal == ServerGoal::Run)
        else {
            return false;
        };
        let changed = self.desired.update().is_some_and(|update| update.changes(self.desired, instance));
        let replicas: Vec<_> = self.spec(other).into_iter().flat_map(ServerSpec::places).collect();
        replicas.iter().any(|replica| {
            let slot = self.slot(replica, record);
            // One that is to make room for its successor is about to go.
            let stays = self.order(other) == UpdateOrder::StartFirst || slot.wanted.is_none();
            let standing = slot.standing.filter(|old| stays && !changed && !self.renews(record, old));
            let mut able = slot.wanted.into_iter().chain(standing).filter(|seen| self.observed.runs_on(seen));
            able.any(|seen| self.fulfils(seen, record, condition))
        })
    }

    /// True when this container, which nobody is about to end or to put to rest, fulfils the condition.
    fn fulfils(&self, seen: &ContainerObservation, record: &ServerRecord, condition: Condition) -> bool {
        let Some(run) = seen.run().filter(|run| !record.restart.contains(run)) else { return false };
        if self.rests(seen) {
            return false;
        }
        let readiness = self.observed.readiness_of(&run);
        match condition {
            Condition::Started => {
                !readiness.is_some_and(|readiness| self.is_late(&seen.slot.instance, readiness))
            }
            Condition::Healthy => matches!(readiness, Some(Readiness::Ready { .. })),
            Condition::Completed => false,
        }
    }

    fn is_late(&self, instance: &InstanceName, readiness: &Readiness) -> bool {
        match readiness {
            Readiness::Ready { .. } => false,
            Readiness::NotReady { asked_since, .. } => {
                self.now >= after(*asked_since, self.start_timeout(instance))
            }
        }
    }

    fn spec(&self, instance: &InstanceName) -> Option<&ServerSpec> {
        self.desired.spec.server(instance)
    }

    fn start_timeout(&self, instance: &InstanceName) -> Duration {
        self.spec(instance).map_or(Duration::from_secs(60), |spec| spec.readiness.start_timeout)
    }

    /// Differs between replicas and stays the same for one, so that their delays spread and repeat (FNV-1a).
    fn seed(&self, replica: &ReplicaId) -> u64 {
        let names = [self.desired.spec.group_id.as_str(), replica.instance.as_str()];
        let bytes =
            names.iter().flat_map(|name| name.bytes().chain([0])).chain(replica.replica.to_le_bytes());
        bytes
            .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
    }

    /// Gets rid of a container nobody wants: its process first.
    pub(super) fn discard(&self, container: &ContainerObservation) -> Action {
        if container.is_live() {
            return stop(container, crate::spec::default_stop_grace(), StopReason::Surplus);
        }
        Action::Remove { member: container.member(), container: container.id.clone() }
    }
}

/// The action that begins a member's process.
fn begin(member: Member, container: &ContainerObservation) -> Action {
    let instead_of = Some(container.member()).filter(|before| *before != member);
    Action::Start { member, container: container.id.clone(), instead_of }
}

/// The action that ends a container's process.
pub(super) fn stop(container: &ContainerObservation, grace: Duration, reason: StopReason) -> Action {
    Action::Stop { member: container.member(), container: container.id.clone(), grace, reason }
}

/// For a container that stands still and of whose end nothing is remembered.
const UNKNOWN: Trouble = Trouble::Exited { code: 0, oom: false };

pub(super) fn trouble(exit: &Exit) -> Trouble {
    Trouble::Exited { code: exit.code, oom: exit.oom }
}
