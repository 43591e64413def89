//! `kill -9` at any moment: what was acknowledged is there afterwards.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a broken test should stop where it broke"
)]

use dtma_core::port::store::{StateStore, StoreError};
use dtma_store::RedbStore;
use dtma_testing::sample;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Tells the child, which is this test binary again, where to write.
const DIRECTORY: &str = "DTMA_STORE_KILL_TEST_DIRECTORY";

fn start_child(directory: &Path) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "--nocapture", "the_writer_acknowledges_what_it_has_kept"]);
    command.env(DIRECTORY, directory).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
}

/// Alone it writes three times and looks; as a child it writes until it is killed.
#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "the only way to tell the child of a test binary anything")]
async fn the_writer_acknowledges_what_it_has_kept() {
    let here = tempfile::tempdir().unwrap();
    let directory = std::env::var_os(DIRECTORY);
    let most = if directory.is_some() { u32::MAX } else { 3 };
    let directory = directory.unwrap_or_else(|| here.path().into());
    let store = RedbStore::open(Path::new(&directory)).unwrap();
    for number in 0..most {
        let name = format!("g{}", number % 7);
        let mut group = sample::group_record(&name);
        group.updated_at = sample::at(number.into());
        let operation = sample::operation(&format!("o{number}"), &name, number.into());
        store.put_group(&group, (&operation).into()).await.unwrap();
        let mut out = std::io::stdout().lock();
        writeln!(out, "ack {number}").unwrap();
        out.flush().unwrap();
    }
    assert_eq!(store.load().await.unwrap().operations.len(), 3);
}

/// Lets the child acknowledge so many writes, kills it, and returns the number of its last acknowledgement.
fn kill_after(child: &mut Child, writes: u32) -> u32 {
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut last = None;
    for line in lines {
        let line = line.unwrap();
        // The test harness prints its own words before the first one, on the same line or not.
        let Some((_, number)) = line.split_once("ack ") else { continue };
        last = Some(number.parse::<u32>().unwrap());
        if last == Some(writes) {
            child.kill().unwrap();
        }
    }
    child.wait().unwrap();
    last.expect("the child wrote something")
}

#[tokio::test]
async fn every_acknowledged_write_survives_a_kill() {
    let directory = tempfile::tempdir().unwrap();
    for writes in [3, 40, 41, 90] {
        let mut child = start_child(directory.path());
        let last = kill_after(&mut child, writes);
        let state = RedbStore::open(directory.path()).unwrap().load().await.unwrap();
        assert_eq!(state.damaged, vec![]);
        for number in 0..=last {
            let id = format!("o{number}");
            assert!(
                state.operations.iter().any(|operation| operation.id.as_str() == id),
                "{id} of {last} is lost"
            );
        }
        // A group and its operation are one: the newest of both agree.
        let newest = state.groups.iter().map(|group| group.updated_at).max().unwrap();
        let operation = state.operations.iter().map(|operation| operation.accepted_at).max().unwrap();
        assert!(newest <= operation && newest >= sample::at(last.into()), "{newest} {operation}");
    }
}

#[tokio::test]
async fn a_second_process_is_told_that_the_file_is_in_use() {
    let directory = tempfile::tempdir().unwrap();
    let mut child = start_child(directory.path());
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    lines.find(|line| line.as_ref().unwrap().contains("ack ")).unwrap().unwrap();
    let refused = RedbStore::open(directory.path());
    assert!(matches!(refused, Err(StoreError::InUse { .. })), "{refused:?}");
    child.kill().unwrap();
    child.wait().unwrap();
    RedbStore::open(directory.path()).unwrap();
}

#[tokio::test]
async fn a_first_start_killed_at_any_moment_can_be_repeated() {
    for millisecond in 0..25 {
        let directory = tempfile::tempdir().unwrap();
        let mut child = start_child(directory.path());
        tokio::time::sleep(Duration::from_millis(millisecond)).await;
        child.kill().unwrap();
        child.wait().unwrap();
        let state = RedbStore::open(directory.path()).unwrap().load().await.unwrap();
        assert_eq!(state.damaged, vec![], "killed after {millisecond} ms");
    }
}
