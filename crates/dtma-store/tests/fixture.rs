//! Files that former versions wrote are read in full. How to make one: `fixtures/README.md`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a broken test should stop where it broke"
)]

mod support;

use dtma_store::{FILE_NAME, RedbStore, SCHEMA, StateCopy};
use std::path::Path;
use support::{content, fixture, read};

fn copied(schema: u32, to: &Path) {
    std::fs::copy(fixture(&format!("schema-{schema}.redb")), to.join(FILE_NAME)).unwrap();
}

#[tokio::test]
async fn every_schema_is_read_in_full() {
    for schema in 1..=SCHEMA {
        let directory = tempfile::tempdir().unwrap();
        copied(schema, directory.path());
        let store = RedbStore::open(directory.path()).unwrap();
        assert_eq!(read(&store).await, content(schema), "schema {schema}");
    }
}

#[test]
fn a_file_of_an_older_schema_is_of_the_present_one_once_opened_and_its_copy_stays() {
    for schema in 1..SCHEMA {
        let (directory, back) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        copied(schema, directory.path());
        drop(RedbStore::open(directory.path()).unwrap());
        assert_eq!(StateCopy::take(directory.path()).unwrap().found_schema, SCHEMA);
        let copy = directory.path().join(format!("{FILE_NAME}.schema{schema}.bak"));
        std::fs::copy(copy, back.path().join(FILE_NAME)).unwrap();
        assert_eq!(StateCopy::take(back.path()).unwrap().found_schema, schema);
    }
}
