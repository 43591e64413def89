//! Client sessions.

use super::harness::*;
use crate::{Attachment, Limits, PostReply, SessionError};
use dtma_core::record::Handshake;
use futures_util::StreamExt;
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::task::JoinSet;

fn hello(version: &str) -> String {
    json!({"jsonrpc":"2.0","id":"h","method":"initialize","params":{"protocolVersion":version}}).to_string()
}

async fn opened(house: &House, hello: String) -> (String, String) {
    match house.door.post(None, hello.into()).await {
        PostReply::Opened { session, body } => (session.to_string(), text(body)),
        other => panic!("not opened: {other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn initialize_is_answered_with_what_the_server_said() {
    let (house, _process) = House::ready().await;
    for (asked, told) in
        [("2025-11-25", "2025-06-18"), ("2024-11-05", "2024-11-05"), ("2030-01-01", "2025-06-18")]
    {
        let (session, answer) = opened(&house, hello(asked)).await;
        assert_eq!(
            answer,
            format!(r#"{{"jsonrpc":"2.0","id":"h","result":{}}}"#, GREETING.replace("2025-06-18", told))
        );
        assert!(session.len() == 32 && session.bytes().all(|byte| byte.is_ascii_hexdigit()), "{session}");
        let kept = house.door.session(&session).await.unwrap();
        assert_eq!(kept.protocol_version, told);
        assert!(house.store.sessions.lock().unwrap().contains(&kept));
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_must_be_opened_and_known() {
    let (house, _process) = House::ready().await;
    let call = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
    assert_eq!(refusal(house.door.post(None, call.into()).await)["error"]["code"], -32600);
    for unknown in ["", "x", "0123456789abcdef0123456789abcdef", "{0123456789abcdef0123456789abcd}"] {
        let reply = house.door.post(Some(unknown), call.into()).await;
        assert!(matches!(reply, PostReply::UnknownSession), "{unknown}: {reply:?}");
        assert_eq!(house.door.listen(unknown).await.unwrap_err(), SessionError::Unknown);
        assert_eq!(house.door.close_session(unknown).await, Err(SessionError::Unknown));
    }
}

#[tokio::test(start_paused = true)]
async fn ping_and_initialized_stay_here_and_the_rest_is_passed_on() {
    let (house, mut process) = House::ready().await;
    let client = house.client(json!({})).await;
    let reply = client.post(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#).await;
    assert!(matches!(reply, PostReply::Accepted));
    let reply = client.post(r#"{"jsonrpc":"2.0","id":1.0,"method":"ping"}"#).await;
    assert_eq!(body(reply), r#"{"jsonrpc":"2.0","id":1.0,"result":{}}"#);
    let future = r#"{"jsonrpc":"2.0","method":"notifications/future","params":{"x":1.0}}"#;
    client.post(format!("{future}\r\n")).await;
    assert_eq!(process.line().await, format!("{future}  "));
    let mut calls = JoinSet::new();
    client.begin(
        &mut calls,
        r#"{"jsonrpc":"2.0","id":1,"method":"logging/setLevel","params":{"level":"info"}}"#,
    );
    process.asked("logging/setLevel").await;
}

#[tokio::test(start_paused = true)]
async fn a_closed_session_is_gone_with_its_calls_and_streams() {
    let (house, mut process) = House::ready().await;
    let client = house.client(json!({})).await;
    let mut listener = client.listen().await;
    let mut calls = JoinSet::new();
    client.begin(&mut calls, r#"{"jsonrpc":"2.0","id":1,"method":"x"}"#);
    let call = process.asked("x").await;
    house.door.close_session(&client.id).await.unwrap();
    let cancelled = process.read().await;
    assert_eq!(
        (&cancelled["method"], &cancelled["params"]["requestId"]),
        (&json!("notifications/cancelled"), &call)
    );
    let answer: Value = serde_json::from_str(&body(outcome(&mut calls).await)).unwrap();
    assert_eq!(answer["error"]["code"], -32800);
    assert_eq!(listener.next().await, None);
    assert!(matches!(
        client.post(r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#).await,
        PostReply::UnknownSession
    ));
    tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    assert!(house.store.sessions.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn sessions_outlive_the_daemon() {
    let (house, process) = House::ready().await;
    let client = house.client(json!({"sampling":{}})).await;
    let store = house.store.clone();
    let handshake: Option<Handshake> = store.handshakes.lock().unwrap().last().cloned();
    drop((house, process));

    let house = House::with(Limits::default(), store.clone());
    let mut kept = store.sessions.lock().unwrap().clone();
    kept.push(dtma_core::record::GatewaySession { instance: "other".parse().unwrap(), ..kept[0].clone() });
    house.door.restore(kept);
    let mut process = house.attach(1, Attachment::Adopted { handshake }).await;
    process.line().await;
    let ping = process.asked("ping").await;
    process.answer(&ping, "{}");
    process.list("[]").await;
    house.until_ready().await;
    let client = Client { door: house.door.clone(), id: client.id };
    let mut calls = JoinSet::new();
    client.begin(&mut calls, r#"{"jsonrpc":"2.0","id":1,"method":"x"}"#);
    process.asked("x").await;
    process.say(r#"{"jsonrpc":"2.0","id":1,"method":"sampling/createMessage"}"#);
    let mut stream = messages(outcome(&mut calls).await);
    assert!(next(&mut stream).await.contains("sampling"), "its capabilities are known still");
}

#[tokio::test(start_paused = true)]
async fn at_the_limit_the_session_unused_for_longest_makes_way() {
    let limits = Limits { sessions: 2, ..Limits::default() };
    let mut house = House::with(limits, Arc::default());
    let mut process = house.start(1).await;
    let (a, b) = (house.client(json!({})).await, house.client(json!({})).await);
    house.door.session(&a.id).await.unwrap();
    let c = house.client(json!({})).await;
    assert_eq!(house.door.session(&b.id).await, Err(SessionError::Unknown));
    let _listener = a.listen().await;
    let mut calls = JoinSet::new();
    c.begin(&mut calls, r#"{"jsonrpc":"2.0","id":1,"method":"x"}"#);
    process.asked("x").await;
    let refused = body(house.door.post(None, hello("2025-11-25").into()).await);
    assert!(refused.contains("too many clients"), "{refused}");
    let kept: Vec<_> =
        house.store.sessions.lock().unwrap().iter().map(|session| session.id.clone()).collect();
    assert_eq!(kept, [a.id, c.id]);
}

#[tokio::test(start_paused = true)]
async fn batches_are_split_for_the_one_version_that_has_them() {
    let (house, mut process) = House::ready().await;
    let (session, _) = opened(&house, hello("2025-03-26")).await;
    let client = Client { door: house.door.clone(), id: session };
    let batch = r#"[{"jsonrpc":"2.0","id":1,"method":"x"},7,{"jsonrpc":"2.0","method":"notifications/y"},
        {"jsonrpc":"2.0","id":2,"method":"ping"}]"#;
    let stream = messages(client.post(batch).await);
    let mut all = JoinSet::new();
    all.spawn(stream.map(text).collect::<Vec<_>>());
    let call = process.asked("x").await;
    assert_eq!(process.read().await["method"], "notifications/y");
    process.answer(&call, "1");
    let mut all = all.join_next().await.unwrap().unwrap();
    all.sort();
    assert_eq!(all.len(), 3, "{all:?}");
    assert_eq!(all[0], r#"{"jsonrpc":"2.0","id":1,"result":1}"#);
    assert_eq!(all[1], r#"{"jsonrpc":"2.0","id":2,"result":{}}"#);
    assert!(all[2].contains("-32600"));
    let reply = client.post(r#"[{"jsonrpc":"2.0","method":"notifications/z"}]"#).await;
    assert!(matches!(reply, PostReply::Accepted));
    assert_eq!(refusal(client.post("[]").await)["error"]["code"], -32600);
}
