//! A damaged record is skipped, reported and left; a damaged, foreign or newer file is refused with what to do.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a broken test should stop where it broke"
)]

mod support;

use dtma_core::port::store::{DamagedRecord, StateStore, StoreError};
use dtma_core::record::Journal;
use dtma_store::{FILE_NAME, RedbStore};
use redb::{Database, ReadableDatabase, TableDefinition};
use std::fs::OpenOptions;
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;
use support::{full_directory, put_meta, put_raw, read};

#[track_caller]
fn check_refused(directory: &Path, words: &str) {
    match RedbStore::open(directory) {
        Err(StoreError::Unusable { path, problem }) => {
            assert!(path.ends_with(FILE_NAME), "{path}");
            assert!(problem.contains(words), "{problem:?} should say {words:?}");
        }
        other => panic!("expected a refusal that says {words:?}, got {other:?}"),
    }
}

async fn check_skipped(table: &str, key: &str, value: &[u8], words: &str) {
    let (directory, content) = full_directory().await;
    put_raw(directory.path(), table, key, value);
    for _ in 0..2 {
        let state = RedbStore::open(directory.path()).unwrap().load().await.unwrap();
        let [DamagedRecord { table: seen, key: at, problem }] = state.damaged.as_slice() else {
            panic!("{:?}", state.damaged)
        };
        assert_eq!((seen.as_str(), at.as_str()), (table, key));
        assert!(problem.contains(words), "{problem:?} should say {words:?}");
        assert_eq!(state.groups, content.groups, "the others are all there");
    }
    let database = Database::open(directory.path().join(FILE_NAME)).unwrap();
    let definition = TableDefinition::<&str, &[u8]>::new(table);
    let kept = database.begin_read().unwrap().open_table(definition).unwrap().get(key).unwrap();
    assert_eq!(kept.unwrap().value(), value, "it is left as it was");
}

#[tokio::test]
async fn a_record_that_is_not_json_is_skipped() {
    check_skipped("groups", "broken", b"\xff\x00{", "expected value").await;
    check_skipped("histories", "broken", b"[]", "").await;
    check_skipped("operations", "broken", b"{}", "missing field").await;
    check_skipped("sessions", "broken", b"nul", "EOF").await;
    check_skipped("handshakes", "broken", b"", "EOF").await;
}

#[tokio::test]
async fn a_record_that_contradicts_itself_is_skipped() {
    let (_directory, content) = full_directory().await;
    let group = serde_json::to_vec(&content.groups[0]).unwrap();
    check_skipped("groups", "stranger", &group, r#"it says that it is "demo""#).await;
    let history = serde_json::to_vec(&content.histories[0].1).unwrap();
    check_skipped("histories", "../x", &history, "not a valid name").await;
    let mut odd = content.groups[0].clone();
    odd.spec.group_id = "odd".parse().unwrap();
    odd.servers.clear();
    let odd = serde_json::to_vec(&odd).unwrap();
    check_skipped("groups", "odd", &odd, "disagree").await;
}

#[tokio::test]
async fn writing_goes_on_beside_a_damaged_record() {
    let (directory, content) = full_directory().await;
    put_raw(directory.path(), "sessions", "broken", b"?");
    let store = RedbStore::open(directory.path()).unwrap();
    store.forget_server(&"time".parse().unwrap()).await.unwrap();
    store.put_group(&content.groups[0], Journal::default()).await.unwrap();
    let state = store.load().await.unwrap();
    let sessions: Vec<_> = state.sessions.iter().map(|session| session.instance.as_str()).collect();
    let theirs = content.handshakes.iter().filter(|(name, _)| name.as_str() != "time").cloned();
    assert_eq!((sessions, state.damaged.len()), (vec!["worker"], 1));
    assert_eq!(state.handshakes, theirs.collect::<Vec<_>>());
}

/// A former version kept one handshake for each server, under its name alone.
#[tokio::test]
async fn a_handshake_of_a_former_version_is_read_replaced_and_forgotten() {
    let (directory, content) = full_directory().await;
    let (name, handshake) = content.handshakes[0].clone();
    let former = serde_json::to_vec(&handshake).unwrap();
    let store = RedbStore::open(directory.path()).unwrap();
    for (known, _) in &content.handshakes {
        store.forget_server(known).await.unwrap();
    }
    drop(store);
    put_raw(directory.path(), "handshakes", name.as_str(), &former);
    let store = RedbStore::open(directory.path()).unwrap();
    assert_eq!(store.load().await.unwrap().handshakes, [(name.clone(), handshake.clone())]);
    store.put_handshake(&name, &handshake).await.unwrap();
    assert_eq!(store.load().await.unwrap().handshakes, [(name.clone(), handshake.clone())]);
    drop(store);
    put_raw(directory.path(), "handshakes", name.as_str(), &former);
    let store = RedbStore::open(directory.path()).unwrap();
    store.forget_handshake(&name, &handshake.run.container).await.unwrap();
    assert_eq!(store.load().await.unwrap().handshakes, []);
}

#[test]
fn an_empty_file_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join(FILE_NAME), "").unwrap();
    check_refused(directory.path(), "it is empty; stop the daemon, move the file away");
}

#[test]
fn a_file_of_another_program_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join(FILE_NAME), "SQLite format 3\0".repeat(1000)).unwrap();
    check_refused(directory.path(), "move the file away");
}

#[test]
fn a_database_of_another_program_is_refused_and_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(FILE_NAME);
    drop(Database::create(&path).unwrap());
    check_refused(directory.path(), "it is the database of another program");
    drop(Database::open(&path).unwrap());
    put_meta(directory.path(), "application", "somebody-else");
    check_refused(directory.path(), "choose another state directory");
}

#[tokio::test]
async fn a_newer_schema_is_refused_with_both_numbers() {
    let (directory, _) = full_directory().await;
    put_meta(directory.path(), "schema", "7");
    check_refused(
        directory.path(),
        "it has schema 7 and this version reads up to 2; start the newer version",
    );
    put_meta(directory.path(), "schema", "2");
    RedbStore::open(directory.path()).unwrap();
}

#[tokio::test]
async fn a_file_that_does_not_say_whose_it_is_is_refused() {
    let (directory, _) = full_directory().await;
    put_meta(directory.path(), "owner", "nobody");
    check_refused(directory.path(), "which installation");
}

#[tokio::test]
async fn a_truncated_file_is_refused() {
    for keep in [1, 100, 4096, 20_000, 60_000] {
        let (directory, _) = full_directory().await;
        let file = OpenOptions::new().write(true).open(directory.path().join(FILE_NAME)).unwrap();
        file.set_len(keep).unwrap();
        check_refused(directory.path(), "");
    }
}

/// Wherever the damage is, the answer is a refusal or everything as it was written: never a panic that gets out,
/// never a record lost or made up without a word.
#[tokio::test]
async fn a_garbled_file_is_refused_or_harmless() {
    let (directory, content) = full_directory().await;
    let path = directory.path().join(FILE_NAME);
    Database::open(&path).unwrap().compact().unwrap();
    let sound = std::fs::read(&path).unwrap();
    let mut refused = 0;
    for step in 0..150 {
        std::fs::write(&path, &sound).unwrap();
        let mut file = OpenOptions::new().write(true).open(&path).unwrap();
        file.seek(SeekFrom::Start(sound.len() as u64 * step / 150)).unwrap();
        file.write_all(&[0xa5; 16]).unwrap();
        match RedbStore::open(directory.path()) {
            Err(StoreError::Unusable { .. }) => refused += 1,
            Err(error) => panic!("at step {step}: {error}"),
            Ok(store) => {
                assert_eq!(read(&store).await, content, "at step {step}");
            }
        }
    }
    assert!(refused >= 10, "the damage hit something {refused} times");
}
