//! A full disk fails the call and nothing else: what was kept stays, and once there is room the same store goes on.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a broken test should stop where it broke"
)]

use dtma_core::port::store::{StateStore, StoreError};
use dtma_core::record::Operation;
use dtma_store::RedbStore;
use dtma_testing::sample;
use std::io::{BufRead, BufReader, Lines, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

/// Tells the child, which is this test binary again, where to write.
const DIRECTORY: &str = "DTMA_STORE_FULL_TEST_DIRECTORY";

/// Runs the child under a limit on the size of files: to redb the same as a full disk. The signal that would kill
/// it is ignored, so the write fails instead.
fn start_child(directory: &Path) -> Child {
    let mut command = Command::new("sh");
    command.args(["-c", r#"trap "" XFSZ; ulimit -S -f 4096; exec "$0" "$@""#]);
    command.arg(std::env::current_exe().unwrap());
    command.args(["--exact", "--nocapture", "the_writer_reads_back_what_it_has_kept"]);
    command.env(DIRECTORY, directory).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap()
}

/// About 64 KiB, still under way.
fn large(number: u32) -> Operation {
    let mut operation = sample::operation(&format!("o{number}"), "g", number.into());
    operation.id = format!("{}-{}", operation.id, "x".repeat(64 * 1024)).into();
    operation
}

/// Writes until it is refused, at most so often.
async fn fill(store: &RedbStore, most: u32) -> (u32, Option<StoreError>) {
    for kept in 0..most {
        if let Err(error) = store.put_operation(&large(kept)).await {
            return (kept, Some(error));
        }
    }
    (most, None)
}

/// Alone it writes three times; as a child it runs into the limit and waits for room.
#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "the only way to tell the child of a test binary anything")]
async fn the_writer_reads_back_what_it_has_kept() {
    let Some(directory) = std::env::var_os(DIRECTORY) else {
        let here = tempfile::tempdir().unwrap();
        let store = RedbStore::open(here.path()).unwrap();
        assert_eq!(fill(&store, 3).await, (3, None));
        return assert_eq!(store.load().await.unwrap().operations.len(), 3);
    };
    let store = RedbStore::open(Path::new(&directory)).unwrap();
    let (kept, error) = fill(&store, u32::MAX).await;
    assert!(matches!(error, Some(StoreError::Io { operation: "keeping the operation", .. })), "{error:?}");
    assert_eq!(store.load().await.unwrap().operations.len(), kept as usize, "reading goes on");
    println!("full {kept}");
    std::io::stdin().read_line(&mut String::new()).unwrap();
    store.put_operation(&large(kept)).await.unwrap();
    println!("again {}", kept + 1);
}

fn wait_for(lines: &mut Lines<BufReader<ChildStdout>>, word: &str) -> usize {
    let mut numbers = lines.filter_map(|line| line.unwrap().split_once(word)?.1.parse().ok());
    numbers.next().expect("the child says how many were kept")
}

#[tokio::test]
async fn a_full_disk_fails_the_call_and_room_mends_it() {
    let directory = tempfile::tempdir().unwrap();
    let mut child = start_child(directory.path());
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let full = wait_for(&mut lines, "full ");
    let lift = ["--pid", &child.id().to_string(), "--fsize=unlimited:unlimited"];
    assert!(Command::new("prlimit").args(lift).status().unwrap().success());
    child.stdin.take().unwrap().write_all(b"\n").unwrap();
    assert_eq!(wait_for(&mut lines, "again "), full + 1);
    lines.for_each(drop);
    assert!(child.wait().unwrap().success());
    let state = RedbStore::open(directory.path()).unwrap().load().await.unwrap();
    assert_eq!((state.operations.len(), state.damaged), (full + 1, vec![]));
}
