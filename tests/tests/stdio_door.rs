//! `dtma mcp connect`: a client that only starts commands, and what it does not notice: many calls at once, a crash of the
//! server, a `kill -9` of the daemon, a server that was removed and deployed anew. And `dtma agent config`, which tells
//! such a client what to start.
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
use std::path::Path;
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
        Self::greet(dtma(toolbox, &["mcp", "connect", instance]))
    }

    fn greet(command: Command) -> Self {
        let mut client = Self::start(command);
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

/// What a client's file says that it starts, as the client starts it: with nothing of our environment.
fn command_of(file: &Path, server: &str) -> Command {
    let text = std::fs::read_to_string(file).expect("the client's file");
    let file: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    let entry = &file["mcpServers"][server];
    let args = entry["args"].as_array().expect("arguments").iter().map(|arg| arg.as_str().expect("text"));
    let mut command = Command::new(entry["command"].as_str().expect("a command"));
    command.args(args).env_clear();
    command
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_clients_file_names_is_the_server() {
    let toolbox = Toolbox::start();
    toolbox.deploy(&toolbox.group("door", &[groups::fixture("fixture.one"), groups::idle("idle")])).await;
    std::fs::write(toolbox.dir().join("agent.token"), toolbox.token()).expect("a token file");
    let file = toolbox.dir().join(".config/Claude/claude_desktop_config.json");
    std::fs::create_dir_all(file.parent().expect("a folder")).expect("a folder");
    let theirs =
        "{\n  \"theme\": \"dark\",\n  \"mcpServers\": {\n    \"other\": {\"command\": \"npx\"}\n  }\n}\n";
    std::fs::write(&file, theirs).expect("a file");
    let config = ["agent", "config", "--client", "claude-desktop", "--write"];
    let merge = [&config[..], &["--agent-token-file", "agent.token"]].concat();
    let merged = ends(&toolbox, &merge, 0).await;
    assert!(merged.stderr.contains("added: fixture-one"), "{}", merged.stderr);
    assert!(merged.stderr.contains("fixture.one is called fixture-one"), "{}", merged.stderr);
    let text = std::fs::read_to_string(&file).expect("the file");
    assert!(!text.contains(toolbox.token()), "{text}");

    let mut client = Client::greet(command_of(&file, "fixture-one"));
    client.say(&json!({"jsonrpc": "2.0", "id": 7, "method": "tools/list"}));
    let tools = client.answer(&json!(7));
    assert!(tools["result"]["tools"].as_array().is_some_and(|tools| !tools.is_empty()), "{tools}");
    client.echo(&json!(8), "through the file");
    assert!(client.finish().1.success());

    let again = ends(&toolbox, &merge, 0).await;
    assert!(again.stderr.contains("as they were: fixture-one"), "{}", again.stderr);
    assert_eq!(std::fs::read_to_string(&file).expect("the file"), text);
    ends(&toolbox, &[&config[..], &["--remove"]].concat(), 0).await;
    assert_eq!(std::fs::read_to_string(&file).expect("the file"), theirs);

    let group = toolbox.named("door");
    let merged = ends(&toolbox, &[&merge[..], &["--group", &group, "--as-one"]].concat(), 0).await;
    assert!(merged.stderr.contains(&format!("added: {group}")), "{}", merged.stderr);
    let mut client = Client::greet(command_of(&file, &group));
    let arguments = json!({"message": "through one entry"});
    client.say(&dtma_tests::mcp::call(&json!(9), "fixture-one__echo", &arguments));
    assert_eq!(dtma_tests::text(&client.answer(&json!(9))), "Echo: through one entry");
    assert!(client.finish().1.success());
    ends(&toolbox, &[&config[..], &["--remove", "--group", &group, "--as-one"]].concat(), 0).await;
    assert_eq!(std::fs::read_to_string(&file).expect("the file"), theirs);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clients_file_is_not_touched_by_what_cannot_be_done() {
    let toolbox = Toolbox::start();
    toolbox.deploy(&toolbox.group("door", &[groups::idle("idle")])).await;
    let file = toolbox.dir().join("broken.json");
    std::fs::write(&file, "{\n  \"a\" 1\n}").expect("a file");
    let config = |rest: &[&'static str]| [&["agent", "config", "--client", "claude"], rest].concat();
    for (rest, code, word) in [
        (&["--server", "nobody"][..], 5, "there is no server nobody"),
        (&["--server", "idle"], 5, "does not speak MCP"),
        (&["--group", "nobody"], 5, "there is no group nobody"),
        (&[], 5, "there is no MCP server"),
        (&["--file", "broken.json", "--remove"], 2, "broken.json:2:7 is not JSON"),
        (&["--remove"], 2, "say which"),
        (&["--agent-token-file", "t"], 2, "cannot take its token from a file"),
    ] {
        let refused = ends(&toolbox, &config(rest), code).await;
        assert!(refused.stderr.contains(word), "{rest:?}: {}", refused.stderr);
        assert_eq!(refused.stdout, "", "{rest:?}");
    }
    assert_eq!(std::fs::read_to_string(&file).expect("the file"), "{\n  \"a\" 1\n}");
    assert!(!toolbox.dir().join(".mcp.json").exists());
}
