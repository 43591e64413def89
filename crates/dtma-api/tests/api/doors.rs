//! The two doors whose session lives as long as its stream: HTTP+SSE and WebSocket.

use crate::house::{House, one_mcp, one_tool};
use crate::wire::{Answer, LONG};
use dtma_api::limit::{Limit, Rate, Rates};
use dtma_client::Mutation;
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Error, Message as Frame};

const JSON: (&str, &str) = ("Content-Type", "application/json");
const TOKEN: (&str, &str) = ("Authorization", "Bearer gateway");
const ADMIN: (&str, &str) = ("Authorization", "Bearer admin");
const EVENTS: (&str, &str) = ("Accept", "text/event-stream");
const SSE: &str = "/gateway/servers/time/sse";
const WS: &str = "/gateway/servers/time/ws";
const KEY: (&str, &str) = ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==");
const UPGRADE: [(&str, &str); 3] =
    [("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13")];

async fn deployed() -> House {
    deploy(House::new().await).await
}

async fn deploy(house: House) -> House {
    house.client("deploy").deploy_group(&one_mcp("demo"), &Mutation::default()).await.unwrap();
    house
}

pub(crate) fn initialize(id: &Value) -> Value {
    let params = json!({"protocolVersion": "2024-11-05", "capabilities": {},
        "clientInfo": {"name": "t", "version": "1"}});
    json!({"jsonrpc": "2.0", "id": id, "method": "initialize", "params": params})
}

pub(crate) fn echo(id: &Value, message: &str) -> Value {
    let params = json!({"name": "echo", "arguments": {"message": message}});
    json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params})
}

pub(crate) fn text(answer: &Value) -> &str {
    answer["result"]["content"][0]["text"].as_str().unwrap_or_else(|| panic!("no text in {answer}"))
}

/// What a metric stands at; 0 when nobody counted.
async fn metric(house: &House, line: &str) -> u64 {
    let metrics = house.ask("GET", "/metrics", None).await.body;
    let found = metrics.lines().find_map(|found| found.strip_prefix(line)?.trim().parse().ok());
    found.unwrap_or(0)
}

async fn sessions(house: &House) -> u64 {
    metric(house, "dtma_gateway_sessions{instance=\"time\"}").await
}

/// Waits until no session and no stream is left.
async fn nothing_is_left(house: &House) {
    for _ in 0..500 {
        let streams = metric(house, "dtma_gateway_streams{door=\"Sse\"}").await
            + metric(house, "dtma_gateway_streams{door=\"WebSocket\"}").await;
        if sessions(house).await + streams == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{} sessions are left", sessions(house).await);
}

/// A client over HTTP+SSE.
pub(crate) struct Pair {
    stream: BufReader<TcpStream>,
    endpoint: String,
}

impl Pair {
    async fn connect(house: &House) -> Self {
        let mut stream = TcpStream::connect(house.address).await.unwrap();
        let head = format!(
            "GET {SSE} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: Bearer gateway\r\nAccept: text/event-stream\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut pair = Self { stream: BufReader::new(stream), endpoint: String::new() };
        let (name, endpoint) = pair.event().await;
        assert_eq!(name, "endpoint");
        Self { endpoint, ..pair }
    }

    pub(crate) async fn open(house: &House) -> Self {
        let mut pair = Self::connect(house).await;
        assert_eq!(pair.post(house, &initialize(&json!(0)).to_string()).await.status, 202);
        assert_eq!(pair.hear().await["result"]["serverInfo"]["name"], "fake-mcp-server");
        let told = pair.post(house, r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#).await;
        assert_eq!((told.status, told.body.as_str()), (202, ""));
        pair
    }

    pub(crate) async fn post(&self, house: &House, body: &str) -> Answer {
        house.send("POST", &self.endpoint, &[TOKEN, JSON], body).await
    }

    /// The next line; none at the end of the stream.
    async fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        let read = tokio::time::timeout(LONG, self.stream.read_line(&mut line)).await.expect("in time");
        (read.unwrap_or(0) > 0).then(|| line.trim_end().to_owned())
    }

    /// The next event: chunk sizes and comments are passed over.
    async fn event(&mut self) -> (String, String) {
        let mut name = String::new();
        loop {
            let line = self.line().await.expect("the stream is open");
            if let Some(event) = line.strip_prefix("event: ") {
                name = event.to_owned();
            } else if let Some(data) = line.strip_prefix("data: ") {
                return (name, data.to_owned());
            }
        }
    }

    pub(crate) async fn hear(&mut self) -> Value {
        let (name, data) = self.event().await;
        assert_eq!(name, "message");
        serde_json::from_str(&data).unwrap()
    }

    /// Everything up to the end.
    pub(crate) async fn rest(&mut self) -> String {
        let mut rest = String::new();
        while let Some(line) = self.line().await {
            rest.push_str(&line);
            rest.push('\n');
        }
        rest
    }
}

/// A client over WebSocket.
pub(crate) struct Ws(WebSocketStream<TcpStream>);

impl Ws {
    async fn connect(house: &House, protocol: Option<&str>) -> Result<(Self, http::HeaderMap), Error> {
        let stream = TcpStream::connect(house.address).await.unwrap();
        let mut request = http::Request::get(format!("ws://localhost{WS}")).header("Host", "localhost");
        for (name, value) in UPGRADE.into_iter().chain([KEY, TOKEN]) {
            request = request.header(name, value);
        }
        if let Some(protocol) = protocol {
            request = request.header("Sec-WebSocket-Protocol", protocol);
        }
        let (socket, answer) = tokio_tungstenite::client_async(request.body(()).unwrap(), stream).await?;
        Ok((Self(socket), answer.headers().clone()))
    }

    pub(crate) async fn open(house: &House) -> Self {
        let (mut client, _) = Self::connect(house, Some("mcp")).await.unwrap();
        client.say(&initialize(&json!(0))).await;
        // Without waiting for the answer: what comes in order may be sent in order.
        client.say(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"})).await;
        assert_eq!(client.hear().await["result"]["serverInfo"]["name"], "fake-mcp-server");
        client
    }

    pub(crate) async fn say(&mut self, message: &Value) {
        self.send(Frame::text(message.to_string())).await;
    }

    async fn send(&mut self, frame: Frame) {
        self.0.send(frame).await.unwrap();
    }

    async fn frame(&mut self) -> Option<Frame> {
        let frame = tokio::time::timeout(LONG, self.0.next()).await.expect("in time");
        frame.map(|frame| frame.expect("a frame"))
    }

    pub(crate) async fn hear(&mut self) -> Value {
        loop {
            match self.frame().await.expect("the connection is open") {
                Frame::Text(text) => return serde_json::from_str(&text).unwrap(),
                Frame::Ping(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    pub(crate) async fn closed(&mut self) -> (u16, String) {
        loop {
            match self.frame().await {
                Some(Frame::Close(Some(CloseFrame { code, reason }))) => {
                    return (code.into(), reason.to_string());
                }
                Some(Frame::Ping(_) | Frame::Text(_)) => {}
                other => panic!("{other:?}"),
            }
        }
    }
}

#[tokio::test]
async fn a_client_of_the_first_version_lists_and_calls_over_its_pair_of_paths() {
    let house = deployed().await;
    let mut client = Pair::open(&house).await;
    let call = echo(&json!("1"), "hello").to_string();
    assert_eq!(client.post(&house, &call).await.status, 202);
    let answer = client.hear().await;
    assert_eq!((text(&answer), &answer["id"]), ("hello", &json!("1")));
    assert_eq!(sessions(&house).await, 1);
    drop(client);
    nothing_is_left(&house).await;
}

#[tokio::test]
async fn a_client_over_websocket_lists_and_calls() {
    let house = deployed().await;
    let mut client = Ws::open(&house).await;
    client.say(&json!({"jsonrpc": "2.0", "id": 5, "method": "tools/list"})).await;
    assert_eq!(client.hear().await["result"]["tools"][0]["name"], "echo");
    client.say(&echo(&json!(1.0), "hello")).await;
    let answer = client.hear().await;
    assert_eq!((text(&answer), &answer["id"]), ("hello", &json!(1.0)));
    client.send(Frame::Close(None)).await;
    nothing_is_left(&house).await;
}

#[tokio::test]
async fn a_client_that_vanishes_leaves_nothing() {
    let house = deployed().await;
    let (pair, mut ws) = (Pair::open(&house).await, Ws::open(&house).await);
    let silent = Pair::connect(&house).await;
    assert_eq!(sessions(&house).await, 2, "two of the three shook hands");
    house.mcp.delay("tools/call", Duration::from_secs(600));
    ws.say(&echo(&json!(1), "never answered")).await;
    assert_eq!(pair.post(&house, &echo(&json!(1), "nor this").to_string()).await.status, 202);
    drop((pair, ws, silent));
    nothing_is_left(&house).await;
}

#[tokio::test]
async fn a_call_to_a_stopped_server_is_refused_at_once_on_both_and_their_sessions_live_on() {
    let house = deployed().await;
    let (mut pair, mut ws) = (Pair::open(&house).await, Ws::open(&house).await);
    house.client("deploy").stop_server("time", &Mutation::default()).await.unwrap();
    let call = echo(&json!(7), "x");
    ws.say(&call).await;
    assert_eq!(pair.post(&house, &call.to_string()).await.status, 202);
    for answer in [ws.hear().await, pair.hear().await] {
        assert_eq!(
            (&answer["id"], &answer["error"]["data"]["may_have_executed"]),
            (&json!(7), &json!(false))
        );
        let why = "time is stopped; `dtma restart time` starts it, `dtma logs time` tells more";
        assert_eq!(answer["error"]["message"], why);
    }
    house.client("deploy").start_server("time", &Mutation::default()).await.unwrap();
    ws.say(&call).await;
    assert_eq!(pair.post(&house, &call.to_string()).await.status, 202);
    assert_eq!((text(&ws.hear().await), text(&pair.hear().await)), ("x", "x"));
}

#[tokio::test]
async fn clients_with_the_same_ids_do_not_meet() {
    let house = deployed().await;
    let (mut a, mut b) = (Ws::open(&house).await, Ws::open(&house).await);
    let (mut c, mut d) = (Pair::open(&house).await, Pair::open(&house).await);
    for round in 0..20 {
        let id = json!(round);
        a.say(&echo(&id, "a")).await;
        b.say(&echo(&id, "b")).await;
        c.post(&house, &echo(&id, "c").to_string()).await;
        d.post(&house, &echo(&id, "d").to_string()).await;
        for (answer, expected) in
            [(a.hear().await, "a"), (b.hear().await, "b"), (c.hear().await, "c"), (d.hear().await, "d")]
        {
            assert_eq!((text(&answer), &answer["id"]), (expected, &id));
        }
    }
}

#[tokio::test]
async fn many_calls_may_be_under_way_on_one_stream() {
    let house = deployed().await;
    let mut client = Ws::open(&house).await;
    for id in 0..200 {
        client.say(&echo(&json!(id), &id.to_string())).await;
    }
    for _ in 0..200 {
        let answer = client.hear().await;
        assert_eq!(text(&answer), answer["id"].to_string());
    }
}

#[tokio::test]
async fn the_sub_protocol_is_selected_for_who_asks_and_nobody_else() {
    let house = deployed().await;
    for (offered, selected) in [(Some("mcp"), Some("mcp")), (Some("other, mcp"), Some("mcp")), (None, None)] {
        let (_, headers) = Ws::connect(&house, offered).await.unwrap();
        let answered = headers.get("sec-websocket-protocol").map(|value| value.to_str().unwrap());
        assert_eq!(answered, selected, "{offered:?}");
    }
}

#[tokio::test]
async fn what_is_no_upgrade_is_told_so() {
    let house = deployed().await;
    let plain = house.send("GET", WS, &[TOKEN], "").await;
    assert_eq!((plain.status, plain.code().as_str()), (426, "upgrade_required"));
    assert_eq!(
        (plain.header("upgrade"), plain.header("sec-websocket-version")),
        (Some("websocket"), Some("13"))
    );
    let [connection, upgrade, version] = UPGRADE;
    let keyless = house.send("GET", WS, &[TOKEN, connection, upgrade, version], "").await;
    assert_eq!((keyless.status, keyless.code().as_str()), (400, "invalid_mcp_header"));
    let old = ("Sec-WebSocket-Version", "8");
    assert_eq!(house.send("GET", WS, &[TOKEN, KEY, connection, upgrade, old], "").await.status, 426);
}

#[tokio::test]
async fn both_doors_are_guarded_like_the_other_one() {
    let house = deployed().await;
    let foreign = ("Origin", "https://evil.example");
    let upgrade: Vec<_> = UPGRADE.into_iter().chain([KEY]).collect();
    for (path, more) in [(SSE, vec![EVENTS]), (WS, upgrade)] {
        let with = |extra: &[(&'static str, &'static str)]| -> Vec<_> {
            more.iter().copied().chain(extra.iter().copied()).collect()
        };
        let status = async |headers: &[(&str, &str)]| house.send("GET", path, headers, "").await.status;
        assert_eq!(status(&with(&[])).await, 401, "{path}");
        assert_eq!(status(&with(&[("Authorization", "Bearer nobody")])).await, 401, "{path}");
        assert_eq!(status(&with(&[("Authorization", "Bearer read")])).await, 403, "{path}");
        assert_eq!(status(&with(&[TOKEN, foreign])).await, 403, "{path}");
        let nowhere = path.replace("time", "nobody");
        assert_eq!(house.send("GET", &nowhere, &with(&[TOKEN]), "").await.code(), "no_such_server");
    }
    let in_the_query = format!("{WS}?token=gateway&access_token=gateway");
    assert_eq!(house.send("GET", &in_the_query, &[], "").await.status, 401);
    assert_eq!(house.send("GET", SSE, &[TOKEN, ("Accept", "application/json")], "").await.status, 406);
    house.client("deploy").deploy_group(&one_tool("tools"), &Mutation::default()).await.unwrap();
    let tool = house.send("GET", "/gateway/servers/web/sse", &[TOKEN, EVENTS], "").await;
    assert_eq!(tool.code(), "not_an_mcp_server");
}

#[tokio::test]
async fn a_message_must_belong_to_a_stream_of_the_same_server_and_token() {
    let house = deployed().await;
    let mut client = Pair::open(&house).await;
    let endpoint = client.endpoint.clone();
    let ping = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
    let post = async |path: &str, token| house.send("POST", path, &[token, JSON], ping).await;
    assert_eq!(post(&endpoint, TOKEN).await.status, 202);
    assert_eq!(client.hear().await["id"], 1);
    let unknown = endpoint.split('=').next().unwrap().to_owned() + "=" + &"0".repeat(32);
    assert_eq!(post(&unknown, TOKEN).await.code(), "no_such_session");
    assert_eq!(post("/gateway/servers/time/messages?sessionId=x", TOKEN).await.code(), "no_such_session");
    assert_eq!(post("/gateway/servers/time/messages", TOKEN).await.code(), "invalid_query");
    assert_eq!(post(&endpoint, ADMIN).await.code(), "no_such_session", "another's stream");
    assert_eq!(house.send("POST", &endpoint, &[JSON], ping).await.status, 401);
    assert_eq!(post(&endpoint.replace("time", "other"), TOKEN).await.code(), "no_such_session");
    assert_eq!(
        house.send("POST", &endpoint, &[TOKEN, ("Content-Type", "text/plain")], ping).await.status,
        415
    );
    drop(client);
    nothing_is_left(&house).await;
    assert_eq!(post(&endpoint, TOKEN).await.code(), "no_such_session", "its stream is gone");
}

#[tokio::test]
async fn messages_that_are_none_are_refused_and_the_stream_goes_on() {
    let house = deployed().await;
    let mut pair = Pair::connect(&house).await;
    let early = pair.post(&house, r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#).await;
    assert_eq!((early.status, early.json()["error"]["code"].as_i64()), (400, Some(-32600)));
    let broken = pair.post(&house, "{\"jsonrpc\":").await;
    assert_eq!((broken.status, broken.json()["error"]["code"].as_i64()), (400, Some(-32700)));
    let big = format!("\"{}\"", "x".repeat(16 << 20));
    assert_eq!(pair.post(&house, &big).await.status, 413);
    assert_eq!(pair.post(&house, &initialize(&json!(7)).to_string()).await.status, 202);
    assert_eq!(pair.hear().await["id"], 7);

    let (mut ws, _) = Ws::connect(&house, None).await.unwrap();
    ws.send(Frame::text("nonsense")).await;
    assert_eq!(ws.hear().await["error"]["code"], -32700);
    ws.say(&json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"})).await;
    assert_eq!(ws.hear().await["error"]["code"], -32600);
    ws.say(&initialize(&json!(8))).await;
    assert_eq!(ws.hear().await["id"], 8);
}

#[tokio::test]
async fn frames_that_may_not_be_close_the_connection_with_the_reason() {
    let house = deployed().await;
    let mut binary = Ws::open(&house).await;
    binary.send(Frame::binary(vec![1, 2, 3])).await;
    assert_eq!(binary.closed().await, (1003, "messages are text frames".to_owned()));
    let mut big = Ws::open(&house).await;
    // The connection may end before all of it was sent: that is the point.
    let _ = big.0.send(Frame::text("x".repeat(17 << 20))).await;
    let closed = big.closed().await;
    assert_eq!(closed.0, 1009, "{closed:?}");
    nothing_is_left(&house).await;
}

#[tokio::test]
async fn who_shakes_hands_twice_is_refused() {
    let house = deployed().await;
    let mut ws = Ws::open(&house).await;
    ws.say(&initialize(&json!(2))).await;
    assert_eq!(ws.hear().await["error"]["code"], -32600, "the session goes on");
    ws.say(&echo(&json!(3), "still")).await;
    assert_eq!(text(&ws.hear().await), "still");
}

#[tokio::test]
async fn at_the_end_of_the_daemon_streams_end_and_say_why() {
    let house = deployed().await;
    let (mut pair, mut ws) = (Pair::open(&house).await, Ws::open(&house).await);
    house.shutdown.cancel();
    assert_eq!(ws.closed().await, (1001, "the daemon ends; connect again".to_owned()));
    pair.rest().await;
    tokio::time::timeout(LONG, house.served).await.expect("it ends").unwrap();
}

#[tokio::test]
async fn a_removed_server_takes_its_streams_along() {
    let house = deployed().await;
    let (mut pair, mut ws) = (Pair::open(&house).await, Ws::open(&house).await);
    house.client("deploy").remove_group("demo", &dtma_client::RemoveOptions::default()).await.unwrap();
    let (code, reason) = ws.closed().await;
    assert!([1001, 1012].contains(&code), "{code} {reason}");
    let rest = pair.rest().await;
    assert!(rest.contains("\n: the "), "{rest}");
}

#[tokio::test]
async fn a_client_that_gives_no_sign_of_life_is_closed() {
    let house = deployed().await;
    let mut client = Ws::open(&house).await;
    // Nobody reads here, so nobody answers pings.
    let_seconds_pass(60).await;
    let (code, reason) = client.closed().await;
    assert_eq!((code, reason.as_str()), (1011, "no pong came"));
    nothing_is_left(&house).await;
}

#[tokio::test]
async fn who_says_too_much_over_websocket_is_made_to_wait() {
    let rates = Rates { gateway: Limit(Rate::new(5, Duration::from_secs(1))), ..Rates::off() };
    let house = deploy(House::with_all(Default::default(), None, rates, None).await).await;
    let mut client = Ws::open(&house).await;
    let began = tokio::time::Instant::now();
    for id in 0..10 {
        client.say(&echo(&json!(id), "x")).await;
    }
    for _ in 0..10 {
        assert_eq!(text(&client.hear().await), "x");
    }
    assert!(began.elapsed() > Duration::from_millis(900), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_client_that_does_not_read_loses_its_stream_and_stalls_nobody() {
    let house = deployed().await;
    let (mut pair, mut ws) = (Pair::open(&house).await, Ws::open(&house).await);
    let mut other = Ws::open(&house).await;
    let big = "x".repeat(6 << 20);
    for id in 0..4 {
        assert_eq!(pair.post(&house, &echo(&json!(id), &big).to_string()).await.status, 202);
        ws.say(&echo(&json!(id), &big)).await;
    }
    other.say(&echo(&json!(1), "meanwhile")).await;
    assert_eq!(text(&other.hear().await), "meanwhile");
    // The kernel takes a while to be full; then thirty seconds in which nothing is taken.
    for _ in 0..12 {
        let_seconds_pass(10).await;
        // It answers pings by reading.
        other.say(&json!({"jsonrpc": "2.0", "id": 2, "method": "ping"})).await;
        assert_eq!(other.hear().await["id"], 2);
    }
    assert_eq!(sessions(&house).await, 1, "that of the one that reads");
    let rest = pair.rest().await;
    assert!(rest.len() < 24 << 20, "not everything came: {}", rest.len());
}

#[tokio::test]
async fn calls_through_every_door_are_written_down() {
    let house = deployed().await;
    let (mut pair, mut ws) = (Pair::open(&house).await, Ws::open(&house).await);
    pair.post(&house, &echo(&json!(1), "not to be found in the log").to_string()).await;
    pair.hear().await;
    ws.say(&json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "nothing"}})).await;
    assert_eq!(ws.hear().await["error"]["code"], -32602);
    let client = house.client("gateway");
    let http = dtma_client::mcp::McpSession::open(&client, "time", Duration::from_secs(10)).await.unwrap();
    http.call_tool("echo", &json!({"message": "x"})).await.unwrap();
    let calls = async || {
        let list = house.ask("GET", "/audit/calls?instance=time&actor=gateway", None).await.json();
        list["data"]["entries"].as_array().unwrap().clone()
    };
    for _ in 0..100 {
        if calls().await.len() >= 6 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let mut told: Vec<String> = calls()
        .await
        .iter()
        .filter(|entry| entry["method"] == "tools/call")
        .map(|entry| {
            format!("{} {} {} {}", entry["call"]["door"], entry["path"], entry["outcome"], entry["code"])
        })
        .collect();
    told.sort();
    assert_eq!(
        told,
        [
            r#""http" "echo" "done" null"#,
            r#""sse" "echo" "done" null"#,
            r#""websocket" "nothing" "failed" "rpc_error_-32602""#
        ]
    );
    let kept = std::fs::read_to_string(house.dir.path().join("calls/audit.log")).unwrap();
    assert!(!kept.contains("not to be found"), "{kept}");
    assert_eq!(house.send("GET", "/audit/calls", &[TOKEN], "").await.status, 403, "not for agents");
}

/// Time as tokio counts it, with pauses in which sockets are served.
async fn let_seconds_pass(seconds: u64) {
    for _ in 0..seconds {
        tokio::time::sleep(Duration::from_millis(5)).await;
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(1)).await;
        tokio::time::resume();
    }
}
