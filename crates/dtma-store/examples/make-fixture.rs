//! Writes the fixture of the present schema into the source tree; when and why: `tests/fixtures/README.md`.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a tool for ourselves, stopped by what it did not expect"
)]

#[path = "../tests/support/mod.rs"]
mod support;

use dtma_store::{FILE_NAME, RedbStore, SCHEMA};
use redb::Database;
use support::{Content, content, fixture, write};

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let (json, file) = (fixture(&format!("schema-{SCHEMA}.json")), fixture(&format!("schema-{SCHEMA}.redb")));
    assert!(!file.exists(), "{} is there already, and released fixtures are never changed", file.display());
    let directory = tempfile::tempdir().unwrap();
    let store = RedbStore::open(directory.path()).unwrap();
    let content = Content { owner: store.owner().clone(), ..content(SCHEMA) };
    write(&store, &content).await;
    drop(store);
    let made = directory.path().join(FILE_NAME);
    Database::open(&made).unwrap().compact().unwrap();
    // Its bytes, not its mode: the state file is private, a fixture is not.
    std::fs::write(file, std::fs::read(made).unwrap()).unwrap();
    std::fs::write(json, serde_json::to_string_pretty(&content).unwrap() + "\n").unwrap();
}
