//! Events and followed logs.

use crate::house::{House, one_mcp, one_tool};
use crate::wire::LONG;
use dtma_client::types::{EventKind, PhaseWord};
use dtma_client::{EventMessage, EventStream, LogOptions, Mutation};
use futures_util::StreamExt;

/// Reads until an event fits, and gives its id.
async fn until(events: &mut EventStream, fits: impl Fn(&EventKind) -> bool) -> String {
    let read = async {
        loop {
            match events.next().await.expect("the stream goes on").unwrap() {
                EventMessage::Happened { id, event } if fits(&event.kind) => return id.unwrap(),
                EventMessage::Happened { .. } => {}
                EventMessage::Reset => panic!("nothing was lost"),
            }
        }
    };
    tokio::time::timeout(LONG, read).await.expect("the event comes")
}

fn is_ready(kind: &EventKind) -> bool {
    matches!(kind, EventKind::Phase { phase: PhaseWord::Ready, .. })
}

#[tokio::test]
async fn every_step_of_a_deployment_is_told_and_a_reader_can_go_on() {
    let house = House::new().await;
    let client = house.client("deploy");
    let mut events = client.stream_events(None).await.unwrap();
    client.deploy_group(&one_tool("demo"), &Mutation::default()).await.unwrap();
    let first = until(&mut events, |kind| matches!(kind, EventKind::Phase { .. })).await;
    until(&mut events, is_ready).await;
    until(&mut events, |kind| matches!(kind, EventKind::Finished { error: None, .. })).await;
    let mut later = client.stream_events(Some(&first)).await.unwrap();
    until(&mut later, is_ready).await;
}

#[tokio::test]
async fn a_reader_from_another_life_is_told_to_look_again() {
    let house = House::new().await;
    let client = house.client("read");
    let mut events = client.stream_events(Some("00000000-7")).await.unwrap();
    let first = tokio::time::timeout(LONG, events.next()).await.unwrap().unwrap().unwrap();
    assert_eq!(first, EventMessage::Reset);
}

#[tokio::test]
async fn a_followed_log_goes_on() {
    let house = House::new().await;
    let client = house.client("deploy");
    client.deploy_group(&one_mcp("demo"), &Mutation::default()).await.unwrap();
    let mut lines = client.follow_logs("time", &LogOptions::default()).await.unwrap();
    house.mcp.write_stderr("hello\n");
    let line = tokio::time::timeout(LONG, lines.next()).await.unwrap().unwrap().unwrap();
    assert_eq!((line.text.as_str(), line.stream.as_str()), ("hello", "stderr"));
}
