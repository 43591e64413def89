//! A scripted server that knows no handshake, behind the owner that all clients share.

use crate::server::tests::harness::*;
use crate::{Attachment, Claims, Limits, PostReply, ServerState};
use futures_util::StreamExt;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

const DISCOVERED: &str = r#"{"resultType":"complete","supportedVersions":["2026-07-28"],"capabilities":{"tools":{"listChanged":true},"logging":{},"resources":{"subscribe":true}},"instructions":"new","_meta":{"io.modelcontextprotocol/serverInfo":{"name":"newcomer","version":"9"}}}"#;
const VERSION: &str = "io.modelcontextprotocol/protocolVersion";

/// Refuses the handshake and says what it is, up to its subscription and the list of its tools.
async fn greet(process: &mut Process) -> Value {
    let id = process.asked("initialize").await;
    process.say(json!({"jsonrpc":"2.0","id":id,"error":{"code":-32601,"message":"what?"}}).to_string());
    let asked = process.read().await;
    assert_eq!(
        (&asked["method"], &asked["params"]["_meta"][VERSION]),
        (&json!("server/discover"), &json!("2026-07-28"))
    );
    process.answer(&asked["id"], DISCOVERED);
    let listen = process.read().await;
    assert_eq!(listen["method"], "subscriptions/listen");
    assert_eq!(listen["params"]["notifications"], json!({"toolsListChanged": true}));
    let asked = process.read().await;
    assert_eq!(
        (&asked["method"], &asked["params"]["_meta"][VERSION]),
        (&json!("tools/list"), &json!("2026-07-28"))
    );
    process.answer(&asked["id"], r#"{"resultType":"complete","tools":[{"name":"echo"}],"ttlMs":1}"#);
    listen["id"].clone()
}

async fn ready() -> (House, Process, Value) {
    let house = House::new();
    let mut process = house.attach(1, Attachment::Fresh).await;
    let listening = greet(&mut process).await;
    house.until_ready().await;
    (house, process, listening)
}

fn call(id: u64) -> String {
    json!({"jsonrpc":"2.0","id":id,"method":"tools/call","params":{"name":"echo","arguments":{"n":1.0}}})
        .to_string()
}

#[tokio::test(start_paused = true)]
async fn a_client_that_shakes_hands_uses_it() {
    let (house, mut process, _) = ready().await;
    let greeting = house.handle.ready().unwrap().greeting.clone();
    assert_eq!(
        (greeting.server_name.as_str(), greeting.protocol_version.as_str()),
        ("newcomer", "2025-11-25")
    );
    let client = house.client(json!({})).await;
    let mut calls = JoinSet::new();
    client.begin(&mut calls, call(7));
    let asked = process.read().await;
    assert_eq!(asked["params"]["arguments"].to_string(), r#"{"n":1.0}"#);
    assert_eq!(asked["params"]["_meta"][VERSION], "2026-07-28");
    process.answer(&asked["id"], r#"{"resultType":"complete","content":[]}"#);
    let answer = body(outcome(&mut calls).await);
    assert_eq!(answer, r#"{"jsonrpc":"2.0","id":7,"result":{"resultType":"complete","content":[]}}"#);
    let door = house.door.clone();
    let mut pinged = JoinSet::new();
    pinged.spawn(async move { door.ping(Duration::from_secs(9)).await });
    let id = process.asked("server/discover").await;
    process.answer(&id, DISCOVERED);
    assert_eq!(pinged.join_next().await.unwrap().unwrap(), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn levels_and_watched_resources_are_said_its_way_and_what_it_tells_is_for_everybody() {
    let (house, mut process, listening) = ready().await;
    let client = house.client(json!({})).await;
    let mut stream = client.listen().await;
    let granted = async |method: &str, params: Value| {
        let asked = json!({"jsonrpc":"2.0","id":1,"method":method,"params":params}).to_string();
        assert_eq!(body(client.post(asked).await), r#"{"jsonrpc":"2.0","id":1,"result":{}}"#, "{method}");
    };
    granted("logging/setLevel", json!({"level":"info"})).await;
    granted("resources/subscribe", json!({"uri":"a"})).await;
    let listen = process.read().await;
    let wanted = json!({"toolsListChanged": true, "resourceSubscriptions": ["a"]});
    assert_eq!(
        (&listen["method"], &listen["params"]["notifications"]),
        (&json!("subscriptions/listen"), &wanted)
    );
    let cancelled = process.read().await;
    assert_eq!(
        (&cancelled["method"], &cancelled["params"]["requestId"]),
        (&json!("notifications/cancelled"), &listening)
    );
    let mark = json!({"io.modelcontextprotocol/subscriptionId": listen["id"], "own": 1});
    let told =
        |method: &str, params: Value| json!({"jsonrpc":"2.0","method":method,"params":params}).to_string();
    process.say(told("notifications/subscriptions/acknowledged", json!({"_meta": mark})));
    process.say(told("notifications/resources/updated", json!({"_meta": mark, "uri": "a"})));
    assert_eq!(
        next(&mut stream).await,
        told("notifications/resources/updated", json!({"_meta": {"own": 1}, "uri": "a"}))
    );
    let mut calls = JoinSet::new();
    client.begin(&mut calls, call(2));
    assert_eq!(process.read().await["params"]["_meta"]["io.modelcontextprotocol/logLevel"], "info");
}

#[tokio::test(start_paused = true)]
async fn what_it_needs_to_know_its_client_is_asked_and_the_request_made_again() {
    let (house, mut process, _) = ready().await;
    let client = house.client(json!({"elicitation":{}})).await;
    let mut calls = JoinSet::new();
    client.begin(&mut calls, call(7));
    let first = process.read().await;
    let needs = r#"{"resultType":"input_required","inputRequests":{"who":{"method":"elicitation/create","params":{"message":"?"}}},"requestState":"s1"}"#;
    process.answer(&first["id"], needs);
    let mut stream = messages(outcome(&mut calls).await);
    let question: Value = serde_json::from_str(&next(&mut stream).await).unwrap();
    assert_eq!(
        (&question["method"], &question["params"]["message"]),
        (&json!("elicitation/create"), &json!("?"))
    );
    client.post(json!({"jsonrpc":"2.0","id":question["id"],"result":{"action":"accept"}}).to_string()).await;
    let second = process.read().await;
    assert_ne!(second["id"], first["id"]);
    let params = &second["params"];
    assert_eq!(
        (&params["name"], &params["inputResponses"], &params["requestState"]),
        (&json!("echo"), &json!({"who":{"action":"accept"}}), &json!("s1"))
    );
    process.answer(&second["id"], r#"{"resultType":"complete","content":[]}"#);
    assert_eq!(
        next(&mut stream).await,
        r#"{"jsonrpc":"2.0","id":7,"result":{"resultType":"complete","content":[]}}"#
    );
    assert_eq!(stream.next().await, None);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_cannot_answer_gets_the_error_and_a_cancelled_call_is_cancelled_by_its_last_id() {
    let (house, mut process, _) = ready().await;
    let client = house.client(json!({"elicitation":{}})).await;
    let mut calls = JoinSet::new();
    client.begin(&mut calls, call(7));
    let first = process.read().await;
    process.answer(&first["id"], r#"{"resultType":"input_required","inputRequests":{"s":{"method":"sampling/createMessage","params":{}}}}"#);
    let answer: Value = serde_json::from_str(&body(outcome(&mut calls).await)).unwrap();
    assert_eq!((&answer["id"], &answer["error"]["code"]), (&json!(7), &json!(-32601)), "it cannot sample");
    client.begin(&mut calls, call(8));
    let first = process.read().await;
    process.answer(&first["id"], r#"{"resultType":"input_required","requestState":"wait"}"#);
    let again = process.read().await;
    assert_eq!(
        (&again["params"]["requestState"], &again["params"]["inputResponses"]),
        (&json!("wait"), &json!({}))
    );
    client.post(r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":8}}"#).await;
    let cancelled = process.read().await;
    assert_eq!(cancelled["params"]["requestId"], again["id"]);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_over_takes_its_other_questions_along() {
    let (house, mut process, _) = ready().await;
    let client = house.client(json!({"elicitation":{}})).await;
    let mut calls = JoinSet::new();
    client.begin(&mut calls, call(7));
    let first = process.read().await;
    let ask = json!({"method": "elicitation/create", "params": {}});
    let needs = json!({"resultType": "input_required", "inputRequests": {"a": ask, "b": ask}});
    process.answer(&first["id"], &needs.to_string());
    let mut stream = messages(outcome(&mut calls).await);
    let ids: Vec<Value> = [next(&mut stream).await, next(&mut stream).await]
        .iter()
        .map(|text| serde_json::from_str::<Value>(text).unwrap()["id"].clone())
        .collect();
    let refused = json!({"jsonrpc":"2.0","id":ids[0],"error":{"code":-1,"message":"no"}});
    client.post(refused.to_string()).await;
    let answer: Value = serde_json::from_str(&next(&mut stream).await).unwrap();
    assert_eq!((&answer["id"], &answer["error"]["code"]), (&json!(7), &json!(-1)));
    client.post(json!({"jsonrpc":"2.0","id":ids[1],"result":{"action":"accept"}}).to_string()).await;
    assert!(!process.has_more().await, "the late answer is nobody's, and the request is not made again");
}

#[tokio::test(start_paused = true)]
async fn a_client_without_a_handshake_speaks_to_it_as_it_is() {
    let (house, mut process, _) = ready().await;
    let params =
        json!({"name":"echo","_meta":{VERSION:"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}});
    let claims = Claims {
        version: Some("2026-07-28".into()),
        method: Some("tools/call".into()),
        name: Some("echo".into()),
        ..Claims::default()
    };
    let request = json!({"jsonrpc":"2.0","id":"x","method":"tools/call","params":params}).to_string();
    let mut calls = JoinSet::new();
    let door = house.door.clone();
    calls.spawn(async move { door.post_stateless(&claims, request.into()).await });
    let probe = process.asked("server/discover").await;
    process.answer(&probe, DISCOVERED);
    let asked = process.read().await;
    assert_eq!(asked["params"], params);
    process.answer(&asked["id"], r#"{"resultType":"input_required","inputRequests":{},"requestState":"s"}"#);
    let answer: Value = serde_json::from_str(&body(outcome(&mut calls).await)).unwrap();
    assert_eq!((&answer["id"], &answer["result"]["requestState"]), (&json!("x"), &json!("s")));
}

#[tokio::test(start_paused = true)]
async fn the_next_daemon_knows_what_it_is() {
    let (house, process, _) = ready().await;
    let store = Arc::clone(&house.store);
    let handshake = store.handshakes.lock().unwrap().last().cloned();
    drop((house, process));
    let house = House::with(Limits::default(), store);
    let mut process = house.attach(1, Attachment::Adopted { handshake }).await;
    assert_eq!(process.line().await, "", "ends half a line");
    let id = process.asked("server/discover").await;
    process.answer(&id, DISCOVERED);
    let asked = process.read().await;
    assert_eq!(
        (&asked["method"], &asked["params"]["_meta"][VERSION]),
        (&json!("tools/list"), &json!("2026-07-28"))
    );
    process.answer(&asked["id"], r#"{"tools":[]}"#);
    house.until_ready().await;
}

#[tokio::test(start_paused = true)]
async fn who_refuses_both_is_told_by_the_first_refusal() {
    let house = House::new();
    let mut process = house.attach(1, Attachment::Fresh).await;
    let id = process.asked("initialize").await;
    process.say(json!({"jsonrpc":"2.0","id":id,"error":{"code":-1,"message":"not today"}}).to_string());
    let id = process.asked("server/discover").await;
    process.say(json!({"jsonrpc":"2.0","id":id,"error":{"code":-32601,"message":"?"}}).to_string());
    let state = house.until(|state| matches!(state, ServerState::Failed { .. })).await;
    assert!(state.why_not_ready().contains("not today"), "{state:?}");
}

#[tokio::test(start_paused = true)]
async fn who_shakes_hands_is_heard_byte_by_byte() {
    let house = House::new();
    let mut process = house.attach(1, Attachment::Fresh).await;
    let id = process.asked("initialize").await;
    process.say("a banner");
    // The answer in two pieces, and half of what comes next behind it.
    let answer = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{GREETING}}}"#);
    process.write(answer[..20].to_owned());
    process.write(format!("{}\n{{\"jsonrpc\":\"2.0\",\"meth", &answer[20..]));
    assert_eq!(process.read().await["method"], "notifications/initialized");
    process.write("od\":\"notifications/x\"}\n".to_owned());
    process.list("[]").await;
    house.until_ready().await;
    assert_eq!(house.log().await, ["a banner"]);
    let client = house.client(json!({})).await;
    let mut calls: JoinSet<PostReply> = JoinSet::new();
    client.begin(&mut calls, call(1));
    let asked = process.read().await;
    assert_eq!(asked["params"].get("_meta"), None);
    process.answer(&asked["id"], "1");
    assert_eq!(body(outcome(&mut calls).await), r#"{"jsonrpc":"2.0","id":1,"result":1}"#);
}
