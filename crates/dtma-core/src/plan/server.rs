//! The decision for one server that is to run or to stand still.

use super::{Action, Context, Step, StopReason};
use crate::Timestamp;
use crate::id::{InstanceName, RunKey};
use crate::observation::{ContainerObservation, ContainerState, Readiness};
use crate::phase::{Phase, Trouble, Unmet};
use crate::record::{ServerGoal, ServerRecord};
use crate::restart::{Decision, after, decide, exponential};
use crate::spec::{Condition, NetworkMode, ServerSpec};
use std::time::Duration;

/// First delay after the engine refused a call; doubles up to [`RETRY_MAX`].
const RETRY_BASE: Duration = Duration::from_secs(1);
/// Longest delay after the engine refused a call.
const RETRY_MAX: Duration = Duration::from_secs(60);

impl Step {
    fn rest(phase: Phase) -> Self {
        Self { action: None, phase, wake_at: None }
    }
    fn act(action: Action, phase: Phase) -> Self {
        Self { action: Some(action), phase, wake_at: None }
    }
    fn wait(until: Timestamp, phase: Phase) -> Self {
        Self { action: None, phase, wake_at: Some(until) }
    }
}

impl Context<'_> {
    /// What is to be done for one server of the spec.
    pub(super) fn server(&self, instance: &InstanceName, record: &ServerRecord) -> Step {
        let current = self.current(instance, record);
        let mut step = match (record.goal, current) {
            (ServerGoal::Stop, current) => self.stand_still(instance, record, current),
            (ServerGoal::Run, None) => self.bring_into_being(instance, record),
            (ServerGoal::Run, Some(container)) => self.keep_running(instance, record, container),
        };
        // Whatever else is to be done waits until no other container stands in this place.
        if let Some(surplus) = self.surplus(instance, current) {
            step.action = Some(discard(surplus));
        }
        step
    }

    /// The container that is wanted: made from the recorded configuration; a live one before others.
    fn current(&self, instance: &InstanceName, record: &ServerRecord) -> Option<&ContainerObservation> {
        self.observed
            .containers
            .iter()
            .filter(|seen| seen.slot.instance == *instance && seen.slot.replica == 0)
            .filter(|seen| seen.config_hash == record.config_hash && seen.state != ContainerState::Dead)
            .max_by_key(|seen| (seen.is_live(), seen.run().map(|run| run.started_at)))
    }

    fn surplus(
        &self,
        instance: &InstanceName,
        current: Option<&ContainerObservation>,
    ) -> Option<&ContainerObservation> {
        let of_instance = self.observed.containers.iter().filter(|seen| seen.slot.instance == *instance);
        of_instance.into_iter().find(|seen| current.is_none_or(|current| current.id != seen.id))
    }

    fn stand_still(
        &self,
        instance: &InstanceName,
        record: &ServerRecord,
        current: Option<&ContainerObservation>,
    ) -> Step {
        match current.filter(|container| container.is_live()) {
            Some(live) => Step::act(stop(live, record.config.stop_grace, StopReason::Asked), Phase::Stopping),
            // It may just be starting.
            None if self.is_busy(instance) => Step::rest(Phase::Stopping),
            None => Step::rest(Phase::Stopped),
        }
    }

    fn bring_into_being(&self, instance: &InstanceName, record: &ServerRecord) -> Step {
        let history = self.history.server(instance);
        if let Some(at) = history.completed_at {
            return Step::rest(Phase::Completed { at });
        }
        if let Some(wait) = self.refused(instance) {
            return wait;
        }
        if record.config.network == NetworkMode::Group && self.observed.networks.is_empty() {
            return Step::rest(Phase::Creating);
        }
        Step::act(Action::Create { instance: instance.clone() }, Phase::Creating)
    }

    fn keep_running(
        &self,
        instance: &InstanceName,
        record: &ServerRecord,
        container: &ContainerObservation,
    ) -> Step {
        if container.is_live() && record.restart.is_some() && record.restart == container.run() {
            let end = stop(container, record.config.stop_grace, StopReason::Restart);
            return Step::act(end, Phase::Stopping);
        }
        match container.state {
            ContainerState::Created | ContainerState::Exited { .. } => self.start(instance, container),
            ContainerState::Paused { .. } => Step::rest(Phase::Starting {
                run: container.run(),
                reason: Some("its container is paused".to_owned()),
            }),
            ContainerState::Running { started_at } => {
                let run = RunKey { container: container.id.clone(), started_at };
                self.running(instance, record, container, run)
            }
            // Not current, see `current`: it is discarded as surplus.
            ContainerState::Dead => Step::rest(Phase::Creating),
        }
    }

    fn running(
        &self,
        instance: &InstanceName,
        record: &ServerRecord,
        container: &ContainerObservation,
        run: RunKey,
    ) -> Step {
        let end = |reason| stop(container, record.config.stop_grace, reason);
        match self.observed.readiness_of(&run) {
            Some(Readiness::Ready { since }) => Step::rest(Phase::Ready { run, since: *since }),
            Some(Readiness::NotReady { asked_since, reason }) => {
                let late = after(*asked_since, self.start_timeout(instance));
                let phase = Phase::Starting { run: Some(run), reason: Some(reason.clone()) };
                if self.now < late {
                    return Step::wait(late, phase);
                }
                Step::act(end(StopReason::StartTimeout), Phase::Stopping)
            }
            None => Step::rest(Phase::Starting { run: Some(run), reason: None }),
        }
    }

    /// Start a container that stands still, unless its budget, its dependencies or a refusal say otherwise.
    fn start(&self, instance: &InstanceName, container: &ContainerObservation) -> Step {
        let history = self.history.server(instance);
        if let Some(at) = history.completed_at {
            return Step::rest(Phase::Completed { at });
        }
        let (due, attempt) = match self.budget(instance) {
            Ok(start) => start,
            Err(failed) => return Step::rest(failed),
        };
        let unmet = self.unmet(instance);
        if !unmet.is_empty() {
            return Step::rest(Phase::Waiting { on: unmet });
        }
        if let Some(wait) = self.refused(instance) {
            return wait;
        }
        if self.now < due {
            let reason = last_trouble(&history.exits).unwrap_or(Trouble::Exited { code: 0, oom: false });
            return Step::wait(due, Phase::Backoff { until: due, attempt, reason });
        }
        let action = Action::Start { instance: instance.clone(), container: container.id.clone() };
        Step::act(action, Phase::Starting { run: None, reason: None })
    }

    /// When the restart budget allows the next start, or the phase of a server that used it up.
    fn budget(&self, instance: &InstanceName) -> Result<(Timestamp, u32), Phase> {
        let history = self.history.server(instance);
        let counted = history.counted();
        let policy = self.spec(instance).map(|spec| spec.restart).unwrap_or_default();
        match decide(&policy, &counted, self.seed(instance)) {
            Decision::StartAt { due, attempt } => Ok((due, attempt)),
            Decision::GiveUp { .. } => {
                let at = counted.last().map_or(self.now, |exit| exit.at);
                let reason = last_trouble(&counted).unwrap_or(Trouble::Exited { code: 0, oom: false });
                Err(Phase::Failed { at, reason })
            }
        }
    }

    /// The wait after the engine refused a call for this server, while it lasts.
    fn refused(&self, instance: &InstanceName) -> Option<Step> {
        let refusal = self.history.server(instance).refusal.as_ref()?;
        let step = refusal.count.saturating_sub(1) as usize;
        let until = after(refusal.at, exponential(RETRY_BASE, RETRY_MAX, step, self.seed(instance)));
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
            .filter(|dependency| !self.holds(&dependency.instance, dependency.condition))
            .map(|dependency| Unmet {
                instance: dependency.instance.clone(),
                condition: dependency.condition,
            })
            .collect()
    }

    /// True when the condition holds of `instance`. What ran to completion was started and is as healthy as it gets.
    fn holds(&self, instance: &InstanceName, condition: Condition) -> bool {
        if self.history.server(instance).completed() {
            return true;
        }
        let Some(run) = self.lasting_run(instance) else { return false };
        let readiness = self.observed.readiness_of(&run);
        match condition {
            Condition::Started => !readiness.is_some_and(|readiness| self.is_late(instance, readiness)),
            Condition::Healthy => matches!(readiness, Some(Readiness::Ready { .. })),
            Condition::Completed => false,
        }
    }

    /// The run of a server that nobody is about to end.
    fn lasting_run(&self, instance: &InstanceName) -> Option<RunKey> {
        let record = self.desired.servers.get(instance)?;
        let run = self.current(instance, record).filter(|container| container.is_live())?.run()?;
        (record.goal == ServerGoal::Run && record.restart.as_ref() != Some(&run)).then_some(run)
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

    /// Differs between servers and stays the same for one, so that their delays spread and repeat (FNV-1a).
    fn seed(&self, instance: &InstanceName) -> u64 {
        let bytes = self.desired.spec.group_id.as_str().bytes().chain([0]).chain(instance.as_str().bytes());
        bytes
            .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
    }
}

/// Gets rid of a container nobody wants: its process first.
pub(super) fn discard(container: &ContainerObservation) -> Action {
    if container.is_live() {
        return stop(container, crate::spec::default_stop_grace(), StopReason::Surplus);
    }
    Action::Remove { instance: container.slot.instance.clone(), container: container.id.clone() }
}

/// The action that ends a container's process.
pub(super) fn stop(container: &ContainerObservation, grace: Duration, reason: StopReason) -> Action {
    let (instance, container) = (container.slot.instance.clone(), container.id.clone());
    Action::Stop { instance, container, grace, reason }
}

fn last_trouble(exits: &[crate::history::Exit]) -> Option<Trouble> {
    exits.last().map(|exit| Trouble::Exited { code: exit.code, oom: exit.oom })
}
