//! Calls, their answers, and what comes in between.

use super::harness::*;
use crate::{CallError, Limits, PostReply};
use futures_util::StreamExt;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

#[tokio::test(start_paused = true)]
async fn everything_but_id_and_token_passes_byte_for_byte() {
    let (house, mut process) = House::ready().await;
    let client = house.client(json!({})).await;
    let mut calls = JoinSet::new();
    let strange = r#"{ "x-future":[1.0,1e2], "jsonrpc":"2.0","params":{"_meta":{"progressToken":"p\u0041","k":{}},"é":"\u00e9\/"},
        "method":"future/method", "id": 1.0 ,"task":{"ttl":1}}"#;
    client.begin(&mut calls, strange);
    let line = process.line().await;
    let request: Value = serde_json::from_str(&line).unwrap();
    let id = &request["id"];
    assert!(id.is_u64() && *id == request["params"]["_meta"]["progressToken"], "{line}");
    let restored = line
        .replace(&format!(r#""id": {id} "#), r#""id": 1.0 "#)
        .replace(&format!(r#""progressToken":{id}"#), r#""progressToken":"p\u0041""#);
    assert_eq!(restored, strange.replace('\n', " "));
    process.say(format!(
        r#"{{"result":{{"big":1234567890123456789012,"a":1.50}},"y":null, "id":{id} ,"jsonrpc":"2.0"}}"#
    ));
    let answer = body(outcome(&mut calls).await);
    assert_eq!(
        answer,
        r#"{"result":{"big":1234567890123456789012,"a":1.50},"y":null, "id":1.0 ,"jsonrpc":"2.0"}"#
    );
}

#[tokio::test(start_paused = true)]
async fn equal_ids_of_two_sessions_and_answers_out_of_order_never_cross() {
    let (house, mut process) = House::ready().await;
    let (a, b) = (house.client(json!({})).await, house.client(json!({})).await);
    let (mut of_a, mut of_b) = (JoinSet::new(), JoinSet::new());
    a.begin(&mut of_a, r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"who":"a"}}"#);
    let first = process.read().await;
    b.begin(&mut of_b, r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"who":"b"}}"#);
    let second = process.read().await;
    assert_ne!(first["id"], second["id"]);
    for request in [&second, &first] {
        process.answer(&request["id"], &request["params"].to_string());
    }
    assert_eq!(body(outcome(&mut of_a).await), r#"{"jsonrpc":"2.0","id":1,"result":{"who":"a"}}"#);
    assert_eq!(body(outcome(&mut of_b).await), r#"{"jsonrpc":"2.0","id":1,"result":{"who":"b"}}"#);
}

#[tokio::test(start_paused = true)]
async fn one_and_one_point_zero_and_the_string_are_three_ids() {
    let (house, mut process) = House::ready().await;
    let client = house.client(json!({})).await;
    let mut calls = JoinSet::new();
    for id in ["1", "1.0", "\"1\""] {
        client.begin(&mut calls, format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"x"}}"#));
        let ours = process.asked("x").await;
        process.answer(&ours, "{}");
        assert_eq!(
            body(outcome(&mut calls).await),
            format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{}}}}"#)
        );
    }
}

#[tokio::test(start_paused = true)]
async fn an_id_in_flight_cannot_be_used_again_until_it_is_answered() {
    let (house, mut process) = House::ready().await;
    let client = house.client(json!({})).await;
    let mut calls = JoinSet::new();
    let call = r#"{"jsonrpc":"2.0","id":"x","method":"slow"}"#;
    client.begin(&mut calls, call);
    let ours = process.asked("slow").await;
    let refused = refusal(client.post(call).await);
    assert_eq!((&refused["id"], &refused["error"]["code"]), (&json!("x"), &json!(-32600)));
    process.answer(&ours, "1");
    body(outcome(&mut calls).await);
    client.begin(&mut calls, call);
    process.asked("slow").await;
}

#[tokio::test(start_paused = true)]
async fn errors_of_the_server_pass() {
    let (house, mut process) = House::ready().await;
    let client = house.client(json!({})).await;
    let mut calls = JoinSet::new();
    client.begin(&mut calls, r#"{"jsonrpc":"2.0","id":5,"method":"x"}"#);
    let ours = process.asked("x").await;
    process.say(format!(
        r#"{{"jsonrpc":"2.0","error":{{"code":-32042,"message":"m","data":[1]}},"id":{ours}}}"#
    ));
    assert_eq!(
        body(outcome(&mut calls).await),
        r#"{"jsonrpc":"2.0","error":{"code":-32042,"message":"m","data":[1]},"id":5}"#
    );
}

#[tokio::test(start_paused = true)]
async fn progress_goes_to_its_call_under_the_clients_token() {
    let (house, mut process) = House::ready().await;
    let (a, b) = (house.client(json!({})).await, house.client(json!({})).await);
    let (mut of_a, mut of_b) = (JoinSet::new(), JoinSet::new());
    let call = |token| {
        format!(r#"{{"jsonrpc":"2.0","id":1,"method":"x","params":{{"_meta":{{"progressToken":{token}}}}}}}"#)
    };
    a.begin(&mut of_a, call("0"));
    let first = process.asked("x").await;
    b.begin(&mut of_b, call("\"0\""));
    let second = process.asked("x").await;
    let progress = |id: &Value| {
        format!(
            r#"{{"jsonrpc":"2.0","method":"notifications/progress","params":{{"progress":1,"progressToken":{id}}}}}"#
        )
    };
    process.say(progress(&second));
    process.say(progress(&json!(77_777)));
    process.answer(&second, "2");
    process.answer(&first, "1");
    assert_eq!(body(outcome(&mut of_a).await), r#"{"jsonrpc":"2.0","id":1,"result":1}"#);
    let all: Vec<_> = messages(outcome(&mut of_b).await).map(text).collect().await;
    assert_eq!(
        all,
        [
            r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progress":1,"progressToken":"0"}}"#,
            r#"{"jsonrpc":"2.0","id":1,"result":2}"#
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn cancelling_names_the_call_as_the_server_knows_it_and_ends_it() {
    let (house, mut process) = House::ready().await;
    let (a, b) = (house.client(json!({})).await, house.client(json!({})).await);
    let mut calls = JoinSet::new();
    a.begin(&mut calls, r#"{"jsonrpc":"2.0","id":7,"method":"slow"}"#);
    let ours = process.asked("slow").await;
    let cancel =
        r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":7,"reason":"r"}}"#;
    assert!(matches!(b.post(cancel).await, PostReply::Accepted), "another session's id means nothing");
    assert!(matches!(a.post(cancel).await, PostReply::Accepted));
    assert_eq!(
        process.line().await,
        format!(
            r#"{{"jsonrpc":"2.0","method":"notifications/cancelled","params":{{"requestId":{ours},"reason":"r"}}}}"#
        )
    );
    let answer: Value = serde_json::from_str(&body(outcome(&mut calls).await)).unwrap();
    assert_eq!((&answer["id"], &answer["error"]["code"]), (&json!(7), &json!(-32800)));
    process.answer(&ours, "\"too late\"");
    a.begin(&mut calls, r#"{"jsonrpc":"2.0","id":7,"method":"again"}"#);
    let ours = process.asked("again").await;
    process.answer(&ours, "2");
    assert!(body(outcome(&mut calls).await).ends_with(r#""id":7,"result":2}"#));
}

#[tokio::test(start_paused = true)]
async fn unreadable_and_invalid_messages_are_refused_and_never_passed_on() {
    let (house, mut process) = House::ready().await;
    let client = house.client(json!({})).await;
    for (text, code, id) in [
        ("{", -32700, Value::Null),
        ("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"x\"}}", -32700, Value::Null),
        (r#"{"id":1,"method":"x"}"#, -32600, json!(1)),
        (r#"{"jsonrpc":"2.0","id":1,"id":2,"method":"x"}"#, -32600, Value::Null),
        (r#"[{"jsonrpc":"2.0","id":1,"method":"x"}]"#, -32600, Value::Null),
        (r#"{"jsonrpc":"2.0","id":3,"method":"initialize"}"#, -32600, json!(3)),
    ] {
        let refused = refusal(client.post(text).await);
        assert_eq!((&refused["error"]["code"], &refused["id"]), (&json!(code), &id), "{text}");
    }
    let long = format!(r#"{{"jsonrpc":"2.0","id":"{}","method":"x"}}"#, "i".repeat(2000));
    assert_eq!(refusal(client.post(long).await)["error"]["code"], -32600);
    let huge = "x".repeat((16 << 20) + 1);
    assert_eq!(refusal(client.post(huge).await)["error"]["code"], -32600);
    client.post(r#"{"jsonrpc":"2.0","method":"notifications/marker"}"#).await;
    assert_eq!(process.read().await["method"], "notifications/marker");
}

#[tokio::test(start_paused = true)]
async fn in_flight_calls_are_bounded_and_abandoned_ones_make_way() {
    let limits = Limits { calls: 3, calls_per_session: 2, ..Limits::default() };
    let mut house = House::with(limits, Arc::default());
    let mut process = house.start(1).await;
    let (a, b) = (house.client(json!({})).await, house.client(json!({})).await);
    let mut calls = JoinSet::new();
    let call = |id: u32| format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"x"}}"#);
    for (client, id) in [(&a, 1), (&a, 2), (&b, 1)] {
        client.begin(&mut calls, call(id));
        process.asked("x").await;
    }
    assert!(body(a.post(call(3)).await).contains("too many calls of this session"));
    assert!(body(b.post(call(3)).await).contains("too many calls wait"));
    assert_eq!(house.door.ping(Duration::from_secs(1)).await, Err(CallError::Busy));
    calls.shutdown().await;
    a.begin(&mut calls, call(3));
    process.asked("x").await;
}

#[tokio::test(start_paused = true)]
async fn a_server_that_reads_nothing_bounds_what_waits_for_it() {
    let limits = Limits { backlog: 100_000, ..Limits::default() };
    let mut house = House::with(limits, Arc::default());
    let _process = house.start(1).await;
    let client = house.client(json!({})).await;
    let mut calls = JoinSet::new();
    for id in 0..10 {
        let padding = "x".repeat(60_000);
        client.begin(
            &mut calls,
            format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"x","params":{{"p":"{padding}"}}}}"#),
        );
    }
    let refused: Value = serde_json::from_str(&body(outcome(&mut calls).await)).unwrap();
    assert_eq!(refused["error"]["data"], json!({"may_have_executed": false}));
    assert!(refused["error"]["message"].as_str().unwrap().contains("does not read"), "{refused}");
}

#[tokio::test(start_paused = true)]
async fn the_house_calls_in_its_own_name() {
    let (house, mut process) = House::ready().await;
    let door = house.door.clone();
    let second = Duration::from_secs(1);
    let mut calls = JoinSet::new();
    calls.spawn(async move { door.call("tools/call", Some(b"{\"a\":1.0}"), second).await });
    let line = process.line().await;
    let id = serde_json::from_str::<Value>(&line).unwrap()["id"].clone();
    assert_eq!(line, format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"a":1.0}}}}"#));
    process.answer(&id, r#"{"b":2.0}"#);
    assert_eq!(calls.join_next().await.unwrap().unwrap().unwrap(), r#"{"b":2.0}"#);

    let invalid = house.door.call("x", Some(b"{}}"), second).await;
    assert!(matches!(invalid, Err(CallError::Invalid { .. })), "{invalid:?}");
    let late = house.door.call("x", None, second).await;
    assert_eq!(late, Err(CallError::Timeout { after: second }));
    let id = process.asked("x").await;
    assert_eq!(process.read().await["params"]["requestId"], id);
}
