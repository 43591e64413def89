//! The doors whose session lives as long as its stream, HTTP+SSE and WebSocket, in front of real servers: clients that
//! are none of ours, what the server says and asks in between, clients that vanish, containers and daemons that are
//! killed, and what a client may not do.
#![allow(clippy::expect_used, clippy::panic, reason = "a test stops where something is broken")]

use dtma_tests::engine::container_ids;
use dtma_tests::inspector::{Door, calls, inspector, lists};
use dtma_tests::mcp::{call, call_with_progress};
use dtma_tests::{Toolbox, WsClient, engine, eventually, groups, text};
use serde_json::{Value, json};
use std::time::Duration;
use tokio_tungstenite::tungstenite::{Error, Message};

const SOON: Duration = Duration::from_secs(20);

/// How many client sessions a server has.
async fn sessions(toolbox: &Toolbox, instance: &str) -> u64 {
    let metrics = toolbox.get("/metrics").await.text;
    let name = format!("dtma_gateway_sessions{{instance=\"{instance}\"}}");
    let found = metrics.lines().find_map(|line| line.strip_prefix(&name)?.trim().parse().ok());
    found.unwrap_or_else(|| panic!("no {name} in {metrics}"))
}

async fn nobody_is_left(toolbox: &Toolbox, instance: &str) {
    eventually("no session is left", SOON, async || match sessions(toolbox, instance).await {
        0 => Ok(()),
        left => Err(left),
    })
    .await;
}

async fn kill(group: &str) {
    let (_, container) = container_ids(group).pop().expect("a container");
    engine::docker(&["kill", &container]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_inspector_uses_servers_of_npm_and_pypi_over_http_sse() {
    let toolbox = Toolbox::start();
    let servers = [groups::everything("everything"), groups::time("time")];
    toolbox.deploy(&toolbox.group("two", &servers)).await;
    lists(&toolbox, Door::Sse, "everything", "echo").await;
    calls(&toolbox, Door::Sse, "everything", "echo", &["message=hello"], "Echo: hello").await;
    lists(&toolbox, Door::Sse, "time", "get_current_time").await;
    let arguments = ["timezone=Europe/Berlin"];
    calls(&toolbox, Door::Sse, "time", "get_current_time", &arguments, "Europe/Berlin").await;
    let stranger = inspector(&toolbox, Door::Sse, "wrong", "time", &["--method", "tools/list"]).await;
    assert!(!stranger.status.success() && !stranger.stdout.contains("get_current_time"), "{stranger:?}");
    nobody_is_left(&toolbox, "time").await;
    nobody_is_left(&toolbox, "everything").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn over_websocket_everything_a_server_says_and_asks_arrives() {
    let toolbox = Toolbox::start();
    toolbox.deploy(&toolbox.group("one", &[groups::everything("everything")])).await;
    let mut client = WsClient::open(&toolbox, "everything").await;
    let listed = client.ask(&json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"})).await;
    assert!(listed["result"]["tools"].to_string().contains("trigger-sampling-request"), "{listed}");
    let echoed = client.ask(&call(&json!(2), "echo", &json!({"message": "hello"}))).await;
    assert_eq!(text(&echoed), "Echo: hello");

    let arguments = json!({"duration": 1, "steps": 4});
    let tool = "trigger-long-running-operation";
    client.say(&call_with_progress(&json!(3), tool, &arguments, &json!("t"))).await;
    let mut steps = Vec::new();
    let done = loop {
        let message = client.hear().await;
        match message["method"].as_str() {
            Some("notifications/progress") => steps.push(message["params"]["progress"].clone()),
            Some(_) => {}
            None => break message,
        }
    };
    assert_eq!((json!(steps), &done["id"]), (json!([1, 2, 3, 4]), &json!(3)), "{done}");

    let arguments = json!({"prompt": "say something", "maxTokens": 10});
    client.say(&call(&json!(4), "trigger-sampling-request", &arguments)).await;
    let asked = question(&mut client, "sampling/createMessage").await;
    let said =
        json!({"role": "assistant", "model": "none", "content": {"type": "text", "text": "moonlight"}});
    client.say(&json!({"jsonrpc": "2.0", "id": asked["id"], "result": said})).await;
    let sampled = client.answer(&json!(4)).await;
    assert!(sampled.to_string().contains("moonlight"), "{sampled}");

    client.say(&call(&json!(5), "trigger-elicitation-request", &json!({}))).await;
    let asked = question(&mut client, "elicitation/create").await;
    client.say(&json!({"jsonrpc": "2.0", "id": asked["id"], "result": {"action": "decline"}})).await;
    let declined = client.answer(&json!(5)).await;
    assert!(declined.to_string().contains("decline"), "{declined}");
}

async fn question(client: &mut WsClient, method: &str) -> Value {
    loop {
        let message = client.hear().await;
        if message["method"] == method {
            return message;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_with_the_same_ids_do_not_meet_and_leave_nothing_when_they_vanish() {
    let toolbox = Toolbox::start();
    toolbox.deploy(&toolbox.group("shared", &[groups::fixture("fixture")])).await;
    let mut clients = Vec::new();
    for _ in 0..4 {
        clients.push(WsClient::open(&toolbox, "fixture").await);
    }
    for round in 0..25 {
        for (number, client) in clients.iter_mut().enumerate() {
            client.say(&call(&json!(round), "echo", &json!({"message": format!("{number}")}))).await;
        }
        for (number, client) in clients.iter_mut().enumerate() {
            assert_eq!(text(&client.answer(&json!(round)).await), format!("Echo: {number}"));
        }
    }
    assert_eq!(sessions(&toolbox, "fixture").await, 4);
    for client in &mut clients {
        client.say(&call(&json!("last"), "sleep", &json!({"ms": 60_000}))).await;
    }
    drop(clients);
    nobody_is_left(&toolbox, "fixture").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_over_websocket_outlives_its_container() {
    let toolbox = Toolbox::start();
    let group = toolbox.group("killed", &[groups::fixture("fixture")]);
    toolbox.deploy(&group).await;
    let mut client = WsClient::open(&toolbox, "fixture").await;
    client.ask(&json!({"jsonrpc": "2.0", "id": 10, "method": "logging/setLevel", "params": {"level": "warning"}})).await;
    client
        .ask(&json!({"jsonrpc": "2.0", "id": 11, "method": "resources/subscribe",
        "params": {"uri": "test://watched-resource"}}))
        .await;
    client.say(&call(&json!("lost"), "sleep", &json!({"ms": 60_000}))).await;
    client.say(&call(&json!("again"), "nap", &json!({"ms": 2000}))).await;
    let echoed = client.ask(&call(&json!(1), "echo", &json!({"message": "before"}))).await;
    assert_eq!(text(&echoed), "Echo: before", "the server has the other calls by now");
    kill(&toolbox.named("killed")).await;
    let lost = client.answer(&json!("lost")).await;
    assert_eq!(lost["error"]["data"]["may_have_executed"], true, "{lost}");
    let again = client.answer(&json!("again")).await;
    assert_eq!(text(&again), "rested", "it only reads, so the next process is asked");
    let after = client.ask(&call(&json!(2), "echo", &json!({"message": "after"}))).await;
    assert_eq!(text(&after), "Echo: after");
    let wishes = client.ask(&call(&json!(3), "wishes", &json!({}))).await;
    assert_eq!(text(&wishes), r#"["warning", ["test://watched-resource"]]"#, "the next process knows them");
    assert_eq!(sessions(&toolbox, "fixture").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_kill_of_the_daemon_clients_begin_anew_and_nothing_is_left_of_their_old_sessions() {
    let mut toolbox = Toolbox::start();
    toolbox.deploy(&toolbox.group("kept", &[groups::fixture("fixture")])).await;
    let mut client = WsClient::open(&toolbox, "fixture").await;
    let lasting = toolbox.raw_mcp("fixture").await;
    assert_eq!(sessions(&toolbox, "fixture").await, 2);
    toolbox.kill9();
    assert_eq!(client.next().await, Err(1006));
    toolbox.start_again();
    toolbox.ready(&toolbox.named("kept"), SOON).await;
    assert_eq!(sessions(&toolbox, "fixture").await, 1, "that of Streamable HTTP");
    let mut client = WsClient::open(&toolbox, "fixture").await;
    let echoed = client.ask(&call(&json!(1), "echo", &json!({"message": "again"}))).await;
    assert_eq!(text(&echoed), "Echo: again");
    let lasting = lasting.over(&toolbox.client());
    assert_eq!(text(&lasting.call(&json!(1), "echo", &json!({"message": "still"})).await), "Echo: still");
    assert!(toolbox.terminate().await.success());
    assert_eq!(client.next().await, Err(1001));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_client_over_websocket_may_not_do_is_refused_with_the_reason() {
    let toolbox = Toolbox::start();
    toolbox.deploy(&toolbox.group("strict", &[groups::fixture("fixture"), groups::idle("idle")])).await;
    let right = format!("Bearer {}", toolbox.token());
    let refused =
        async |instance: &str, headers: &[(&str, &str)]| match WsClient::connect(&toolbox, instance, headers)
            .await
        {
            Err(Error::Http(answer)) => answer.status().as_u16(),
            other => panic!("{:?}", other.err()),
        };
    assert_eq!(refused("fixture", &[]).await, 401);
    assert_eq!(refused("fixture", &[("Authorization", "Bearer wrong")]).await, 401);
    let foreign = [("Authorization", right.as_str()), ("Origin", "https://evil.example")];
    assert_eq!(refused("fixture", &foreign).await, 403);
    assert_eq!(refused("idle", &foreign[..1]).await, 404);
    assert_eq!(refused("nobody", &foreign[..1]).await, 404);

    let mut client = WsClient::open(&toolbox, "fixture").await;
    client.send(Message::text("not JSON")).await.expect("sent");
    assert_eq!(client.hear().await["error"]["code"], -32700);
    client.send(Message::binary(vec![0; 16])).await.expect("sent");
    assert_eq!(client.next().await, Err(1003));
    let mut client = WsClient::open(&toolbox, "fixture").await;
    // The daemon may have heard enough before all of it was sent.
    let _sent = client.send(Message::text("x".repeat(17 << 20))).await;
    assert_eq!(client.next().await, Err(1009));
    nobody_is_left(&toolbox, "fixture").await;

    let unknown = "/gateway/servers/fixture/messages?sessionId=0123456789abcdef0123456789abcdef";
    let answer = toolbox.rest().post(unknown, &json!({"jsonrpc": "2.0", "id": 1, "method": "ping"})).await;
    assert_eq!((answer.status, &answer.json["code"]), (404, &json!("no_such_session")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_finds_its_way_in_and_what_it_calls_is_written_down() {
    let toolbox = Toolbox::start_with(|launch| {
        let said =
            ["--public-url", "https://tools.example", "--authorization-servers", "https://login.example"];
        launch.args.extend(said.map(str::to_owned));
        launch.args.push("--audit-arguments".to_owned());
    });
    toolbox.deploy(&toolbox.group("found", &[groups::fixture("fixture")])).await;
    let stranger = toolbox.rest().with_token(None);
    let protection = stranger.get("/.well-known/oauth-protected-resource/gateway/servers/fixture/ws").await;
    assert_eq!(protection.json["resource"], "https://tools.example/gateway/servers/fixture/ws");
    assert_eq!(protection.json["authorization_servers"], json!(["https://login.example"]));
    assert_eq!(stranger.get("/.well-known/ai-catalog.json").await.status, 401);
    let catalogue = toolbox.get("/.well-known/ai-catalog.json").await.json;
    let card = catalogue["entries"][0]["url"].as_str().expect("a card");
    assert_eq!(card, "https://tools.example/gateway/servers/fixture/mcp/server-card");
    let card = toolbox.get(card.trim_start_matches("https://tools.example")).await.json;
    assert_eq!(card["remotes"][1]["url"], "https://tools.example/gateway/servers/fixture/sse");

    let mut client = WsClient::open(&toolbox, "fixture").await;
    client.ask(&call(&json!(1), "echo", &json!({"message": "over the socket"}))).await;
    toolbox.raw_mcp("fixture").await.call(&json!(1), "echo", &json!({"message": "over HTTP"})).await;
    let told = eventually("two calls are written down", SOON, async || {
        let list = toolbox.get("/audit/calls?instance=fixture").await.json;
        let all = list["data"]["entries"].as_array().cloned().unwrap_or_default();
        let calls: Vec<Value> = all.into_iter().filter(|entry| entry["path"] == "echo").collect();
        if calls.len() == 2 { Ok(calls) } else { Err(calls) }
    })
    .await;
    let arguments: Vec<&Value> = told.iter().map(|entry| &entry["call"]["arguments"]).collect();
    assert_eq!(arguments, [r#"{"message":"over HTTP"}"#, r#"{"message":"over the socket"}"#]);
    assert_eq!(told[1]["call"]["door"], "websocket");
}
