//! Durable desired state. Every method returns only when its effect survives a power cut.

use crate::catalogue::Catalogue;
use crate::connection::{Connection, Governed};
use crate::contract::Contract;
use crate::history::GroupHistory;
use crate::id::{ConnectionId, ContainerId, GroupId, InstanceName, OwnerId};
use crate::idempotency::KeptAnswer;
use crate::record::{GatewaySession, GroupRecord, Handshake, Journal, Operation, Revision};
use async_trait::async_trait;

/// What was found at start-up.
#[derive(Debug, Clone, PartialEq)]
pub struct LoadedState {
    /// This installation's id, made at the first start.
    pub owner: OwnerId,
    /// Every group that could be read.
    pub groups: Vec<GroupRecord>,
    /// Their histories.
    pub histories: Vec<(GroupId, GroupHistory)>,
    /// Operations, oldest first; those without an outcome were interrupted.
    pub operations: Vec<Operation>,
    /// Gateway sessions.
    pub sessions: Vec<GatewaySession>,
    /// Handshakes, by server and container.
    pub handshakes: Vec<(InstanceName, Handshake)>,
    /// What servers offered when they were last asked, by server and configuration.
    pub catalogues: Vec<Catalogue>,
    /// What was approved of that, by server.
    pub contracts: Vec<Contract>,
    /// The connections of agents.
    pub connections: Vec<Connection>,
    /// Every agent that ever had one.
    pub governed: Vec<Governed>,
    /// What could not be read; it is left as it was and reported.
    pub damaged: Vec<DamagedRecord>,
}

/// A record that could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DamagedRecord {
    /// The table it stands in.
    pub table: String,
    /// Its key.
    pub key: String,
    /// What is wrong.
    pub problem: String,
}

/// Why state could not be kept or read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The file is there and is not ours, damaged, or of a newer schema.
    #[error("the state file {path} cannot be used: {problem}")]
    Unusable {
        /// The file.
        path: String,
        /// What is wrong and what to do.
        problem: String,
    },
    /// Another process holds it.
    #[error("the state file {path} is in use by {}", named(*.holder))]
    InUse {
        /// The file.
        path: String,
        /// The process that holds it, where it is known.
        holder: Option<u32>,
    },
    /// The disk said no.
    #[error("{operation} failed: {problem}")]
    Io {
        /// What was tried.
        operation: &'static str,
        /// What the system said.
        problem: String,
    },
}

fn named(holder: Option<u32>) -> String {
    holder.map_or_else(|| "another process".to_owned(), |pid| format!("another process (pid {pid})"))
}

/// Revisions kept of each group.
pub const MAX_REVISIONS: usize = 64;

/// Keeps groups with their revisions, histories, operations and gateway sessions.
#[async_trait]
pub trait StateStore: Send + Sync {
    /// Everything, once, at start-up.
    async fn load(&self) -> Result<LoadedState, StoreError>;

    /// Keeps a group and, in the same transaction, what its journal says.
    async fn put_group(&self, group: &GroupRecord, journal: Journal<'_>) -> Result<(), StoreError>;
    /// The revisions of a group that are kept, the oldest first; the newest [`MAX_REVISIONS`] are.
    async fn revisions(&self, group: &GroupId) -> Result<Vec<Revision>, StoreError>;
    /// Forgets a group with its history and revisions, and closes `operation` in the same transaction. Unknown: no error.
    async fn remove_group(&self, group: &GroupId, operation: Option<&Operation>) -> Result<(), StoreError>;
    /// Keeps a group's history.
    async fn put_history(&self, group: &GroupId, history: &GroupHistory) -> Result<(), StoreError>;
    /// Keeps an operation; only the newest thousand with an outcome are kept.
    async fn put_operation(&self, operation: &Operation) -> Result<(), StoreError>;

    /// Keeps the answer to a question with a key, in place of an earlier one with the same author and key. Only the
    /// newest thousand are kept, and none for longer than [`REMEMBERED`](crate::idempotency::REMEMBERED).
    async fn put_answer(&self, answer: &KeptAnswer) -> Result<(), StoreError>;
    /// The answer kept for this author's key.
    async fn answer(&self, author: &str, key: &str) -> Result<Option<KeptAnswer>, StoreError>;

    /// Keeps a gateway session.
    async fn put_session(&self, session: &GatewaySession) -> Result<(), StoreError>;
    /// Forgets a gateway session. Unknown: no error.
    async fn remove_session(&self, id: &str) -> Result<(), StoreError>;
    /// Keeps the handshake done with a run of one of a server's containers; that of an older run of the same
    /// container is replaced, those of its other containers stay.
    async fn put_handshake(&self, instance: &InstanceName, handshake: &Handshake) -> Result<(), StoreError>;
    /// Forgets the handshake with a container that is gone. Unknown: no error.
    async fn forget_handshake(
        &self,
        instance: &InstanceName,
        container: &ContainerId,
    ) -> Result<(), StoreError>;
    /// Keeps what a server offers, in place of what the same configuration offered before. Of each server those of the
    /// newest [`MAX_CATALOGUES`](crate::catalogue::MAX_CATALOGUES) configurations are kept.
    async fn put_catalogue(&self, catalogue: &Catalogue) -> Result<(), StoreError>;
    /// Keeps what was approved of a server's tools, in place of what was before.
    async fn put_contract(&self, contract: &Contract) -> Result<(), StoreError>;
    /// Keeps a connection in place of the one of its id, and in the same transaction that its agent has one.
    async fn put_connection(&self, connection: &Connection) -> Result<(), StoreError>;
    /// Forgets a connection, not that its agent had one. Unknown: no error.
    async fn remove_connection(&self, id: &ConnectionId) -> Result<(), StoreError>;
    /// Forgets a server's handshakes, catalogues, contract and all its gateway sessions. Unknown: no error.
    async fn forget_server(&self, instance: &InstanceName) -> Result<(), StoreError>;
}
