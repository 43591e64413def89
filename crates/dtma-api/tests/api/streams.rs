//! Events and followed logs.

use crate::house::{House, one_mcp, one_tool};
use crate::wire::LONG;
use dtma_client::types::{EventKind, PhaseWord};
use dtma_client::{Client, EventMessage, EventStream, LogOptions, Mutation};
use futures_util::StreamExt;
use std::cell::Cell;
use std::time::Duration;

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

/// Reads some events after `last`, then loses the connection.
async fn read_some(client: &Client, last: Option<&str>, most: usize, seen: &mut Vec<u64>) -> Option<String> {
    let mut events = client.stream_events(last).await.unwrap();
    let mut newest = last.map(str::to_owned);
    for _ in 0..most {
        match tokio::time::timeout(Duration::from_millis(500), events.next()).await {
            Ok(Some(Ok(EventMessage::Happened { id, event }))) => {
                seen.push(event.seq);
                newest = id.or(newest);
            }
            Ok(other) => panic!("nothing was lost: {other:?}"),
            Err(_) => break,
        }
    }
    newest
}

#[tokio::test]
async fn readers_that_lose_their_connection_again_and_again_miss_nothing_and_hear_nothing_twice() {
    let house = House::new().await;
    let client = house.client("deploy");
    client.deploy_group(&one_tool("demo"), &Mutation::default()).await.unwrap();
    let over = Cell::new(0_usize);
    let load = async {
        futures_util::future::join_all((0..4).map(|_| async {
            for _ in 0..25 {
                client.restart_server("web", &Mutation::default()).await.unwrap();
            }
            over.set(over.get() + 1);
        }))
        .await;
    };
    let readers = futures_util::future::join_all((1..=8).map(|reader| {
        let (client, over) = (&client, &over);
        async move {
            let (mut seen, mut last) = (Vec::new(), None);
            loop {
                let (was_over, before) = (over.get() == 4, seen.len());
                last = read_some(client, last.as_deref(), reader * 3, &mut seen).await;
                if was_over && seen.len() == before {
                    return seen;
                }
            }
        }
    }));
    let ((), readers) = tokio::join!(load, readers);
    let kept: Vec<u64> = client
        .list_events()
        .await
        .unwrap()
        .filter_map(|event| {
            std::future::ready(match event.unwrap() {
                EventMessage::Happened { event, .. } => Some(event.seq),
                EventMessage::Reset => None,
            })
        })
        .collect()
        .await;
    for seen in readers {
        let from = kept.iter().position(|seq| seen.first() == Some(seq)).unwrap();
        assert_eq!(seen, kept[from..]);
        assert!(seen.len() > 100, "there was no load: {}", seen.len());
    }
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
