//! The doors onto all MCP servers of a group as one.

use crate::house::{House, one_mcp, one_tool};
use crate::wire::Answer;
use dtma_client::mcp::{McpSession, Target};
use dtma_client::{Error, Mutation};
use serde_json::json;
use std::time::Duration;

const ACCEPT: (&str, &str) = ("Accept", "application/json, text/event-stream");
const EVENTS: (&str, &str) = ("Accept", "text/event-stream");
const JSON: (&str, &str) = ("Content-Type", "application/json");
const TOKEN: (&str, &str) = ("Authorization", "Bearer gateway");
const PATH: &str = "/gateway/groups/demo/mcp";
const INITIALIZE: &str = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{}}}"#;
const PING: &str = r#"{"jsonrpc":"2.0","id":"x","method":"ping"}"#;

async fn deployed() -> House {
    let house = House::new().await;
    house.client("deploy").deploy_group(&one_mcp("demo"), &Mutation::default()).await.unwrap();
    house
}

async fn session(house: &House) -> McpSession {
    let target = Target::Group("demo".to_owned());
    McpSession::open_at(&house.client("gateway"), target, Duration::from_secs(10)).await.unwrap()
}

async fn post(house: &House, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let headers: Vec<_> = [ACCEPT, JSON, TOKEN].into_iter().chain(headers.iter().copied()).collect();
    house.send("POST", path, &headers, body).await
}

#[tokio::test]
async fn a_client_lists_and_calls_tools_under_the_names_of_the_group() {
    let house = deployed().await;
    let session = session(&house).await;
    assert_eq!(session.greeting()["serverInfo"]["name"], "demo");
    let tools = session.list_tools().await.unwrap();
    assert_eq!(tools[0]["name"], "time__echo");
    let result = session.call_tool("time__echo", &json!({"message": "hello"})).await.unwrap();
    assert_eq!(result["content"][0]["text"], "hello");
    let unknown = session.call_tool("time__ehco", &json!({})).await.unwrap_err();
    assert!(
        matches!(&unknown, Error::Rpc { code: -32602, message } if message.contains("time__echo")),
        "{unknown:?}"
    );
    session.close().await.unwrap();
}

#[tokio::test]
async fn a_session_with_a_group_is_opened_used_counted_and_ended() {
    let house = deployed().await;
    let opened = post(&house, PATH, &[], INITIALIZE).await;
    let id = opened.header("mcp-session-id").unwrap().to_owned();
    let with = [("Mcp-Session-Id", id.as_str())];
    assert_eq!(post(&house, PATH, &with, PING).await.json()["result"], json!({}));
    let metrics = house.ask("GET", "/metrics", None).await.body;
    assert!(metrics.contains("dtma_gateway_sessions{instance=\"group/demo\"} 1"), "{metrics}");
    assert_eq!(house.send("DELETE", PATH, &[TOKEN, with[0]], "").await.status, 200);
    assert_eq!(post(&house, PATH, &with, PING).await.code(), "no_such_session");
    assert_eq!(house.send("GET", PATH, &[TOKEN, EVENTS, with[0]], "").await.status, 404);
    assert_eq!(post(&house, PATH, &[], PING).await.status, 400);
}

#[tokio::test]
async fn what_is_no_group_or_not_for_this_token_is_refused_as_at_other_doors() {
    let house = House::new().await;
    assert_eq!(post(&house, PATH, &[], INITIALIZE).await.code(), "no_such_group");
    house.client("deploy").deploy_group(&one_tool("demo"), &Mutation::default()).await.unwrap();
    assert_eq!(
        post(&house, PATH, &[], INITIALIZE).await.status,
        200,
        "nobody to speak to, and none is amiss"
    );
    for (headers, status) in [
        (vec![ACCEPT, JSON], 401),
        (vec![ACCEPT, JSON, ("Authorization", "Bearer read")], 403),
        (vec![ACCEPT, JSON, TOKEN, ("Origin", "https://elsewhere.example")], 403),
        (vec![JSON, TOKEN], 406),
        (vec![ACCEPT, TOKEN, ("Content-Type", "text/plain")], 415),
    ] {
        assert_eq!(house.send("POST", PATH, &headers, INITIALIZE).await.status, status, "{headers:?}");
    }
    let stranger = house.send("POST", PATH, &[ACCEPT, JSON], INITIALIZE).await;
    let challenge = stranger.header("www-authenticate").unwrap();
    assert!(
        challenge.contains("/.well-known/oauth-protected-resource/gateway/groups/demo/mcp"),
        "{challenge}"
    );
    let metadata = house.send("GET", &format!("/.well-known/oauth-protected-resource{PATH}"), &[], "").await;
    assert_eq!(metadata.json()["resource"], format!("http://localhost{PATH}"));
    let odd = post(&house, &format!("{PATH}?mostTools=few"), &[], INITIALIZE).await;
    assert_eq!((odd.status, odd.code().as_str()), (400, "invalid_query"));
}

#[tokio::test]
async fn a_client_that_wants_to_see_few_tools_is_shown_how_to_find_them() {
    let house = deployed().await;
    let path = format!("{PATH}?mostTools=0");
    let id = post(&house, &path, &[], INITIALIZE).await.header("mcp-session-id").unwrap().to_owned();
    let list = r#"{"jsonrpc":"2.0","id":2,"method":"tools/list"}"#;
    let listed = post(&house, &path, &[("Mcp-Session-Id", &id)], list).await.json();
    assert_eq!(listed["result"]["tools"][0]["name"], "find_tools");
    let listed = post(&house, PATH, &[("Mcp-Session-Id", &id)], list).await.json();
    assert_eq!(listed["result"]["tools"][0]["name"], "time__echo");
}

#[tokio::test]
async fn a_client_without_a_handshake_calls_a_tool_of_the_group() {
    let house = deployed().await;
    let version = "2026-07-28";
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "time__echo",
        "arguments": {"message": "hello"}, "_meta": {"io.modelcontextprotocol/protocolVersion": version,
        "io.modelcontextprotocol/clientCapabilities": {}}}});
    let headers =
        [("MCP-Protocol-Version", version), ("Mcp-Method", "tools/call"), ("Mcp-Name", "time__echo")];
    let answer = post(&house, PATH, &headers, &body.to_string()).await;
    assert_eq!((answer.status, answer.body.contains("hello")), (200, true), "{answer:?}");
    let wrong = [headers[0], headers[1], ("Mcp-Name", "echo")];
    assert_eq!(post(&house, PATH, &wrong, &body.to_string()).await.status, 400);
}

#[tokio::test]
async fn calls_are_written_down_with_the_group_and_the_server() {
    let house = deployed().await;
    let session = session(&house).await;
    session.call_tool("time__echo", &json!({"message": "hello"})).await.unwrap();
    for _ in 0..600 {
        let list = house.ask("GET", "/audit/calls?group=demo&instance=time", None).await.json();
        if let Some(line) = list["data"]["entries"].get(0) {
            let told = [&line["method"], &line["path"], &line["outcome"], &line["actor"]];
            assert_eq!(told, [&json!("tools/call"), &json!("time__echo"), &json!("done"), &json!("gateway")]);
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("nobody wrote it down");
}

#[tokio::test]
async fn of_a_group_an_agent_sees_what_its_connections_grant_at_each_server_and_calls_count() {
    let house = House::new().await;
    let server = |name: &str| json!({"instanceName": name, "image": "mcp"});
    let body = json!({"groupId": "demo", "servers": [server("time"), server("other")]});
    house.client("deploy").deploy_group(&body, &Mutation::default()).await.unwrap();
    let grant = async |servers: serde_json::Value| {
        let rate = json!({"callsPerMinute": 1, "burst": 2});
        let body = json!({"agent": "gateway", "servers": servers, "rate": rate});
        let put = house.ask("PUT", "/gateway/connections/a", Some(&body)).await;
        assert!(put.status < 300, "{put:?}");
    };
    grant(json!([{"instanceName": "time"}])).await;
    let session = session(&house).await;
    let names = async || {
        let tools = session.list_tools().await.unwrap();
        tools.iter().map(|tool| tool["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names().await, ["time__echo"]);
    let hello = json!({"message": "hello"});
    let hidden = session.call_tool("other__echo", &hello).await.unwrap_err();
    assert!(matches!(&hidden, Error::Rpc { code: -32602, .. }), "{hidden:?}");
    for _ in 0..2 {
        session.call_tool("time__echo", &hello).await.unwrap();
    }
    let too_often = session.call_tool("time__echo", &hello).await.unwrap_err();
    assert!(matches!(&too_often, Error::Refused(refusal) if refusal.status == 429), "{too_often:?}");
    grant(json!([{"instanceName": "other", "tools": ["none"]}])).await;
    assert_eq!(names().await, [] as [&str; 0]);
    grant(json!([{"instanceName": "elsewhere"}])).await;
    assert_eq!(post(&house, PATH, &[], INITIALIZE).await.code(), "no_such_group", "as if it were not there");
    house.client("admin").remove_connection("a", None).await.unwrap();
    assert_eq!(post(&house, PATH, &[], INITIALIZE).await.status, 403);
}
