//! What is said to a server, and whether what comes back is the answer to it.

use anyhow::{Result, bail};
use serde_json::{Value, json};
use std::fmt;

const VERSION: &str = "2025-11-25";

/// The first message of a session.
pub(super) fn hello() -> Vec<u8> {
    let params = json!({"protocolVersion": VERSION, "capabilities": {},
        "clientInfo": {"name": "bench", "version": "0"}});
    bytes(&json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params}))
}

/// The second one.
pub(super) fn ready() -> Vec<u8> {
    bytes(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}))
}

/// A call that nobody else makes: its answer has the number in it.
pub(super) fn call(client: usize, id: u64) -> Vec<u8> {
    let arguments = json!({"message": text(client, id)});
    let params = json!({"name": "echo", "arguments": arguments});
    bytes(&json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params}))
}

fn text(client: usize, id: u64) -> String {
    format!("of {client}, the {id}th")
}

fn bytes(message: &Value) -> Vec<u8> {
    message.to_string().into_bytes()
}

/// The id and the whole of an answer; nothing when this is no answer.
pub(super) fn answer(message: &[u8]) -> Option<(u64, Value)> {
    let message: Value = serde_json::from_slice(message).ok()?;
    if message.get("method").is_some() {
        return None;
    }
    Some((message["id"].as_u64()?, message))
}

/// A call was answered with what belongs to another.
#[derive(Debug)]
pub(super) struct Mixed(String);

impl fmt::Display for Mixed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Mixed {}

/// That this is the answer to that call, and to no other.
pub(super) fn check(client: usize, id: u64, message: &Value) -> Result<()> {
    let said = message["result"]["content"][0]["text"].as_str().unwrap_or_default();
    // server-everything says "Echo: " first.
    if said.ends_with(&text(client, id)) {
        return Ok(());
    }
    Err(Mixed(format!("call {id} of client {client} was answered with {message:.300}")).into())
}

/// The protocol version that was agreed on.
pub(super) fn version(message: &Value) -> Result<String> {
    match message["result"]["protocolVersion"].as_str() {
        Some(version) => Ok(version.to_owned()),
        None => bail!("initialize was answered with {message:.300}"),
    }
}
