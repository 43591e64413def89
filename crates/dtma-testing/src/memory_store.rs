//! A [`StateStore`] in memory. What it holds outlives the value itself: [`MemoryStoreRemote::reopen`] gives what a
//! daemon finds after a restart.

use async_trait::async_trait;
use dtma_core::catalogue::{Catalogue, MAX_CATALOGUES};
use dtma_core::connection::{Agent, Connection, Governed};
use dtma_core::contract::Contract;
use dtma_core::history::GroupHistory;
use dtma_core::id::{
    ConfigHash, ConnectionId, ContainerId, Generation, GroupId, InstanceName, OperationId, OwnerId,
};
use dtma_core::idempotency::{KeptAnswer, is_remembered};
use dtma_core::port::store::{DamagedRecord, LoadedState, MAX_REVISIONS, StateStore, StoreError};
use dtma_core::record::{GatewaySession, GroupRecord, Handshake, Journal, Operation, Revision};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

/// Ended operations that are kept.
const ENDED_KEPT: usize = 1000;
/// Answers that are kept.
const ANSWERS_KEPT: usize = 1000;

/// One call of the port, with what it was about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreCall {
    /// `load`.
    Load,
    /// `put_group`.
    PutGroup(GroupId),
    /// `revisions`.
    Revisions(GroupId),
    /// `remove_group`.
    RemoveGroup(GroupId),
    /// `put_history`.
    PutHistory(GroupId),
    /// `put_operation`.
    PutOperation(OperationId),
    /// `put_answer`, for this key.
    PutAnswer(String),
    /// `answer`, for this key.
    Answer(String),
    /// `put_session`.
    PutSession(String),
    /// `remove_session`.
    RemoveSession(String),
    /// `put_handshake`.
    PutHandshake(InstanceName),
    /// `forget_handshake`.
    ForgetHandshake(InstanceName),
    /// `put_catalogue`.
    PutCatalogue(InstanceName),
    /// `put_contract`.
    PutContract(InstanceName),
    /// `put_connection`.
    PutConnection(ConnectionId),
    /// `remove_connection`.
    RemoveConnection(ConnectionId),
    /// `forget_server`.
    ForgetServer(InstanceName),
}

#[derive(Debug, Default)]
struct Tables {
    groups: BTreeMap<GroupId, GroupRecord>,
    histories: BTreeMap<GroupId, GroupHistory>,
    revisions: BTreeMap<GroupId, BTreeMap<Generation, Revision>>,
    operations: BTreeMap<OperationId, Operation>,
    answers: BTreeMap<(String, String), KeptAnswer>,
    sessions: BTreeMap<String, GatewaySession>,
    handshakes: BTreeMap<(InstanceName, ContainerId), Handshake>,
    catalogues: BTreeMap<(InstanceName, ConfigHash), Catalogue>,
    contracts: BTreeMap<InstanceName, Contract>,
    connections: BTreeMap<ConnectionId, Connection>,
    governed: BTreeMap<Agent, Governed>,
}

#[derive(Debug)]
struct Shared {
    owner: OwnerId,
    tables: Tables,
    damaged: Vec<DamagedRecord>,
    failures: VecDeque<StoreError>,
    answer_after: Duration,
    calls: Vec<StoreCall>,
}

/// Desired state in memory.
#[derive(Debug)]
pub struct MemoryStore {
    shared: Arc<Mutex<Shared>>,
}

/// Scripts a [`MemoryStore`] and looks into it.
#[derive(Debug, Clone)]
pub struct MemoryStoreRemote {
    shared: Arc<Mutex<Shared>>,
}

impl MemoryStore {
    /// An empty store with a fixed owner, and the remote control for it.
    #[must_use]
    pub fn new() -> (Self, MemoryStoreRemote) {
        Self::of_owner("0a0b0c0d-0000-4000-8000-000000000001".into())
    }

    /// An empty store of this installation.
    #[must_use]
    pub fn of_owner(owner: OwnerId) -> (Self, MemoryStoreRemote) {
        let shared = Shared {
            owner,
            tables: Tables::default(),
            damaged: Vec::new(),
            failures: VecDeque::new(),
            answer_after: Duration::ZERO,
            calls: Vec::new(),
        };
        let shared = Arc::new(Mutex::new(shared));
        (Self { shared: Arc::clone(&shared) }, MemoryStoreRemote { shared })
    }

    /// Notes the call and answers with the next scripted failure, if there is one.
    fn enter(&self, call: StoreCall) -> Result<MutexGuard<'_, Shared>, StoreError> {
        let mut shared = lock(&self.shared);
        shared.calls.push(call);
        match shared.failures.pop_front() {
            Some(error) => Err(error),
            None => Ok(shared),
        }
    }

    /// What was written stays written, even when the caller does not wait for the answer.
    async fn answered(&self) -> Result<(), StoreError> {
        let after = lock(&self.shared).answer_after;
        if !after.is_zero() {
            tokio::time::sleep(after).await;
        }
        Ok(())
    }
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().expect("no test panics while it holds the store")
}

impl MemoryStoreRemote {
    /// What the next daemon finds: another store on the same data.
    #[must_use]
    pub fn reopen(&self) -> MemoryStore {
        MemoryStore { shared: Arc::clone(&self.shared) }
    }

    /// The next `times` calls fail with this error and change nothing.
    pub fn fail(&self, times: usize, error: &StoreError) {
        lock(&self.shared).failures.extend(std::iter::repeat_n(error.clone(), times));
    }

    /// The next call fails as a full disk does.
    pub fn fail_once(&self) {
        self.fail(1, &StoreError::Io { operation: "commit", problem: "No space left on device".to_owned() });
    }

    /// From now on every change is made at once and answered this much later.
    pub fn answer_after(&self, delay: Duration) {
        lock(&self.shared).answer_after = delay;
    }

    /// `load` reports this record as damaged from now on.
    pub fn damage(&self, record: DamagedRecord) {
        lock(&self.shared).damaged.push(record);
    }

    /// Every call so far, failed ones included.
    #[must_use]
    pub fn calls(&self) -> Vec<StoreCall> {
        lock(&self.shared).calls.clone()
    }

    /// What is in it, as `load` would say it, without being a call.
    #[must_use]
    pub fn state(&self) -> LoadedState {
        lock(&self.shared).load()
    }
}

impl Shared {
    fn load(&self) -> LoadedState {
        let tables = &self.tables;
        let pair = |((name, _), handshake): (&(InstanceName, ContainerId), &Handshake)| {
            (name.clone(), handshake.clone())
        };
        LoadedState {
            owner: self.owner.clone(),
            groups: tables.groups.values().cloned().collect(),
            histories: tables.histories.iter().map(|(id, history)| (id.clone(), history.clone())).collect(),
            operations: tables.operations_by_age(),
            sessions: tables.sessions.values().cloned().collect(),
            handshakes: tables.handshakes.iter().map(pair).collect(),
            catalogues: tables.catalogues.values().cloned().collect(),
            contracts: tables.contracts.values().cloned().collect(),
            connections: tables.connections.values().cloned().collect(),
            governed: tables.governed.values().cloned().collect(),
            damaged: self.damaged.clone(),
        }
    }
}

impl Tables {
    fn operations_by_age(&self) -> Vec<Operation> {
        let mut operations: Vec<_> = self.operations.values().cloned().collect();
        operations.sort_by_key(|operation| operation.accepted_at);
        operations
    }

    fn put_answer(&mut self, answer: &KeptAnswer) {
        self.answers.insert((answer.author.clone(), answer.key.key.clone()), answer.clone());
        self.answers.retain(|_, kept| is_remembered(kept.at, answer.at));
        while self.answers.len() > ANSWERS_KEPT {
            let oldest = self.answers.iter().min_by_key(|(_, kept)| kept.at).map(|(name, _)| name.clone());
            oldest.map(|oldest| self.answers.remove(&oldest));
        }
    }

    fn put_catalogue(&mut self, catalogue: &Catalogue) {
        let key = (catalogue.instance.clone(), catalogue.config.clone());
        self.catalogues.insert(key, catalogue.clone());
        let of_server = self.catalogues.iter().filter(|((of, _), _)| *of == catalogue.instance);
        let mut ages: Vec<_> = of_server.map(|(key, kept)| (kept.at, key.clone())).collect();
        ages.sort();
        for (_, key) in ages.iter().take(ages.len().saturating_sub(MAX_CATALOGUES)) {
            self.catalogues.remove(key);
        }
    }

    fn put_revision(&mut self, revision: &Revision) {
        let of_group = self.revisions.entry(revision.spec.group_id.clone()).or_default();
        of_group.insert(revision.generation, revision.clone());
        while of_group.len() > MAX_REVISIONS {
            of_group.pop_first();
        }
    }

    fn put_operation(&mut self, operation: &Operation) {
        self.operations.insert(operation.id.clone(), operation.clone());
        let ended: Vec<_> = self.operations_by_age().into_iter().filter(|o| o.outcome.is_some()).collect();
        for old in ended.iter().take(ended.len().saturating_sub(ENDED_KEPT)) {
            self.operations.remove(&old.id);
        }
    }
}

#[async_trait]
impl StateStore for MemoryStore {
    async fn load(&self) -> Result<LoadedState, StoreError> {
        Ok(self.enter(StoreCall::Load)?.load())
    }

    async fn put_group(&self, group: &GroupRecord, journal: Journal<'_>) -> Result<(), StoreError> {
        let id = group.spec.group_id.clone();
        {
            let tables = &mut self.enter(StoreCall::PutGroup(id.clone()))?.tables;
            tables.groups.insert(id, group.clone());
            journal.revisions.iter().for_each(|revision| tables.put_revision(revision));
            journal.operation.into_iter().for_each(|operation| tables.put_operation(operation));
        }
        self.answered().await
    }

    async fn revisions(&self, group: &GroupId) -> Result<Vec<Revision>, StoreError> {
        let shared = self.enter(StoreCall::Revisions(group.clone()))?;
        Ok(shared.tables.revisions.get(group).into_iter().flat_map(|all| all.values().cloned()).collect())
    }

    async fn remove_group(&self, group: &GroupId, operation: Option<&Operation>) -> Result<(), StoreError> {
        {
            let tables = &mut self.enter(StoreCall::RemoveGroup(group.clone()))?.tables;
            tables.groups.remove(group);
            tables.histories.remove(group);
            tables.revisions.remove(group);
            operation.into_iter().for_each(|operation| tables.put_operation(operation));
        }
        self.answered().await
    }

    async fn put_history(&self, group: &GroupId, history: &GroupHistory) -> Result<(), StoreError> {
        {
            let tables = &mut self.enter(StoreCall::PutHistory(group.clone()))?.tables;
            tables.histories.insert(group.clone(), history.clone());
        }
        self.answered().await
    }

    async fn put_operation(&self, operation: &Operation) -> Result<(), StoreError> {
        self.enter(StoreCall::PutOperation(operation.id.clone()))?.tables.put_operation(operation);
        self.answered().await
    }

    async fn put_answer(&self, answer: &KeptAnswer) -> Result<(), StoreError> {
        self.enter(StoreCall::PutAnswer(answer.key.key.clone()))?.tables.put_answer(answer);
        self.answered().await
    }

    async fn answer(&self, author: &str, key: &str) -> Result<Option<KeptAnswer>, StoreError> {
        let shared = self.enter(StoreCall::Answer(key.to_owned()))?;
        Ok(shared.tables.answers.get(&(author.to_owned(), key.to_owned())).cloned())
    }

    async fn put_session(&self, session: &GatewaySession) -> Result<(), StoreError> {
        {
            let tables = &mut self.enter(StoreCall::PutSession(session.id.clone()))?.tables;
            tables.sessions.insert(session.id.clone(), session.clone());
        }
        self.answered().await
    }

    async fn remove_session(&self, id: &str) -> Result<(), StoreError> {
        self.enter(StoreCall::RemoveSession(id.to_owned()))?.tables.sessions.remove(id);
        self.answered().await
    }

    async fn put_handshake(&self, instance: &InstanceName, handshake: &Handshake) -> Result<(), StoreError> {
        {
            let tables = &mut self.enter(StoreCall::PutHandshake(instance.clone()))?.tables;
            tables.handshakes.insert((instance.clone(), handshake.run.container.clone()), handshake.clone());
        }
        self.answered().await
    }

    async fn forget_handshake(
        &self,
        instance: &InstanceName,
        container: &ContainerId,
    ) -> Result<(), StoreError> {
        {
            let tables = &mut self.enter(StoreCall::ForgetHandshake(instance.clone()))?.tables;
            tables.handshakes.remove(&(instance.clone(), container.clone()));
        }
        self.answered().await
    }

    async fn put_catalogue(&self, catalogue: &Catalogue) -> Result<(), StoreError> {
        let call = StoreCall::PutCatalogue(catalogue.instance.clone());
        self.enter(call)?.tables.put_catalogue(catalogue);
        self.answered().await
    }

    async fn put_contract(&self, contract: &Contract) -> Result<(), StoreError> {
        {
            let tables = &mut self.enter(StoreCall::PutContract(contract.instance.clone()))?.tables;
            tables.contracts.insert(contract.instance.clone(), contract.clone());
        }
        self.answered().await
    }

    async fn put_connection(&self, connection: &Connection) -> Result<(), StoreError> {
        {
            let tables = &mut self.enter(StoreCall::PutConnection(connection.id.clone()))?.tables;
            let agent = connection.terms.agent.clone();
            let governed =
                || Governed { agent: connection.terms.agent.clone(), since: connection.updated_at };
            tables.governed.entry(agent).or_insert_with(governed);
            tables.connections.insert(connection.id.clone(), connection.clone());
        }
        self.answered().await
    }

    async fn remove_connection(&self, id: &ConnectionId) -> Result<(), StoreError> {
        self.enter(StoreCall::RemoveConnection(id.clone()))?.tables.connections.remove(id);
        self.answered().await
    }

    async fn forget_server(&self, instance: &InstanceName) -> Result<(), StoreError> {
        {
            let tables = &mut self.enter(StoreCall::ForgetServer(instance.clone()))?.tables;
            tables.handshakes.retain(|(of, _), _| of != instance);
            tables.sessions.retain(|_, session| session.instance != *instance);
            tables.catalogues.retain(|(of, _), _| of != instance);
            tables.contracts.remove(instance);
        }
        self.answered().await
    }
}
