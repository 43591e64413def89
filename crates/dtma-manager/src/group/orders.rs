//! Orders: what somebody wants of a group. An order is accepted once it is durable, and answered once the phases
//! say that it is fulfilled or cannot be.

use super::change::{Expect, Wish};
use super::{Flow, GroupTask, RETRY};
use crate::error::ManagerError;
use crate::event::EventKind;
use dtma_core::history::GroupHistory;
use dtma_core::id::{Generation, InstanceName, OperationId, ReplicaId, RunKey};
use dtma_core::phase::Phase;
use dtma_core::plan::Action;
use dtma_core::port::{RuntimeError, StoreError};
use dtma_core::record::{
    Fate, GroupGoal, GroupRecord, Journal, Operation, OperationKind, Outcome, Removal, Rollout,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tokio::sync::oneshot;

/// Operations of one group that may be under way at the same time. Further ones are refused: somebody asks again and
/// again for what does not come.
const MAX_PENDING: usize = 64;

/// Somebody wants something of a group.
pub(crate) struct Order {
    pub(crate) operation: Operation,
    pub(crate) want: Want,
    /// Told as soon as the order is durable; `None` when it is already.
    pub(crate) accepted: Option<oneshot::Sender<Result<Accepted, ManagerError>>>,
    /// Told when it is over.
    pub(crate) finished: oneshot::Sender<Result<(), ManagerError>>,
}

/// An order that is durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Accepted {
    pub(crate) operation: OperationId,
    /// False when everything is wanted already as it was asked for.
    pub(crate) changed: bool,
    /// The generation that is wanted now.
    pub(crate) generation: Generation,
}

/// What is wanted.
pub(crate) enum Want {
    /// That everything stands.
    Settled,
    /// That these servers run anew.
    Restarted(Vec<InstanceName>),
    /// That this server runs.
    Started(InstanceName),
    /// That this server stands still.
    Stopped(InstanceName),
    /// That another spec stands.
    Changed(Wish, Expect),
    /// That nothing is left.
    Gone(Removal),
}

/// An accepted order that is not over.
pub(super) struct Pending {
    operation: Operation,
    until: Until,
    /// What whoever waits is to hear, when that is known before it is over.
    verdict: Option<ManagerError>,
    finished: Option<oneshot::Sender<Result<(), ManagerError>>>,
}

/// When an order is over.
pub(super) enum Until {
    /// Every server is settled.
    Settled,
    /// Each of these servers is ready in other runs than these.
    Renewed(BTreeMap<InstanceName, BTreeSet<RunKey>>),
    /// This server stands still.
    Stopped(InstanceName),
    /// The update is through.
    RolledOut,
    /// The way back from a failed update is through.
    Reverted,
    /// The group is gone.
    Gone,
}

impl From<Order> for Pending {
    fn from(order: Order) -> Self {
        Self {
            operation: order.operation,
            until: Until::Settled,
            verdict: None,
            finished: Some(order.finished),
        }
    }
}

impl GroupTask {
    /// Takes up operations that an earlier daemon accepted. What they wanted is in the record already; here they
    /// only get their outcome.
    pub(super) fn reopen(&mut self, interrupted: Vec<Operation>) {
        for operation in interrupted {
            let until = match operation.kind {
                OperationKind::Remove => Until::Gone,
                OperationKind::Deploy
                | OperationKind::Restart
                | OperationKind::Start
                | OperationKind::Stop => Until::Settled,
                OperationKind::Apply | OperationKind::Scale | OperationKind::Rollback => Until::RolledOut,
            };
            self.pending.push(Pending { operation, until, verdict: None, finished: None });
        }
    }

    /// Says that the order which made the group is accepted: it was durable before there was a task.
    pub(super) fn announce(&self) {
        for pending in self.pending.iter().filter(|pending| pending.finished.is_some()) {
            self.emit(None, announcement(&pending.operation));
        }
    }

    /// Makes an order durable and says so; what follows from it is the next plan's business.
    pub(super) async fn accept(&mut self, order: Order) {
        let Order { operation, want, accepted, finished } = order;
        let result = match self.crowded(&want) {
            Some(error) => Err(error),
            None => self.adopt_want(&operation, want).await,
        };
        let answer = match result {
            Ok((until, accepted)) => {
                self.emit(operation.instance.as_ref(), announcement(&operation));
                self.pending.push(Pending { operation, until, verdict: None, finished: Some(finished) });
                Ok(accepted)
            }
            Err(error) => Err(error),
        };
        if let Some(accepted) = accepted {
            // A caller that hung up does not stop the work.
            let _ = accepted.send(answer);
        }
    }

    /// Too much is under way already. A removal ends everything else, so only other removals stand in its way.
    fn crowded(&self, want: &Want) -> Option<ManagerError> {
        let removal = matches!(want, Want::Gone(_));
        let counts = |pending: &&Pending| !removal || matches!(pending.until, Until::Gone);
        let under_way = self.pending.iter().filter(counts).count();
        let (group, limit) = (self.group_id().clone(), MAX_PENDING);
        (under_way >= limit).then_some(ManagerError::TooManyOperations { group, limit })
    }

    async fn adopt_want(
        &mut self,
        operation: &Operation,
        want: Want,
    ) -> Result<(Until, Accepted), ManagerError> {
        let removing = matches!(self.record.goal, GroupGoal::Remove(_));
        let until = match want {
            Want::Gone(how) => self.want_gone(operation, how).await?,
            _ if removing => return Err(ManagerError::BeingRemoved(self.group_id().clone())),
            Want::Changed(wish, expect) => return self.want_changed(operation, wish, expect).await,
            Want::Settled => {
                self.registry.backends.store.put_operation(operation).await?;
                Until::Settled
            }
            Want::Restarted(instances) => self.want_restarted(operation, instances).await?,
            Want::Started(instance) => self.want_started(operation, instance).await?,
            Want::Stopped(instance) => self.want_stopped(operation, instance).await?,
        };
        let (operation, generation) = (operation.id.clone(), self.record.generation);
        Ok((until, Accepted { operation, changed: true, generation }))
    }

    async fn want_gone(&mut self, operation: &Operation, how: Removal) -> Result<Until, ManagerError> {
        let how = match &self.record.goal {
            GroupGoal::Remove(earlier) => earlier.clone().and(how),
            GroupGoal::Run => how,
        };
        let goal = std::mem::replace(&mut self.record.goal, GroupGoal::Remove(how));
        if let Err(error) = self.keep(operation.into()).await {
            self.record.goal = goal;
            return Err(error.into());
        }
        self.give_up().await;
        Ok(Until::Gone)
    }

    /// The group is to go: nothing else is waited for.
    async fn give_up(&mut self) {
        self.pulls.cancel();
        self.warm_up(|_| true);
        let gone = ManagerError::BeingRemoved(self.group_id().clone());
        self.finish_all(|until| !matches!(until, Until::Gone), &gone).await;
    }

    pub(super) fn before(&self) -> (GroupRecord, GroupHistory) {
        (self.record.clone(), self.history.clone())
    }

    pub(super) async fn keep_or_restore(
        &mut self,
        before: (GroupRecord, GroupHistory),
        journal: impl Into<Journal<'_>>,
    ) -> Result<(), StoreError> {
        // The history first: a budget that was reset without a restart harms nobody, the reverse would.
        let kept = match self.unsaved && !self.save_history().await {
            true => Err(StoreError::Io {
                operation: "put_history",
                problem: self.trouble.clone().unwrap_or_default(),
            }),
            false => self.keep(journal.into()).await,
        };
        if kept.is_err() {
            (self.record, self.history) = before;
            // The store may hold the history that was just taken back.
            (self.unsaved, self.owed) = (true, true);
        }
        kept
    }

    async fn keep(&mut self, journal: Journal<'_>) -> Result<(), StoreError> {
        self.record.updated_at = self.now();
        self.registry.backends.store.put_group(&self.record, journal).await
    }

    /// Whoever waits for the update is to hear why it failed, once what stood before stands again. Returns the
    /// operation that made it, with its outcome.
    pub(super) fn fail_pending(&mut self, why: &ManagerError, outcome: &Outcome) -> Option<Operation> {
        let waits = |pending: &&mut Pending| matches!(pending.until, Until::RolledOut);
        for pending in self.pending.iter_mut().filter(waits) {
            pending.until = Until::Reverted;
            pending.operation.outcome = Some(outcome.clone());
            pending.verdict = Some(why.clone());
        }
        let made = self.pending.iter().find(|pending| matches!(pending.until, Until::Reverted));
        made.map(|pending| pending.operation.clone())
    }

    /// The engine refused for good what a first deployment needs: everything made is to go again.
    pub(super) async fn undo_deployment(&mut self, action: &Action, error: RuntimeError) {
        let Rollout::Deploying { volumes_before } = &self.record.rollout else { return };
        if matches!(self.record.goal, GroupGoal::Remove(_)) {
            return;
        }
        let keep = volumes_before.clone();
        let why = match action {
            Action::Create { member } | Action::Start { member, .. } => {
                // What has run may have written: it is tried again, and its volumes stay. A session is none of the
                // deployment's.
                if self.history.of(&member.replica).runs > 0 || member.replica.is_place() {
                    return;
                }
                let (instance, action) = (member.replica.instance.clone(), action.word().to_owned());
                ManagerError::Refused { instance, action, source: error }
            }
            Action::EnsureNetwork { .. } => ManagerError::Engine(error),
            Action::RemoveNetwork { .. }
            | Action::Stop { .. }
            | Action::Pause { .. }
            | Action::Unpause { .. }
            | Action::Remove { .. }
            | Action::Rename { .. }
            | Action::RemoveVolume { .. } => return,
        };
        tracing::warn!(group = %self.group_id(), error = %chain(&why), "undoing the deployment");
        self.record.goal = GroupGoal::Remove(Removal { force: true, grace: None, volumes: true, keep });
        let outcome = Outcome::Failed { at: self.now(), message: chain(&why) };
        self.undoing = Some(why);
        let deploy = |pending: &&mut Pending| pending.operation.kind == OperationKind::Deploy;
        for pending in self.pending.iter_mut().filter(deploy) {
            pending.until = Until::Gone;
            pending.operation.outcome = Some(outcome.clone());
        }
        let operation = self.pending.iter().find(|pending| matches!(pending.until, Until::Gone));
        let operation = operation.map(|pending| pending.operation.clone());
        if let Err(error) =
            self.registry.backends.store.put_group(&self.record, operation.as_ref().into()).await
        {
            // The daemon that is killed now would deploy again, and undo again: nothing is lost.
            self.trouble_with("the undoing could not be kept", &error);
        }
        self.give_up().await;
    }

    /// The oldest operation that is not over.
    pub(super) fn operation(&self) -> Option<OperationId> {
        self.pending.first().map(|pending| pending.operation.id.clone())
    }

    /// Answers orders that are fulfilled or cannot be.
    pub(super) async fn answer(&mut self) {
        let mut index = 0;
        while index < self.pending.len() {
            match self.verdict(&self.pending[index]) {
                None => index += 1,
                Some(verdict) => {
                    let over = self.pending.remove(index);
                    self.finish(over, verdict).await;
                }
            }
        }
    }

    fn verdict(&self, pending: &Pending) -> Option<Result<(), ManagerError>> {
        let way_back = self.record.update().is_some_and(|update| update.reverting.is_some());
        let failed = || self.phases.values().any(|phase| matches!(phase, Phase::Failed { .. }));
        match &pending.until {
            Until::Gone => None,
            Until::RolledOut => self.record.update().is_none().then_some(Ok(())),
            // Where nothing leads back, or what stood cannot stand again, there is nothing to wait for.
            Until::Reverted if way_back && !failed() => None,
            Until::Reverted => Some(pending.verdict.clone().map_or(Ok(()), Err)),
            Until::Settled => self.judge(self.phases.keys(), |_, phase| phase.is_settled()),
            Until::Stopped(instance) => {
                self.judge([instance], |_, phase| matches!(phase, Phase::Stopped | Phase::Completed { .. }))
            }
            Until::Renewed(old) => self.judge(old.keys(), |instance, _| {
                let of_server = |replica: &ReplicaId| replica.instance == *instance && !replica.is_place();
                let replicas = self.replicas.iter().filter(|(replica, _)| of_server(replica));
                replicas.map(|(_, phase)| phase).all(|phase| is_renewed(phase, &old[instance]))
            }),
        }
    }

    /// Ok when `fulfilled` holds of all of them, an error when one of them failed, nothing when it is too early.
    fn judge<'a>(
        &'a self,
        instances: impl IntoIterator<Item = &'a InstanceName>,
        fulfilled: impl Fn(&InstanceName, &Phase) -> bool,
    ) -> Option<Result<(), ManagerError>> {
        let phases: Vec<_> =
            instances.into_iter().filter_map(|name| Some((name, self.phases.get(name)?))).collect();
        if phases.iter().any(|(_, phase)| matches!(phase, Phase::Failed { .. })) {
            return Some(Err(ManagerError::ServersFailed(self.status.borrow().clone())));
        }
        phases.iter().all(|(name, phase)| fulfilled(name, phase)).then_some(Ok(()))
    }

    /// Gives an order its outcome, durably and to whoever waits.
    async fn finish(&mut self, mut over: Pending, result: Result<(), ManagerError>) {
        let (operation, error) = (&mut over.operation, result.as_ref().err().map(chain));
        operation.outcome.get_or_insert(outcome(self.registry.backends.wall.as_ref()(), error.as_ref()));
        let first = matches!(self.record.rollout, Rollout::Deploying { .. });
        let store = Arc::clone(&self.registry.backends.store);
        let kept = if first && operation.kind == OperationKind::Deploy {
            let operation = operation.clone();
            self.record.rollout = Rollout::Established;
            let at = self.now();
            let fate = match error.clone() {
                None => Fate::Established { at },
                Some(reason) => Fate::Failed { at, reason },
            };
            let revisions = self.fates(&fate).await;
            store
                .put_group(&self.record, Journal { operation: Some(&operation), revisions: &revisions })
                .await
        } else {
            store.put_operation(operation).await
        };
        if let Err(error) = kept {
            self.trouble_with("the outcome of an operation could not be kept", &error);
        }
        // Whoever is told must not find it under way still.
        self.publish();
        self.tell_end(over, result, error);
    }

    fn tell_end(&self, over: Pending, result: Result<(), ManagerError>, error: Option<String>) {
        let Operation { id: operation, kind, instance, author, .. } = over.operation;
        self.emit(instance.as_ref(), EventKind::Finished { operation, kind, author, error });
        if let Some(finished) = over.finished {
            // A caller that hung up is not told.
            let _ = finished.send(result);
        }
    }

    pub(super) async fn finish_all(&mut self, over: impl Fn(&Until) -> bool, error: &ManagerError) {
        let (over, on): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.pending).into_iter().partition(|pending| over(&pending.until));
        self.pending = on;
        for pending in over {
            self.finish(pending, Err(error.clone())).await;
        }
    }

    /// Nothing of the group is left: forgets it and tells those who waited for that.
    pub(super) async fn vanish(&mut self) -> Flow {
        let now = self.now();
        for pending in &mut self.pending {
            pending.operation.outcome.get_or_insert(Outcome::Done { at: now });
        }
        if let Err(error) = self.forget().await {
            self.trouble_with("the removed group could not be forgotten", &error);
            return Flow::Until(tokio::time::Instant::now() + RETRY);
        }
        // Whoever is told may deploy again at once.
        self.close_ports().await;
        self.registry.forget(self.group_id());
        let undone = self.undoing.take();
        for pending in std::mem::take(&mut self.pending) {
            let result = match (&undone, pending.operation.kind) {
                (Some(why), OperationKind::Deploy) => Err(why.clone()),
                _ => Ok(()),
            };
            let error = result.as_ref().err().map(chain);
            self.tell_end(pending, result, error);
        }
        self.emit(None, EventKind::Removed);
        Flow::Gone
    }

    async fn forget(&self) -> Result<(), StoreError> {
        let store = &self.registry.backends.store;
        for (instance, server) in &self.servers {
            if let Some(door) = &server.door {
                door.close();
                self.registry.discovery.forget(instance);
                store.forget_server(instance).await?;
            }
        }
        let mut operations = self.pending.iter().map(|pending| &pending.operation);
        let first = operations.next();
        // Before the group goes: nobody would ever close an operation of a group that is not there.
        for operation in operations {
            store.put_operation(operation).await?;
        }
        store.remove_group(self.group_id(), first).await
    }
}

fn announcement(operation: &Operation) -> EventKind {
    let Operation { id, kind, author, .. } = operation;
    EventKind::Accepted { operation: id.clone(), kind: *kind, author: author.clone() }
}

/// True for a replica that runs as something else than these runs.
fn is_renewed(phase: &Phase, old: &BTreeSet<RunKey>) -> bool {
    match phase {
        Phase::Ready { run, .. } => !old.contains(run),
        Phase::Completed { .. } | Phase::OnDemand => true,
        Phase::Creating
        | Phase::Waiting { .. }
        | Phase::Starting { .. }
        | Phase::Idle { .. }
        | Phase::Updating { .. }
        | Phase::Backoff { .. }
        | Phase::Stopping
        | Phase::Stopped
        | Phase::Failed { .. }
        | Phase::Removing => false,
    }
}

fn outcome(at: dtma_core::Timestamp, error: Option<&String>) -> Outcome {
    match error {
        None => Outcome::Done { at },
        Some(message) => Outcome::Failed { at, message: message.clone() },
    }
}

/// An error with its causes, in one line.
fn chain(error: &ManagerError) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
