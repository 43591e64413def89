//! Requests: finding the group's task, handing it an order, and waiting for the outcome.

use super::{Live, Registry};
use crate::discovery::{Approval, Discovered};
use crate::error::ManagerError;
use crate::event::EventKind;
use crate::group::{Accepted, Expect, Order, Wake, Want, Wish, preview};
use crate::handle::{Applied, Asking, Deployed, Preview, Removed, Wait};
use crate::status::GroupState;
use dtma_config::Rendered;
use dtma_core::change;
use dtma_core::contract::{Drift, Pinning};
use dtma_core::id::{Generation, GroupId, InstanceName, OperationId};
use dtma_core::port::RuntimeError;
use dtma_core::port::runtime::{ExecRequest, ExecResult};
use dtma_core::record::{Operation, OperationKind, Outcome, Previous, Removal, Revision};
use dtma_core::spec::{GroupSpec, ServerSpec};
use dtma_core::violation::Violation;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

/// How long what runs may take to be heard by a daemon that has just begun.
const MOMENT: Duration = Duration::from_secs(3);

/// The end of an operation, as its waiter hears it.
type Ending = oneshot::Receiver<Result<(), ManagerError>>;

impl Registry {
    pub(crate) async fn approve(
        &self,
        instance: &InstanceName,
        approval: &Approval,
        author: &str,
    ) -> Result<Arc<Discovered>, ManagerError> {
        self.check_open()?;
        let now = (self.backends.wall)();
        let known = self.discovery.approve(instance, approval, author, now).await?;
        let lines = known.drift.iter().flat_map(Drift::lines).collect();
        let kind = EventKind::Contract { differs: known.drift.len(), lines };
        self.events.emit(&known.group, Some(instance), kind);
        // So that its status says it.
        if let Some(live) = self.live(&known.group) {
            live.wake(Wake::Resync);
        }
        Ok(known)
    }

    pub(crate) async fn deploy(
        self: &Arc<Self>,
        spec: GroupSpec,
        asking: Asking,
    ) -> Result<Deployed, ManagerError> {
        self.check_open()?;
        let group = spec.group_id.clone();
        if let Some(earlier) = self.asked_before(&group, &asking).await? {
            return self.deployed(&group, earlier, true);
        }
        if let Some(live) = self.live(&group) {
            return self.deploy_again(&live, &spec, asking).await;
        }
        self.deploy_first(spec, Generation(1), asking).await
    }

    async fn deploy_first(
        self: &Arc<Self>,
        spec: GroupSpec,
        generation: Generation,
        asking: Asking,
    ) -> Result<Deployed, ManagerError> {
        let group = spec.group_id.clone();
        let (finished, outcome) = oneshot::channel();
        let order = |operation| Order { operation, want: Want::Settled, accepted: None, finished };
        let operation = self.admit(spec, generation, &asking, order).await?;
        self.wait_for(&group, outcome, asking.wait).await?;
        self.deployed(&group, operation, true)
    }

    /// Another spec for a group, or its first.
    pub(crate) async fn apply(
        self: &Arc<Self>,
        spec: GroupSpec,
        expect: Expect,
        asking: Asking,
    ) -> Result<Applied, ManagerError> {
        self.check_open()?;
        let group = spec.group_id.clone();
        if let Some(earlier) = self.asked_before(&group, &asking).await? {
            return self.applied_before(&group, earlier);
        }
        let Some(live) = self.live(&group) else {
            if expect.seen.is_some() {
                return Err(ManagerError::NoSuchGroup(group));
            }
            let generation = expect.generation.unwrap_or(Generation(1));
            let changes = change::between(None, &spec);
            let deployed = self.deploy_first(spec, generation, asking).await?;
            return Ok(Applied { created: true, changes, deployed });
        };
        self.change(&live, OperationKind::Apply, None, Wish::Apply(Box::new(spec)), expect, asking).await
    }

    pub(crate) async fn scale(
        self: &Arc<Self>,
        instance: &InstanceName,
        replicas: u32,
        expect: Expect,
        asking: Asking,
    ) -> Result<Applied, ManagerError> {
        self.check_open()?;
        let unknown = || ManagerError::NoSuchServer(instance.clone());
        let group = self.group_of(instance).ok_or_else(unknown)?;
        if let Some(earlier) = self.asked_before(&group, &asking).await? {
            return self.applied_before(&group, earlier);
        }
        let live = self.live(&group).ok_or_else(unknown)?;
        let wish = Wish::Scale(instance.clone(), replicas);
        self.change(&live, OperationKind::Scale, Some(instance), wish, expect, asking).await
    }

    pub(crate) async fn rollback(
        self: &Arc<Self>,
        group: &GroupId,
        to: Option<Generation>,
        expect: Expect,
        asking: Asking,
    ) -> Result<Applied, ManagerError> {
        self.check_open()?;
        if let Some(earlier) = self.asked_before(group, &asking).await? {
            return self.applied_before(group, earlier);
        }
        let live = self.live(group).ok_or_else(|| ManagerError::NoSuchGroup(group.clone()))?;
        self.change(&live, OperationKind::Rollback, None, Wish::Rollback(to), expect, asking).await
    }

    /// The answer to a change that was asked for before with the same key. What it changed is in the history.
    fn applied_before(&self, group: &GroupId, earlier: OperationId) -> Result<Applied, ManagerError> {
        let deployed = self.deployed(group, earlier, true)?;
        Ok(Applied { created: false, changes: Vec::new(), deployed })
    }

    async fn change(
        &self,
        live: &Live,
        kind: OperationKind,
        instance: Option<&InstanceName>,
        wish: Wish,
        expect: Expect,
        asking: Asking,
    ) -> Result<Applied, ManagerError> {
        let before = Arc::clone(&live.desired);
        let group = before.now.spec.group_id.clone();
        let operation = self.operation(kind, &group, instance, &asking);
        let (accepted, outcome) = self.hand_over(live, operation, Want::Changed(wish, expect)).await?;
        let after = self.live(&group).map(|live| Arc::clone(&live.desired));
        let changes = match after.filter(|_| accepted.changed) {
            Some(after) => change::rendered(&before.now, &after.now),
            None => Vec::new(),
        };
        self.wait_for(&group, outcome, asking.wait).await?;
        let deployed = self.deployed(&group, accepted.operation, accepted.changed)?;
        Ok(Applied { created: false, changes, deployed })
    }

    /// What a change would mean, without anything happening.
    pub(crate) fn preview(&self, spec: &GroupSpec, expect: Expect) -> Result<Preview, ManagerError> {
        let live = self.live(&spec.group_id);
        let present = live.as_ref().map(|live| &live.desired.now);
        if let Some(present) = present {
            expect.judge(present.generation, present.spec == *spec)?;
        }
        let validation = self.validate(spec);
        let foreseen = self.foreseen_drift(present, spec, &validation.effective);
        let changes = preview(present, spec, &validation.effective);
        let same = present.is_some_and(|present| present.spec == *spec);
        let generation = present.map(|present| present.generation);
        Ok(Preview { generation, changes, same, validation, foreseen })
    }

    /// What is known of tools that another configuration will not offer as they were approved: only where that
    /// configuration ran before.
    fn foreseen_drift(
        &self,
        present: Option<&Previous>,
        spec: &GroupSpec,
        rendered: &BTreeMap<InstanceName, Rendered>,
    ) -> Vec<Violation> {
        let warn = |(index, server): (usize, &ServerSpec)| {
            let hash = &rendered.get(&server.instance)?.hash;
            let stands = present?.servers.get(&server.instance).is_some_and(|one| one.config_hash == *hash);
            let tools = self.discovery.foreseen(&server.instance, hash).filter(|_| !stands)?;
            let name = &server.instance;
            let message = format!("when this configuration last ran, tools were not as approved: {tools}");
            let hint = format!(
                "look at it when it stands (dtma mcp inspect {name} --contract), then dtma mcp approve {name}"
            );
            Some(Violation::new(format!("/servers/{index}"), "contract.drift", message).hint(hint))
        };
        spec.servers
            .iter()
            .enumerate()
            .filter(|(_, server)| server.pinning != Pinning::Off)
            .filter_map(warn)
            .collect()
    }

    pub(crate) async fn revisions(&self, group: &GroupId) -> Result<Vec<Revision>, ManagerError> {
        if self.live(group).is_none() {
            return Err(ManagerError::NoSuchGroup(group.clone()));
        }
        Ok(self.backends.store.revisions(group).await?)
    }

    /// The same spec again: wait until it stands.
    async fn deploy_again(
        &self,
        live: &Live,
        spec: &GroupSpec,
        asking: Asking,
    ) -> Result<Deployed, ManagerError> {
        let group = &spec.group_id;
        if live.desired.now.spec != *spec {
            return Err(ManagerError::GroupChanged(group.clone()));
        }
        let operation = self.operation(OperationKind::Deploy, group, None, &asking);
        let id = self.order(live, operation, Want::Settled, asking.wait).await?;
        self.deployed(group, id, false)
    }

    pub(crate) async fn remove(
        &self,
        group: &GroupId,
        how: Removal,
        asking: Asking,
    ) -> Result<Removed, ManagerError> {
        self.check_open()?;
        if let Some(operation) = self.asked_before(group, &asking).await? {
            return Ok(Removed { operation, gone: asking.wait != Wait::No });
        }
        let live = self.live(group).ok_or_else(|| ManagerError::NoSuchGroup(group.clone()))?;
        let operation = self.operation(OperationKind::Remove, group, None, &asking);
        let operation = self.order(&live, operation, Want::Gone(how), asking.wait).await?;
        Ok(Removed { operation, gone: asking.wait != Wait::No })
    }

    pub(crate) async fn restart_group(
        &self,
        group: &GroupId,
        asking: Asking,
    ) -> Result<Deployed, ManagerError> {
        self.check_open()?;
        if let Some(earlier) = self.asked_before(group, &asking).await? {
            return self.deployed(group, earlier, true);
        }
        let live = self.live(group).ok_or_else(|| ManagerError::NoSuchGroup(group.clone()))?;
        let all = live.desired.now.spec.servers.iter().map(|server| server.instance.clone()).collect();
        let operation = self.operation(OperationKind::Restart, group, None, &asking);
        let id = self.order(&live, operation, Want::Restarted(all), asking.wait).await?;
        self.deployed(group, id, true)
    }

    pub(crate) async fn restart(
        &self,
        instance: &InstanceName,
        asking: Asking,
    ) -> Result<Deployed, ManagerError> {
        let want = |instance: InstanceName| Want::Restarted(vec![instance]);
        self.order_one(instance, OperationKind::Restart, want, asking).await
    }

    pub(crate) async fn start(
        &self,
        instance: &InstanceName,
        asking: Asking,
    ) -> Result<Deployed, ManagerError> {
        self.order_one(instance, OperationKind::Start, Want::Started, asking).await
    }

    pub(crate) async fn stop(
        &self,
        instance: &InstanceName,
        asking: Asking,
    ) -> Result<Deployed, ManagerError> {
        self.order_one(instance, OperationKind::Stop, Want::Stopped, asking).await
    }

    async fn order_one(
        &self,
        instance: &InstanceName,
        kind: OperationKind,
        want: impl FnOnce(InstanceName) -> Want,
        asking: Asking,
    ) -> Result<Deployed, ManagerError> {
        self.check_open()?;
        let unknown = || ManagerError::NoSuchServer(instance.clone());
        let group = self.group_of(instance).ok_or_else(unknown)?;
        if let Some(earlier) = self.asked_before(&group, &asking).await? {
            return self.deployed(&group, earlier, true);
        }
        let live = self.live(&group).ok_or_else(unknown)?;
        let operation = self.operation(kind, &group, Some(instance), &asking);
        let id = self.order(&live, operation, want(instance.clone()), asking.wait).await?;
        self.deployed(&group, id, true)
    }

    /// The operation of the same question asked before; with [`Wait::Until`] only once it is over. What the first
    /// time wanted is not wanted again.
    async fn asked_before(
        &self,
        group: &GroupId,
        asking: &Asking,
    ) -> Result<Option<OperationId>, ManagerError> {
        let Some(key) = &asking.key else { return Ok(None) };
        let now = (self.backends.wall)();
        let Some(earlier) = self.operations.of_key(&asking.author, key, now) else { return Ok(None) };
        if earlier.key.as_ref() != Some(key) {
            return Err(ManagerError::KeyReused(key.key.clone()));
        }
        match asking.wait {
            Wait::No => Ok(Some(earlier.id)),
            Wait::Until(after) => self.end_of(group, earlier.id, after).await.map(Some),
        }
    }

    async fn end_of(
        &self,
        group: &GroupId,
        id: OperationId,
        after: Duration,
    ) -> Result<OperationId, ManagerError> {
        // Neither loses anything when it is dropped: both only look.
        let ended = tokio::select! {
            ended = tokio::time::timeout(after, self.operations.ended(&id)) => ended,
            () = self.cancel.cancelled() => return Err(ManagerError::ShuttingDown),
        };
        match ended.map(|ended| ended.and_then(|ended| ended.outcome)) {
            Err(_) => Err(self.late(group, after)),
            Ok(Some(Outcome::Failed { message, .. })) => {
                Err(ManagerError::FailedBefore { operation: id, message })
            }
            Ok(Some(Outcome::Done { .. }) | None) => {
                self.seen_again(group).await;
                Ok(id)
            }
        }
    }

    /// A daemon that has just begun has not heard from everything that runs: who asks how it stands is told what was
    /// so before, if it is so again in a moment.
    async fn seen_again(&self, group: &GroupId) {
        let Some(live) = self.live(group) else { return };
        let mut status = live.status.clone();
        let ready = status.wait_for(|status| status.state == GroupState::Ready);
        // What is not ready by then is told as it is.
        let _ = tokio::time::timeout(MOMENT, ready).await;
    }

    /// Hands an order to the group's task; returns when it is durable, or with [`Wait::Until`] when it is done.
    async fn order(
        &self,
        live: &Live,
        operation: Operation,
        want: Want,
        wait: Wait,
    ) -> Result<OperationId, ManagerError> {
        let group = operation.group.clone();
        let (accepted, outcome) = self.hand_over(live, operation, want).await?;
        self.wait_for(&group, outcome, wait).await?;
        Ok(accepted.operation)
    }

    /// Hands an order to the group's task; returns when it is durable, with the way to hear of its end.
    async fn hand_over(
        &self,
        live: &Live,
        operation: Operation,
        want: Want,
    ) -> Result<(Accepted, Ending), ManagerError> {
        let group = operation.group.clone();
        let defect = || self.lost(&group);
        let (accepted, heard) = oneshot::channel();
        let (finished, outcome) = oneshot::channel();
        let order = Order { operation, want, accepted: Some(accepted), finished };
        live.orders.send(order).await.map_err(|_| defect())?;
        Ok((heard.await.map_err(|_| defect())??, outcome))
    }

    async fn wait_for(&self, group: &GroupId, outcome: Ending, wait: Wait) -> Result<(), ManagerError> {
        let after = match wait {
            Wait::No => return Ok(()),
            Wait::Until(after) => after,
        };
        match tokio::time::timeout(after, outcome).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(self.lost(group)),
            Err(_) => Err(self.late(group, after)),
        }
    }

    fn late(&self, group: &GroupId, after: Duration) -> ManagerError {
        match self.group_status(group) {
            Some(status) => ManagerError::Deadline { after, status },
            None => ManagerError::NoSuchGroup(group.clone()),
        }
    }

    /// The task does not answer: the daemon ends, the group went meanwhile, or the task had a defect.
    pub(super) fn lost(&self, group: &GroupId) -> ManagerError {
        if self.cancel.is_cancelled() {
            return ManagerError::ShuttingDown;
        }
        match self.live(group) {
            Some(_) => ManagerError::Defect(group.clone()),
            None => ManagerError::NoSuchGroup(group.clone()),
        }
    }

    fn deployed(
        &self,
        group: &GroupId,
        operation: OperationId,
        changed: bool,
    ) -> Result<Deployed, ManagerError> {
        let status = self.group_status(group).ok_or_else(|| ManagerError::NoSuchGroup(group.clone()))?;
        Ok(Deployed { operation, changed, status })
    }

    fn check_open(&self) -> Result<(), ManagerError> {
        if self.cancel.is_cancelled() { Err(ManagerError::ShuttingDown) } else { Ok(()) }
    }

    pub(crate) async fn exec(
        &self,
        instance: &InstanceName,
        request: &ExecRequest,
    ) -> Result<ExecResult, ManagerError> {
        self.check_open()?;
        let unknown = || ManagerError::NoSuchServer(instance.clone());
        let live = self.group_of(instance).and_then(|group| self.live(&group)).ok_or_else(unknown)?;
        let container = live.status.borrow().server(instance).and_then(|server| server.container.clone());
        let wanted = live.desired.now.servers.get(instance).map(|server| &server.config);
        // A container with a shim was not told the environment of its process.
        let environment = wanted.filter(|config| config.shim).map(|config| config.environment.clone());
        let request = &ExecRequest { environment: environment.unwrap_or_default(), ..request.clone() };
        let not_running = || ManagerError::NotRunning(instance.clone());
        match self.backends.runtime.exec(&container.ok_or_else(not_running)?, request).await {
            // The engine knows sooner than the status that a process is over or its container gone.
            Err(RuntimeError::Conflict { .. } | RuntimeError::NotFound { .. }) => Err(not_running()),
            done => Ok(done?),
        }
    }
}
