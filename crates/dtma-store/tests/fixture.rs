//! Files that former versions wrote are read in full. How to make one: `fixtures/README.md`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a broken test should stop where it broke"
)]

mod support;

use dtma_core::port::store::StateStore;
use dtma_store::{FILE_NAME, RedbStore, SCHEMA};
use redb::Database;
use support::{Content, content, fixture, write};

#[tokio::test]
async fn every_schema_is_read_in_full() {
    for schema in 1..=SCHEMA {
        let directory = tempfile::tempdir().unwrap();
        let file = fixture(&format!("schema-{schema}.redb"));
        std::fs::copy(&file, directory.path().join(FILE_NAME)).unwrap();
        let loaded = RedbStore::open(directory.path()).unwrap().load().await.unwrap();
        assert_eq!(Content::from(loaded), content(schema), "{}", file.display());
    }
}

#[tokio::test]
#[ignore = "writes into the source tree; run it by hand when the schema changes"]
async fn make_the_fixture() {
    let (json, file) = (fixture(&format!("schema-{SCHEMA}.json")), fixture(&format!("schema-{SCHEMA}.redb")));
    assert!(!file.exists(), "{} is there already, and fixtures are never changed", file.display());
    let directory = tempfile::tempdir().unwrap();
    let store = RedbStore::open(directory.path()).unwrap();
    let content = Content { owner: store.owner().clone(), ..content(SCHEMA) };
    write(&store, &content).await;
    drop(store);
    let made = directory.path().join(FILE_NAME);
    Database::open(&made).unwrap().compact().unwrap();
    std::fs::copy(made, file).unwrap();
    let text = serde_json::to_string_pretty(&content).unwrap();
    std::fs::write(json, text + "\n").unwrap();
}
