//! A small MCP server of the handshake era as a [`Program`], and the remote control that makes it misbehave.

use crate::fake_runtime::{Process, Program};
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::broadcast;

/// Answers `initialize`, `ping`, `tools/list` and `tools/call` of `echo` (which returns its `message`). Everything
/// else is an unknown method; what is not a request is noted and not answered. Ids come back as they were written.
#[derive(Debug)]
pub struct FakeMcpServer {
    script: Arc<Mutex<Script>>,
    orders: broadcast::Sender<Order>,
}

/// Scripts a [`FakeMcpServer`], in every container that runs it.
#[derive(Debug, Clone)]
pub struct FakeMcpServerRemote {
    script: Arc<Mutex<Script>>,
    orders: broadcast::Sender<Order>,
}

#[derive(Debug, Default)]
struct Script {
    received: Vec<String>,
    delays: HashMap<String, Duration>,
    silent: HashSet<String>,
    deaths: HashMap<String, i64>,
    /// How many answers are collected before they are given in reverse; 0 and 1 mean none.
    reverse: usize,
    kept: Vec<String>,
    /// Instead of `echo`.
    tools: Option<Vec<Value>>,
}

#[derive(Debug, Clone)]
enum Order {
    Stdout(Bytes),
    Stderr(Bytes),
    Exit(i64),
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    method: Option<String>,
    #[serde(default)]
    params: Value,
}

/// What follows from one line.
enum Reaction {
    Nothing,
    Die(i64),
    Answer { after: Duration, line: String },
}

impl FakeMcpServer {
    /// A server that behaves, and the remote control that changes that.
    #[must_use]
    pub fn new() -> (Self, FakeMcpServerRemote) {
        let script = Arc::new(Mutex::new(Script::default()));
        let (orders, _) = broadcast::channel(256);
        let remote = FakeMcpServerRemote { script: Arc::clone(&script), orders: orders.clone() };
        (Self { script, orders }, remote)
    }

    fn react(&self, line: &str) -> Reaction {
        let mut script = lock(&self.script);
        script.received.push(line.to_owned());
        // A server that cannot read a line says so on its standard error at most; real ones differ.
        let Ok(message) = serde_json::from_str::<Message<'_>>(line) else { return Reaction::Nothing };
        let Some(method) = message.method else { return Reaction::Nothing };
        if let Some(code) = script.deaths.get(&method) {
            return Reaction::Die(*code);
        }
        let Some(id) = message.id else { return Reaction::Nothing };
        if script.silent.contains(&method) {
            return Reaction::Nothing;
        }
        let after = script.delays.get(&method).copied().unwrap_or_default();
        if let Some(tools) = script.tools.as_ref().filter(|_| method == "tools/list") {
            let id = id.get();
            let line = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{}}}"#, json!({ "tools": tools }));
            return Reaction::Answer { after, line };
        }
        Reaction::Answer { after, line: answer(id, &method, &message.params) }
    }

    /// The lines to write now that this answer is due.
    fn due(&self, line: String) -> Vec<String> {
        let mut script = lock(&self.script);
        if script.reverse < 2 {
            return vec![line];
        }
        script.kept.push(line);
        if script.kept.len() < script.reverse {
            return Vec::new();
        }
        script.reverse = 0;
        script.kept.drain(..).rev().collect()
    }
}

fn lock(script: &Mutex<Script>) -> MutexGuard<'_, Script> {
    script.lock().expect("no panic while the script is held")
}

fn answer(id: &RawValue, method: &str, params: &Value) -> String {
    let (kind, body) = match result(method, params) {
        Ok(result) => ("result", result),
        Err((code, message)) => ("error", json!({ "code": code, "message": message })),
    };
    format!(r#"{{"jsonrpc":"2.0","id":{},"{kind}":{body}}}"#, id.get())
}

fn result(method: &str, params: &Value) -> Result<Value, (i64, &'static str)> {
    match method {
        "initialize" => Ok(initialize(params)),
        "ping" => Ok(json!({})),
        "tools/list" => Ok(json!({ "tools": [echo_tool()] })),
        "tools/call" if params["name"] == "echo" => Ok(echo(&params["arguments"]["message"])),
        "tools/call" => Err((-32_602, "Unknown tool")),
        _ => Err((-32_601, "Method not found")),
    }
}

fn initialize(params: &Value) -> Value {
    json!({
        "protocolVersion": params["protocolVersion"].as_str().unwrap_or("2025-11-25"),
        "capabilities": { "tools": { "listChanged": true }, "logging": {} },
        "serverInfo": { "name": "fake-mcp-server", "version": "1.0.0" },
    })
}

fn echo_tool() -> Value {
    json!({
        "name": "echo",
        "description": "Says the message back",
        "inputSchema": {
            "type": "object",
            "properties": { "message": { "type": "string" } },
            "required": ["message"],
        },
    })
}

fn echo(message: &Value) -> Value {
    json!({ "content": [{ "type": "text", "text": message }] })
}

#[async_trait]
impl Program for FakeMcpServer {
    async fn run(&self, mut process: Process) -> i64 {
        let mut orders = self.orders.subscribe();
        let mut waiting = FuturesUnordered::new();
        loop {
            // Every arm is safe to drop: a half line stays in `stdin`, answers stay in `waiting`.
            tokio::select! {
                () = process.terminated.cancelled() => return 0,
                line = process.stdin.line() => match line.map(|line| self.react(&line)) {
                    None => return 0,
                    Some(Reaction::Nothing) => {}
                    Some(Reaction::Die(code)) => return code,
                    Some(Reaction::Answer { after, line }) => waiting.push(async move {
                        if !after.is_zero() {
                            tokio::time::sleep(after).await;
                        }
                        line
                    }),
                },
                Some(line) = waiting.next() => {
                    for line in self.due(line) {
                        process.stdout.line(&line).await;
                    }
                }
                order = orders.recv() => match order {
                    Ok(Order::Stdout(bytes)) => process.stdout.write(bytes).await,
                    Ok(Order::Stderr(bytes)) => process.stderr.write(bytes).await,
                    Ok(Order::Exit(code)) => return code,
                    Err(_) => {}
                },
            }
        }
    }
}

impl FakeMcpServerRemote {
    /// Requests of this method are answered so much later. Requests after them are not held up: answers overtake.
    pub fn delay(&self, method: &str, delay: Duration) {
        lock(&self.script).delays.insert(method.to_owned(), delay);
    }

    /// Requests of this method are never answered.
    pub fn silence(&self, method: &str) {
        lock(&self.script).silent.insert(method.to_owned());
    }

    /// The next message with this method ends the process with `code`, unanswered; and so does every one after.
    pub fn die_on(&self, method: &str, code: i64) {
        lock(&self.script).deaths.insert(method.to_owned(), code);
    }

    /// From now on these tools are listed instead of `echo`; whoever listed them before is told so.
    pub fn offer(&self, tools: &[Value]) {
        lock(&self.script).tools = Some(tools.to_vec());
        // Nobody to be told is fine.
        let changed = "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/tools/list_changed\"}\n";
        let _ = self.orders.send(Order::Stdout(changed.into()));
    }

    /// Forgets delays, silences, deaths and other tools.
    pub fn behave(&self) {
        let mut script = lock(&self.script);
        *script = Script { received: std::mem::take(&mut script.received), ..Script::default() };
    }

    /// The next `count` answers are collected and then given in reverse order.
    pub fn answer_in_reverse(&self, count: usize) {
        lock(&self.script).reverse = count;
    }

    /// The server sends this message (a notification, a request of its own).
    pub fn send(&self, message: &Value) {
        self.write_stdout(format!("{message}\n"));
    }

    /// The server writes these bytes to its standard output, whole line or not, JSON or not.
    pub fn write_stdout(&self, bytes: impl Into<Bytes>) {
        self.order(Order::Stdout(bytes.into()));
    }

    /// The server writes these bytes to its standard error.
    pub fn write_stderr(&self, bytes: impl Into<Bytes>) {
        self.order(Order::Stderr(bytes.into()));
    }

    /// The server ends by itself.
    pub fn exit(&self, code: i64) {
        self.order(Order::Exit(code));
    }

    fn order(&self, order: Order) {
        self.orders.send(order).expect("the server runs in some container");
    }

    /// Every line received so far, by all runs together.
    #[must_use]
    pub fn received(&self) -> Vec<String> {
        lock(&self.script).received.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_come_back_as_they_were_written() {
        let (server, _) = FakeMcpServer::new();
        for id in ["1", "1.0", "\"a\\u0062\"", "-9007199254740993"] {
            let line = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"ping"}}"#);
            let Reaction::Answer { line, .. } = server.react(&line) else { panic!("ping is answered") };
            assert_eq!(line, format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{}}}}"#));
        }
    }
}
