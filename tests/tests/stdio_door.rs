//! `dtma mcp connect`: a client that only starts commands, and what it does not notice: many calls at once, a crash of the
//! server, a `kill -9` of the daemon, a server that was removed and deployed anew.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test stops where something is broken"
)]

use dtma_tests::command_line::{dtma, ends};
use dtma_tests::engine::{container_ids, server_process};
use dtma_tests::{Toolbox, eventually, groups};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(20);

/// A client with a server on its pipes.
struct Client {
    door: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Client {
    fn start(mut command: Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut door = command.spawn().expect("start the door");
        let input = door.stdin.take();
        let output = BufReader::new(door.stdout.take().expect("its output"));
        Self { door, input, output }
    }

    fn open(toolbox: &Toolbox, instance: &str) -> Self {
        let mut client = Self::start(dtma(toolbox, &["mcp", "connect", instance]));
        let params = json!({"protocolVersion": "2025-06-18", "capabilities": {},
            "clientInfo": {"name": "test", "version": "1"}});
        client.say(&json!({"jsonrpc": "2.0", "id": "hello", "method": "initialize", "params": params}));
        let greeting = client.answer(&json!("hello"));
        assert!(greeting["result"]["serverInfo"]["name"].is_string(), "{greeting}");
        client.say(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}));
        client
    }

    fn say(&mut self, message: &Value) {
        self.say_text(&message.to_string());
    }

    fn say_text(&mut self, text: &str) {
        writeln!(self.input.as_mut().expect("still open"), "{text}").expect("the door reads");
    }

    fn hear(&mut self) -> Value {
        let mut line = String::new();
        assert_ne!(self.output.read_line(&mut line).expect("the door writes"), 0, "it ended");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
    }

    fn answer(&mut self, id: &Value) -> Value {
        loop {
            let message = self.hear();
            if message["id"] == *id && message.get("method").is_none() {
                return message;
            }
        }
    }

    fn ask_echo(&mut self, id: &Value, message: &str) {
        let params = json!({"name": "echo", "arguments": {"message": message}});
        self.say(&json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params}));
    }

    fn echo(&mut self, id: &Value, message: &str) {
        self.ask_echo(id, message);
        let answer = self.answer(id);
        assert_eq!(answer["result"]["content"][0]["text"], format!("Echo: {message}"), "{answer}");
    }

    /// Says nothing more; what the door still says, and how it ends.
    fn finish(mut self) -> (Vec<Value>, ExitStatus) {
        drop(self.input.take());
        let rest = (&mut self.output).lines().map_while(Result::ok);
        let rest = rest.map(|line| serde_json::from_str(&line).expect("a message")).collect();
        (rest, self.door.wait().expect("reap the door"))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_only_starts_commands_has_the_whole_server() {
    let toolbox = Toolbox::start();
    toolbox.deploy(&toolbox.group("door", &[groups::fixture("fixture"), groups::idle("idle")])).await;
    let mut client = Client::open(&toolbox, "fixture");
    let ids: Vec<Value> = (0..50).map(|n| if n % 2 == 0 { json!(n) } else { json!(n.to_string()) }).collect();
    for id in &ids {
        client.ask_echo(id, &format!("of {id}"));
    }
    let mut heard = BTreeMap::new();
    while heard.len() < ids.len() {
        let answer = client.hear();
        heard.insert(answer["id"].to_string(), answer["result"]["content"][0]["text"].clone());
    }
    assert!(ids.iter().all(|id| heard[&id.to_string()] == format!("Echo: of {id}")), "{heard:?}");
    client.say_text("npm banner, not a message");
    assert_eq!(client.hear()["error"]["code"], -32700);
    client.say_text("");
    client.ask_echo(&json!("last"), "still answered");
    let (rest, status) = client.finish();
    assert!(status.success());
    assert_eq!(rest.len(), 1, "{rest:?}");
    assert_eq!(rest[0]["id"], "last");

    let gone = ends(&toolbox, &["mcp", "connect", "nobody"], 5).await;
    assert!(gone.stderr.contains("nobody"), "{}", gone.stderr);
    let tool = ends(&toolbox, &["mcp", "connect", "idle"], 5).await;
    assert!(tool.stderr.contains("does not speak MCP"), "{}", tool.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_session_outlives_server_daemon_and_deployment() {
    let mut toolbox = Toolbox::start();
    let document = toolbox.group("door", &[groups::fixture("fixture")]);
    toolbox.deploy(&document).await;
    let group = toolbox.named("door");
    let mut client = Client::open(&toolbox, "fixture");
    client.echo(&json!(1), "before");
    let (_, container) = container_ids(&group).pop().expect("one");
    let process = server_process(&container);
    if let Some(process) = process {
        assert!(Command::new("kill").args(["-9", &process.to_string()]).status().expect("kill").success());
        let again = || async {
            let now = container_ids(&group).pop().and_then(|(_, id)| server_process(&id));
            if now.is_some() && now != Some(process) { Ok(()) } else { Err("it is not back") }
        };
        eventually("the server is back", SOON, again).await;
        toolbox.ready(&group, SOON).await;
    }
    client.echo(&json!(2), "after a crash");
    toolbox.kill9();
    client.ask_echo(&json!(3), "while nobody was there");
    toolbox.start_again();
    let answer = client.answer(&json!(3));
    assert_eq!(answer["result"]["content"][0]["text"], "Echo: while nobody was there", "{answer}");
    toolbox.down(&group, true).await;
    client.ask_echo(&json!(4), "to nobody");
    assert!(client.answer(&json!(4))["error"]["message"].is_string());
    toolbox.deploy(&document).await;
    client.echo(&json!(5), "to a new one");
    assert!(client.finish().1.success());
}
