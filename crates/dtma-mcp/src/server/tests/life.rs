//! A server's processes coming and going.

use super::harness::*;
use crate::{Attachment, CallError, Limits, PostReply, ServerState, ToolList};
use dtma_core::port::runtime::Attached;
use dtma_core::record::Handshake;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

const CALL: &str = r#"{"jsonrpc":"2.0","id":1,"method":"x"}"#;

fn error_of(reply: PostReply) -> Value {
    serde_json::from_str::<Value>(&body(reply)).unwrap()["error"].clone()
}

#[tokio::test(start_paused = true)]
async fn a_fresh_process_is_greeted_and_its_tools_are_listed() {
    let house = House::new();
    let mut process = house.attach(1, Attachment::Fresh).await;
    let hello = process.read().await;
    assert_eq!(hello["method"], "initialize");
    assert_eq!(hello["params"]["protocolVersion"], "2025-11-25");
    assert_eq!(hello["params"]["capabilities"], json!({"sampling":{},"elicitation":{}}));
    process.say(r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#);
    process.answer(&hello["id"], GREETING);
    assert_eq!(process.read().await["method"], "notifications/initialized");
    let first = process.read().await;
    assert_eq!(first["params"], json!({}));
    process.answer(&first["id"], r#"{"tools":[{"name":"a","z":1.0}],"nextCursor":"c\"1"}"#);
    let second = process.read().await;
    assert_eq!(second["params"], json!({"cursor":"c\"1"}));
    process.answer(&second["id"], r#"{"tools":[{"name":"b"},{"x":1}]}"#);
    let ServerState::Ready(ready) = house.until(|state| state.ready().is_some()).await else { panic!() };
    let tools: Vec<_> = ready.tools.known().iter().map(|tool| (tool.name.as_str(), &tool.raw[..])).collect();
    assert_eq!(tools, [("a", &br#"{"name":"a","z":1.0}"#[..]), ("b", br#"{"name":"b"}"#)]);
    assert_eq!((ready.greeting.server_name.as_str(), &ready.run), ("scripted", &run(1)));
    assert_eq!(ready.greeting.capabilities, ["logging", "tools"]);
    let kept = house.store.handshakes.lock().unwrap().clone();
    assert_eq!(kept, [Handshake { run: run(1), result: GREETING.to_owned() }]);
}

#[tokio::test(start_paused = true)]
async fn changed_tools_are_listed_again_once_for_many_changes() {
    let (house, mut process) = House::ready().await;
    for _ in 0..5 {
        process.say(r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#);
    }
    process.list(r#"[{"name":"first"}]"#).await;
    process.list(r#"[{"name":"new"}]"#).await;
    let has_new =
        |state: &ServerState| state.ready().is_some_and(|ready| ready.tools.known()[0].name == "new");
    house.until(has_new).await;
    process.say(r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#);
    let id = process.asked("tools/list").await;
    process.say(format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":1,"message":"no"}}}}"#));
    house.door.session("").await.unwrap_err();
    assert!(has_new(&house.handle.state().borrow()), "the last list that was read stays");
}

#[tokio::test(start_paused = true)]
async fn a_server_is_ready_even_if_its_tools_cannot_be_listed() {
    let house = House::new();
    let mut process = house.attach(1, Attachment::Fresh).await;
    let id = process.asked("initialize").await;
    process.answer(&id, GREETING);
    let state = house.until(|state| state.ready().is_some()).await;
    assert!(matches!(state.ready().unwrap().tools, ToolList::Unknown { .. }));
}

#[tokio::test(start_paused = true)]
async fn a_handshake_that_fails_is_told_with_its_reason() {
    for (answer, reason) in [
        (r#""error":{"code":1,"message":"no licence"}"#, "no licence"),
        (r#""result":{"protocolVersion":"1999-01-01"}"#, "1999-01-01"),
        (r#""result":7"#, "cannot be understood"),
    ] {
        let house = House::new();
        let mut process = house.attach(1, Attachment::Fresh).await;
        let id = process.asked("initialize").await;
        process.say(format!(r#"{{"jsonrpc":"2.0","id":{id},{answer}}}"#));
        let state = house.until(|state| matches!(state, ServerState::Failed { .. })).await;
        assert!(format!("{state:?}").contains(reason), "{state:?}");
        process.cry("its last words");
        drop(process);
        house.until(|state| matches!(state, ServerState::Down { .. })).await;
        assert_eq!(house.log().await, ["its last words"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_process_that_never_answers_fails_after_its_time() {
    let house = House::new();
    let _process = house.attach(1, Attachment::Fresh).await;
    let before = tokio::time::Instant::now();
    house.until(|state| matches!(state, ServerState::Failed { .. })).await;
    assert_eq!(before.elapsed().as_secs(), Limits::default().handshake.as_secs());
}

#[tokio::test(start_paused = true)]
async fn calls_in_flight_learn_of_the_end_and_sessions_go_on_with_the_next_process() {
    let (mut house, mut process) = House::ready().await;
    let client = house.client(json!({})).await;
    let mut calls = JoinSet::new();
    client.begin(&mut calls, CALL);
    process.asked("x").await;
    drop(process);
    let error = error_of(outcome(&mut calls).await);
    assert_eq!((&error["code"], &error["data"]), (&json!(-32000), &json!({"may_have_executed": true})));
    client.begin(&mut calls, CALL);
    tokio::time::sleep(Duration::from_secs(5)).await;
    let mut process = house.start(2).await;
    let id = process.asked("x").await;
    process.answer(&id, "2");
    assert_eq!(body(outcome(&mut calls).await), r#"{"jsonrpc":"2.0","id":1,"result":2}"#);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_was_never_written_is_written_to_the_next_process() {
    let (mut house, process) = House::ready().await;
    let client = house.client(json!({})).await;
    let mut calls = JoinSet::new();
    // Fills the pipe, so that what follows stays with us.
    let padding = "x".repeat(1 << 20);
    client.begin(
        &mut calls,
        format!(r#"{{"jsonrpc":"2.0","id":0,"method":"big","params":{{"p":"{padding}"}}}}"#),
    );
    tokio::time::sleep(Duration::from_millis(1)).await;
    client.begin(&mut calls, CALL);
    tokio::time::sleep(Duration::from_millis(1)).await;
    drop(process);
    assert_eq!(error_of(outcome(&mut calls).await)["data"], json!({"may_have_executed": true}));
    let mut process = house.start(2).await;
    let id = process.asked("x").await;
    process.answer(&id, "2");
    assert_eq!(body(outcome(&mut calls).await), r#"{"jsonrpc":"2.0","id":1,"result":2}"#);
}

#[tokio::test(start_paused = true)]
async fn a_call_to_a_server_that_stays_down_fails_after_a_bounded_wait() {
    let (house, process) = House::ready().await;
    let client = house.client(json!({})).await;
    house.handle.disconnect("a person stopped it").await.unwrap();
    drop(process);
    let before = tokio::time::Instant::now();
    let error = error_of(client.post(CALL).await);
    assert_eq!(before.elapsed().as_secs(), 30);
    assert!(error["message"].as_str().unwrap().contains("a person stopped it"), "{error}");
    assert_eq!(error["data"], json!({"may_have_executed": false}));
    assert!(matches!(house.door.ping(Duration::from_secs(9)).await, Err(CallError::NotReady { .. })));
    let unknown = house.door.post(Some(&"0".repeat(32)), CALL.into()).await;
    assert!(matches!(unknown, PostReply::UnknownSession), "{unknown:?}");
    assert_eq!(before.elapsed().as_secs(), 30);
}

#[tokio::test(start_paused = true)]
async fn an_adopted_process_is_not_greeted_twice_and_half_lines_do_no_harm() {
    let house = House::new();
    let handshake = Some(Handshake { run: run(1), result: GREETING.to_owned() });
    let mut process = house.attach(1, Attachment::Adopted { handshake }).await;
    assert_eq!(process.line().await, "", "one newline ends what was half written");
    process.write(&b"secret tail\"}}\n"[..]);
    // An answer to the former daemon, under an id that a fresh one would use too.
    process.answer(&json!(1), "\"stale\"");
    let id = process.asked("ping").await;
    assert!(id.as_u64().unwrap() > 1 << 20, "a fresh epoch of ids: {id}");
    process.answer(&id, "{}");
    process.list("[]").await;
    house.until_ready().await;
    assert_eq!(house.log().await, [""; 0], "the tail of a message is no log line");
    let client = house.client(json!({})).await;
    let mut calls = JoinSet::new();
    client.begin(&mut calls, CALL);
    let id = process.asked("x").await;
    process.answer(&id, "1");
    body(outcome(&mut calls).await);
}

/// Where the streams go on exactly, nothing has to be ended or dropped.
#[tokio::test(start_paused = true)]
async fn an_exact_attachment_begins_with_a_whole_line_both_ways() {
    let house = House::new();
    let handshake = Some(Handshake { run: run(1), result: GREETING.to_owned() });
    let (mut process, attached) = Process::new();
    process.write(&b"said while nobody listened\n"[..]);
    let attached = Attached { exact: true, ..attached };
    house.handle.connect(run(1), attached, Attachment::Adopted { handshake }).await.unwrap();
    let id = process.asked("ping").await;
    process.answer(&id, "{}");
    process.list("[]").await;
    house.until_ready().await;
    assert_eq!(house.log().await, ["said while nobody listened"]);
}

#[tokio::test(start_paused = true)]
async fn the_first_line_after_an_adoption_counts_when_it_is_whole() {
    let house = House::new();
    let handshake = Some(Handshake { run: run(1), result: GREETING.to_owned() });
    let mut process = house.attach(1, Attachment::Adopted { handshake }).await;
    process.line().await;
    let id = process.asked("ping").await;
    process.say(format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":-32601,"message":"no ping"}}}}"#));
    process.list("[]").await;
    house.until_ready().await;
}

#[tokio::test(start_paused = true)]
async fn an_adopted_process_without_its_handshake_is_greeted() {
    let other_run = Handshake { run: run(9), result: GREETING.to_owned() };
    let unreadable = Handshake { run: run(1), result: "{}".to_owned() };
    for handshake in [None, Some(other_run), Some(unreadable)] {
        let house = House::new();
        let mut process = house.attach(1, Attachment::Adopted { handshake }).await;
        assert_eq!(process.line().await, "");
        process.greet().await;
        house.until_ready().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_broken_attachment_is_mended_without_the_store() {
    let (house, process) = House::ready().await;
    drop(process);
    house.until(|state| matches!(state, ServerState::Down { .. })).await;
    let mut process = house.attach(1, Attachment::Adopted { handshake: None }).await;
    process.line().await;
    let id = process.asked("ping").await;
    process.answer(&id, "{}");
    process.list("[]").await;
    house.until_ready().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_no_protocol_goes_to_the_log() {
    let (house, mut process) = House::ready().await;
    let client = house.client(json!({})).await;
    let mut calls = JoinSet::new();
    client.begin(&mut calls, CALL);
    let id = process.asked("x").await;
    process.cry("a warning");
    process.say("Listening on nothing");
    process.say(r#"{"level":"info","msg":"json too"}"#);
    process.say("");
    process.say("{broken");
    process.write(format!("{}\n", "y".repeat((16 << 20) + 1)));
    process.write(format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\r\"result\":1}}\r\n"));
    assert_eq!(body(outcome(&mut calls).await), r#"{"jsonrpc":"2.0","id":1, "result":1} "#);
    process.write("no newline");
    drop(process);
    house.until(|state| matches!(state, ServerState::Down { .. })).await;
    assert_eq!(
        house.log().await,
        [
            "a warning",
            "Listening on nothing",
            r#"{"level":"info","msg":"json too"}"#,
            "{broken",
            "[a line of 16777217 bytes was too long and was dropped]",
            "no newline",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn closing_ends_the_owner_and_tells_everybody() {
    let (mut house, mut process) = House::ready().await;
    let client = house.client(json!({})).await;
    let mut calls = JoinSet::new();
    client.begin(&mut calls, CALL);
    process.asked("x").await;
    house.handle.close();
    house.tasks.join_next().await.unwrap().unwrap();
    assert_eq!(error_of(outcome(&mut calls).await)["data"], json!({"may_have_executed": true}));
    assert!(matches!(client.post(CALL).await, PostReply::Closed));
    assert!(house.attach_fails().await);
    assert_eq!(house.store.sessions.lock().unwrap().len(), 1, "the session stays for the next daemon");
}

#[tokio::test(start_paused = true)]
async fn the_owner_ends_with_its_last_handle() {
    let House { door, handle, mut tasks, store: _ } = House::ready().await.0;
    drop((door, handle));
    tasks.join_next().await.unwrap().unwrap();
}

impl House {
    async fn attach_fails(&self) -> bool {
        self.handle.disconnect("").await.is_err()
    }
}

#[tokio::test(start_paused = true)]
async fn a_new_process_takes_the_place_of_one_that_still_runs() {
    let (mut house, mut old) = House::ready().await;
    let client = house.client(json!({})).await;
    let mut calls = JoinSet::new();
    client.begin(&mut calls, CALL);
    old.asked("x").await;
    let _new = house.start(2).await;
    assert_eq!(error_of(outcome(&mut calls).await)["data"], json!({"may_have_executed": true}));
    let state = house.handle.state().borrow().clone();
    assert_eq!(state.run(), Some(&run(2)));
}

#[tokio::test(start_paused = true)]
async fn limits_hold_for_the_log_too() {
    let limits = Limits { log_lines: 2, ..Limits::default() };
    let mut house = House::with(limits, Arc::default());
    let process = house.start(1).await;
    for line in ["a", "b", "c"] {
        process.cry(line);
    }
    drop(process);
    house.until(|state| matches!(state, ServerState::Down { .. })).await;
    assert_eq!(house.log().await, ["b", "c"]);
}
