//! MCP's official SDKs of Python and TypeScript, clients that are none of ours, in both eras of the protocol, onto a
//! server that shakes hands and one that answers `server/discover`: they list and call, hear progress, read resources and
//! prompts, are asked, and outlive the death of the container in the middle of their session.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test stops where something is broken, and looks again and again from a thread of its own"
)]

use dtma_tests::engine::{container_ids, docker, server_process};
use dtma_tests::sdk::{Sdk, SdkClient};
use dtma_tests::{Toolbox, groups};
use serde_json::{Value, json};
use std::time::Duration;

/// What the servers call their things.
fn plan(server: &str) -> Value {
    match server {
        "everything" => json!({
            "progress": ["trigger-long-running-operation", {"duration": 0.4, "steps": 4}],
            "resource": "demo://resource/dynamic/text/1",
            "prompt": "simple-prompt",
            "sampling": ["trigger-sampling-request", {"prompt": "say something", "maxTokens": 10}],
            "elicitation": ["trigger-elicitation-request", {}],
            "slow": ["trigger-long-running-operation", {"duration": 4, "steps": 2}],
        }),
        _ => json!({
            "progress": ["test_tool_with_progress", {}],
            // Has to be encoded in the header that repeats it.
            "resource": "test://template/größe/data",
            "prompt": "test_simple_prompt",
            "sampling": ["test_sampling", {"prompt": "say something"}],
            "elicitation": ["test_elicitation", {"message": "who are you?"}],
            "slow": ["sleep", {"ms": 60_000}],
        }),
    }
}

fn kill(group: &str) {
    let (_, container) = container_ids(group).pop().expect("a container");
    docker(&["kill", &container]);
}

/// Until the fixture has a call in its hands: it has a thread for each.
fn busy(group: &str) {
    let (_, container) = container_ids(group).pop().expect("a container");
    let threads = || {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", server_process(&container)?)).ok()?;
        Some(tasks.count())
    };
    let mut seen = 0;
    for _ in 0..600 {
        seen = if threads() > Some(1) { seen + 1 } else { 0 };
        // The thread of the call before may just be ending.
        if seen > 2 {
            return;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    panic!("the call does not come to the server");
}

fn words(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Everything a client does with one server.
async fn uses(sdk: Sdk, era: &'static str, server: &'static str) {
    let toolbox = Toolbox::start();
    let spec = if server == "everything" { groups::everything(server) } else { groups::fixture(server) };
    toolbox.deploy(&toolbox.group("sdk", &[spec])).await;
    let mut plan = plan(server);
    plan["url"] = format!("{}/gateway/servers/{server}/mcp", toolbox.url()).into();
    plan["token"] = toolbox.token().into();
    plan["era"] = era.into();
    let group = toolbox.named("sdk");
    let using = move || {
        let mut client = SdkClient::start(sdk, plan);
        walks(&mut client, era, server);
        survives(&mut client, &group, server);
    };
    tokio::task::spawn_blocking(using)
        .await
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()));
    drop(toolbox);
}

fn walks(client: &mut SdkClient, era: &str, server: &str) {
    let version = if era == "legacy" { "2025-11-25" } else { era };
    assert_eq!(client.step("version"), version);
    assert!(client.step("tools").as_array().is_some_and(|tools| tools.contains(&json!("echo"))));
    assert_eq!(client.step("echo"), "Echo: hello");
    let steps: Vec<f64> = serde_json::from_value(client.step("progress")).expect("numbers");
    assert_eq!(steps, if server == "everything" { vec![1.0, 2.0, 3.0, 4.0] } else { vec![0.0, 50.0, 100.0] });
    assert!(client.step("resources").as_u64() > Some(0));
    let wanted = if server == "everything" { "resource" } else { "templateTest" };
    assert!(words(&client.step("resource")).contains(wanted));
    assert!(client.step("prompts").as_array().is_some_and(|prompts| !prompts.is_empty()));
    assert!(words(&client.step("prompt")).contains("prompt"));
    assert!(words(&client.step("sampling")).contains("moonlight"));
    assert!(words(&client.step("elicitation")).contains("decline"));
}

/// What is in flight when the container is killed gets the honest error, but where the tool says that it only reads: that
/// is asked once more.
fn survives(client: &mut SdkClient, group: &str, server: &str) {
    assert_eq!(client.step("ready"), true);
    kill(group);
    client.go_on();
    assert_eq!(client.step("again"), "Echo: again");
    assert_eq!(client.step("in flight"), "Echo: meanwhile");
    if server == "fixture" {
        busy(group);
    }
    kill(group);
    client.go_on();
    match server {
        "everything" => assert!(words(&client.step("lost")).contains("completed")),
        _ => assert_eq!(client.step("lost"), json!({"may_have_executed": true})),
    }
    assert_eq!(client.step("still"), "Echo: still");
    assert_eq!(client.step("done"), true);
}

#[tokio::test(flavor = "multi_thread")]
async fn python_with_a_handshake_and_a_server_of_both_eras() {
    uses(Sdk::Python, "legacy", "fixture").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn python_without_a_handshake_and_a_server_of_both_eras() {
    uses(Sdk::Python, "2026-07-28", "fixture").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn python_without_a_handshake_and_a_server_that_shakes_hands() {
    uses(Sdk::Python, "2026-07-28", "everything").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn typescript_of_the_first_generation_and_a_server_that_shakes_hands() {
    uses(Sdk::TypeScript1, "legacy", "everything").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn typescript_with_a_handshake_and_a_server_of_both_eras() {
    uses(Sdk::TypeScript2, "legacy", "fixture").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn typescript_without_a_handshake_and_a_server_of_both_eras() {
    uses(Sdk::TypeScript2, "2026-07-28", "fixture").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn typescript_without_a_handshake_and_a_server_that_shakes_hands() {
    uses(Sdk::TypeScript2, "2026-07-28", "everything").await;
}
