//! Levels of the log and watched resources, of several clients and over several processes.

use super::harness::*;
use crate::{Attachment, Limits, PostReply};
use futures_util::StreamExt;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

const BOTH: &str = r#"{"protocolVersion":"2025-11-25","capabilities":{"logging":{},"resources":{"subscribe":true}},"serverInfo":{"name":"s","version":"1"}}"#;

const SECOND: Duration = Duration::from_secs(1);

/// A server that logs and has resources.
async fn ready() -> (House, Process) {
    let house = House::new();
    let process = next_process(&house, 1).await;
    (house, process)
}

async fn next_process(house: &House, number: u64) -> Process {
    let mut process = house.attach(number, Attachment::Fresh).await;
    let id = process.asked("initialize").await;
    process.answer(&id, BOTH);
    assert_eq!(process.read().await["method"], "notifications/initialized");
    house.until_ready().await;
    process
}

/// One request and its answer; the server grants it.
async fn granted(client: &Client, process: &mut Process, method: &str, params: Value) {
    let request = json!({"jsonrpc":"2.0","id":1,"method":method,"params":params}).to_string();
    let mut calls = JoinSet::new();
    client.begin(&mut calls, request);
    let asked = process.read().await;
    assert_eq!((&asked["method"], &asked["params"]), (&json!(method), &params));
    process.answer(&asked["id"], "{}");
    assert_eq!(body(outcome(&mut calls).await), r#"{"jsonrpc":"2.0","id":1,"result":{}}"#);
}

async fn told(process: &mut Process) -> (String, Value) {
    let told = process.read().await;
    process.answer(&told["id"], "{}");
    (told["method"].as_str().unwrap().to_owned(), told["params"].clone())
}

fn log(level: &str) -> String {
    json!({"jsonrpc":"2.0","method":"notifications/message","params":{"level":level,"data":level}})
        .to_string()
}

fn updated(uri: &str) -> String {
    json!({"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":uri}}).to_string()
}

#[tokio::test(start_paused = true)]
async fn the_next_process_is_told_what_all_clients_want_together() {
    let (house, mut process) = ready().await;
    let (one, two) = (house.client(json!({})).await, house.client(json!({})).await);
    granted(&one, &mut process, "logging/setLevel", json!({"level":"error"})).await;
    granted(&one, &mut process, "resources/subscribe", json!({"uri":"a"})).await;
    granted(&two, &mut process, "resources/subscribe", json!({"uri":"b"})).await;
    granted(&two, &mut process, "logging/setLevel", json!({"level":"info"})).await;
    drop(process);
    let mut process = next_process(&house, 2).await;
    assert_eq!(told(&mut process).await, ("logging/setLevel".into(), json!({"level":"info"})));
    assert_eq!(told(&mut process).await, ("resources/subscribe".into(), json!({"uri":"a"})));
    assert_eq!(told(&mut process).await, ("resources/subscribe".into(), json!({"uri":"b"})));
    assert!(!process.has_more().await);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_wants_less_does_not_silence_the_others() {
    let (house, mut process) = ready().await;
    let (one, two, three) =
        (house.client(json!({})).await, house.client(json!({})).await, house.client(json!({})).await);
    let mut streams = (one.listen().await, two.listen().await, three.listen().await);
    granted(&one, &mut process, "logging/setLevel", json!({"level":"info"})).await;
    granted(&two, &mut process, "logging/setLevel", json!({"level":"error"})).await;
    assert_eq!(told(&mut process).await, ("logging/setLevel".into(), json!({"level":"info"})));
    process.say(log("info"));
    process.say(log("critical"));
    assert_eq!(next(&mut streams.0).await, log("info"));
    assert_eq!(next(&mut streams.0).await, log("critical"));
    assert_eq!(next(&mut streams.1).await, log("critical"), "not what it does not want");
    assert_eq!(next(&mut streams.2).await, log("info"), "who asked for nothing hears what there is");
}

#[tokio::test(start_paused = true)]
async fn an_update_goes_to_those_who_watch_and_one_that_nobody_watches_to_all() {
    let (house, mut process) = ready().await;
    let (one, two) = (house.client(json!({})).await, house.client(json!({})).await);
    let (mut first, mut second) = (one.listen().await, two.listen().await);
    granted(&one, &mut process, "resources/subscribe", json!({"uri":"file:///a"})).await;
    for uri in ["file:///a/part", "file:///b"] {
        process.say(updated(uri));
    }
    assert_eq!(next(&mut first).await, updated("file:///a/part"));
    assert_eq!(next(&mut first).await, updated("file:///b"));
    assert_eq!(next(&mut second).await, updated("file:///b"));
}

#[tokio::test(start_paused = true)]
async fn a_resource_is_watched_until_nobody_watches_it_any_more() {
    let (house, mut process) = ready().await;
    let (one, two) = (house.client(json!({})).await, house.client(json!({})).await);
    granted(&one, &mut process, "resources/subscribe", json!({"uri":"a"})).await;
    granted(&two, &mut process, "resources/subscribe", json!({"uri":"a"})).await;
    let unsubscribe = r#"{"jsonrpc":"2.0","id":2,"method":"resources/unsubscribe","params":{"uri":"a"}}"#;
    assert_eq!(body(one.post(unsubscribe).await), r#"{"jsonrpc":"2.0","id":2,"result":{}}"#);
    assert!(!process.has_more().await, "the other one watches it");
    house.door.close_session(&two.id).await.unwrap();
    assert_eq!(told(&mut process).await, ("resources/unsubscribe".into(), json!({"uri":"a"})));
    // Not watched: the server's business.
    granted(&one, &mut process, "resources/unsubscribe", json!({"uri":"a"})).await;
}

#[tokio::test(start_paused = true)]
async fn what_was_missed_is_sifted_alike() {
    let (house, mut process) = ready().await;
    let client = house.client(json!({})).await;
    granted(&client, &mut process, "logging/setLevel", json!({"level":"error"})).await;
    let stood = house.door.listen_after(&client.id, None).await.unwrap().next().await.unwrap().id;
    for level in ["error", "info", "alert"] {
        process.say(log(level));
    }
    assert!(!process.has_more().await);
    let events = house.door.listen_after(&client.id, stood).await.unwrap();
    let heard = events.map(|event| text(event.text)).filter(|text| std::future::ready(!text.is_empty()));
    let heard = tokio::time::timeout(SECOND, heard.take(2).collect::<Vec<_>>());
    assert_eq!(heard.await.expect("both are told"), [log("error"), log("alert")]);
}

#[tokio::test(start_paused = true)]
async fn what_the_server_refuses_is_not_said_again_and_there_is_a_bound() {
    let (house, mut process) = ready().await;
    let client = house.client(json!({})).await;
    let mut calls = JoinSet::new();
    client.begin(
        &mut calls,
        r#"{"jsonrpc":"2.0","id":1,"method":"resources/subscribe","params":{"uri":"no"}}"#,
    );
    let id = process.asked("resources/subscribe").await;
    process.say(json!({"jsonrpc":"2.0","id":id,"error":{"code":-32602,"message":"no"}}).to_string());
    outcome(&mut calls).await;
    let long =
        json!({"jsonrpc":"2.0","id":1,"method":"resources/subscribe","params":{"uri":"x".repeat(5000)}});
    let refused: Value = serde_json::from_str(&body(client.post(long.to_string()).await)).unwrap();
    assert_eq!(refused["error"]["code"], -32602);
    for number in 0..256 {
        granted(&client, &mut process, "resources/subscribe", json!({"uri":number.to_string()})).await;
    }
    let more = r#"{"jsonrpc":"2.0","id":1,"method":"resources/subscribe","params":{"uri":"more"}}"#;
    let refused: Value = serde_json::from_str(&body(client.post(more).await)).unwrap();
    assert!(refused["error"]["message"].as_str().unwrap().contains("256"), "{refused}");
    drop(process);
    let mut process = next_process(&house, 2).await;
    for _ in 0..256 {
        assert_ne!(told(&mut process).await.1, json!({"uri":"no"}));
    }
    assert!(!process.has_more().await);
}

#[tokio::test(start_paused = true)]
async fn wishes_outlive_the_daemon() {
    let (house, mut process) = ready().await;
    let client = house.client(json!({})).await;
    granted(&client, &mut process, "resources/subscribe", json!({"uri":"a"})).await;
    let store = Arc::clone(&house.store);
    let kept = store.sessions.lock().unwrap().last().cloned().unwrap();
    assert_eq!(kept.wishes.watched, ["a".to_owned()].into());
    drop((house, process));
    let house = House::with(Limits::default(), store);
    house.door.restore(vec![kept]);
    let mut process = next_process(&house, 2).await;
    let ping = r#"{"jsonrpc":"2.0","id":1,"method":"x"}"#;
    let client = Client { door: house.door.clone(), id: client.id };
    let mut calls: JoinSet<PostReply> = JoinSet::new();
    client.begin(&mut calls, ping);
    assert_eq!(told(&mut process).await, ("resources/subscribe".into(), json!({"uri":"a"})));
}
