//! The reference servers without any network: those on standard streams through the gateway, and server-everything over
//! Streamable HTTP and over SSE through a published port that only the shim leads to.
#![allow(clippy::expect_used, clippy::panic, reason = "a test stops where something is broken")]

use bytes::Bytes;
use dtma_client::sse::{SseEvent, SseParser};
use dtma_tests::engine::containers;
use dtma_tests::{Toolbox, groups, text};
use http::{HeaderMap, Method, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);

/// Every container of the group is on network `none`, and there is no other network.
fn without_network(toolbox: &Toolbox, name: &str, count: usize) {
    let containers = containers(&toolbox.named(name));
    let modes: Vec<&Value> =
        containers.iter().map(|container| &container["HostConfig"]["NetworkMode"]).collect();
    assert_eq!(modes, vec!["none"; count]);
    assert!(dtma_tests::engine::networks(&toolbox.named(name)).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_reference_servers_work_on_their_standard_streams() {
    let toolbox = Toolbox::start_with(|launch| launch.shims = Some(true));
    let servers = [
        groups::everything("everything"),
        groups::filesystem("filesystem"),
        groups::memory("memory"),
        groups::time("time"),
        groups::git("git"),
    ];
    toolbox.deploy(&toolbox.group("streams", &servers)).await;
    without_network(&toolbox, "streams", servers.len());
    let entity = json!({"name": "Ada", "entityType": "person", "observations": ["wrote programs"]});
    for (server, tool, arguments, expected) in [
        ("everything", "echo", json!({"message": "hello"}), "Echo: hello"),
        ("filesystem", "write_file", json!({"path": "/data/note", "content": "remember"}), "/data/note"),
        ("filesystem", "read_text_file", json!({"path": "/data/note"}), "remember"),
        ("memory", "create_entities", json!({"entities": [entity]}), "Ada"),
        ("memory", "search_nodes", json!({"query": "Ada"}), "wrote programs"),
        ("time", "get_current_time", json!({"timezone": "Europe/Berlin"}), "Europe/Berlin"),
        ("git", "git_log", json!({"repo_path": "/data"}), "Begin"),
    ] {
        let answer = toolbox.raw_mcp(server).await.call(&json!(1), tool, &arguments).await;
        assert!(text(&answer).contains(expected), "{server} {tool}: {answer}");
    }
}

/// server-everything speaking this transport on its own port, published on another.
fn networked(name: &str, transport: &str) -> (Value, Web) {
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = free.local_addr().expect("its address").port();
    let fields = json!({"kind": "tool", "args": [transport], "port": 3001, "network": "none",
        "publish": [{"hostPort": port, "containerPort": 3001}]});
    let mut server = groups::with(groups::everything(name), &fields);
    server.as_object_mut().expect("an object").remove("transport");
    (server, Web::at(port))
}

/// Plain HTTP to a published port.
struct Web {
    http: Client<HttpConnector, Full<Bytes>>,
    base: String,
    headers: HeaderMap,
}

impl Web {
    fn at(port: u16) -> Self {
        let http = Client::builder(TokioExecutor::new()).build(HttpConnector::new());
        Self { http, base: format!("http://127.0.0.1:{port}"), headers: HeaderMap::new() }
    }

    fn keep(&mut self, name: &'static str, value: &str) {
        self.headers.insert(name, value.parse().expect("a header"));
    }

    async fn send(&self, method: Method, path: &str, body: &str) -> Response<Incoming> {
        let request = Request::builder().method(method).uri(format!("{}{path}", self.base));
        let mut request = request.body(Full::from(body.to_owned())).expect("a request");
        *request.headers_mut() = self.headers.clone();
        let response = tokio::time::timeout(PATIENCE, self.http.request(request)).await;
        let response = response.expect("an answer in time").expect("an answer");
        assert!(response.status().is_success(), "{path}: {response:?}");
        response
    }

    async fn post(&self, path: &str, message: &Value) -> Response<Incoming> {
        self.send(Method::POST, path, &message.to_string()).await
    }
}

/// A stream of events.
struct Events {
    body: Incoming,
    parser: SseParser,
}

impl Events {
    fn of(response: Response<Incoming>) -> Self {
        let kind = response.headers()["content-type"].to_str().expect("text");
        assert!(kind.starts_with("text/event-stream"), "{kind}");
        Self { body: response.into_body(), parser: SseParser::default() }
    }

    async fn next(&mut self) -> SseEvent {
        loop {
            if let Some(event) = self.parser.pop() {
                return event;
            }
            let frame = tokio::time::timeout(PATIENCE, self.body.frame()).await.expect("an event in time");
            let frame = frame.expect("the stream is open").expect("a piece of it");
            self.parser.push(frame.data_ref().expect("data")).expect("events");
        }
    }

    async fn answer_to(&mut self, id: u64) -> Value {
        loop {
            let event = self.next().await;
            let message: Value = serde_json::from_str(&event.data).unwrap_or_default();
            if message["id"] == id && message.get("method").is_none() {
                return message;
            }
        }
    }
}

fn request(id: u64, method: &str, params: &Value) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params})
}

fn initialize() -> Value {
    let client = json!({"name": "test", "version": "0"});
    request(
        1,
        "initialize",
        &json!({"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": client}),
    )
}

fn list() -> Value {
    request(2, "tools/list", &json!({}))
}

fn sum() -> Value {
    request(3, "tools/call", &json!({"name": "get-sum", "arguments": {"a": 19, "b": 23}}))
}

fn initialized() -> Value {
    json!({"jsonrpc": "2.0", "method": "notifications/initialized"})
}

fn is_everything([greeting, listed, summed]: [Value; 3]) {
    assert!(
        greeting["result"]["serverInfo"]["name"].as_str().is_some_and(|name| name.contains("everything"))
    );
    let tools = listed["result"]["tools"].as_array().expect("tools");
    assert!(tools.iter().any(|tool| tool["name"] == "get-sum"), "{listed}");
    assert!(text(&summed).contains("42"), "{summed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_everything_server_speaks_streamable_http_and_sse_on_network_none() {
    let toolbox = Toolbox::start_with(|launch| launch.shims = Some(true));
    let ((http, mut over_http), (sse, mut over_sse)) =
        (networked("http", "streamableHttp"), networked("sse", "sse"));
    toolbox.deploy(&toolbox.group("ports", &[http, sse])).await;
    without_network(&toolbox, "ports", 2);
    streamable_http(&mut over_http).await;
    server_sent_events(&mut over_sse).await;
}

async fn streamable_http(web: &mut Web) {
    web.keep("content-type", "application/json");
    web.keep("accept", "application/json, text/event-stream");
    let greeted = web.post("/mcp", &initialize()).await;
    let session = greeted.headers()["mcp-session-id"].to_str().expect("a session").to_owned();
    let greeting = Events::of(greeted).answer_to(1).await;
    web.keep("mcp-session-id", &session);
    web.post("/mcp", &initialized()).await;
    let listed = Events::of(web.post("/mcp", &list()).await).answer_to(2).await;
    let summed = Events::of(web.post("/mcp", &sum()).await).answer_to(3).await;
    is_everything([greeting, listed, summed]);
    web.send(Method::DELETE, "/mcp", "").await;
}

async fn server_sent_events(web: &mut Web) {
    let mut events = Events::of(web.send(Method::GET, "/sse", "").await);
    let endpoint = events.next().await;
    assert_eq!(endpoint.name, "endpoint");
    web.keep("content-type", "application/json");
    web.post(&endpoint.data, &initialize()).await;
    let greeting = events.answer_to(1).await;
    web.post(&endpoint.data, &initialized()).await;
    web.post(&endpoint.data, &list()).await;
    let listed = events.answer_to(2).await;
    web.post(&endpoint.data, &sum()).await;
    is_everything([greeting, listed, events.answer_to(3).await]);
}
