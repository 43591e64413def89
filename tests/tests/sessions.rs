//! Many clients on one server process never see each other's answers, whatever ids and tokens they use and in
//! whatever order the answers come.
#![allow(clippy::expect_used, clippy::panic, reason = "a test stops where something is broken")]

use dtma_client::ChangeOptions;
use dtma_tests::mcp::{call, call_with_progress};
use dtma_tests::{McpClient, Toolbox, groups, text};
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::task::JoinSet;

/// Clients of the large test, and calls of each; together the answers that are checked.
const CLIENTS: usize = 16;
const CALLS: usize = 320;

async fn two_clients_of(server: Value, name: &str) -> (Toolbox, McpClient, McpClient) {
    let toolbox = Toolbox::start();
    toolbox.deploy(&toolbox.group("shared", &[server])).await;
    let (first, second) = (toolbox.raw_mcp(name).await, toolbox.raw_mcp(name).await);
    assert_ne!(first.session(), second.session());
    (toolbox, first, second)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_id_at_the_same_time_gives_each_its_own_answer_though_they_come_out_of_order() {
    let (toolbox, slow, fast) = two_clients_of(groups::fixture("fixture"), "fixture").await;
    let mut sleeping = JoinSet::new();
    sleeping.spawn(async move { slow.call(&json!(7), "sleep", &json!({"ms": 1500})).await });
    // The slow call is the older one: the answers below overtake it.
    for round in 0..20 {
        let message = format!("fast {round}");
        let answer = fast.call(&json!(7), "echo", &json!({"message": message})).await;
        assert_eq!((text(&answer), &answer["id"]), (format!("Echo: {message}").as_str(), &json!(7)));
    }
    assert!(sleeping.try_join_next().is_none(), "the answers were to come out of order");
    let slept = sleeping.join_next().await.expect("a slow client").expect("its answer");
    assert_eq!((text(&slept), &slept["id"]), ("slept", &json!(7)));
    drop(toolbox);
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_come_back_exactly_as_they_were_sent() {
    let (toolbox, first, second) = two_clients_of(groups::fixture("fixture"), "fixture").await;
    let ids = [json!(1), json!("1"), json!(0), json!(-5), json!("ä\"\\"), json!(9_007_199_254_740_993_u64)];
    for id in &ids {
        let (for_a, for_b) = (json!({"message": "a"}), json!({"message": "b"}));
        let (a, b) = tokio::join!(first.call(id, "echo", &for_a), second.call(id, "echo", &for_b));
        assert_eq!((text(&a), &a["id"]), ("Echo: a", id));
        assert_eq!((text(&b), &b["id"]), ("Echo: b", id));
    }
    drop(toolbox);
}

#[tokio::test(flavor = "multi_thread")]
async fn progress_with_the_same_token_goes_to_whom_it_belongs() {
    let (toolbox, first, second) = two_clients_of(groups::fixture("fixture"), "fixture").await;
    let with_token =
        |token: &Value| call_with_progress(&json!(1), "test_tool_with_progress", &json!({}), token);
    let message = with_token(&json!("token"));
    let (a, b) = tokio::join!(first.exchange(&message), second.exchange(&message));
    for messages in [a, b] {
        let progress: Vec<&Value> =
            messages.iter().filter(|message| message["method"] == "notifications/progress").collect();
        let steps: Vec<&Value> = progress.iter().map(|message| &message["params"]["progress"]).collect();
        assert_eq!(steps, [&json!(0), &json!(50), &json!(100)], "{messages:#?}");
        assert!(
            progress.iter().all(|message| message["params"]["progressToken"] == "token"),
            "{messages:#?}"
        );
        assert_eq!(messages.last().expect("an answer")["id"], 1);
    }
    drop(toolbox);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_everything_server_reports_progress_to_each_of_two_clients() {
    let (toolbox, first, second) = two_clients_of(groups::everything("everything"), "everything").await;
    let arguments = json!({"duration": 1, "steps": 4});
    let tool = "trigger-long-running-operation";
    let message = call_with_progress(&json!("same"), tool, &arguments, &json!(1));
    let (a, b) = tokio::join!(first.exchange(&message), second.exchange(&message));
    for messages in [a, b] {
        let progress = messages.iter().filter(|message| message["method"] == "notifications/progress");
        let tokens: Vec<&Value> = progress.map(|message| &message["params"]["progressToken"]).collect();
        assert_eq!(tokens, [&json!(1); 4], "{messages:#?}");
        assert!(text(messages.last().expect("an answer")).contains("completed"), "{messages:#?}");
    }
    drop(toolbox);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_no_answer_for_another_session() {
    let (toolbox, first, second) = two_clients_of(groups::fixture("fixture"), "fixture").await;
    first.close().await.expect("closed");
    let refused = first.try_exchange(&call(&json!(1), "echo", &json!({"message": "x"}))).await;
    assert!(refused.as_ref().is_err_and(|error| error.contains("404")), "{refused:?}");
    let answer = second.call(&json!(1), "echo", &json!({"message": "still here"})).await;
    assert_eq!(text(&answer), "Echo: still here");
    drop(toolbox);
}

/// Two servers that say of themselves that they tell when their lists change.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_whose_session_goes_to_a_server_with_other_tools_is_told_when_it_listens_again() {
    let toolbox = Toolbox::start();
    let group = toolbox.named("lists");
    let applied = async |server: Value| {
        let document = toolbox.group("lists", &[server]);
        let applied = toolbox.client().put_group(&group, &document, &ChangeOptions::default()).await;
        applied.unwrap_or_else(|error| panic!("{error:#?}"))
    };
    applied(groups::fixture("changing")).await;
    let client = toolbox.raw_mcp("changing").await;
    let mut before = client.listen().await;
    applied(groups::everything("changing")).await;
    assert!(drained(&mut before).await.is_empty(), "its stream ends, and says nothing");
    let mut after = client.listen().await;
    while next(&mut after).await["method"] != "notifications/tools/list_changed" {}
    let listed = client.exchange(&json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"})).await;
    let tools = listed.last().expect("an answer")["result"]["tools"].to_string();
    assert!(tools.contains("trigger-long-running-operation"), "the list is that of the new one: {tools}");
}

type Listening = BoxStream<'static, Result<Value, dtma_client::Error>>;

async fn next(listening: &mut Listening) -> Value {
    let next = tokio::time::timeout(Duration::from_secs(30), listening.next()).await;
    next.expect("something is said").expect("the stream is open").expect("a message")
}

/// Everything until it ends.
async fn drained(listening: &mut Listening) -> Vec<Value> {
    let all = listening.filter_map(async |message| message.ok()).collect();
    tokio::time::timeout(Duration::from_secs(30), all).await.expect("it ends")
}

#[tokio::test(flavor = "multi_thread")]
async fn sixteen_clients_with_the_same_ids_get_thousands_of_answers_and_each_its_own() {
    let toolbox = Toolbox::start();
    let room = json!({"resources": {"cpus": 1.5, "memory": "512MiB"}});
    let server = groups::with(groups::everything("everything"), &room);
    toolbox.deploy(&toolbox.group("crowd", &[server])).await;
    let mut clients = JoinSet::new();
    for number in 0..CLIENTS {
        let client = toolbox.raw_mcp("everything").await;
        clients.spawn(async move { keeps_its_own(&client, number).await });
    }
    let mut answers = 0;
    while let Some(client) = clients.join_next().await {
        answers += client.expect("a client");
    }
    assert_eq!(answers, CLIENTS * CALLS);
}

/// Every client counts its ids from 1, as clients do.
async fn keeps_its_own(client: &McpClient, number: usize) -> usize {
    for id in 1..=CALLS {
        let message = format!("client {number} call {id} {}", "x".repeat(id % 50));
        let answer = client.call(&json!(id), "echo", &json!({"message": message})).await;
        assert_eq!(text(&answer), format!("Echo: {message}"));
        assert_eq!(answer["id"], id);
    }
    CALLS
}
