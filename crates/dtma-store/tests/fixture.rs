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
use support::{Content, content, fixture};

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
