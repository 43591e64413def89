//! A backup holds everything, goes into an empty directory only, and anything wrong with it changes nothing.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a broken test should stop where it broke"
)]

mod support;

use dtma_core::port::store::StoreError;
use dtma_store::{BackupError, FILE_NAME, Import, RedbStore, SCHEMA, StateCopy, import};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::path::Path;
use support::{Content, fixture, full_directory, put_raw};

const TRUSTING: Import<'static> = Import { replace: false, judge: &|_| Vec::new() };

fn export(directory: &Path) -> Vec<u8> {
    StateCopy::take(directory).unwrap().export(false).unwrap()
}

async fn content(directory: &Path) -> Content {
    support::read(&RedbStore::open(directory).unwrap()).await
}

/// What a backup keeps of it.
fn without_answers(content: Content) -> Content {
    Content { answers: Vec::new(), ..content }
}

/// The backup with its content changed and its checksum made right again.
fn changed(backup: &[u8], change: impl FnOnce(&mut Value)) -> Vec<u8> {
    let mut backup: Value = serde_json::from_slice(backup).unwrap();
    change(&mut backup["content"]);
    let sum = Sha256::digest(backup["content"].to_string());
    backup["sha256"] = json!(sum.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
    backup.to_string().into_bytes()
}

#[track_caller]
fn check_refused(backup: &[u8], words: &str) {
    let directory = tempfile::tempdir().unwrap();
    let refused = import(directory.path(), backup, &TRUSTING).unwrap_err().to_string();
    assert!(refused.contains(words), "{refused:?} should say {words:?}");
    assert!(!directory.path().join(FILE_NAME).exists(), "nothing is made");
}

#[tokio::test]
async fn everything_comes_back_the_owner_included() {
    let (from, before) = full_directory().await;
    let bytes = std::fs::read(from.path().join(FILE_NAME)).unwrap();
    let backup = export(from.path());
    assert_eq!(std::fs::read(from.path().join(FILE_NAME)).unwrap(), bytes, "looking changes nothing");
    let to = tempfile::tempdir().unwrap();
    import(&to.path().join("new"), &backup, &TRUSTING).unwrap();
    assert_eq!(content(&to.path().join("new")).await, without_answers(before));
}

#[tokio::test]
async fn answers_remembered_for_a_while_are_no_part_of_a_backup() {
    let (from, before) = full_directory().await;
    assert_ne!(before.answers, []);
    let to = tempfile::tempdir().unwrap();
    import(to.path(), &export(from.path()), &TRUSTING).unwrap();
    assert_eq!(content(to.path()).await.answers, []);
}

#[tokio::test]
async fn every_schema_can_be_exported_and_taken_in() {
    for schema in 1..=SCHEMA {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::copy(fixture(&format!("schema-{schema}.redb")), from.path().join(FILE_NAME)).unwrap();
        assert_eq!(StateCopy::take(from.path()).unwrap().found_schema, schema);
        import(to.path(), &export(from.path()), &TRUSTING).unwrap();
        assert_eq!(content(to.path()).await, without_answers(support::content(schema)));
    }
}

#[tokio::test]
async fn a_state_that_is_there_stays_unless_it_is_to_be_replaced() {
    let ((from, wanted), (there, before)) = (full_directory().await, full_directory().await);
    let backup = export(from.path());
    assert!(matches!(import(there.path(), &backup, &TRUSTING), Err(BackupError::Exists(_))));
    assert_eq!(content(there.path()).await.owner, before.owner);
    import(there.path(), &backup, &Import { replace: true, ..TRUSTING }).unwrap();
    assert_eq!(content(there.path()).await.owner, wanted.owner);
    let kept = tempfile::tempdir().unwrap();
    std::fs::copy(there.path().join("state.redb.replaced"), kept.path().join(FILE_NAME)).unwrap();
    assert_eq!(content(kept.path()).await.owner, before.owner);
}

#[tokio::test]
async fn a_damaged_newer_or_foreign_backup_is_refused() {
    let (from, _) = full_directory().await;
    let backup = export(from.path());
    check_refused(&backup[..backup.len() / 2], "it is no backup of a state");
    check_refused(b"{}", "missing field");
    let text = String::from_utf8(backup.clone()).unwrap();
    check_refused(text.replacen("\"run\"", "\"ruN\"", 1).as_bytes(), "its checksum is another");
    let newer = text.replacen(&format!("\"schema\":{SCHEMA}"), &format!("\"schema\":{}", SCHEMA + 1), 1);
    check_refused(newer.as_bytes(), "use the newer program");
    check_refused(text.replacen("dtma-state", "other", 1).as_bytes(), "its format is \"other\"");
}

#[tokio::test]
async fn a_backup_that_says_what_no_state_can_say_is_refused() {
    let (from, _) = full_directory().await;
    let backup = export(from.path());
    let secret = changed(&backup, |content| {
        content["tables"]["groups"][0]["value"]["privileged"] = json!(true);
    });
    check_refused(&secret, "unknown field /privileged");
    check_refused(
        &changed(&backup, |content| content["tables"]["other"] = json!([])),
        "knows no table \"other\"",
    );
    check_refused(&changed(&backup, |content| content["more"] = json!(1)), "unknown field");
    let renamed = changed(&backup, |content| content["tables"]["groups"][0]["key"] = json!(["another"]));
    check_refused(&renamed, "it says that it is");
    let judged = Import { judge: &|group| vec![format!("{} is not liked", group.spec.group_id)], ..TRUSTING };
    let refused = import(tempfile::tempdir().unwrap().path(), &backup, &judged).unwrap_err();
    assert!(refused.to_string().contains("is not liked"), "{refused}");
}

#[tokio::test]
async fn a_damaged_record_is_named_and_left_out_only_when_asked() {
    let (from, before) = full_directory().await;
    put_raw(from.path(), "groups", "broken", b"{\"spec\": 1}");
    put_raw(from.path(), "revisions", "moving/broken", b"{}");
    let copy = StateCopy::take(from.path()).unwrap();
    let tables: Vec<_> = copy.state.damaged.iter().map(|bad| bad.table.as_str()).collect();
    assert_eq!(tables, ["groups", "revisions"]);
    assert!(matches!(copy.export(false), Err(BackupError::Damaged(named)) if named[0].key == "broken"));
    let to = tempfile::tempdir().unwrap();
    import(to.path(), &copy.export(true).unwrap(), &TRUSTING).unwrap();
    assert_eq!(content(to.path()).await, without_answers(before));
}

#[tokio::test]
async fn a_running_daemon_is_not_looked_into() {
    let (from, _) = full_directory().await;
    let _daemon = RedbStore::open(from.path()).unwrap();
    assert!(matches!(StateCopy::take(from.path()), Err(StoreError::InUse { holder: Some(_), .. })));
    let refused = import(from.path(), b"", &TRUSTING).unwrap_err();
    assert!(refused.to_string().contains("no backup"), "{refused}");
}

#[test]
fn a_directory_without_a_state_is_named_and_stays_empty() {
    let directory = tempfile::tempdir().unwrap();
    assert!(StateCopy::take(directory.path()).unwrap_err().to_string().contains("there is none"));
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
}
