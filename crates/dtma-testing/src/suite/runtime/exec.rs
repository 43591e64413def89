//! Commands in running containers.

use super::{NO_GRACE, Room, RuntimeHarness, SHORT, Script, assert_conflict, assert_not_found, within};
use crate::sample;
use bytes::Bytes;
use dtma_core::id::ContainerId;
use dtma_core::observation::ContainerState;
use dtma_core::port::runtime::{ExecRequest, ExecResult, RuntimeError};
use std::collections::BTreeMap;
use std::time::Duration;

const LIMIT: usize = 1024 * 1024;

fn command(script: Script) -> ExecRequest {
    ExecRequest {
        argv: script.command(),
        environment: BTreeMap::new(),
        stdin: None,
        deadline: SHORT,
        output_limit: LIMIT,
    }
}

async fn exec(room: &Room, id: &ContainerId, request: &ExecRequest) -> ExecResult {
    room.runtime.exec(id, request).await.expect("exec")
}

/// Code and outputs are the command's; the container's process does not notice.
pub async fn a_command_runs_beside_the_process(harness: impl RuntimeHarness) {
    let room = Room::enter(&harness).await;
    let id = room.run("a", Script::Idle).await;
    let before = room.state(&id).await;
    let expected = ExecResult {
        exit_code: 3,
        stdout: "to stdout\n".into(),
        stderr: "to stderr\n".into(),
        truncated: false,
    };
    for _ in 0..3 {
        assert_eq!(exec(&room, &id, &command(Script::FailLoudly)).await, expected);
    }
    assert_eq!(exec(&room, &id, &command(Script::Succeed)).await.exit_code, 0);
    assert_eq!(room.state(&id).await, before);
    room.leave().await;
}

/// More than any pipe holds, and then the end of the input.
pub async fn a_command_reads_what_it_is_given_to_the_end(harness: impl RuntimeHarness) {
    let room = Room::enter(&harness).await;
    let id = room.run("a", Script::Idle).await;
    let input = Bytes::from("0123456789".repeat(50_000));
    let request = ExecRequest { stdin: Some(input.clone()), ..command(Script::Echo) };
    let done = within("the copy comes back", exec(&room, &id, &request)).await;
    assert!(done.stdout == input, "{} bytes came back for {}", done.stdout.len(), input.len());
    assert_eq!((done.exit_code, done.truncated), (0, false));
    room.leave().await;
}

/// It does not wait for an input that nobody gives.
pub async fn a_command_without_input_reads_nothing(harness: impl RuntimeHarness) {
    let room = Room::enter(&harness).await;
    let id = room.run("a", Script::Idle).await;
    let done = within("the command ends", exec(&room, &id, &command(Script::Echo))).await;
    let nothing = ExecResult { exit_code: 0, stdout: "".into(), stderr: "".into(), truncated: false };
    assert_eq!(done, nothing);
    room.leave().await;
}

/// Its end is still seen.
pub async fn a_command_that_says_too_much_is_cut_and_not_held_up(harness: impl RuntimeHarness) {
    let room = Room::enter(&harness).await;
    let id = room.run("a", Script::Idle).await;
    let request = ExecRequest { output_limit: 1000, ..command(Script::Flood) };
    let done = exec(&room, &id, &request).await;
    assert_eq!((done.exit_code, done.stdout.len(), done.truncated), (5, 1000, true));
    assert_eq!(done.stderr, "too much\n");
    room.leave().await;
}

/// The container stays, and answers the next command.
pub async fn a_command_that_is_late_is_given_up(harness: impl RuntimeHarness) {
    let room = Room::enter(&harness).await;
    let id = room.run("a", Script::Idle).await;
    let request = ExecRequest { deadline: Duration::from_millis(500), ..command(Script::Idle) };
    let late = within("the deadline holds", room.runtime.exec(&id, &request)).await;
    assert!(matches!(late, Err(RuntimeError::Timeout { .. })), "{late:?}");
    assert!(matches!(room.state(&id).await, ContainerState::Running { .. }));
    assert_eq!(exec(&room, &id, &command(Script::Succeed)).await.exit_code, 0);
    room.leave().await;
}

/// One that never ran, one that was stopped, one that is not there.
pub async fn a_command_needs_a_running_container(harness: impl RuntimeHarness) {
    let room = Room::enter(&harness).await;
    let id = room.create("a", Script::Idle).await;
    assert_conflict(room.runtime.exec(&id, &command(Script::Succeed)).await);
    room.runtime.start(&id, &sample::launch()).await.expect("start");
    room.runtime.stop(&id, NO_GRACE).await.expect("stop");
    assert_conflict(room.runtime.exec(&id, &command(Script::Succeed)).await);
    room.runtime.remove(&id).await.expect("remove");
    assert_not_found(room.runtime.exec(&id, &command(Script::Succeed)).await);
    room.leave().await;
}
