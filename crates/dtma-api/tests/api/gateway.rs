//! The gateway's door: sessions, headers, answers and streams.

use crate::house::{House, one_mcp, one_tool};
use crate::wire::Answer;
use dtma_client::mcp::McpSession;
use dtma_client::{Error, Mutation};
use serde_json::json;
use std::time::Duration;

const ACCEPT: (&str, &str) = ("Accept", "application/json, text/event-stream");
const JSON: (&str, &str) = ("Content-Type", "application/json");
const TOKEN: (&str, &str) = ("Authorization", "Bearer gateway");
const PATH: &str = "/gateway/servers/time/mcp";
const INITIALIZE: &str = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}"#;
const PING: &str = r#"{"jsonrpc":"2.0","id":"x","method":"ping"}"#;

async fn deployed() -> House {
    let house = House::new().await;
    house.client("deploy").deploy_group(&one_mcp("demo"), &Mutation::default()).await.unwrap();
    house
}

async fn post(house: &House, headers: &[(&str, &str)], body: &str) -> Answer {
    let headers: Vec<_> = [ACCEPT, JSON, TOKEN].into_iter().chain(headers.iter().copied()).collect();
    house.send("POST", PATH, &headers, body).await
}

async fn open(house: &House) -> String {
    let opened = post(house, &[], INITIALIZE).await;
    assert_eq!(opened.status, 200, "{opened:?}");
    opened.header("mcp-session-id").unwrap().to_owned()
}

#[tokio::test]
async fn a_client_lists_and_calls_tools() {
    let house = deployed().await;
    let session = McpSession::open(&house.client("gateway"), "time", Duration::from_secs(10)).await.unwrap();
    assert_eq!(session.greeting()["serverInfo"]["name"], "fake-mcp-server");
    let tools = session.list_tools().await.unwrap();
    assert_eq!(tools[0]["name"], "echo");
    let result = session.call_tool("echo", &json!({"message": "hello"})).await.unwrap();
    assert_eq!(result["content"][0]["text"], "hello");
    let unknown = session.call_tool("nothing", &json!({})).await.unwrap_err();
    assert!(matches!(unknown, Error::Rpc { code: -32602, .. }), "{unknown:?}");
    session.close().await.unwrap();
}

#[tokio::test]
async fn the_daemon_knows_what_a_server_said_about_itself() {
    let house = deployed().await;
    let group = house.client("read").get_group("demo").await.unwrap();
    let mcp = group.servers[0].mcp.as_ref().unwrap();
    assert_eq!((mcp.server_name.as_str(), mcp.endpoint.as_str()), ("fake-mcp-server", PATH));
    assert_eq!(mcp.tools[0].description.as_deref(), Some("Says the message back"));
}

#[tokio::test]
async fn a_session_is_opened_used_and_ended() {
    let house = deployed().await;
    let session = open(&house).await;
    let with = [("Mcp-Session-Id", session.as_str()), ("MCP-Protocol-Version", "2025-06-18")];
    let told = post(&house, &with, r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#).await;
    assert_eq!((told.status, told.body.as_str()), (202, ""));
    let pong = post(&house, &with, PING).await;
    assert_eq!(pong.json(), json!({"jsonrpc": "2.0", "id": "x", "result": {}}));
    let ended = house.send("DELETE", PATH, &[TOKEN, with[0]], "").await;
    assert_eq!(ended.status, 200);
    assert_eq!(post(&house, &with, PING).await.status, 404);
    assert_eq!(house.send("DELETE", PATH, &[TOKEN, with[0]], "").await.status, 404);
}

#[tokio::test]
async fn a_trace_goes_on_in_the_message_and_calls_are_timed() {
    let house = deployed().await;
    let session = open(&house).await;
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let with = [("Mcp-Session-Id", session.as_str()), ("traceparent", parent), ("tracestate", "a=b")];
    let call = r#"{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"echo","arguments":{}}}"#;
    assert_eq!(post(&house, &with, call).await.status, 200);
    let received = house.mcp.received();
    let called = received.iter().find(|line| line.contains("tools/call")).unwrap();
    let meta = format!(r#""_meta":{{"traceparent":"{parent}","tracestate":"a=b"}}"#);
    assert!(called.contains(&meta), "{called}");
    let counted = "dtma_gateway_call_seconds_count{instance=\"time\",outcome=\"done\"}";
    for _ in 0..100 {
        let called = house.over.lock().unwrap().iter().any(|call| call.contains("tools/call"));
        if called && house.ask("GET", "/metrics", None).await.body.contains(counted) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let metrics = house.ask("GET", "/metrics", None).await.body;
    for line in [
        counted,
        "dtma_gateway_calls_in_flight{instance=\"time\"} 0",
        "dtma_gateway_queued_bytes{instance=\"time\"} 0",
    ] {
        assert!(metrics.contains(line), "{line} is not in\n{metrics}");
    }
    let over = house.over.lock().unwrap().join("\n");
    for part in [
        r#"method: "tools/call", about: "echo", server: Some("time"), group: None, door: "http", version: None"#,
        &format!(r#"trace_parent: Some("{parent}"), trace_state: Some("a=b")"#),
    ] {
        assert!(over.contains(part), "{part} is not in\n{over}");
    }
}

#[tokio::test]
async fn headers_are_held_to_the_transports_rules() {
    let house = deployed().await;
    let session = open(&house).await;
    let id = ("Mcp-Session-Id", session.as_str());
    assert_eq!(post(&house, &[], PING).await.status, 400, "no session");
    assert_eq!(post(&house, &[("Mcp-Session-Id", "nobody")], PING).await.status, 404);
    assert_eq!(post(&house, &[id, ("MCP-Protocol-Version", "1999-01-01")], PING).await.status, 400);
    assert_eq!(post(&house, &[id], "{\"jsonrpc\":").await.status, 400);
    for (accept, status) in [("application/json", 406), ("text/event-stream", 406), ("*/*", 200)] {
        let answer = house.send("POST", PATH, &[TOKEN, JSON, id, ("Accept", accept)], PING).await;
        assert_eq!(answer.status, status, "{accept}");
    }
    let plain = house.send("POST", PATH, &[TOKEN, ACCEPT, id, ("Content-Type", "text/plain")], PING).await;
    assert_eq!(plain.status, 415);
    assert_eq!(house.send("GET", PATH, &[TOKEN, ("Accept", "text/event-stream")], "").await.status, 400);
    assert_eq!(house.send("GET", PATH, &[TOKEN, id, ("Accept", "application/json")], "").await.status, 406);
    assert_eq!(house.send("DELETE", PATH, &[TOKEN], "").await.status, 400);
}

#[tokio::test]
async fn the_gateway_leads_to_mcp_servers_only() {
    let house = House::new().await;
    assert_eq!(post(&house, &[], INITIALIZE).await.code(), "no_such_server");
    house.client("deploy").deploy_group(&one_tool("demo"), &Mutation::default()).await.unwrap();
    let tool = house.send("POST", "/gateway/servers/web/mcp", &[ACCEPT, JSON, TOKEN], INITIALIZE).await;
    assert_eq!((tool.status, tool.code().as_str()), (404, "not_an_mcp_server"));
}

#[tokio::test]
async fn a_call_to_a_stopped_server_does_not_wait_for_it() {
    let house = deployed().await;
    let (session, other) = (open(&house).await, open(&house).await);
    house.client("deploy").stop_server("time", &Mutation::default()).await.unwrap();
    let refused = post(&house, &[("Mcp-Session-Id", &session)], PING).await;
    assert_eq!((refused.status, refused.code().as_str()), (502, "server_not_running"));
    let other = house.send("DELETE", PATH, &[TOKEN, ("Mcp-Session-Id", &other)], "").await;
    assert_eq!(other.status, 200, "a session can be ended all the same");
    house.client("deploy").start_server("time", &Mutation::default()).await.unwrap();
    assert_eq!(post(&house, &[("Mcp-Session-Id", &session)], PING).await.status, 200, "the session lives on");
}

#[tokio::test]
async fn a_message_over_sixteen_mebibytes_is_refused() {
    let house = deployed().await;
    let body = format!("\"{}\"", "x".repeat(16 << 20));
    assert_eq!(post(&house, &[], &body).await.status, 413);
}

#[tokio::test]
async fn a_long_call_keeps_its_connection_alive() {
    let house = deployed().await;
    let session = open(&house).await;
    house.mcp.delay("tools/call", Duration::from_secs(40));
    let call = r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"echo","arguments":{"message":"late"}}}"#;
    let headers = [("Mcp-Session-Id", session.as_str())];
    let (answer, ()) = tokio::join!(post(&house, &headers, call), let_seconds_pass(50));
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("text/event-stream")));
    assert!(answer.body.matches("\n:\n").count() >= 2, "{answer:?}");
    assert!(answer.body.contains("event: message\ndata: {\"jsonrpc\":\"2.0\",\"id\":7,"), "{answer:?}");
}

/// Time as tokio counts it, with pauses in which sockets are served.
async fn let_seconds_pass(seconds: u64) {
    for _ in 0..seconds {
        tokio::time::sleep(Duration::from_millis(10)).await;
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(1)).await;
        tokio::time::resume();
    }
}
