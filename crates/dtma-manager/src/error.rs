//! Why a request to the manager was not fulfilled. One variant per kind of answer; HTTP codes are chosen elsewhere.

use crate::status::GroupStatus;
use dtma_core::id::{ConnectionId, Generation, GroupId, InstanceName, OperationId};
use dtma_core::port::{RuntimeError, StoreError};
use dtma_core::violation::Violation;
use std::sync::Arc;
use std::time::Duration;

/// Why a request was not fulfilled.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ManagerError {
    /// The spec breaks rules; all of them are listed.
    #[error("the group is not valid: {} mistake(s)", .0.len())]
    Invalid(Vec<Violation>),
    /// No such group.
    #[error("there is no group {0}")]
    NoSuchGroup(GroupId),
    /// No such server.
    #[error("there is no server {0}")]
    NoSuchServer(InstanceName),
    /// The server's container does not run.
    #[error("{0} is not running")]
    NotRunning(InstanceName),
    /// A group of that id stands with another spec.
    #[error("group {0} exists with another spec; remove it first (dtma down {0})")]
    GroupChanged(GroupId),
    /// The group is being removed.
    #[error("group {0} is being removed")]
    BeingRemoved(GroupId),
    /// A server of another group bears the name.
    #[error("the name {instance} is taken by a server of group {group}")]
    InstanceTaken {
        /// The name.
        instance: InstanceName,
        /// Whose it is.
        group: GroupId,
    },
    /// A host port is taken, by another server or by a stranger.
    #[error("host port {port} is taken: {problem}")]
    PortTaken {
        /// The port.
        port: u16,
        /// By whom, or what the system said.
        problem: String,
    },
    /// The engine refused something for this server; what had been made was undone.
    #[error("{instance}: {action} failed")]
    Refused {
        /// The server.
        instance: InstanceName,
        /// What was tried.
        action: String,
        /// What the engine said.
        #[source]
        source: RuntimeError,
    },
    /// The engine refused or failed at something that concerns no single server.
    #[error("the container engine could not do it")]
    Engine(#[from] RuntimeError),
    /// One or more servers are `failed`; the group stays for a look at its logs.
    #[error("{} did not become ready", .0.failed().join(", "))]
    ServersFailed(Arc<GroupStatus>),
    /// The time to wait is over; the work goes on.
    #[error("not finished within {after:?}; the work goes on")]
    Deadline {
        /// The time waited.
        after: Duration,
        /// Where things stood.
        status: Arc<GroupStatus>,
    },
    /// Desired state could not be kept; nothing was begun.
    #[error("desired state could not be kept")]
    Store(#[from] StoreError),
    /// The container name that would follow from group and server is that of another server.
    #[error("{instance} would get the container name of {other}; rename one of them")]
    ContainerNameTaken {
        /// The new server.
        instance: InstanceName,
        /// The other one.
        other: InstanceName,
    },
    /// Another request is just being accepted for this group.
    #[error("another request for group {0} is being accepted")]
    Busy(GroupId),
    /// The group's task ended by a defect of ours. Its containers are as they were.
    #[error("the owner of group {0} ended by a defect; restart the daemon")]
    Defect(GroupId),
    /// The caller has not seen the present generation.
    #[error("generation {present} stands; look at it and ask again")]
    Stale {
        /// The one that stands.
        present: Generation,
    },
    /// The generation that was asked for is lower than the present one.
    #[error("generation {present} stands already, which is newer")]
    Outdated {
        /// The one that stands.
        present: Generation,
    },
    /// The generation that was asked for stands with another spec.
    #[error("generation {present} stands with another spec; give the new one a higher number")]
    GenerationTaken {
        /// The one that stands.
        present: Generation,
    },
    /// No such generation is kept.
    #[error("group {group} has no {} to go back to", .generation.map_or("earlier generation".to_owned(), |g| format!("generation {g}")))]
    NoSuchGeneration {
        /// The group.
        group: GroupId,
        /// Which was asked for.
        generation: Option<Generation>,
    },
    /// A new generation did not come to stand; what stood before serves.
    #[error("generation {generation} of group {group} failed: {reason}{}", .back_to.map_or(String::new(), |g| format!("; generation {g} stands again")))]
    UpdateFailed {
        /// The group.
        group: GroupId,
        /// Which failed.
        generation: Generation,
        /// Why.
        reason: String,
        /// What was gone back to, if anything was.
        back_to: Option<Generation>,
    },
    /// A later change of the group took the place of this one.
    #[error("a later change of group {0} took the place of this one")]
    ChangeSuperseded(GroupId),
    /// A later request wants the opposite for the server.
    #[error("a later request for {0} took the place of this one")]
    Superseded(InstanceName),
    /// More is under way for the group than is allowed.
    #[error("{limit} operations of group {group} are under way already; wait for one of them")]
    TooManyOperations {
        /// The group.
        group: GroupId,
        /// So many are allowed.
        limit: usize,
    },
    /// The key was used for another question.
    #[error("the idempotency key {0:?} was used for another request; use a new one")]
    KeyReused(String),
    /// The same question was asked before, under this key, and its operation failed. Why is told in words only.
    #[error("operation {operation} failed: {message}")]
    FailedBefore {
        /// The operation.
        operation: OperationId,
        /// Why it failed.
        message: String,
    },
    /// The server was never asked what it offers: there is nothing to approve.
    #[error("{0} has not answered yet; there is nothing to approve")]
    NotDiscovered(InstanceName),
    /// Neither the server nor its contract has such a tool.
    #[error("{instance} has no tool {tool:?}")]
    NoSuchTool {
        /// The server.
        instance: InstanceName,
        /// The tool.
        tool: String,
    },
    /// The server offers something else than the caller has seen.
    #[error("{0} offers something else by now; look at it again")]
    OfferChanged(InstanceName),
    /// No such connection.
    #[error("there is no connection {0}")]
    NoSuchConnection(ConnectionId),
    /// The caller has not seen the connection as it is.
    #[error("{}", .present.map_or(format!("there is no connection {id} to change"), |revision| format!("connection {id} is at revision {revision}; look at it and ask again")))]
    ConnectionChanged {
        /// Which.
        id: ConnectionId,
        /// How often it was changed, if it is there.
        present: Option<u64>,
    },
    /// The daemon is ending.
    #[error("the manager is shutting down")]
    ShuttingDown,
}
