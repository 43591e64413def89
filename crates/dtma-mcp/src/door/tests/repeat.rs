//! Which requests are made again when their process ends, and how often.

use super::*;
use crate::{CallError, Claims};

const TOOLS: &str = concat!(
    r#"[{"name":"reads","annotations":{"title":"t","readOnlyHint":true}},"#,
    r#"{"name":"sets","annotations":{"idempotentHint":true,"readOnlyHint":false}},"#,
    r#"{"name":"adds","annotations":{"readOnlyHint":false}},"#,
    r#"{"name":"silent"},"#,
    r#"{"name":"twice","annotations":{"readOnlyHint":true}},{"name":"twice"}]"#,
);

/// One server with those tools, and a client of it.
async fn fleet() -> (Fleet, ServerHandle, Process, Client) {
    let mut fleet = Fleet::new();
    let handle = fleet.admit("a");
    fleet.door.serve(&["a".into()]);
    let process = fleet.start_as(&handle, TOOLS).await;
    let client = fleet.client().await;
    (fleet, handle, process, client)
}

fn tool(name: &str) -> String {
    json!({"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":name}}).to_string()
}

/// What the client hears of this request when the process that got it ends and another one comes that would answer.
async fn after_an_end(request: &str) -> Value {
    let (mut fleet, handle, mut process, client) = fleet().await;
    let mut calls = JoinSet::new();
    client.begin(&mut calls, request);
    process.read().await;
    drop(process);
    let mut process = fleet.start_as(&handle, TOOLS).await;
    if process.has_more().await {
        let again = process.read().await;
        process.answer(&again["id"], "2");
    }
    json_of(outcome(&mut calls).await)
}

#[tokio::test(start_paused = true)]
async fn what_only_reads_or_says_that_twice_is_as_good_as_once_is_made_again() {
    for name in ["reads", "sets"] {
        assert_eq!(after_an_end(&tool(name)).await["result"], 2, "{name}");
    }
    for method in ["tools/list", "resources/read", "prompts/get", "completion/complete"] {
        let request = json!({"jsonrpc":"2.0","id":1,"method":method,"params":{}}).to_string();
        assert_eq!(after_an_end(&request).await["result"], 2, "{method}");
    }
}

#[tokio::test(start_paused = true)]
async fn everything_else_is_told_that_it_may_have_been_executed() {
    let reset = json!({"jsonrpc":"2.0","id":1,"method":"logging/setLevel","params":{}}).to_string();
    for request in [tool("adds"), tool("silent"), tool("twice"), tool("nobody"), reset] {
        let error = after_an_end(&request).await["error"].clone();
        assert_eq!(error["data"], json!({"may_have_executed": true}), "{request}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_ends_every_process_is_asked_once_more_only() {
    let (mut fleet, handle, mut process, client) = fleet().await;
    let mut calls = JoinSet::new();
    client.begin(&mut calls, tool("reads"));
    process.read().await;
    drop(process);
    let mut process = fleet.start_as(&handle, TOOLS).await;
    process.asked("tools/call").await;
    drop(process);
    assert_eq!(json_of(outcome(&mut calls).await)["error"]["data"], json!({"may_have_executed": true}));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_come_back_gives_the_first_answer() {
    let (_fleet, _handle, mut process, client) = fleet().await;
    let mut calls = JoinSet::new();
    client.begin(&mut calls, tool("reads"));
    process.read().await;
    drop(process);
    assert_eq!(json_of(outcome(&mut calls).await)["error"]["data"], json!({"may_have_executed": true}));
}

#[tokio::test(start_paused = true)]
async fn what_a_connector_says_of_a_broken_connection_counts_too() {
    let (mut fleet, handle, mut process, client) = fleet().await;
    let mut calls = JoinSet::new();
    client.begin(&mut calls, tool("reads"));
    let id = process.asked("tools/call").await;
    process.say(
        json!({"jsonrpc":"2.0","id":id,"error":{"code":-32000,"message":"reset","data":{"may_have_executed":true}}})
            .to_string(),
    );
    settle().await;
    assert!(!process.has_more().await, "not of the one that is ending");
    drop(process);
    let mut process = fleet.start_as(&handle, TOOLS).await;
    let id = process.asked("tools/call").await;
    process.answer(&id, "2");
    assert_eq!(json_of(outcome(&mut calls).await)["result"], 2);
}

#[tokio::test(start_paused = true)]
async fn the_same_goes_for_clients_without_a_session_and_for_the_house() {
    let (mut fleet, handle, mut process, _client) = fleet().await;
    let mut calls = JoinSet::new();
    let body = json!({"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"reads","_meta":{
        "io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}});
    let claims = Claims {
        version: Some("2026-07-28".into()),
        method: Some("tools/call".into()),
        name: Some("reads".into()),
        ..Claims::default()
    };
    let door = fleet.door.clone();
    calls.spawn(async move { door.post_stateless(&claims, body.to_string().into()).await });
    for started in [false, true] {
        if started {
            process = fleet.start_as(&handle, TOOLS).await;
        }
        let probe = process.asked("server/discover").await;
        process.say(json!({"jsonrpc":"2.0","id":probe,"error":{"code":-32601,"message":"no"}}).to_string());
        let id = process.asked("tools/call").await;
        if started {
            process.answer(&id, r#"{"content":[]}"#);
        } else {
            drop(process);
            process = Process::new().0;
        }
    }
    assert_eq!(json_of(outcome(&mut calls).await)["result"]["content"], json!([]));

    let mut house = JoinSet::new();
    let door = fleet.door.clone();
    house.spawn(async move {
        door.call("tools/call", Some(br#"{"name":"sets"}"#), Duration::from_secs(60)).await
    });
    process.asked("tools/call").await;
    drop(process);
    let mut process = fleet.start_as(&handle, TOOLS).await;
    let id = process.asked("tools/call").await;
    process.answer(&id, "2");
    assert_eq!(house.join_next().await.unwrap().unwrap(), Ok("2".into()));
    let door = fleet.door.clone();
    house.spawn(async move {
        door.call("tools/call", Some(br#"{"name":"adds"}"#), Duration::from_secs(60)).await
    });
    process.asked("tools/call").await;
    drop(process);
    let lost = Err(CallError::Lost { may_have_executed: true });
    assert_eq!(house.join_next().await.unwrap().unwrap(), lost);
}
