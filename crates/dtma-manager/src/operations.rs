//! Every operation that is remembered: those under way, and the newest that ended. Kept beside the store rather than
//! asked of it, because it is looked into at every question with a key and by everybody who waits.
//!
//! Nobody has to remember to tell it: `NotedStore` stands before the store and sees every operation that is kept.

use async_trait::async_trait;
use dtma_core::Timestamp;
use dtma_core::catalogue::Catalogue;
use dtma_core::connection::Connection;
use dtma_core::contract::Contract;
use dtma_core::history::GroupHistory;
use dtma_core::id::{ConnectionId, ContainerId, GroupId, InstanceName, OperationId};
use dtma_core::idempotency::{IdempotencyKey, KeptAnswer, is_remembered};
use dtma_core::port::store::LoadedState;
use dtma_core::port::{StateStore, StoreError};
use dtma_core::record::{
    GatewaySession, GroupRecord, Handshake, Journal, Operation, OperationKind, Outcome, Revision,
};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// Ended operations that are remembered, as many as the store keeps.
const ENDED_KEPT: usize = 1000;

/// How far an operation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OperationState {
    /// Under way.
    Running,
    /// Over, as wanted.
    Done,
    /// Over, and not as wanted.
    Failed,
}

impl OperationState {
    /// How far this one is.
    #[must_use]
    pub fn of(operation: &Operation) -> Self {
        match operation.outcome {
            None => Self::Running,
            Some(Outcome::Done { .. }) => Self::Done,
            Some(Outcome::Failed { .. }) => Self::Failed,
        }
    }
}

/// Which operations; what is absent fits all.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OperationFilter {
    /// Of this group.
    pub group: Option<GroupId>,
    /// Of this server alone.
    pub instance: Option<InstanceName>,
    /// Of this kind.
    pub kind: Option<OperationKind>,
    /// That are so far.
    pub state: Option<OperationState>,
}

impl OperationFilter {
    fn fits(&self, operation: &Operation) -> bool {
        self.group.as_ref().is_none_or(|group| operation.group == *group)
            && self.instance.as_ref().is_none_or(|instance| operation.instance.as_ref() == Some(instance))
            && self.kind.is_none_or(|kind| operation.kind == kind)
            && self.state.is_none_or(|state| OperationState::of(operation) == state)
    }
}

/// The index.
pub(crate) struct Operations {
    index: Mutex<Index>,
    changed: watch::Sender<()>,
}

#[derive(Default)]
struct Index {
    by_age: BTreeMap<(Timestamp, OperationId), Operation>,
    ages: HashMap<OperationId, Timestamp>,
    keys: HashMap<(String, String), OperationId>,
    ended: usize,
}

impl Operations {
    /// Remembers what the store holds.
    pub(crate) fn new(kept: &[Operation]) -> Self {
        let operations = Self { index: Mutex::default(), changed: watch::Sender::new(()) };
        kept.iter().for_each(|operation| operations.note(operation));
        operations
    }

    pub(crate) fn note(&self, operation: &Operation) {
        self.index().note(operation);
        self.changed.send_replace(());
    }

    pub(crate) fn get(&self, id: &OperationId) -> Option<Operation> {
        self.index().get(id).cloned()
    }

    /// The newest first.
    pub(crate) fn list(&self, filter: &OperationFilter, limit: usize) -> Vec<Operation> {
        let index = self.index();
        index.by_age.values().rev().filter(|operation| filter.fits(operation)).take(limit).cloned().collect()
    }

    /// The newest operation of this author's key, when it is recent enough to count.
    pub(crate) fn of_key(&self, author: &str, key: &IdempotencyKey, now: Timestamp) -> Option<Operation> {
        let index = self.index();
        let id = index.keys.get(&(author.to_owned(), key.key.clone()))?;
        index.get(id).filter(|operation| is_remembered(operation.accepted_at, now)).cloned()
    }

    /// Waits until the operation is over. `None` when it is not known (any more).
    pub(crate) async fn ended(&self, id: &OperationId) -> Option<Operation> {
        let mut changed = self.changed.subscribe();
        loop {
            let operation = self.get(id)?;
            if operation.outcome.is_some() {
                return Some(operation);
            }
            // The sender lives as long as `self`.
            changed.changed().await.ok()?;
        }
    }

    fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Index {
    fn get(&self, id: &OperationId) -> Option<&Operation> {
        let age = self.ages.get(id)?;
        self.by_age.get(&(*age, id.clone()))
    }

    fn note(&mut self, operation: &Operation) {
        let (id, age) = (operation.id.clone(), operation.accepted_at);
        if let Some(key) = &operation.key {
            self.keys.insert((operation.author.clone(), key.key.clone()), id.clone());
        }
        self.ages.insert(id.clone(), age);
        let earlier = self.by_age.insert((age, id), operation.clone());
        let (had, has) =
            (earlier.is_some_and(|earlier| earlier.outcome.is_some()), operation.outcome.is_some());
        self.ended = (self.ended + usize::from(has)).saturating_sub(usize::from(had));
        while self.ended > ENDED_KEPT {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        self.ended -= 1;
        let oldest = self.by_age.iter().find(|(_, operation)| operation.outcome.is_some());
        let Some(name) = oldest.map(|(name, _)| name.clone()) else { return };
        let Some(forgotten) = self.by_age.remove(&name) else { return };
        self.ages.remove(&forgotten.id);
        if let Some(key) = forgotten.key {
            let name = (forgotten.author, key.key);
            if self.keys.get(&name) == Some(&forgotten.id) {
                self.keys.remove(&name);
            }
        }
    }
}

/// The store, with the index told of every operation that is kept.
pub(crate) struct NotedStore {
    store: Arc<dyn StateStore>,
    operations: Arc<Operations>,
}

impl NotedStore {
    pub(crate) fn new(store: Arc<dyn StateStore>, operations: Arc<Operations>) -> Self {
        Self { store, operations }
    }

    fn note(&self, kept: Result<(), StoreError>, operation: Option<&Operation>) -> Result<(), StoreError> {
        if kept.is_ok() {
            operation.into_iter().for_each(|operation| self.operations.note(operation));
        }
        kept
    }
}

#[async_trait]
impl StateStore for NotedStore {
    async fn load(&self) -> Result<LoadedState, StoreError> {
        self.store.load().await
    }

    async fn put_group(&self, group: &GroupRecord, journal: Journal<'_>) -> Result<(), StoreError> {
        self.note(self.store.put_group(group, journal).await, journal.operation)
    }

    async fn revisions(&self, group: &GroupId) -> Result<Vec<Revision>, StoreError> {
        self.store.revisions(group).await
    }

    async fn remove_group(&self, group: &GroupId, operation: Option<&Operation>) -> Result<(), StoreError> {
        self.note(self.store.remove_group(group, operation).await, operation)
    }

    async fn put_history(&self, group: &GroupId, history: &GroupHistory) -> Result<(), StoreError> {
        self.store.put_history(group, history).await
    }

    async fn put_operation(&self, operation: &Operation) -> Result<(), StoreError> {
        let kept = self.store.put_operation(operation).await;
        // An end that the disk refused is an end all the same: the next daemon finds it out for itself.
        if operation.outcome.is_some() {
            self.operations.note(operation);
        }
        self.note(kept, Some(operation))
    }

    async fn put_answer(&self, answer: &KeptAnswer) -> Result<(), StoreError> {
        self.store.put_answer(answer).await
    }

    async fn answer(&self, author: &str, key: &str) -> Result<Option<KeptAnswer>, StoreError> {
        self.store.answer(author, key).await
    }

    async fn put_session(&self, session: &GatewaySession) -> Result<(), StoreError> {
        self.store.put_session(session).await
    }

    async fn remove_session(&self, id: &str) -> Result<(), StoreError> {
        self.store.remove_session(id).await
    }

    async fn put_handshake(&self, instance: &InstanceName, handshake: &Handshake) -> Result<(), StoreError> {
        self.store.put_handshake(instance, handshake).await
    }

    async fn forget_handshake(
        &self,
        instance: &InstanceName,
        container: &ContainerId,
    ) -> Result<(), StoreError> {
        self.store.forget_handshake(instance, container).await
    }

    async fn put_catalogue(&self, catalogue: &Catalogue) -> Result<(), StoreError> {
        self.store.put_catalogue(catalogue).await
    }

    async fn put_contract(&self, contract: &Contract) -> Result<(), StoreError> {
        self.store.put_contract(contract).await
    }

    async fn put_connection(&self, connection: &Connection) -> Result<(), StoreError> {
        self.store.put_connection(connection).await
    }

    async fn remove_connection(&self, id: &ConnectionId) -> Result<(), StoreError> {
        self.store.remove_connection(id).await
    }

    async fn forget_server(&self, instance: &InstanceName) -> Result<(), StoreError> {
        self.store.forget_server(instance).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dtma_testing::sample;

    fn ids(operations: &[Operation]) -> Vec<&str> {
        operations.iter().map(|operation| operation.id.as_str()).collect()
    }

    #[test]
    fn operations_are_listed_newest_first_and_filtered() {
        let (a, b) = (sample::operation("a", "g", 1), sample::operation("b", "h", 2));
        let operations = Operations::new(&[a.clone(), b, sample::operation("c", "g", 3)]);
        operations.note(&sample::done(&a));
        let list = |filter| operations.list(&filter, 10);
        let all = OperationFilter::default;
        assert_eq!(ids(&list(all())), ["c", "b", "a"]);
        assert_eq!(ids(&list(OperationFilter { group: Some(sample::group("g")), ..all() })), ["c", "a"]);
        assert_eq!(ids(&list(OperationFilter { state: Some(OperationState::Done), ..all() })), ["a"]);
        assert!(list(OperationFilter { kind: Some(OperationKind::Stop), ..all() }).is_empty());
        assert_eq!(ids(&operations.list(&all(), 1)), ["c"]);
    }

    #[test]
    fn only_the_newest_ended_are_remembered_and_all_that_run() {
        let operations = Operations::new(&[sample::operation("open", "g", 0)]);
        for second in 1..=1003 {
            let mut ended = sample::done(&sample::operation(&format!("o{second:04}"), "g", second));
            ended.key = Some(IdempotencyKey { key: ended.id.to_string(), digest: "d".into() });
            operations.note(&ended);
        }
        let kept = operations.list(&OperationFilter::default(), 2000);
        assert_eq!((kept.len(), ids(&kept)[1000], ids(&kept)[999]), (1001, "open", "o0004"));
        let known = |key: &str| {
            let key = IdempotencyKey { key: key.into(), digest: "d".into() };
            operations.of_key("ann", &key, sample::at(5)).is_some()
        };
        assert!(known("o0004") && !known("o0003"));
        assert_eq!(operations.index().ages.len(), 1001);
    }

    #[test]
    fn a_key_counts_for_a_day() {
        let mut operation = sample::operation("a", "g", 0);
        let key = IdempotencyKey { key: "k".into(), digest: "d".into() };
        operation.key = Some(key.clone());
        let operations = Operations::new(&[operation]);
        let known = |author, second| operations.of_key(author, &key, sample::at(second)).is_some();
        assert!(known("ann", 86_399) && !known("ann", 86_400) && !known("bob", 1));
    }
}
