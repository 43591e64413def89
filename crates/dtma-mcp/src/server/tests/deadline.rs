//! Calls that take too long.

use super::harness::*;
use crate::{CallDeadline, Claims, Limits, MessageStream, PostReply};
use futures_util::{FutureExt, StreamExt};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

const QUIET: Duration = Duration::from_secs(10);
const LONGEST: Duration = Duration::from_secs(25);

async fn ready() -> (House, Process) {
    let deadline = Some(CallDeadline { quiet: QUIET, longest: LONGEST });
    let mut house = House::with(Limits { deadline, ..Limits::default() }, Arc::default());
    let process = house.start(1).await;
    (house, process)
}

fn call(id: u64) -> String {
    json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": {"_meta": {"progressToken": "t"}}})
        .to_string()
}

#[track_caller]
fn is_late(answer: &str, id: u64, after: Duration) {
    let answer: Value = serde_json::from_str(answer).unwrap();
    let data = json!({"timeout_ms": after.as_millis() as u64, "may_have_executed": true});
    assert_eq!((&answer["id"], &answer["error"]["code"]), (&json!(id), &json!(-32001)), "{answer}");
    assert_eq!(answer["error"]["data"], data, "{answer}");
}

async fn was_cancelled(process: &mut Process, id: &Value) {
    let told = process.read().await;
    assert_eq!(told["method"], "notifications/cancelled", "{told}");
    assert_eq!(told["params"]["requestId"], *id, "{told}");
}

async fn last(stream: MessageStream) -> String {
    text(stream.collect::<Vec<_>>().await.pop().expect("an answer"))
}

#[tokio::test(start_paused = true)]
async fn a_call_without_an_answer_ends_in_time_and_its_late_answer_is_dropped() {
    let (house, mut process) = ready().await;
    let client = house.client(json!({})).await;
    let (mut calls, began) = (JoinSet::new(), Instant::now());
    client.begin(&mut calls, call(1));
    let first = process.asked("tools/call").await;
    sleep(QUIET / 2).await;
    client.begin(&mut calls, call(2));
    let second = process.asked("tools/call").await;
    is_late(&body(outcome(&mut calls).await), 1, QUIET);
    assert_eq!(began.elapsed(), QUIET);
    was_cancelled(&mut process, &first).await;
    process.answer(&first, "\"too late\"");
    process.answer(&second, "\"in time\"");
    assert!(body(outcome(&mut calls).await).ends_with(r#""id":2,"result":"in time"}"#));
    client.begin(&mut calls, call(1));
    let again = process.asked("tools/call").await;
    process.answer(&again, "3");
    assert!(body(outcome(&mut calls).await).ends_with(r#""result":3}"#), "the session goes on");
}

#[tokio::test(start_paused = true)]
async fn progress_puts_the_end_off_up_to_a_bound() {
    let (house, mut process) = ready().await;
    let client = house.client(json!({})).await;
    let (mut calls, began) = (JoinSet::new(), Instant::now());
    client.begin(&mut calls, call(1));
    let id = process.asked("tools/call").await;
    let progress = format!(
        r#"{{"jsonrpc":"2.0","method":"notifications/progress","params":{{"progressToken":{id},"progress":1}}}}"#
    );
    for _ in 0..6 {
        sleep(Duration::from_secs(4)).await;
        process.say(&progress);
    }
    is_late(&last(messages(outcome(&mut calls).await)).await, 1, LONGEST);
    assert_eq!(began.elapsed(), LONGEST);
    was_cancelled(&mut process, &id).await;
}

#[tokio::test(start_paused = true)]
async fn the_time_that_a_client_takes_to_answer_a_question_is_not_the_servers() {
    let (house, mut process) = ready().await;
    let client = house.client(json!({"elicitation": {}})).await;
    let mut calls = JoinSet::new();
    client.begin(&mut calls, call(1));
    let id = process.asked("tools/call").await;
    process.say(r#"{"jsonrpc":"2.0","id":7,"method":"elicitation/create","params":{}}"#);
    let mut stream = messages(outcome(&mut calls).await);
    let question: Value = serde_json::from_str(&next(&mut stream).await).unwrap();
    sleep(QUIET + QUIET / 2).await;
    assert!(stream.next().now_or_never().is_none(), "it is not late");
    client.post(json!({"jsonrpc": "2.0", "id": question["id"], "result": {}}).to_string()).await;
    assert_eq!(process.read().await["id"], 7);
    process.answer(&id, "1");
    assert!(last(stream).await.ends_with(r#""result":1}"#));
}

#[tokio::test(start_paused = true)]
async fn a_client_without_a_session_is_told_the_same_and_its_subscription_is_no_late_call() {
    let (house, mut process) = ready().await;
    let meta = json!({"io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {}});
    let asks = |method: &str, name: Option<&str>| {
        let claims = Claims {
            version: Some("2026-07-28".into()),
            method: Some(method.to_owned()),
            name: name.map(str::to_owned),
            params: std::collections::BTreeMap::new(),
        };
        let params = json!({"_meta": meta, "name": name, "notifications": {"toolsListChanged": true}});
        let text = json!({"jsonrpc": "2.0", "id": 5, "method": method, "params": params}).to_string();
        let door = house.door.clone();
        async move { door.post_stateless(&claims, text.into()).await }
    };
    let mut calls: JoinSet<PostReply> = JoinSet::new();
    calls.spawn(asks("tools/call", Some("echo")));
    let discover = process.asked("server/discover").await;
    process.answer(&discover, r#"{"supportedVersions":["2026-07-28"],"capabilities":{}}"#);
    let id = process.asked("tools/call").await;
    is_late(&body(outcome(&mut calls).await), 5, QUIET);
    was_cancelled(&mut process, &id).await;
    calls.spawn(asks("subscriptions/listen", None));
    process.asked("subscriptions/listen").await;
    sleep(LONGEST * 2).await;
    assert!(calls.join_next().now_or_never().is_none(), "it is as long as its client likes");
    assert!(!process.has_more().await, "and nobody cancelled it");
}

#[tokio::test(start_paused = true)]
async fn without_a_deadline_a_call_waits_as_long_as_its_client_does() {
    let (house, mut process) = House::ready().await;
    let client = house.client(json!({})).await;
    let mut calls = JoinSet::new();
    client.begin(&mut calls, call(1));
    let id = process.asked("tools/call").await;
    sleep(Duration::from_secs(200)).await;
    process.answer(&id, "1");
    assert!(body(outcome(&mut calls).await).ends_with(r#""result":1}"#));
}
