//! Logs: what the engine kept of a process's output.

use super::{Room, RuntimeHarness, Script, within};
use crate::sample;
use dtma_core::container::{CreateContainer, LogDriver};
use dtma_core::id::ContainerId;
use dtma_core::observation::ContainerState;
use dtma_core::port::runtime::{LogLine, LogQuery, OutputStream, RuntimeError};
use futures_util::StreamExt;
use std::time::Duration;

fn logging(mut request: CreateContainer) -> CreateContainer {
    request.config.log = LogDriver::Bounded { max_size: 1024 * 1024, max_files: 2 };
    request
}

async fn read_log(room: &Room, id: &ContainerId, query: LogQuery) -> Vec<LogLine> {
    let lines = room.runtime.logs(id, &query).await.expect("logs");
    let lines: Vec<_> = within("the log ends", lines.collect()).await;
    lines.into_iter().map(|line| line.expect("a log line")).collect()
}

fn texts(lines: &[LogLine]) -> Vec<&str> {
    let mut texts: Vec<_> = lines.iter().map(|line| line.text.as_str()).collect();
    // The two outputs are two pipes: only lines of one are ordered.
    texts.sort_unstable();
    texts
}

/// And can be asked for by time and number.
pub async fn logs_tell_when_and_where_each_line_was_written(harness: impl RuntimeHarness) {
    let room = Room::enter(&harness).await;
    let id = room.runtime.create(&logging(room.request("a", Script::FailLoudly))).await.expect("create");
    room.runtime.start(&id, &sample::launch()).await.expect("start");
    let state = room.exited(&id).await;
    let ContainerState::Exited { started_at, .. } = state else { panic!("{state:?}") };
    // Docker notes the start a little after the process began to write.
    let before = started_at.checked_sub(Duration::from_secs(1)).expect("in range");

    let all = read_log(&room, &id, LogQuery::default()).await;
    assert_eq!(texts(&all), ["to stderr", "to stdout"]);
    for line in &all {
        let expected = if line.text == "to stdout" { OutputStream::Stdout } else { OutputStream::Stderr };
        assert_eq!(line.stream, expected);
        assert!(line.at >= before, "{line:?} is older than its process, {started_at}");
    }
    let tail = read_log(&room, &id, LogQuery { tail: Some(1), ..LogQuery::default() }).await;
    assert_eq!(tail.len(), 1);
    let last = all.iter().map(|line| line.at).max().expect("there are lines");
    let later = last.checked_add(Duration::from_nanos(1)).expect("in range");
    let since = |since| LogQuery { since: Some(since), ..LogQuery::default() };
    assert_eq!(read_log(&room, &id, since(later)).await, vec![]);
    assert!(!read_log(&room, &id, since(last)).await.is_empty());
    let until = LogQuery { until: Some(before), ..LogQuery::default() };
    assert_eq!(read_log(&room, &id, until).await, vec![]);
    room.leave().await;
}

/// What is there, what comes, and then the end.
pub async fn logs_can_be_followed_to_the_end(harness: impl RuntimeHarness) {
    let room = Room::enter(&harness).await;
    let id = room.runtime.create(&logging(room.request("a", Script::CountAndStay))).await.expect("create");
    room.runtime.start(&id, &sample::launch()).await.expect("start");
    let query = LogQuery { follow: true, ..LogQuery::default() };
    let mut lines = room.runtime.logs(&id, &query).await.expect("logs");
    let mut heard = Vec::new();
    for _ in 0..3 {
        heard.push(within("a line", lines.next()).await.expect("the log goes on").expect("a log line"));
    }
    assert_eq!(texts(&heard), ["1", "2", "3"]);
    room.runtime.kill(&id).await.expect("kill");
    assert_eq!(within("the log ends", lines.next()).await, None);
    room.leave().await;
}

/// Its messages are nobody's business.
pub async fn a_container_without_a_log_refuses_to_show_one(harness: impl RuntimeHarness) {
    let room = Room::enter(&harness).await;
    let id = room.run("a", Script::FailLoudly).await;
    room.exited(&id).await;
    let answer = room.runtime.logs(&id, &LogQuery::default()).await.map(drop);
    assert!(matches!(answer, Err(RuntimeError::Refused { .. })), "{answer:?}");
    room.leave().await;
}
