//! The least that speaks MCP over an attached process: lines out, lines in, nothing else. The yardstick.

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use dtma_core::port::runtime::{Attached, OutputStream};
use futures_util::StreamExt;
use serde_json::{Value, json};

/// A client of one attached stdio server.
pub(crate) struct StdioClient {
    attached: Attached,
    buffer: Vec<u8>,
    last_id: u64,
}

impl StdioClient {
    /// Shakes hands and lists the tools, as the daemon does before it calls a server ready.
    pub(crate) async fn greet(attached: Attached) -> Result<Self> {
        let mut client = Self { attached, buffer: Vec::new(), last_id: 0 };
        let capabilities = json!({"sampling": {}, "elicitation": {}});
        let hello = json!({"protocolVersion": "2025-11-25", "capabilities": capabilities,
            "clientInfo": {"name": "bench", "version": "0"}});
        client.request("initialize", &hello).await?;
        client.send(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"})).await?;
        client.request("tools/list", &json!({})).await?;
        Ok(client)
    }

    pub(crate) async fn request(&mut self, method: &str, params: &Value) -> Result<Value> {
        self.last_id += 1;
        let id = self.last_id;
        self.send(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params})).await?;
        loop {
            let message: Value = serde_json::from_slice(&self.line().await?)?;
            if message["id"] == id && message.get("method").is_none() {
                if message.get("result").is_none() {
                    bail!("{method}: {message}");
                }
                return Ok(message);
            }
        }
    }

    async fn send(&mut self, message: &Value) -> Result<()> {
        let mut line = serde_json::to_vec(message)?;
        line.push(b'\n');
        Ok(self.attached.input.send(Bytes::from(line)).await?)
    }

    async fn line(&mut self) -> Result<Vec<u8>> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let rest = self.buffer.split_off(end + 1);
                return Ok(std::mem::replace(&mut self.buffer, rest));
            }
            let chunk = self.attached.output.next().await.context("the server's output ended")??;
            if chunk.stream == OutputStream::Stdout {
                self.buffer.extend_from_slice(&chunk.bytes);
            }
        }
    }
}
