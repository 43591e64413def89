//! What a call costs, counted and never timed: allocations and their bytes from the socket to the server and back, reads
//! that its client needs, and what the engine is asked meanwhile. All of it is on one thread, which the counter counts; the
//! client allocates nothing, the server and its fake engine some six times a call.

use crate::house::House;
use dtma_client::Mutation;
use dtma_testing::fake_runtime::Process;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};

const CALLS: u64 = 200;
/// A server that answers calls without decoding them: `note` in the name of the tool brings a note of progress.
async fn cheap(mut process: Process) -> i64 {
    while let Some(line) = process.stdin.line().await {
        let Some(id) = number(&line, "\"id\":") else { continue };
        if line.contains("\"method\":\"tools/call\"") {
            if line.contains("\"name\":\"note\"") {
                let token = number(&line, "\"progressToken\":").expect("a token");
                let note = r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progress":1,"progressToken":"#;
                process.stdout.line(&format!("{note}{token}}}}}")).await;
            }
            let text = r#""result":{"content":[{"type":"text","text":"the end"}]}"#;
            process.stdout.line(&format!(r#"{{"jsonrpc":"2.0","id":{id},{text}}}"#)).await;
            continue;
        }
        let answer = match () {
            () if line.contains("\"initialize\"") => {
                r#""result":{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"cheap","version":"1"}}"#
            }
            () if line.contains("\"tools/list\"") => r#""result":{"tools":[]}"#,
            () => r#""error":{"code":-32601,"message":"no such method"}"#,
        };
        process.stdout.line(&format!(r#"{{"jsonrpc":"2.0","id":{id},{answer}}}"#)).await;
    }
    0
}

fn number<'a>(line: &'a str, before: &str) -> Option<&'a str> {
    let (_, rest) = line.split_once(before)?;
    Some(&rest[..rest.find(|byte: char| !byte.is_ascii_digit()).unwrap_or(rest.len())])
}

/// One client: what it sends for a call, where the answer comes, and how that ends.
struct Line {
    posts: TcpStream,
    answers: Option<TcpStream>,
    call: Vec<u8>,
    ends: &'static [u8],
    buffer: Vec<u8>,
    reads: u64,
}

impl Line {
    async fn calls(&mut self, calls: u64) {
        for _ in 0..calls {
            self.posts.write_all(&self.call).await.unwrap();
            match &mut self.answers {
                None => self.reads += read_to(&mut self.posts, &mut self.buffer, self.ends).await,
                Some(answers) => {
                    self.reads += read_to(&mut self.posts, &mut self.buffer, b"\r\n\r\n").await;
                    self.reads += read_to(answers, &mut self.buffer, self.ends).await;
                }
            }
        }
    }
}

/// Reads until what came ends so; how often it had to.
async fn read_to(stream: &mut TcpStream, buffer: &mut [u8], ends: &[u8]) -> u64 {
    let (mut filled, mut reads) = (0, 0);
    while !buffer[..filled].ends_with(ends) {
        let read = stream.read(&mut buffer[filled..]).await.unwrap();
        assert!(read > 0, "closed after {}", String::from_utf8_lossy(&buffer[..filled]));
        (filled, reads) = (filled + read, reads + 1);
    }
    reads
}

fn asks(name: &str, meta: &Value) -> String {
    let params = json!({"name": name, "arguments": {"message": "hello"}, "_meta": meta});
    json!({"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": params}).to_string()
}

fn hello(version: &str) -> String {
    let params =
        json!({"protocolVersion": version, "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}});
    json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params}).to_string()
}

fn post(path: &str, headers: &str, body: &str) -> Vec<u8> {
    let accept = "application/json, text/event-stream";
    format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer gateway\r\nAccept: {accept}\r\n\
         Content-Type: application/json\r\n{headers}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// A masked text frame; the mask changes nothing.
fn frame(text: &str) -> Vec<u8> {
    let length = u16::try_from(text.len()).unwrap();
    let head =
        if length < 126 { vec![0x80 | length as u8] } else { [&[0xfe][..], &length.to_be_bytes()].concat() };
    [&[0x81][..], &head, &[0; 4], text.as_bytes()].concat()
}

const MCP: &str = "/gateway/servers/cheap/mcp";
const ANSWER: &[u8] = b"the end\"}]}}";
const LAST_CHUNK: &[u8] = b"\r\n0\r\n\r\n";

async fn connect(house: &House) -> TcpStream {
    TcpStream::connect(house.address).await.unwrap()
}

/// Asks and returns the head of the answer, and the first of its body with it.
async fn begin(stream: &mut TcpStream, request: &[u8], ends: &[u8]) -> String {
    let mut buffer = vec![0; 16 << 10];
    stream.write_all(request).await.unwrap();
    read_to(stream, &mut buffer, ends).await;
    String::from_utf8_lossy(&buffer).into_owned()
}

async fn http(house: &House, tool: &str, ends: &'static [u8]) -> Line {
    let mut posts = connect(house).await;
    let opened = begin(&mut posts, &post(MCP, "", &hello("2025-11-25")), b"}").await;
    let session = opened.lines().find_map(|line| line.strip_prefix("mcp-session-id: ")).expect("a session");
    let headers = format!("Mcp-Session-Id: {session}\r\nMCP-Protocol-Version: 2025-11-25\r\n");
    let call = post(MCP, &headers, &asks(tool, &json!({"progressToken": "t"})));
    Line { posts, answers: None, call, ends, buffer: vec![0; 16 << 10], reads: 0 }
}

async fn stateless(house: &House) -> Line {
    let headers = "MCP-Protocol-Version: 2026-07-28\r\nMcp-Method: tools/call\r\nMcp-Name: echo\r\n";
    let meta = json!({"io.modelcontextprotocol/protocolVersion": "2026-07-28",
                      "io.modelcontextprotocol/clientCapabilities": {}});
    let call = post(MCP, headers, &asks("echo", &meta));
    // What the translation adds comes behind the text.
    let posts = connect(house).await;
    Line { posts, answers: None, call, ends: b"}", buffer: vec![0; 16 << 10], reads: 0 }
}

async fn socket(house: &House) -> Line {
    let mut posts = connect(house).await;
    let upgrade = "GET /gateway/servers/cheap/ws HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer gateway\r\n\
        Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    begin(&mut posts, upgrade.as_bytes(), b"\r\n\r\n").await;
    begin(&mut posts, &frame(&hello("2025-11-25")), b"}").await;
    let call = frame(&asks("echo", &json!({})));
    Line { posts, answers: None, call, ends: ANSWER, buffer: vec![0; 16 << 10], reads: 0 }
}

async fn pair(house: &House) -> Line {
    let (mut posts, mut answers) = (connect(house).await, connect(house).await);
    let open = "GET /gateway/servers/cheap/sse HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer gateway\r\n\
        Accept: text/event-stream\r\n\r\n";
    let opened = begin(&mut answers, open.as_bytes(), b"\n\n\r\n").await;
    let opened = if opened.contains("data: ") { opened } else { begin(&mut answers, b"", b"\n\n\r\n").await };
    let path = opened.lines().find_map(|line| line.strip_prefix("data: ")).expect("an endpoint").to_owned();
    begin(&mut posts, &post(&path, "", &hello("2024-11-05")), b"\r\n\r\n").await;
    begin(&mut answers, b"", b"}\n\n\r\n").await;
    let call = post(&path, "", &asks("echo", &json!({})));
    let ends = b"the end\"}]}}\n\n\r\n";
    Line { posts, answers: Some(answers), call, ends, buffer: vec![0; 16 << 10], reads: 0 }
}

/// What one call costs on average.
#[derive(Debug)]
struct Cost {
    allocations: u64,
    bytes: u64,
    /// Times the client has to read, in tenths.
    reads: u64,
}

fn cost(open: impl AsyncFnOnce(&House) -> Line) -> Cost {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let (house, mut line) = runtime.block_on(async {
        let house = House::new().await;
        house.engine.add_image_running("cheap", cheap);
        let group = json!({"groupId": "demo", "servers": [{"instanceName": "cheap", "image": "cheap"}]});
        house.client("deploy").deploy_group(&group, &Mutation::default()).await.unwrap();
        let line = open(&house).await;
        (house, line)
    });
    runtime.block_on(line.calls(50));
    house.engine.clear_calls();
    line.reads = 0;
    let spent = counted(&runtime, &mut line);
    let asked = house.engine.calls().len() as u64;
    assert!(asked < CALLS / 10, "no call asks the engine anything, yet it was asked {asked} times");
    Cost {
        allocations: spent.count_total / CALLS,
        bytes: spent.bytes_total / CALLS,
        reads: line.reads * 10 / CALLS,
    }
}

fn counted(runtime: &Runtime, line: &mut Line) -> allocation_counter::AllocationInfo {
    allocation_counter::measure(|| runtime.block_on(line.calls(CALLS)))
}

/// What one call may cost: a fifth more than it did when this was written, so that what is added to the hot path is seen.
struct Budget {
    allocations: u64,
    bytes: u64,
    reads: u64,
}

impl Budget {
    #[track_caller]
    fn holds(&self, cost: &Cost) {
        assert!(cost.allocations > 1, "the counter counts: {cost:?}");
        assert!(
            cost.allocations <= self.allocations,
            "{cost:?} is more than {} allocations",
            self.allocations
        );
        assert!(cost.bytes <= self.bytes, "{cost:?} is more than {} bytes", self.bytes);
        assert!(cost.reads <= self.reads, "{cost:?} is more than {} tenths of a read", self.reads);
    }
}

#[test]
fn a_call_over_streamable_http_keeps_its_budget() {
    let budget = Budget { allocations: 110, bytes: 30_700, reads: 12 };
    budget.holds(&cost(async |house| http(house, "echo", ANSWER).await));
}

#[test]
fn a_call_with_a_note_of_progress_keeps_its_budget() {
    let budget = Budget { allocations: 132, bytes: 35_000, reads: 40 };
    budget.holds(&cost(async |house| http(house, "note", LAST_CHUNK).await));
}

#[test]
fn a_call_without_a_session_keeps_its_budget() {
    let budget = Budget { allocations: 145, bytes: 32_600, reads: 12 };
    budget.holds(&cost(async |house| stateless(house).await));
}

#[test]
fn a_call_over_websocket_keeps_its_budget() {
    let budget = Budget { allocations: 31, bytes: 6_300, reads: 12 };
    budget.holds(&cost(async |house| socket(house).await));
}

#[test]
fn a_call_over_a_pair_of_paths_keeps_its_budget() {
    let budget = Budget { allocations: 104, bytes: 28_300, reads: 24 };
    budget.holds(&cost(async |house| pair(house).await));
}
