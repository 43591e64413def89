//! The port over the file. Blocking work runs on tokio's blocking threads, one call at a time.

use crate::error::{explain, io};
use crate::lock::StateLock;
use crate::table::{Stored, handshake_key, handshake_of, keys_of, put, remove};
use crate::{answers, catalogues, connections, file, journal, load, meta, migrate, revisions};
use async_trait::async_trait;
use dtma_core::catalogue::Catalogue;
use dtma_core::connection::Connection;
use dtma_core::contract::Contract;
use dtma_core::history::GroupHistory;
use dtma_core::id::{ConnectionId, ContainerId, GroupId, InstanceName, OwnerId};
use dtma_core::idempotency::KeptAnswer;
use dtma_core::port::store::{LoadedState, StateStore, StoreError};
use dtma_core::record::{GatewaySession, GroupRecord, Handshake, Journal, Operation, Revision};
use redb::{Database, Durability, WriteTransaction};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Durable desired state in `state.redb`.
///
/// One process holds the file at a time; a second one gets [`StoreError::InUse`]. A call whose future is dropped
/// may still take effect: the write goes on on its own thread.
#[derive(Debug, Clone)]
pub struct RedbStore {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    path: PathBuf,
    owner: OwnerId,
    /// `None` after a failure that redb does not recover from while open (a full disk, a panic): the next call
    /// opens the file again.
    database: Mutex<Option<Database>>,
    /// Given back after the file is closed.
    _lock: StateLock,
}

impl RedbStore {
    /// Opens `state.redb` in `state_dir`; makes the directory (0700) and the file (0600) when they are not there, and
    /// brings a file of an older schema forward, of which a copy stays beside it (`state.redb.schema1.bak`).
    /// Blocks for as long as checking the file takes (milliseconds).
    ///
    /// # Errors
    /// [`StoreError::InUse`] when another process holds it, [`StoreError::Unusable`] when it is damaged, foreign or
    /// of a newer schema, [`StoreError::Io`] when the system refuses.
    pub fn open(state_dir: &Path) -> Result<Self, StoreError> {
        let path = state_dir.join(file::FILE_NAME);
        file::make_directory(state_dir)?;
        let lock = StateLock::take(state_dir)?;
        let database = file::open_or_make(state_dir)?;
        let database = migrate::forward(database, &path, migrate::STEPS)?;
        let owner = meta::owner(&database, &path)?;
        let database = Mutex::new(Some(database));
        Ok(Self { shared: Arc::new(Shared { path, owner, database, _lock: lock }) })
    }

    /// This installation's id, made with the file.
    #[must_use]
    pub fn owner(&self) -> &OwnerId {
        &self.shared.owner
    }

    async fn run<T: Send + 'static>(
        &self,
        operation: &'static str,
        work: impl FnOnce(&Database) -> Result<T, redb::Error> + Send + 'static,
    ) -> Result<T, StoreError> {
        let shared = Arc::clone(&self.shared);
        let done = tokio::task::spawn_blocking(move || shared.run(operation, work)).await;
        done.unwrap_or_else(|panic| Err(io(operation, panic)))
    }

    /// All of `work` or nothing of it, on the disk when this returns.
    async fn commit(
        &self,
        operation: &'static str,
        work: impl FnOnce(&WriteTransaction) -> Result<(), redb::Error> + Send + 'static,
    ) -> Result<(), StoreError> {
        self.run(operation, move |database| {
            let mut transaction = database.begin_write()?;
            transaction.set_durability(Durability::Immediate)?;
            work(&transaction)?;
            Ok(transaction.commit()?)
        })
        .await
    }

    async fn put<T>(&self, operation: &'static str, key: &str, record: &T) -> Result<(), StoreError>
    where
        T: Stored + Clone + Send + 'static,
    {
        let (key, record) = (key.to_owned(), record.clone());
        self.commit(operation, move |to| put(to, &key, &record)).await
    }
}

impl Shared {
    fn run<T>(
        &self,
        operation: &'static str,
        work: impl FnOnce(&Database) -> Result<T, redb::Error>,
    ) -> Result<T, StoreError> {
        let mut held = self.lock();
        // Taken out, so that a panic in redb leaves nothing behind to be trusted.
        let database = match held.take() {
            Some(database) => database,
            None => file::open(&self.path)?,
        };
        let result = work(&database);
        *held = result.as_ref().err().is_none_or(survivable).then_some(database);
        result.map_err(|error| explain(&self.path, operation, &error))
    }

    fn lock(&self) -> MutexGuard<'_, Option<Database>> {
        self.database.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Only what failed before anything was touched: a record too large to be kept.
fn survivable(error: &redb::Error) -> bool {
    matches!(error, redb::Error::ValueTooLarge(_))
}

/// Forgets what is known of one container, also where a former version kept one handshake for each server.
fn forget_handshake(
    from: &WriteTransaction,
    instance: &InstanceName,
    container: &ContainerId,
) -> Result<(), redb::Error> {
    let is_theirs = |_: &str, json: &[u8]| {
        serde_json::from_slice(json).is_ok_and(|kept: Handshake| kept.run.container == *container)
    };
    remove::<Handshake>(from, &handshake_key(instance, container))?;
    let mut table = from.open_table(Handshake::TABLE)?;
    let of_server = instance.as_str();
    table.retain_in(of_server..=of_server, |key, json| !is_theirs(key, json))?;
    Ok(())
}

#[async_trait]
impl StateStore for RedbStore {
    async fn load(&self) -> Result<LoadedState, StoreError> {
        let owner = self.shared.owner.clone();
        self.run("reading the state", move |database| load::load(database, owner)).await
    }

    async fn put_group(&self, group: &GroupRecord, journal: Journal<'_>) -> Result<(), StoreError> {
        let (group, operation) = (group.clone(), journal.operation.cloned());
        let revisions = journal.revisions.to_vec();
        self.commit("keeping the group", move |to| {
            put(to, group.spec.group_id.as_str(), &group)?;
            revisions.iter().try_for_each(|revision| revisions::keep(to, revision))?;
            operation.iter().try_for_each(|operation| journal::keep(to, operation))
        })
        .await
    }

    async fn revisions(&self, group: &GroupId) -> Result<Vec<Revision>, StoreError> {
        let group = group.clone();
        self.run("reading the revisions", move |database| revisions::load(database, &group)).await
    }

    async fn remove_group(&self, group: &GroupId, operation: Option<&Operation>) -> Result<(), StoreError> {
        let (group, operation) = (group.clone(), operation.cloned());
        self.commit("forgetting the group", move |from| {
            remove::<GroupRecord>(from, group.as_str())?;
            remove::<GroupHistory>(from, group.as_str())?;
            revisions::forget(from, &group)?;
            operation.iter().try_for_each(|operation| journal::keep(from, operation))
        })
        .await
    }

    async fn put_history(&self, group: &GroupId, history: &GroupHistory) -> Result<(), StoreError> {
        self.put("keeping the history", group.as_str(), history).await
    }

    async fn put_operation(&self, operation: &Operation) -> Result<(), StoreError> {
        let operation = operation.clone();
        self.commit("keeping the operation", move |to| journal::keep(to, &operation)).await
    }

    async fn put_answer(&self, answer: &KeptAnswer) -> Result<(), StoreError> {
        let answer = answer.clone();
        self.commit("keeping the answer", move |to| answers::keep(to, &answer)).await
    }

    async fn answer(&self, author: &str, key: &str) -> Result<Option<KeptAnswer>, StoreError> {
        let (author, key) = (author.to_owned(), key.to_owned());
        self.run("looking for an answer", move |database| answers::find(database, &author, &key)).await
    }

    async fn put_session(&self, session: &GatewaySession) -> Result<(), StoreError> {
        self.put("keeping the session", &session.id, session).await
    }

    async fn remove_session(&self, id: &str) -> Result<(), StoreError> {
        let id = id.to_owned();
        self.commit("forgetting the session", move |from| remove::<GatewaySession>(from, &id)).await
    }

    async fn put_handshake(&self, instance: &InstanceName, handshake: &Handshake) -> Result<(), StoreError> {
        let (instance, handshake) = (instance.clone(), handshake.clone());
        self.commit("keeping the handshake", move |to| {
            forget_handshake(to, &instance, &handshake.run.container)?;
            put(to, &handshake_key(&instance, &handshake.run.container), &handshake)
        })
        .await
    }

    async fn forget_handshake(
        &self,
        instance: &InstanceName,
        container: &ContainerId,
    ) -> Result<(), StoreError> {
        let (instance, container) = (instance.clone(), container.clone());
        self.commit("forgetting the handshake", move |from| forget_handshake(from, &instance, &container))
            .await
    }

    async fn put_catalogue(&self, catalogue: &Catalogue) -> Result<(), StoreError> {
        let catalogue = catalogue.clone();
        self.commit("keeping what a server offers", move |to| catalogues::keep(to, &catalogue)).await
    }

    async fn put_contract(&self, contract: &Contract) -> Result<(), StoreError> {
        self.put("keeping the contract", contract.instance.as_str(), contract).await
    }

    async fn put_connection(&self, connection: &Connection) -> Result<(), StoreError> {
        let connection = connection.clone();
        self.commit("keeping the connection", move |to| connections::keep(to, &connection)).await
    }

    async fn remove_connection(&self, id: &ConnectionId) -> Result<(), StoreError> {
        let id = id.clone();
        self.commit("forgetting the connection", move |from| remove::<Connection>(from, id.as_str())).await
    }

    async fn forget_server(&self, instance: &InstanceName) -> Result<(), StoreError> {
        let instance = instance.clone();
        self.commit("forgetting the server", move |from| {
            let mut handshakes = from.open_table(Handshake::TABLE)?;
            handshakes.retain(|key, _| handshake_of(key).0 != instance.as_str())?;
            let mut sessions = from.open_table(GatewaySession::TABLE)?;
            let of_server = keys_of(&sessions, |session: &GatewaySession| session.instance == instance)?;
            of_server.iter().try_for_each(|id| sessions.remove(id.as_str()).map(drop))?;
            catalogues::forget(from, &instance)?;
            remove::<Contract>(from, instance.as_str())?;
            Ok(())
        })
        .await
    }
}
