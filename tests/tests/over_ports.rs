//! MCP servers that speak Streamable HTTP, HTTP+SSE or WebSocket on a port, on network none: clients reach them through
//! the same door, and as lastingly, as one on its standard streams.
#![allow(clippy::expect_used, clippy::panic, reason = "a test stops where something is broken")]

use dtma_tests::engine::{container_ids, containers, docker, networks, server_process};
use dtma_tests::mcp::{call, call_with_progress};
use dtma_tests::{McpClient, Toolbox, eventually, groups, text};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::task::JoinSet;

const SOON: Duration = Duration::from_secs(30);
const CLIENTS: usize = 8;
const CALLS: usize = 25;
const BRIDGE: &str = include_str!("../fixtures/over_websocket.py");

fn over_http(name: &str) -> Value {
    let fields = json!({"transport": "streamable-http", "args": ["streamableHttp"], "port": 3001});
    groups::with(groups::everything(name), &fields)
}

fn over_sse(name: &str) -> Value {
    let fields = json!({"transport": "sse", "args": ["sse"], "port": 3001});
    groups::with(groups::everything(name), &fields)
}

fn over_websocket(name: &str) -> Value {
    let command =
        json!(["/usr/bin/python3", "-c", BRIDGE, "8765", "/usr/bin/python3", "/app/conf_stdio_fixture.py"]);
    let fields = json!({"transport": "websocket", "command": command, "port": 8765});
    groups::with(groups::fixture(name), &fields)
}

fn all() -> [Value; 3] {
    [over_http("http"), over_sse("sse"), over_websocket("socket")]
}

const NAMES: [&str; 3] = ["http", "sse", "socket"];

fn toolbox() -> Toolbox {
    Toolbox::start_with(|launch| launch.shims = Some(true))
}

async fn echo(client: &McpClient, message: &str) -> Result<(), String> {
    let call = call(&json!(message), "echo", &json!({"message": message}));
    let answer = client.try_exchange(&call).await?.pop().ok_or("no answer")?;
    match answer["result"]["content"][0]["text"] == format!("Echo: {message}") && answer["id"] == message {
        true => Ok(()),
        false => Err(answer.to_string()),
    }
}

async fn sessions(toolbox: &Toolbox) -> Vec<(&'static str, McpClient)> {
    let mut sessions = Vec::new();
    for name in NAMES {
        sessions.push((name, toolbox.raw_mcp(name).await));
    }
    sessions
}

#[tokio::test(flavor = "multi_thread")]
async fn tools_are_listed_and_called_without_a_network_by_many_at_once() {
    let toolbox = toolbox();
    let group = toolbox.named("ports");
    let view = toolbox.deploy(&toolbox.group("ports", &all())).await;
    assert!(networks(&group).is_empty());
    let modes: Vec<Value> =
        containers(&group).iter().map(|one| one["HostConfig"]["NetworkMode"].clone()).collect();
    assert_eq!(modes, vec!["none"; 3]);
    for (name, transport) in NAMES.into_iter().zip(["streamable-http", "sse", "websocket"]) {
        let server = groups::server(&view, name);
        assert_eq!(server.transport.map(|transport| transport.to_string()).as_deref(), Some(transport));
        let client = toolbox.raw_mcp(name).await;
        let listed = client.exchange(&json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"})).await;
        let tools = listed.last().expect("an answer")["result"]["tools"].as_array().expect("tools").clone();
        assert!(tools.iter().any(|tool| tool["name"] == "echo"), "{name}: {tools:?}");
        let mut crowd = JoinSet::new();
        for number in 0..CLIENTS {
            let client = toolbox.raw_mcp(name).await;
            crowd.spawn(async move {
                for round in 0..CALLS {
                    let message = format!("{number} of {round} {}", "x".repeat(number * 4096));
                    let answer = client.call(&json!(round), "echo", &json!({"message": message})).await;
                    assert_eq!((text(&answer), &answer["id"]), (&*format!("Echo: {message}"), &json!(round)));
                }
            });
        }
        crowd.join_all().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn progress_of_a_call_and_its_answer_come_in_order() {
    let toolbox = toolbox();
    toolbox.deploy(&toolbox.group("progress", &[over_http("http"), over_sse("sse")])).await;
    for name in ["http", "sse"] {
        let (first, second) = (toolbox.raw_mcp(name).await, toolbox.raw_mcp(name).await);
        let arguments = json!({"duration": 1, "steps": 4});
        let tool = "trigger-long-running-operation";
        let message = call_with_progress(&json!("same"), tool, &arguments, &json!("token"));
        let (a, b) = tokio::join!(first.exchange(&message), second.exchange(&message));
        for messages in [a, b] {
            let (answer, before) = messages.split_last().expect("an answer");
            let steps: Vec<&Value> = before
                .iter()
                .filter(|message| message["params"]["progressToken"] == "token")
                .map(|message| &message["params"]["progress"])
                .collect();
            assert_eq!(steps, [&json!(1), &json!(2), &json!(3), &json!(4)], "{name}: {messages:#?}");
            assert!(text(answer).contains("completed"), "{name}: {messages:#?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_goes_on_when_the_daemon_was_killed() {
    let mut toolbox = toolbox();
    let group = toolbox.named("killed");
    toolbox.deploy(&toolbox.group("killed", &all())).await;
    let before = container_ids(&group);
    let sessions = sessions(&toolbox).await;
    for (name, session) in &sessions {
        echo(session, name).await.expect("an echo");
    }
    toolbox.kill9();
    toolbox.start_again();
    let view = toolbox.ready(&group, SOON).await;
    assert_eq!(container_ids(&group), before);
    assert_eq!(groups::restarts(&view), [0; 3]);
    for (name, session) in sessions {
        let session = session.over(&toolbox.client());
        echo(&session, "again").await.unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}

fn kill_process(container: &str) {
    let process = server_process(container).expect("it runs").to_string();
    let killed = std::process::Command::new("kill").args(["-9", &process]).status();
    assert!(killed.expect("kill").success());
}

fn kill_container(id: &str) {
    docker(&["kill", id]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_goes_on_when_the_server_crashed() {
    let toolbox = toolbox();
    let group = toolbox.named("crash");
    toolbox.deploy(&toolbox.group("crash", &all())).await;
    let sessions = sessions(&toolbox).await;
    for (restarts, end) in [(1, kill_process as fn(&str)), (2, kill_container)] {
        container_ids(&group).iter().for_each(|(_, id)| end(id));
        for (name, session) in &sessions {
            // One call may have been on its way; from then on the next process answers.
            eventually(name, SOON, || echo(session, "after the crash")).await;
            let server = toolbox.server(&group, name).await;
            assert_eq!(server.restarts, restarts, "{name}: {server:#?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tool_that_only_reads_is_called_again_where_the_connection_broke() {
    let toolbox = toolbox();
    let group = toolbox.named("reads");
    toolbox.deploy(&toolbox.group("reads", &all())).await;
    let mut calls = JoinSet::new();
    for (name, session) in sessions(&toolbox).await {
        let (tool, arguments) = match name {
            "socket" => ("nap", json!({"ms": 3000})),
            _ => ("trigger-long-running-operation", json!({"duration": 3, "steps": 1})),
        };
        calls.spawn(async move { (name, session.call(&json!("slow"), tool, &arguments).await) });
    }
    // The servers have the calls by then, as a rule; where not, the next process gets them first.
    tokio::time::sleep(Duration::from_secs(1)).await;
    container_ids(&group).iter().for_each(|(_, id)| kill_container(id));
    for (name, answer) in calls.join_all().await {
        assert!(answer["result"]["content"][0]["text"].is_string(), "{name}: {answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_server_writes_to_its_streams_is_its_log() {
    let toolbox = toolbox();
    toolbox.deploy(&toolbox.group("logs", &[over_http("http")])).await;
    echo(&toolbox.raw_mcp("http").await, "hello").await.expect("an echo");
    let look = async || {
        let log = toolbox.get("/mcp/servers/http/logs?tail=50").await.expect(200).text;
        if log.contains("listening on port 3001") { Ok(()) } else { Err(log) }
    };
    eventually("its log is told", SOON, look).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_shim_they_are_reached_over_the_groups_network() {
    let toolbox = Toolbox::start_with(|launch| launch.shims = Some(false));
    let group = toolbox.named("bare");
    toolbox.deploy(&toolbox.group("bare", &[over_http("http"), over_sse("sse")])).await;
    assert_eq!(networks(&group).len(), 1);
    for name in ["http", "sse"] {
        echo(&toolbox.raw_mcp(name).await, "hello").await.unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}

/// A tool that is at work for longer than this test.
async fn calls_in_vain(toolbox: &Toolbox, server: &str, tool: &str, arguments: Value) {
    let client = toolbox.raw_mcp(server).await;
    let late = client.call(&json!("late"), tool, &arguments).await;
    assert_eq!((&late["id"], &late["error"]["code"]), (&json!("late"), &json!(-32001)), "{server}: {late}");
    assert_eq!(late["error"]["data"], json!({"timeout_ms": 8000, "may_have_executed": true}), "{server}");
    let answer = client.call(&json!("late"), "echo", &json!({"message": "the session goes on"})).await;
    assert_eq!(text(&answer), "Echo: the session goes on", "{server}");
}

/// One server on its standard streams, one on a port.
#[tokio::test(flavor = "multi_thread")]
async fn late_calls_and_sessions_that_nobody_uses_end_as_the_operator_says() {
    let toolbox = Toolbox::start_with(|launch| {
        launch.shims = Some(true);
        launch.args = ["--call-timeout", "8s", "--session-idle", "12s"].map(str::to_owned).to_vec();
    });
    toolbox.deploy(&toolbox.group("bounds", &[groups::fixture("piped"), over_http("ported")])).await;
    let (gone, listens) = (toolbox.raw_mcp("piped").await, toolbox.raw_mcp("piped").await);
    let stream = listens.listen().await;
    let long = json!({"duration": 600, "steps": 1});
    tokio::join!(
        calls_in_vain(&toolbox, "piped", "sleep", json!({"ms": 600_000})),
        calls_in_vain(&toolbox, "ported", "trigger-long-running-operation", long),
    );
    let expired = || async {
        let metrics = toolbox.get("/metrics").await.text;
        let counted = "dtma_gateway_sessions_expired_total{instance=\"piped\"} ";
        let count = metrics.lines().find_map(|line| line.strip_prefix(counted)).expect("it is counted");
        if count == "0" { Err("none") } else { Ok(()) }
    };
    eventually("a session that nobody uses ends", Duration::from_secs(60), expired).await;
    let refused = gone.try_exchange(&call(&json!(1), "echo", &json!({"message": "x"}))).await;
    assert!(refused.as_ref().is_err_and(|error| error.contains("404")), "{refused:?}");
    let answer = listens.call(&json!(1), "echo", &json!({"message": "an open stream is a use"})).await;
    assert_eq!(text(&answer), "Echo: an open stream is a use");
    drop(stream);
}
