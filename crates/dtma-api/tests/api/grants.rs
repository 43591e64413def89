//! What agents may reach: connections as they are made, and what every door makes of them.

use crate::doors::{Pair, Ws, echo, initialize, text};
use crate::house::House;
use crate::wire::{Answer, LONG};
use dtma_api::auth::{Scope, Token};
use dtma_client::mcp::McpSession;
use dtma_client::types::{ConnectionRequest, GrantBody, RateBody};
use dtma_client::{AuditQuery, Mutation};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

const TOKEN: (&str, &str) = ("Authorization", "Bearer gateway");
const JSON: (&str, &str) = ("Content-Type", "application/json");
const BOTH: (&str, &str) = ("Accept", "application/json, text/event-stream");
const EVENTS: (&str, &str) = ("Accept", "text/event-stream");
const TIME: &str = "/gateway/servers/time/mcp";
const LIST: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;

/// Two MCP servers, `time` of the group `demo` and `other` of the group `lab`.
async fn deployed() -> House {
    let house = House::new().await;
    for (group, instance) in [("demo", "time"), ("lab", "other")] {
        let body = json!({"groupId": group, "servers": [{"instanceName": instance, "image": "mcp"}]});
        house.client("deploy").deploy_group(&body, &Mutation::default()).await.unwrap();
    }
    house
}

fn server(name: &str, tools: Option<&[&str]>) -> GrantBody {
    let tools = tools.map(|tools| tools.iter().map(|tool| (*tool).to_owned()).collect());
    GrantBody { instance_name: Some(name.to_owned()), group_id: None, tools }
}

fn granting(servers: Vec<GrantBody>) -> ConnectionRequest {
    ConnectionRequest { agent: Some("gateway".to_owned()), servers, ..ConnectionRequest::default() }
}

async fn grant(house: &House, id: &str, request: &ConnectionRequest) {
    house.client("admin").put_connection(id, request, None).await.unwrap();
}

async fn post(house: &House, path: &str, session: Option<&str>, body: &str) -> Answer {
    let session = session.map(|session| ("Mcp-Session-Id", session));
    let headers: Vec<_> = [TOKEN, JSON, BOTH].into_iter().chain(session).collect();
    house.send("POST", path, &headers, body).await
}

async fn open(house: &House, path: &str) -> Answer {
    post(house, path, None, &initialize(&json!(0)).to_string()).await
}

async fn session(house: &House) -> String {
    let opened = open(house, TIME).await;
    opened.header("mcp-session-id").unwrap_or_else(|| panic!("{opened:?}")).to_owned()
}

#[tokio::test]
async fn a_connection_is_made_changed_looked_at_and_removed() {
    let house = deployed().await;
    let path = "/gateway/connections/bob";
    let body = json!({"agent": "gateway", "servers": [{"instanceName": "t*"}, {"groupId": "soon"}]});
    let made = house.ask("PUT", path, Some(&body)).await;
    assert_eq!((made.status, made.header("etag")), (201, Some("\"1\"")), "{made:?}");
    let data = &made.json()["data"];
    assert_eq!((&data["reaches"], &data["author"]), (&json!(["time"]), &json!("admin")));
    assert_eq!(data["warnings"][0]["pointer"], "/servers/1/groupId", "what is not there yet is no mistake");
    let again = house.ask("PUT", path, Some(&body)).await;
    assert_eq!((again.status, again.header("etag")), (200, Some("\"1\"")), "the same again changes nothing");
    let client = house.client("admin");
    let changed =
        client.put_connection("bob", &granting(vec![server("other", None)]), Some(1)).await.unwrap();
    assert_eq!((changed.revision, changed.reaches), (2, vec!["other".to_owned()]));
    let stale =
        house.send("DELETE", path, &[("Authorization", "Bearer admin"), ("If-Match", "\"1\"")], "").await;
    assert_eq!((stale.status, stale.code().as_str()), (412, "stale_connection"));
    let list = house.client("read").list_connections().await.unwrap();
    assert_eq!((list.total, list.required, list.connections[0].revision), (1, false, 2));
    assert_eq!(client.remove_connection("bob", Some(2)).await.unwrap().connection_id, "bob");
    for method in ["GET", "DELETE"] {
        let gone = house.ask(method, path, None).await;
        assert_eq!((gone.status, gone.code().as_str()), (404, "no_such_connection"));
    }
    let audit = client.list_audit(&AuditQuery::default()).await.unwrap();
    let actions: Vec<_> = audit.entries.iter().map(|entry| entry.action.as_str()).collect();
    assert!(actions.contains(&"putConnection") && actions.contains(&"removeConnection"), "{actions:?}");
}

#[tokio::test]
async fn only_administrators_grant_and_every_mistake_is_named_at_its_place() {
    let house = deployed().await;
    let body = json!({"agent": "gateway", "servers": [{"instanceName": "*"}]}).to_string();
    for token in ["read", "deploy", "gateway", "credentials"] {
        let bearer = format!("Bearer {token}");
        let headers = [("Authorization", bearer.as_str()), JSON];
        assert_eq!(house.send("PUT", "/gateway/connections/x", &headers, &body).await.status, 403, "{token}");
    }
    let put = async |body: Value| house.ask("PUT", "/gateway/connections/x", Some(&body)).await;
    let shape = put(json!({"agnet": "a", "servers": [{"tool": 1}], "rate": {"callsPerMinute": 0}})).await;
    assert_eq!(shape.status, 400);
    let mut details = shape.details();
    details.sort();
    assert_eq!(
        details,
        ["/agnet schema.unknown", "/rate/callsPerMinute schema.minimum", "/servers/0/tool schema.unknown"]
    );
    let rules =
        put(json!({"servers": [{}, {"groupId": "g", "tools": [""]}], "expiresAt": "1960-01-01T00:00:00Z"}))
            .await;
    assert_eq!((rules.status, rules.code().as_str()), (422, "invalid_spec"));
    assert_eq!(
        rules.details(),
        [
            "/agent connection.agent",
            "/servers/0 connection.servers",
            "/servers/1/tools/0 connection.pattern",
            "/expiresAt connection.end"
        ]
    );
    let unreachable = put(json!({"agent": "admin", "servers": [{"instanceName": "time"}]})).await.json();
    assert_eq!(unreachable["data"]["warnings"][0]["rule"], "connection.token");
    assert_eq!(house.ask("PUT", "/gateway/connections/a..b", Some(&json!({}))).await.status, 400);
}

#[tokio::test]
async fn what_is_not_granted_is_as_if_it_were_not_there() {
    let house = deployed().await;
    assert_eq!(
        open(&house, "/gateway/servers/other/mcp").await.status,
        200,
        "nothing is granted to anybody yet"
    );
    grant(&house, "c", &granting(vec![server("time", None)])).await;
    assert_eq!(open(&house, TIME).await.status, 200);
    let doors = [("mcp", EVENTS), ("sse", EVENTS), ("mcp/server-card", EVENTS), ("ws", EVENTS)];
    for (door, accept) in doors {
        let answers = ["other", "nobody"].map(|name| format!("/gateway/servers/{name}/{door}"));
        let [other, nobody] = answers;
        let upgrade = [
            ("Connection", "Upgrade"),
            ("Upgrade", "websocket"),
            ("Sec-WebSocket-Version", "13"),
            ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ];
        let session = ("Mcp-Session-Id", "5f0c6a7e9f3b4d7c8a1e2d3c4b5a6978");
        let headers: Vec<_> = [TOKEN, accept, session].into_iter().chain(upgrade).collect();
        let (other, nobody) =
            (house.send("GET", &other, &headers, "").await, house.send("GET", &nobody, &headers, "").await);
        assert_eq!((other.status, other.code().as_str()), (404, "no_such_server"), "{door}");
        let said = |answer: &Answer| answer.json()["message"].as_str().unwrap().to_owned();
        assert_eq!(said(&other).replace("other", "nobody"), said(&nobody), "{door}");
    }
    let refused = open(&house, "/gateway/servers/other/mcp").await;
    assert_eq!((refused.status, refused.code().as_str()), (404, "no_such_server"));
    let catalogue = house.send("GET", "/.well-known/ai-catalog.json", &[TOKEN], "").await;
    assert!(catalogue.body.contains("mcp:time") && !catalogue.body.contains("other"), "{catalogue:?}");
    let of_admin = house.ask("GET", "/.well-known/ai-catalog.json", None).await;
    assert!(of_admin.body.contains("other"), "whoever administers sees everything");
    grant(
        &house,
        "d",
        &ConnectionRequest {
            servers: vec![GrantBody { group_id: Some("lab".to_owned()), ..GrantBody::default() }],
            ..granting(vec![])
        },
    )
    .await;
    assert_eq!(open(&house, "/gateway/servers/other/mcp").await.status, 200, "several add up");
}

#[tokio::test]
async fn tools_that_are_not_granted_are_neither_listed_nor_called() {
    let house = deployed().await;
    let (mut pair, mut ws) = (Pair::open(&house).await, Ws::open(&house).await);
    grant(&house, "c", &granting(vec![server("time", Some(&["get_*"]))])).await;
    let agent = McpSession::open(&house.client("gateway"), "time", Duration::from_secs(60)).await.unwrap();
    assert_eq!(agent.list_tools().await.unwrap(), Vec::<Value>::new());
    let refused = agent.call_tool("echo", &json!({"message": "x"})).await.unwrap_err().to_string();
    let why = "tool \"echo\" of time is not granted to this token";
    assert!(refused.contains(why), "{refused}");
    let call = echo(&json!(7), "x");
    ws.say(&call).await;
    let answer = ws.hear().await;
    assert_eq!((&answer["error"]["message"], &answer["error"]["code"]), (&json!(why), &json!(-32602)));
    assert_eq!(pair.post(&house, &call.to_string()).await.status, 202);
    assert_eq!(pair.hear().await["error"]["message"], why);
    let stateless = |method: &'static str, name: Option<&'static str>, body: Value| {
        let headers = [TOKEN, JSON, BOTH, ("MCP-Protocol-Version", "2026-07-28"), ("Mcp-Method", method)];
        let headers: Vec<_> = headers.into_iter().chain(name.map(|name| ("Mcp-Name", name))).collect();
        let house = &house;
        async move { house.send("POST", TIME, &headers, &body.to_string()).await.json() }
    };
    let meta = json!({"io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {}});
    let params = json!({"name": "echo", "arguments": {"message": "x"}, "_meta": meta});
    let called = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params});
    assert_eq!(stateless("tools/call", Some("echo"), called).await["error"]["message"], why);
    let listed = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"_meta": meta}});
    assert_eq!(stateless("tools/list", None, listed).await["result"]["tools"], json!([]));
    let heard = house.mcp.received();
    assert!(!heard.iter().any(|line| line.contains("tools/call")), "the server never heard of it: {heard:?}");
    grant(&house, "d", &granting(vec![server("*", Some(&["ec*o"]))])).await;
    assert_eq!(agent.list_tools().await.unwrap()[0]["name"], "echo", "open sessions see it at once");
    ws.say(&call).await;
    assert_eq!(text(&ws.hear().await), "x");
}

#[tokio::test]
async fn calls_beyond_the_rate_are_told_when_to_come_back() {
    let house = deployed().await;
    let rate = Some(RateBody { calls_per_minute: 1, burst: Some(3) });
    grant(&house, "c", &ConnectionRequest { rate, ..granting(vec![server("time", None)]) }).await;
    let (mut pair, mut ws, session) =
        (Pair::open(&house).await, Ws::open(&house).await, session(&house).await);
    let call = echo(&json!(1), "x");
    assert_eq!(post(&house, TIME, Some(&session), &call.to_string()).await.status, 200);
    ws.say(&call).await;
    assert_eq!(text(&ws.hear().await), "x");
    pair.post(&house, &call.to_string()).await;
    assert_eq!(text(&pair.hear().await), "x");
    let refused = post(&house, TIME, Some(&session), &call.to_string()).await;
    assert_eq!((refused.status, refused.code().as_str()), (429, "rate_limited"));
    let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=60).contains(&wait), "{wait}");
    ws.say(&call).await;
    let error = ws.hear().await["error"].take();
    assert_eq!(error["code"], -32029);
    assert!((1..=60_000).contains(&error["data"]["retry_after_ms"].as_u64().unwrap()), "{error}");
    assert_eq!(pair.post(&house, &call.to_string()).await.status, 202);
    assert_eq!(pair.hear().await["error"]["code"], -32029);
    assert_eq!(post(&house, TIME, Some(&session), LIST).await.status, 200, "to look is no call");
    let rate = Some(RateBody { calls_per_minute: 600, burst: Some(1) });
    grant(&house, "c", &ConnectionRequest { rate, ..granting(vec![server("time", None)]) }).await;
    assert_eq!(
        post(&house, TIME, Some(&session), &call.to_string()).await.status,
        200,
        "another rate holds at once"
    );
    let rate = Some(RateBody { calls_per_minute: 1, burst: Some(1) });
    grant(&house, "c", &ConnectionRequest { rate, ..granting(vec![server("time", None)]) }).await;
    assert_eq!(post(&house, TIME, Some(&session), &call.to_string()).await.status, 200);
    assert_eq!(post(&house, TIME, Some(&session), &call.to_string()).await.status, 429);
    grant(&house, "d", &granting(vec![server("time", Some(&["echo"]))])).await;
    assert_eq!(
        post(&house, TIME, Some(&session), &call.to_string()).await.status,
        200,
        "another has no rate"
    );
}

/// A stream of which the head was read.
async fn listen(house: &House, session: &str) -> BufReader<TcpStream> {
    let mut stream = TcpStream::connect(house.address).await.unwrap();
    let head = format!(
        "GET {TIME} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: Bearer gateway\r\nAccept: text/event-stream\r\nMcp-Session-Id: {session}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    tokio::time::timeout(LONG, stream.read_line(&mut line)).await.unwrap().unwrap();
    assert!(line.contains(" 200 "), "{line}");
    stream
}

#[tokio::test]
async fn what_is_taken_away_is_gone_on_open_sessions_too() {
    let house = deployed().await;
    grant(&house, "c", &granting(vec![server("time", None)])).await;
    let (mut pair, mut ws, session) =
        (Pair::open(&house).await, Ws::open(&house).await, session(&house).await);
    let id = ("Mcp-Session-Id", session.as_str());
    let mut listening = listen(&house, &session).await;
    house.client("admin").remove_connection("c", None).await.unwrap();
    let mut rest = Vec::new();
    let ended = tokio::time::timeout(LONG, listening.read_to_end(&mut rest)).await;
    assert!(ended.is_ok(), "the stream goes on");
    let (code, why) = ws.closed().await;
    assert_eq!((code, why.as_str()), (1008, "nothing of this server is granted to this token any more"));
    assert!(pair.rest().await.contains("nothing of this server is granted"));
    for path in [TIME, "/gateway/servers/other/mcp", "/gateway/servers/nobody/mcp"] {
        let refused = post(&house, path, Some(&session), LIST).await;
        assert_eq!((refused.status, refused.code().as_str()), (403, "no_connection"), "{path}");
    }
    assert_eq!(house.send("DELETE", TIME, &[TOKEN, id], "").await.status, 403);
    let catalogue = house.send("GET", "/.well-known/ai-catalog.json", &[TOKEN], "").await;
    assert_eq!(catalogue.json()["entries"], json!([]));
    grant(&house, "d", &granting(vec![server("other", None)])).await;
    assert_eq!(post(&house, TIME, Some(&session), LIST).await.status, 404, "another is granted");
    grant(&house, "d", &granting(vec![server("time", None)])).await;
    assert_eq!(post(&house, TIME, Some(&session), LIST).await.status, 200, "the session was kept");
}

/// Waits until each way to listen has ended, and says how.
async fn ended(pair: &mut Pair, ws: &mut Ws, listening: &mut BufReader<TcpStream>) -> (u16, String) {
    let ended = tokio::time::timeout(LONG, listening.read_to_end(&mut Vec::new())).await;
    assert!(ended.is_ok(), "the stream goes on");
    assert!(pair.rest().await.contains("the token is none any more"));
    ws.closed().await
}

#[tokio::test]
async fn a_token_that_is_none_any_more_ends_what_was_opened_with_it() {
    let house = deployed().await;
    let token = |scopes: &[Scope]| Token::new("gateway", "gateway", scopes.iter().copied());
    let expired = Token { expires_at: Some(house.engine.now()), ..token(&[Scope::Gateway]) };
    let other = || Token::new("other", "other", [Scope::Gateway]);
    let changes =
        [vec![other()], vec![other(), token(&[Scope::Read])], vec![expired], vec![token(&[Scope::Admin])]];
    for (index, tokens) in changes.into_iter().enumerate() {
        house.auth.replace(vec![token(&[Scope::Gateway])]);
        let (mut pair, mut ws, session) =
            (Pair::open(&house).await, Ws::open(&house).await, session(&house).await);
        let mut listening = listen(&house, &session).await;
        house.auth.replace(vec![token(&[Scope::Gateway]), other()]);
        ws.say(&echo(&json!(1), "x")).await;
        assert_eq!(text(&ws.hear().await), "x", "another token ends nothing");
        house.auth.replace(tokens);
        let (code, why) = ended(&mut pair, &mut ws, &mut listening).await;
        assert_eq!((code, why.as_str()), (1008, "the token is none any more"), "{index}");
    }
}

#[tokio::test]
async fn a_token_that_ends_while_a_stream_is_open_ends_the_stream() {
    let house = deployed().await;
    let token = Token::new("gateway", "gateway", [Scope::Gateway]);
    house.auth.replace(vec![token.clone()]);
    let (mut pair, mut ws, session) =
        (Pair::open(&house).await, Ws::open(&house).await, session(&house).await);
    let mut listening = listen(&house, &session).await;
    let soon = house.engine.now() + Duration::from_secs(1);
    house.auth.replace(vec![Token { expires_at: Some(soon), ..token }]);
    assert_eq!(ended(&mut pair, &mut ws, &mut listening).await.0, 1008);
    assert!(house.engine.now() >= soon);
}

#[tokio::test]
async fn refused_calls_are_in_the_log_of_calls() {
    let house = deployed().await;
    let rate = Some(RateBody { calls_per_minute: 1, burst: Some(1) });
    grant(&house, "c", &ConnectionRequest { rate, ..granting(vec![server("time", Some(&["echo"]))]) }).await;
    let session = session(&house).await;
    let call = echo(&json!(1), "x").to_string();
    assert_eq!(post(&house, TIME, Some(&session), &call).await.status, 200);
    assert_eq!(post(&house, TIME, Some(&session), &call).await.status, 429);
    assert_eq!(post(&house, "/gateway/servers/other/mcp", Some(&session), &call).await.status, 404);
    let denied = call.replace("\"echo\"", "\"drop\"");
    assert_eq!(post(&house, TIME, Some(&session), &denied).await.status, 200);
    let wanted = [
        ("time", "echo", None),
        ("time", "echo", Some("rate_limited")),
        ("other", "echo", Some("no_such_server")),
        ("time", "drop", Some("rpc_error_-32602")),
    ];
    for _ in 0..600 {
        let lines = house.client("admin").list_calls(&AuditQuery::default()).await.unwrap().entries;
        let calls = lines.iter().filter(|line| line.method == "tools/call");
        let mut seen: Vec<_> = calls
            .map(|line| {
                (line.instance_name.as_deref().unwrap_or(""), line.path.as_str(), line.code.as_deref())
            })
            .collect();
        seen.sort_unstable();
        let mut wanted = wanted;
        wanted.sort_unstable();
        if seen == wanted {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the log does not say {wanted:?}");
}
