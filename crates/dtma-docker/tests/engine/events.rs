//! Events and attachments where only a real engine can surprise.

use crate::harness::{GROUP, Harness, docker_host, runtime_at};
use crate::relay::Relay;
use dtma_core::observation::ContainerState;
use dtma_core::port::runtime::{ContainerChange, ContainerRuntime, EngineEvent, OutputStream};
use dtma_testing::sample;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use std::time::Duration;
use tokio::time::timeout;

type Events = BoxStream<'static, EngineEvent>;

async fn next(events: &mut Events) -> EngineEvent {
    timeout(Duration::from_secs(10), events.next()).await.expect("an event within 10 s").expect("no end")
}

async fn changes_until(events: &mut Events, last: ContainerChange) -> Vec<ContainerChange> {
    let mut changes = Vec::new();
    while changes.last() != Some(&last) {
        match next(events).await {
            EngineEvent::Resync => {}
            EngineEvent::Container { change, group, .. } => {
                assert_eq!(group, sample::group(GROUP));
                changes.push(change);
            }
        }
    }
    changes
}

/// The child of PID 1 dies, not PID 1: only the event tells for certain, and what is seen afterwards says so too.
#[tokio::test]
async fn memory_that_runs_out_is_told() {
    let harness = Harness::new().await;
    let mut events = harness.engine().events(harness.owner_id());
    assert_eq!(next(&mut events).await, EngineEvent::Resync);
    let request = harness.request("hungry", "exec tail /dev/zero").await;
    let id = harness.start(&request).await;
    let state = harness.exited(&id).await;
    assert!(matches!(state, ContainerState::Exited { code: 137, .. }), "{state:?}");
    let changes = changes_until(&mut events, ContainerChange::Died).await;
    assert!(changes.contains(&ContainerChange::OutOfMemory), "{changes:?}");
    let state = harness.engine().inspect(&id).await.expect("inspect").state;
    assert!(matches!(state, ContainerState::Exited { oom: true, .. }), "{state:?}");
    harness.leave().await;
}

#[tokio::test]
async fn memory_that_runs_out_in_the_first_process_is_seen() {
    let harness = Harness::new().await;
    let mut request = harness.request("hungry", "exec tail /dev/zero").await;
    request.config.isolation.init = false;
    let id = harness.start(&request).await;
    let state = harness.exited(&id).await;
    assert!(matches!(state, ContainerState::Exited { code: 137, oom: true, .. }), "{state:?}");
    harness.leave().await;
}

/// The connection broke, the engine did not: its memory of events fills the gap.
#[tokio::test]
async fn what_happened_while_the_stream_was_broken_is_told_after_the_resync() {
    let harness = Harness::new().await;
    let request = harness.request("a", "exec sleep 86400").await;
    let mut events = harness.engine().events(harness.owner_id());
    assert_eq!(next(&mut events).await, EngineEvent::Resync);
    let id = harness.start(&request).await;
    assert_eq!(changes_until(&mut events, ContainerChange::Started).await, [ContainerChange::Started]);
    harness.cut();
    // Nobody reads the stream now: it connects anew when it is asked for the next event.
    harness.engine().kill(&id).await.expect("kill");
    harness.exited(&id).await;
    assert_eq!(next(&mut events).await, EngineEvent::Resync);
    assert_eq!(changes_until(&mut events, ContainerChange::Died).await, [ContainerChange::Died]);
    harness.leave().await;
}

#[tokio::test]
async fn freezing_and_thawing_are_noticed() {
    let harness = Harness::new().await;
    let id = harness.start(&harness.request("a", "exec sleep 86400").await).await;
    let mut events = harness.engine().events(harness.owner_id());
    assert_eq!(next(&mut events).await, EngineEvent::Resync);
    harness.docker().pause_container(id.as_str()).await.expect("docker pause");
    assert_eq!(changes_until(&mut events, ContainerChange::Other).await, [ContainerChange::Other]);
    let state = harness.engine().inspect(&id).await.expect("inspect").state;
    assert!(matches!(state, ContainerState::Paused { .. }), "{state:?}");
    harness.docker().unpause_container(id.as_str()).await.expect("docker unpause");
    assert_eq!(changes_until(&mut events, ContainerChange::Other).await, [ContainerChange::Other]);
    harness.leave().await;
}

/// A frozen process cannot hear a signal; the engine thaws it.
#[tokio::test]
async fn a_frozen_container_is_stopped_and_removed() {
    let harness = Harness::new().await;
    for stop in [true, false] {
        let id = harness.start(&harness.request("a", "exec sleep 86400").await).await;
        harness.docker().pause_container(id.as_str()).await.expect("docker pause");
        if stop {
            harness.engine().stop(&id, Duration::from_secs(1)).await.expect("stop");
            assert!(matches!(harness.exited(&id).await, ContainerState::Exited { .. }));
        }
        harness.engine().remove(&id).await.expect("remove");
    }
    harness.leave().await;
}

/// `DOCKER_HOST` may be a TCP address.
#[tokio::test]
async fn an_engine_behind_tcp_is_spoken_to_as_well() {
    let harness = Harness::new().await;
    let (host, _relay) = Relay::tcp(&docker_host()).await;
    let far = runtime_at(host, harness.owner_id());
    let mut events = far.events(harness.owner_id());
    assert_eq!(next(&mut events).await, EngineEvent::Resync);
    let id = harness.start(&harness.request("a", "exec cat").await).await;
    assert_eq!(changes_until(&mut events, ContainerChange::Started).await, [ContainerChange::Started]);
    let mut attached = far.attach(&id).await.expect("attach");
    attached.input.send("hello\n".into()).await.expect("send");
    let chunk = attached.output.next().await.expect("an answer").expect("output");
    assert_eq!(&chunk.bytes[..], b"hello\n");
    harness.leave().await;
}

/// Without it a bridge would wait for ever for an answer.
#[tokio::test]
async fn an_attachment_ends_when_its_connection_does() {
    let harness = Harness::new().await;
    let id = harness.start(&harness.request("a", "exec cat").await).await;
    let mut attached = harness.engine().attach(&id).await.expect("attach");
    attached.input.send("hello\n".into()).await.expect("send");
    let chunk = attached.output.next().await.expect("an answer").expect("output");
    assert_eq!(&chunk.bytes[..], b"hello\n");
    harness.cut();
    let end = timeout(Duration::from_secs(5), attached.output.next()).await.expect("an end within 5 s");
    assert!(!matches!(end, Some(Ok(_))), "{end:?}");
    let mut again = harness.engine().attach(&id).await.expect("attach again");
    again.input.send("again\n".into()).await.expect("send");
    let chunk = again.output.next().await.expect("an answer").expect("output");
    assert_eq!(&chunk.bytes[..], b"again\n");
    harness.leave().await;
}

/// Both outputs at full speed, interleaved: no byte changes sides.
#[tokio::test]
async fn a_flood_on_both_outputs_is_told_apart() {
    let harness = Harness::new().await;
    let script = "awk 'BEGIN { for (n = 1; n <= 20000; n++) print \"out\", n }' & \
                  awk 'BEGIN { for (n = 1; n <= 20000; n++) print \"err\", n }' >&2; wait";
    let request = harness.request("flood", script).await;
    let id = harness.create(&request).await;
    let mut attached = harness.engine().attach(&id).await.expect("attach");
    harness.engine().start(&id, &sample::launch()).await.expect("start");
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let read = async {
        while let Some(chunk) = attached.output.next().await {
            let chunk = chunk.expect("output");
            match chunk.stream {
                OutputStream::Stdout => out.extend_from_slice(&chunk.bytes),
                OutputStream::Stderr => err.extend_from_slice(&chunk.bytes),
            }
        }
    };
    timeout(Duration::from_secs(30), read).await.expect("it ends within 30 s");
    for (word, heard) in [("out", out), ("err", err)] {
        let expected: String = (1..=20_000).map(|number| format!("{word} {number}\n")).collect();
        assert!(heard == expected.as_bytes(), "{word}: {} bytes instead of {}", heard.len(), expected.len());
    }
    harness.leave().await;
}
