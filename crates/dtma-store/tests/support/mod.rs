//! The content of a fixture, and the raw file under a store.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a broken test should stop where it broke"
)]
#![allow(dead_code, reason = "each test file uses its own part of it")]

use dtma_core::catalogue::Catalogue;
use dtma_core::connection::{Connection, Governed};
use dtma_core::contract::Contract;
use dtma_core::history::GroupHistory;
use dtma_core::id::{GroupId, InstanceName, OwnerId};
use dtma_core::idempotency::KeptAnswer;
use dtma_core::port::store::{LoadedState, StateStore};
use dtma_core::record::{GatewaySession, GroupRecord, Handshake, Journal, Operation, Revision};
use dtma_store::{FILE_NAME, RedbStore};
use redb::{Database, TableDefinition};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Everything of a state, as the fixtures' JSON writes it down.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Content {
    pub(crate) owner: OwnerId,
    pub(crate) groups: Vec<GroupRecord>,
    pub(crate) histories: Vec<(GroupId, GroupHistory)>,
    pub(crate) operations: Vec<Operation>,
    pub(crate) sessions: Vec<GatewaySession>,
    pub(crate) handshakes: Vec<(InstanceName, Handshake)>,
    #[serde(default)]
    pub(crate) catalogues: Vec<Catalogue>,
    #[serde(default)]
    pub(crate) contracts: Vec<Contract>,
    #[serde(default)]
    pub(crate) connections: Vec<Connection>,
    #[serde(default)]
    pub(crate) governed: Vec<Governed>,
    /// By group.
    #[serde(default)]
    pub(crate) revisions: Vec<Revision>,
    /// Each of an operation with a key.
    #[serde(default)]
    pub(crate) answers: Vec<KeptAnswer>,
}

/// All of it, through the port.
pub(crate) async fn read(store: &RedbStore) -> Content {
    let LoadedState {
        owner,
        groups,
        histories,
        operations,
        sessions,
        handshakes,
        catalogues,
        contracts,
        connections,
        governed,
        damaged,
    } = store.load().await.unwrap();
    assert_eq!(damaged, vec![]);
    let (mut revisions, mut answers) = (Vec::new(), Vec::new());
    for group in &groups {
        revisions.extend(store.revisions(&group.spec.group_id).await.unwrap());
    }
    for operation in &operations {
        let Some(key) = &operation.key else { continue };
        answers.extend(store.answer(&operation.author, &key.key).await.unwrap());
    }
    Content {
        owner,
        groups,
        histories,
        operations,
        sessions,
        handshakes,
        catalogues,
        contracts,
        connections,
        governed,
        revisions,
        answers,
    }
}

pub(crate) fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

pub(crate) fn content(schema: u32) -> Content {
    let path = fixture(&format!("schema-{schema}.json"));
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// Writes all of it through the port.
pub(crate) async fn write(store: &RedbStore, content: &Content) {
    for group in &content.groups {
        let of_group = |revision: &&Revision| revision.spec.group_id == group.spec.group_id;
        let revisions: Vec<_> = content.revisions.iter().filter(of_group).cloned().collect();
        store.put_group(group, Journal { operation: None, revisions: &revisions }).await.unwrap();
    }
    for answer in &content.answers {
        store.put_answer(answer).await.unwrap();
    }
    for (group, history) in &content.histories {
        store.put_history(group, history).await.unwrap();
    }
    for operation in &content.operations {
        store.put_operation(operation).await.unwrap();
    }
    for session in &content.sessions {
        store.put_session(session).await.unwrap();
    }
    for (instance, handshake) in &content.handshakes {
        store.put_handshake(instance, handshake).await.unwrap();
    }
    for catalogue in &content.catalogues {
        store.put_catalogue(catalogue).await.unwrap();
    }
    for contract in &content.contracts {
        store.put_contract(contract).await.unwrap();
    }
    for connection in &content.connections {
        store.put_connection(connection).await.unwrap();
    }
}

/// A state directory with everything in it.
pub(crate) async fn full_directory() -> (tempfile::TempDir, Content) {
    let directory = tempfile::tempdir().unwrap();
    let mut content = content(dtma_store::SCHEMA);
    let store = RedbStore::open(directory.path()).unwrap();
    content.owner = store.owner().clone();
    write(&store, &content).await;
    (directory, content)
}

/// Goes behind the store's back.
pub(crate) fn put_raw(directory: &Path, table: &str, key: &str, value: &[u8]) {
    let database = Database::open(directory.join(FILE_NAME)).unwrap();
    let transaction = database.begin_write().unwrap();
    let definition = TableDefinition::<&str, &[u8]>::new(table);
    transaction.open_table(definition).unwrap().insert(key, value).unwrap();
    transaction.commit().unwrap();
}

/// The same in the table that says what the file is.
pub(crate) fn put_meta(directory: &Path, key: &str, value: &str) {
    let database = Database::open(directory.join(FILE_NAME)).unwrap();
    let transaction = database.begin_write().unwrap();
    let definition = TableDefinition::<&str, &str>::new("meta");
    transaction.open_table(definition).unwrap().insert(key, value).unwrap();
    transaction.commit().unwrap();
}
