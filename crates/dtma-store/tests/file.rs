//! The file itself: where it is made, who may read it, who may hold it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a broken test should stop where it broke"
)]

mod support;

use dtma_core::port::store::{StateStore, StoreError};
use dtma_store::{FILE_NAME, LOCK_NAME, RedbStore};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn names(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_first_start_makes_a_private_directory_and_a_private_file() {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("lib/dtma");
    let _store = RedbStore::open(&directory).unwrap();
    assert_eq!((mode(&directory), mode(&directory.join(FILE_NAME))), (0o700, 0o600));
    assert_eq!(names(&directory), [LOCK_NAME, FILE_NAME], "nothing else is left");
}

#[test]
fn an_existing_directory_keeps_its_mode() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o750)).unwrap();
    let _store = RedbStore::open(directory.path()).unwrap();
    assert_eq!(mode(directory.path()), 0o750);
}

#[test]
fn the_file_is_held_by_one_at_a_time() {
    let directory = tempfile::tempdir().unwrap();
    let first = RedbStore::open(directory.path()).unwrap();
    let second = RedbStore::open(directory.path());
    let Err(StoreError::InUse { path, holder }) = second else { panic!("{second:?}") };
    assert!(path.ends_with(FILE_NAME), "{path}");
    assert_eq!(holder, Some(std::process::id()), "it says who is there");
    drop(first);
    RedbStore::open(directory.path()).unwrap();
}

#[test]
fn of_many_first_starts_at_once_every_one_gets_the_same_installation_or_waits_its_turn() {
    let directory = tempfile::tempdir().unwrap();
    let open = || match RedbStore::open(directory.path()) {
        Ok(store) => Some(store.owner().clone()),
        Err(StoreError::InUse { .. }) => None,
        Err(error) => panic!("{error}"),
    };
    let mut owners: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(open)).collect();
        threads.into_iter().filter_map(|thread| thread.join().unwrap()).collect()
    });
    owners.push(RedbStore::open(directory.path()).unwrap().owner().clone());
    owners.dedup();
    assert_eq!(owners.len(), 1, "{owners:?}");
    assert_eq!(names(directory.path()), [LOCK_NAME, FILE_NAME]);
}

#[test]
fn what_a_killed_first_start_left_is_swept() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("state.redb.new-1"), "half").unwrap();
    drop(RedbStore::open(directory.path()).unwrap());
    std::fs::write(directory.path().join("state.redb.new-2"), "half").unwrap();
    drop(RedbStore::open(directory.path()).unwrap());
    assert_eq!(names(directory.path()), [LOCK_NAME, FILE_NAME]);
}

#[tokio::test]
async fn the_owner_is_a_uuid_and_load_says_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let store = RedbStore::open(directory.path()).unwrap();
    assert_eq!(store.owner().as_str().len(), 36);
    assert_eq!(store.load().await.unwrap().owner, *store.owner());
}

#[test]
fn a_place_that_cannot_be_written_is_an_io_error_that_names_the_step() {
    let refused = RedbStore::open(Path::new("/proc/dtma"));
    assert!(
        matches!(&refused, Err(StoreError::Io { operation: "making the state directory", .. })),
        "{refused:?}"
    );
}
