//! Sessions with a process of their own, from the door to the engine and back.

use crate::house::{House, SOON, mcp, name, spec};
use dtma_core::id::FIRST_PLACE;
use dtma_core::observation::{Asker, ContainerObservation};
use dtma_core::record::Removal;
use dtma_core::spec::{ServerSpec, SessionMode, SessionSpec};
use dtma_manager::{Expect, ReplicaStatus, ServerStatus};
use dtma_mcp::{Door, PostReply};
use serde_json::{Value, json};
use std::time::Duration;

/// A server that gives two sessions a process of their own, beside so many replicas.
fn own(replicas: u32) -> ServerSpec {
    let session = SessionSpec { mode: SessionMode::PerSession, max: Some(2), ..SessionSpec::default() };
    ServerSpec { session, replicas, ..mcp("a") }
}

async fn house(replicas: u32) -> (House, Door) {
    let house = House::new().await;
    house.deploy("g", vec![own(replicas)]).await.unwrap();
    let door = house.manager.mcp(&name("a")).unwrap();
    (house, door)
}

pub(crate) async fn opened(door: &Door) -> String {
    let hello = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize",
        "params": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "c", "version": "1"}}});
    match door.post(None, hello.to_string().into()).await {
        PostReply::Opened { session, .. } => session.to_string(),
        other => panic!("{other:?}"),
    }
}

pub(crate) async fn echoed(door: &Door, session: &str) -> PostReply {
    let call = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call",
        "params": {"name": "echo", "arguments": {"message": "m"}}});
    door.post(Some(session), call.to_string().into()).await
}

pub(crate) fn is_echo(reply: &PostReply) -> bool {
    let PostReply::Body(body) = reply else { return false };
    serde_json::from_slice::<Value>(body).is_ok_and(|answer| answer.get("result").is_some())
}

/// The numbers at which containers run.
pub(crate) fn live(house: &House) -> Vec<u32> {
    let running = house.engine.containers().into_iter().filter(ContainerObservation::is_live);
    let mut numbers: Vec<u32> = running.map(|seen| seen.slot.replica).collect();
    numbers.sort_unstable();
    numbers
}

async fn until_live(house: &House, wanted: &[u32]) {
    for _ in 0..10_000 {
        if live(house) == wanted && house.engine.containers().len() == wanted.len() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{:?} run, not {wanted:?}", live(house));
}

fn places(server: &ServerStatus) -> Vec<(u32, bool)> {
    let is_of_session = |replica: &ReplicaStatus| replica.asker == Some(Asker::Session);
    server.replicas.iter().map(|replica| (replica.replica, is_of_session(replica))).collect()
}

#[tokio::test(start_paused = true)]
async fn each_session_has_a_container_as_long_as_it_lasts() {
    let (house, door) = house(1).await;
    let (one, two) = (opened(&door).await, opened(&door).await);
    assert_eq!(live(&house), [0, FIRST_PLACE, FIRST_PLACE + 1]);
    let server = house.server("g", "a");
    assert_eq!(places(&server), [(0, false), (FIRST_PLACE, true), (FIRST_PLACE + 1, true)]);
    assert_eq!((server.phase.word(), server.wanted_replicas), ("ready", 1));
    assert!(is_echo(&echoed(&door, &one).await) && is_echo(&echoed(&door, &two).await));
    door.close_session(&one).await.unwrap();
    until_live(&house, &[0, FIRST_PLACE + 1]).await;
    assert!(is_echo(&echoed(&door, &two).await));
    let three = opened(&door).await;
    assert_eq!(live(&house), [0, FIRST_PLACE, FIRST_PLACE + 1], "the number is free again");
    assert!(is_echo(&echoed(&door, &three).await));
    assert_eq!(house.server("g", "a").restarts, 0);
}

#[tokio::test(start_paused = true)]
async fn a_session_goes_on_in_the_next_run_of_its_own_process() {
    let (house, door) = house(1).await;
    let (one, two) = (opened(&door).await, opened(&door).await);
    let hellos = || {
        let received = house.mcp.received();
        received
            .iter()
            .filter(|line| line.contains("\"initialize\"") && line.contains("\"name\":\"c\""))
            .count()
    };
    assert_eq!(hellos(), 2, "in their clients' names");
    let its = |seen: &ContainerObservation| seen.slot.replica == FIRST_PLACE;
    let before = house.engine.containers().into_iter().find(its).unwrap();
    house.mcp.die_on("tools/call", 9);
    assert!(!is_echo(&echoed(&door, &one).await), "its process ended before it answered");
    house.mcp.behave();
    assert!(is_echo(&echoed(&door, &one).await) && is_echo(&echoed(&door, &two).await));
    let after = house.engine.containers().into_iter().find(its).unwrap();
    assert_eq!((before.id, hellos()), (after.id, 3));
    assert_eq!((house.server("g", "a").restarts, house.server("g", "a").crashes), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn an_update_ends_sessions_when_it_is_proved_and_the_next_are_of_the_new_generation() {
    let (house, door) = house(1).await;
    let session = opened(&door).await;
    let mut newer = own(1);
    newer.environment.insert("VERSION".to_owned(), "2".to_owned());
    house.manager.apply(spec("g", vec![newer]), Expect::default(), SOON).await.unwrap();
    until_live(&house, &[0]).await;
    assert!(matches!(echoed(&door, &session).await, PostReply::UnknownSession));
    let next = opened(&door).await;
    assert!(is_echo(&echoed(&door, &next).await));
    assert!(house.engine.containers().iter().all(|seen| seen.generation.0 == 2));
}

#[tokio::test(start_paused = true)]
async fn a_daemon_that_begins_clears_away_what_sessions_had() {
    let (mut house, door) = house(0).await;
    assert_eq!((live(&house), house.server("g", "a").phase.word()), (vec![], "on-demand"));
    let session = opened(&door).await;
    assert_eq!(live(&house), [FIRST_PLACE]);
    drop(door);
    house.restart_daemon().await;
    until_live(&house, &[]).await;
    let door = house.manager.mcp(&name("a")).unwrap();
    assert!(matches!(echoed(&door, &session).await, PostReply::UnknownSession));
    house.remove("g", Removal::default()).await;
    house.check_nothing_left();
}

#[tokio::test(start_paused = true)]
async fn a_new_session_never_gets_what_another_one_left() {
    let (mut house, door) = house(0).await;
    opened(&door).await;
    drop(door);
    house.restart_daemon().await;
    let before = house.engine.containers().pop().unwrap();
    let door = house.manager.mcp(&name("a")).unwrap();
    let session = opened(&door).await;
    assert!(is_echo(&echoed(&door, &session).await));
    let now = house.engine.containers().into_iter().find(ContainerObservation::is_live).unwrap();
    assert_ne!(before.id, now.id);
}
