//! The handle: everything that can be asked of a running manager. Cheap to clone; outlives nothing.

use crate::connections::{ConnectionChanges, PutConnection, Seen};
use crate::discovery::{Approval, Discovered};
use crate::error::ManagerError;
use crate::event::Event;
use crate::group::Expect;
use crate::operations::OperationFilter;
use crate::registry::Registry;
use crate::status::GroupStatus;
use dtma_config::Rendered;
use dtma_core::change::ServerChange;
use dtma_core::connection::{Access, Connection, Terms, TokenDigest};
use dtma_core::id::{ConnectionId, Generation, GroupId, InstanceName, OperationId};
use dtma_core::idempotency::{IdempotencyKey, KeptAnswer, is_remembered};
use dtma_core::log::OriginLine;
use dtma_core::port::RuntimeError;
use dtma_core::port::runtime::{EngineInfo, ExecRequest, ExecResult, LogQuery};
use dtma_core::record::{Operation, Removal, Revision, local};
use dtma_core::spec::GroupSpec;
use dtma_core::violation::Violation;
use futures_util::stream::BoxStream;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Whether to wait for the outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// Answer as soon as the request is durable.
    No,
    /// Wait so long; afterwards [`ManagerError::Deadline`] says where things stand, and the work goes on.
    Until(Duration),
}

/// Who asks, how long they wait, and by which key the question is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asking {
    /// Whether to wait for the outcome.
    pub wait: Wait,
    /// The name of the caller's token; `local` for a program that embeds the manager.
    pub author: String,
    /// Asked again with the same key and digest within a day, the answer is that of the first time. Who asks sees to
    /// it that no two ask at the same moment with one key.
    pub key: Option<IdempotencyKey>,
    /// The id the operation is to bear: whoever chose it finds the operation whatever became of the question.
    pub operation: OperationId,
}

impl Asking {
    /// Somebody asks, under a new operation id and without a key.
    #[must_use]
    pub fn by(author: impl Into<String>, wait: Wait) -> Self {
        let operation = OperationId(uuid::Uuid::new_v4().to_string());
        Self { wait, author: author.into(), key: None, operation }
    }
}

impl From<Wait> for Asking {
    fn from(wait: Wait) -> Self {
        Self::by(local(), wait)
    }
}

/// The answer to a deployment, restart, start or stop.
#[derive(Debug, Clone, PartialEq)]
pub struct Deployed {
    /// The operation, to be found again.
    pub operation: OperationId,
    /// False when everything stood already as wanted.
    pub changed: bool,
    /// How the group stands.
    pub status: Arc<GroupStatus>,
}

/// The answer to a change of a group's spec.
#[derive(Debug, Clone, PartialEq)]
pub struct Applied {
    /// True when there was no such group before.
    pub created: bool,
    /// What it means for each server; empty when nothing changed.
    pub changes: Vec<ServerChange>,
    /// The operation, and how the group stands.
    pub deployed: Deployed,
}

/// What a change would mean.
#[derive(Debug, Clone, PartialEq)]
pub struct Preview {
    /// The generation that stands, if any does.
    pub generation: Option<Generation>,
    /// What would happen to each server; empty when nothing would.
    pub changes: Vec<ServerChange>,
    /// Nothing of it is different from what is wanted now, servers or not.
    pub same: bool,
    /// Whether it would be accepted, and what the containers would be made from.
    pub validation: Validation,
    /// What is known beforehand of how it would turn out, where a configuration ran before.
    pub foreseen: Vec<Violation>,
}

/// The answer to a removal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removed {
    /// The operation.
    pub operation: OperationId,
    /// False when it still goes on (only with [`Wait::No`]).
    pub gone: bool,
}

/// The answer to a question without consequences.
#[derive(Debug, Clone, PartialEq)]
pub struct Validation {
    /// Broken rules; empty when the group could be deployed.
    pub violations: Vec<Violation>,
    /// What is allowed and yet unwise.
    pub warnings: Vec<Violation>,
    /// What the containers would be made from; empty when there are violations.
    pub effective: BTreeMap<InstanceName, Rendered>,
}

/// Lines of a server's log, oldest first.
pub type LogStream = BoxStream<'static, Result<OriginLine, RuntimeError>>;

/// A running manager.
#[derive(Clone)]
pub struct ManagerHandle {
    pub(crate) registry: Arc<Registry>,
}

impl ManagerHandle {
    /// Deploys a group. The same spec again is fine and changes nothing. When the engine refuses something for good
    /// (image missing, name or port taken), everything made is undone and the group forgotten.
    ///
    /// # Errors
    /// [`ManagerError`]; before anything was made: `Invalid`, `GroupChanged`, `InstanceTaken`, `PortTaken`,
    /// `Engine`, `Store`; after it was undone: `Refused`; with the group standing: `ServersFailed`, `Deadline`.
    pub async fn deploy(&self, spec: GroupSpec, asking: impl Into<Asking>) -> Result<Deployed, ManagerError> {
        self.registry.deploy(spec, asking.into()).await
    }

    /// Makes another spec stand without downtime: what changed is started beside what stands, proved ready and given
    /// the work before that is drained and removed. When it fails, what stood before serves on, and the group goes
    /// back to it by itself unless its options say otherwise. A group that is not there is deployed.
    ///
    /// # Errors
    /// Those of [`deploy`](Self::deploy) except `GroupChanged`; `Stale`, `Outdated`, `GenerationTaken` when `expect`
    /// does not hold, `UpdateFailed`, `ChangeSuperseded`, `BeingRemoved`.
    pub async fn apply(
        &self,
        spec: GroupSpec,
        expect: Expect,
        asking: impl Into<Asking>,
    ) -> Result<Applied, ManagerError> {
        self.registry.apply(spec, expect, asking.into()).await
    }

    /// Another number of replicas for a server: a change of its group's spec like any other.
    ///
    /// # Errors
    /// `NoSuchServer`, `Invalid`, and those of [`apply`](Self::apply).
    pub async fn scale(
        &self,
        instance: &InstanceName,
        replicas: u32,
        expect: Expect,
        asking: impl Into<Asking>,
    ) -> Result<Applied, ManagerError> {
        self.registry.scale(instance, replicas, expect, asking.into()).await
    }

    /// The spec of an earlier generation again, as a new one; by default of the last that stood before.
    ///
    /// # Errors
    /// `NoSuchGroup`, `NoSuchGeneration`, and those of [`apply`](Self::apply).
    pub async fn rollback(
        &self,
        group: &GroupId,
        to: Option<Generation>,
        expect: Expect,
        asking: impl Into<Asking>,
    ) -> Result<Applied, ManagerError> {
        self.registry.rollback(group, to, expect, asking.into()).await
    }

    /// What [`apply`](Self::apply) would do.
    ///
    /// # Errors
    /// `Stale`, `Outdated`, `GenerationTaken`. Rules that are broken are part of the answer.
    pub fn preview(&self, spec: &GroupSpec, expect: Expect) -> Result<Preview, ManagerError> {
        self.registry.preview(spec, expect)
    }

    /// The generations of a group that are kept, the oldest first.
    ///
    /// # Errors
    /// `NoSuchGroup`, `Store`.
    pub async fn revisions(&self, group: &GroupId) -> Result<Vec<Revision>, ManagerError> {
        self.registry.revisions(group).await
    }

    /// Removes a group in reverse order of its dependencies.
    ///
    /// # Errors
    /// `NoSuchGroup`, `Store`, `Deadline`.
    pub async fn remove(
        &self,
        group: &GroupId,
        how: Removal,
        asking: impl Into<Asking>,
    ) -> Result<Removed, ManagerError> {
        self.registry.remove(group, how, asking.into()).await
    }

    /// Ends every running server of a group and starts it again; what a person stopped and what ran to completion is
    /// left alone. Not counted against restart budgets.
    ///
    /// # Errors
    /// `NoSuchGroup`, `BeingRemoved`, `Store`, `ServersFailed`, `Deadline`.
    pub async fn restart_group(
        &self,
        group: &GroupId,
        asking: impl Into<Asking>,
    ) -> Result<Deployed, ManagerError> {
        self.registry.restart_group(group, asking.into()).await
    }

    /// Ends a server's process and starts it again, or starts it when it stands still. Resets its restart budget.
    ///
    /// # Errors
    /// `NoSuchServer`, `BeingRemoved`, `Store`, `ServersFailed`, `Deadline`.
    pub async fn restart(
        &self,
        instance: &InstanceName,
        asking: impl Into<Asking>,
    ) -> Result<Deployed, ManagerError> {
        self.registry.restart(instance, asking.into()).await
    }

    /// Starts a stopped or failed server; a running one is left alone.
    ///
    /// # Errors
    /// `NoSuchServer`, `BeingRemoved`, `Store`, `ServersFailed`, `Deadline`.
    pub async fn start(
        &self,
        instance: &InstanceName,
        asking: impl Into<Asking>,
    ) -> Result<Deployed, ManagerError> {
        self.registry.start(instance, asking.into()).await
    }

    /// Stops a server until a person starts it; a stopped one is left alone.
    ///
    /// # Errors
    /// `NoSuchServer`, `BeingRemoved`, `Store`, `Deadline`.
    pub async fn stop(
        &self,
        instance: &InstanceName,
        asking: impl Into<Asking>,
    ) -> Result<Deployed, ManagerError> {
        self.registry.stop(instance, asking.into()).await
    }

    /// What would happen, without anything happening. Names and ports taken by other groups are violations here.
    #[must_use]
    pub fn validate(&self, spec: &GroupSpec) -> Validation {
        self.registry.validate(spec)
    }

    /// One group.
    #[must_use]
    pub fn group(&self, group: &GroupId) -> Option<Arc<GroupStatus>> {
        self.registry.group_status(group)
    }

    /// How many processes come up at this moment, and how many wait for their turn to.
    #[must_use]
    pub fn starts(&self) -> (usize, usize) {
        self.registry.starts.count()
    }

    /// Every group, by id. As long as nothing changes in a group, the same [`Arc`] is given.
    #[must_use]
    pub fn groups(&self) -> Vec<Arc<GroupStatus>> {
        self.registry.statuses()
    }

    /// One operation, under way or over, also of a group that is gone. The newest thousand that are over are
    /// remembered.
    #[must_use]
    pub fn operation(&self, operation: &OperationId) -> Option<Operation> {
        self.registry.operations.get(operation)
    }

    /// Operations, the newest first.
    #[must_use]
    pub fn operations(&self, filter: &OperationFilter, limit: usize) -> Vec<Operation> {
        self.registry.operations.list(filter, limit)
    }

    /// The operation that came of this author's question with this key, for a day.
    #[must_use]
    pub fn operation_of(&self, author: &str, key: &IdempotencyKey) -> Option<Operation> {
        self.registry.operations.of_key(author, key, (self.registry.backends.wall)())
    }

    /// Keeps the answer to a question with a key.
    ///
    /// # Errors
    /// `Store`.
    pub async fn keep_answer(&self, answer: &KeptAnswer) -> Result<(), ManagerError> {
        Ok(self.registry.backends.store.put_answer(answer).await?)
    }

    /// The answer that was given to this author's question with this key, for a day.
    ///
    /// # Errors
    /// `Store`.
    pub async fn kept_answer(&self, author: &str, key: &str) -> Result<Option<KeptAnswer>, ManagerError> {
        let kept = self.registry.backends.store.answer(author, key).await?;
        let now = (self.registry.backends.wall)();
        Ok(kept.filter(|answer| is_remembered(answer.at, now)))
    }

    /// What is wanted of a group.
    #[must_use]
    pub fn spec(&self, group: &GroupId) -> Option<Arc<GroupSpec>> {
        Some(Arc::clone(&self.registry.live(group)?.desired.spec))
    }

    /// The group a server belongs to.
    #[must_use]
    pub fn group_of(&self, instance: &InstanceName) -> Option<GroupId> {
        self.registry.group_of(instance)
    }

    /// A server's log, of one replica or of all: a stdio server's from the daemon's own rings, another's from the
    /// engine. Following takes in new containers; where it is the engine's it ends when no process is left.
    ///
    /// # Errors
    /// `NoSuchServer`, `Engine`.
    pub async fn logs(
        &self,
        instance: &InstanceName,
        query: &LogQuery,
        replica: Option<u32>,
    ) -> Result<LogStream, ManagerError> {
        self.registry.logs(instance, query, replica).await
    }

    /// Runs a command in a server's running container, as its user. Nothing is kept of it.
    ///
    /// # Errors
    /// `NoSuchServer`, `NotRunning`, `Engine` (`Refused` when the command cannot be started, `Timeout` at the deadline;
    /// the command goes on then).
    pub async fn exec(
        &self,
        instance: &InstanceName,
        request: &ExecRequest,
    ) -> Result<ExecResult, ManagerError> {
        self.registry.exec(instance, request).await
    }

    /// Events from now on. A reader that falls behind sees the gap in `seq` as an error of the stream.
    #[must_use]
    pub fn events(&self) -> tokio::sync::broadcast::Receiver<Event> {
        self.registry.events.subscribe()
    }

    /// The MCP side of a stdio server, for the gateway's door.
    #[must_use]
    pub fn mcp(&self, instance: &InstanceName) -> Option<dtma_mcp::Door> {
        self.registry.mcp(instance)
    }

    /// All MCP servers of a group as one, also of a group without any.
    #[must_use]
    pub fn mcp_group(&self, group: &GroupId) -> Option<dtma_mcp::Aggregate> {
        self.registry.mcp_group(group)
    }

    /// What is known of an MCP server: what it offers, or offered when it was last asked. Waits for nobody. `None`: there
    /// is no such MCP server.
    #[must_use]
    pub fn discovered(&self, instance: &InstanceName) -> Option<Arc<Discovered>> {
        self.registry.discovery.get(instance)
    }

    /// The same of every MCP server, by name. As long as nothing changes in one, the same [`Arc`] is given.
    #[must_use]
    pub fn discovery(&self) -> Vec<Arc<Discovered>> {
        self.registry.discovery.all()
    }

    /// Every connection of an agent, by id.
    #[must_use]
    pub fn connections(&self) -> Vec<Arc<Connection>> {
        self.registry.connections.all()
    }

    /// One connection.
    #[must_use]
    pub fn connection(&self, id: &ConnectionId) -> Option<Arc<Connection>> {
        self.registry.connections.get(id)
    }

    /// Tells from now on when a connection is made, changed or removed.
    #[must_use]
    pub fn connection_changes(&self) -> ConnectionChanges {
        self.registry.connections.changes()
    }

    /// What an agent may reach, by its token's name and digest. One that never had a connection reaches everything, unless
    /// connections are `needed`.
    #[must_use]
    pub fn access(&self, name: &str, digest: &TokenDigest, needed: bool) -> Access {
        self.registry.connections.access(name, digest, needed, (self.registry.backends.wall)())
    }

    /// Makes a connection, or changes it. Durable when it returns; the same again changes nothing.
    ///
    /// # Errors
    /// `ConnectionChanged`, `Store`.
    pub async fn put_connection(
        &self,
        id: &ConnectionId,
        terms: Terms,
        seen: Seen,
        author: &str,
    ) -> Result<PutConnection, ManagerError> {
        self.registry.connections.put(id, terms, seen, author, (self.registry.backends.wall)()).await
    }

    /// Takes a connection away. Its agent goes on being governed by those it has left, if any.
    ///
    /// # Errors
    /// `NoSuchConnection`, `ConnectionChanged`, `Store`.
    pub async fn remove_connection(
        &self,
        id: &ConnectionId,
        seen: Seen,
    ) -> Result<Arc<Connection>, ManagerError> {
        self.registry.connections.remove(id, seen).await
    }

    /// Approves of what a server offers: from now on its tools are held against this. Durable when it returns.
    ///
    /// # Errors
    /// `NoSuchServer` (also for what is no MCP server), `NotDiscovered`, `NoSuchTool`, `OfferChanged`, `Store`.
    pub async fn approve(
        &self,
        instance: &InstanceName,
        approval: &Approval,
        author: &str,
    ) -> Result<Arc<Discovered>, ManagerError> {
        self.registry.approve(instance, approval, author).await
    }

    /// The configurator this manager renders with: templates and policy.
    #[must_use]
    pub fn configurator(&self) -> &dtma_config::Configurator {
        &self.registry.backends.configurator
    }

    /// Who the engine is: the readiness of the daemon. An answer is good for
    /// [`ENGINE_KNOWN_FOR`](crate::ENGINE_KNOWN_FOR), and a little longer while the engine is being asked again, which
    /// happens once however many want to know.
    ///
    /// # Errors
    /// `Engine`.
    pub async fn engine(&self) -> Result<EngineInfo, ManagerError> {
        Ok(self.registry.introduction.of(&*self.registry.backends.runtime).await?)
    }
}
