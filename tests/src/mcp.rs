//! An MCP client that sends exactly what a test says, ids and progress tokens included, through the gateway.

use bytes::Bytes;
use dtma_client::Client;
use dtma_client::mcp::Target;
use dtma_client::sse::{SseEvent, SseParser};
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use http::{HeaderMap, HeaderName, HeaderValue, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde_json::{Value, json};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);
const SESSION: HeaderName = HeaderName::from_static("mcp-session-id");
const PROTOCOL: HeaderName = HeaderName::from_static("mcp-protocol-version");

/// One session with one server, or with all of a group.
#[derive(Clone)]
pub struct McpClient {
    client: Client,
    target: Target,
    headers: HeaderMap,
}

impl McpClient {
    /// Shakes hands.
    pub async fn open(client: &Client, instance: &str) -> Self {
        Self::try_open(client, instance).await.unwrap_or_else(|error| panic!("{instance}: {error}"))
    }

    /// The same with a daemon that may be dying.
    ///
    /// # Errors
    /// What went wrong.
    pub async fn try_open(client: &Client, instance: &str) -> Result<Self, String> {
        Self::open_at(client, Target::Server(instance.to_owned()), &json!({})).await
    }

    /// The same with any target, as a client with these capabilities.
    ///
    /// # Errors
    /// What went wrong.
    pub async fn open_at(client: &Client, target: Target, capabilities: &Value) -> Result<Self, String> {
        let mut opened = Self { client: client.clone(), target, headers: HeaderMap::new() };
        let params = json!({"protocolVersion": "2025-11-25", "capabilities": capabilities,
                            "clientInfo": {"name": "test", "version": "0"}});
        let greeting = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params});
        let response = opened.post(&greeting).await?;
        let session = response.headers().get(SESSION).ok_or("the gateway gives no session id")?.clone();
        opened.headers.insert(SESSION, session);
        let answer = read(response).await?.pop().ok_or("no answer to initialize")?;
        let version = answer["result"]["protocolVersion"].as_str().ok_or_else(|| answer.to_string())?;
        opened.headers.insert(PROTOCOL, HeaderValue::from_str(version).map_err(|error| error.to_string())?);
        opened.post(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"})).await?;
        Ok(opened)
    }

    /// The same session over connections of another client: those of this one may be to a daemon that is dead.
    #[must_use]
    pub fn over(self, client: &Client) -> Self {
        Self { client: client.clone(), ..self }
    }

    /// The same session, whose requests bear this header from now on.
    #[must_use]
    pub fn with_header(mut self, name: &'static str, value: &'static str) -> Self {
        self.headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        self
    }

    /// The gateway's id of this session.
    #[must_use]
    pub fn session(&self) -> &str {
        self.headers[SESSION].to_str().expect("a session id is text")
    }

    /// What the server says that belongs to no call.
    pub async fn listen(&self) -> BoxStream<'static, Result<Value, dtma_client::Error>> {
        let events = self.listen_after(None).await.unwrap_or_else(|error| panic!("{}: {error}", self.target));
        let messages = events.filter_map(async |event| match event {
            Ok(event) if event.data.is_empty() => None,
            Ok(event) => Some(Ok(serde_json::from_str(&event.data).expect("a message"))),
            Err(error) => Some(Err(error)),
        });
        messages.boxed()
    }

    /// The same event by event, and from where an earlier stream was heard to, with a daemon that may be dying.
    ///
    /// # Errors
    /// What went wrong.
    pub async fn listen_after(
        &self,
        last: Option<&str>,
    ) -> Result<BoxStream<'static, Result<SseEvent, dtma_client::Error>>, String> {
        let listening = self.client.listen_to(&self.target, self.headers.clone(), last).await;
        listening.map_err(|error| format!("{error:?}"))
    }

    /// Sends a message that has no answer.
    pub async fn tell(&self, message: &Value) {
        self.post(message).await.unwrap_or_else(|error| panic!("{message}: {error}"));
    }

    /// Sends a request and returns every message up to its answer, the answer last.
    pub async fn exchange(&self, message: &Value) -> Vec<Value> {
        self.try_exchange(message).await.unwrap_or_else(|error| panic!("{message}: {error}"))
    }

    /// The same with a daemon that may be dying.
    ///
    /// # Errors
    /// What went wrong.
    pub async fn try_exchange(&self, message: &Value) -> Result<Vec<Value>, String> {
        let whole = async { read(self.post(message).await?).await };
        tokio::time::timeout(PATIENCE, whole).await.unwrap_or_else(|_| Err("no answer in time".to_owned()))
    }

    /// Calls a tool under this id and returns the whole answer.
    pub async fn call(&self, id: &Value, tool: &str, arguments: &Value) -> Value {
        self.exchange(&call(id, tool, arguments)).await.pop().expect("an answer")
    }

    /// Ends the session.
    ///
    /// # Errors
    /// What went wrong.
    pub async fn close(&self) -> Result<(), String> {
        let closed = self.client.end_at(&self.target, self.headers.clone()).await;
        closed.map_err(|error| format!("{error:?}"))
    }

    async fn post(&self, message: &Value) -> Result<Response<Incoming>, String> {
        let body = Bytes::from(message.to_string());
        let posted = self.client.post_to(&self.target, self.headers.clone(), body, PATIENCE).await;
        posted.map_err(|error| format!("{error:?}"))
    }
}

/// A `tools/call` under this id.
#[must_use]
pub fn call(id: &Value, tool: &str, arguments: &Value) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": {"name": tool, "arguments": arguments}})
}

/// The same with a progress token.
#[must_use]
pub fn call_with_progress(id: &Value, tool: &str, arguments: &Value, token: &Value) -> Value {
    let mut message = call(id, tool, arguments);
    message["params"]["_meta"] = json!({"progressToken": token});
    message
}

/// The text of a tool's result, be it the result or a whole answer with it.
#[must_use]
pub fn text(answer: &Value) -> &str {
    let result = answer.get("result").unwrap_or(answer);
    result["content"][0]["text"].as_str().unwrap_or_else(|| panic!("no text in {answer}"))
}

/// Every message of an answer, whether it came as JSON or as a stream.
async fn read(response: Response<Incoming>) -> Result<Vec<Value>, String> {
    let kind = response.headers().get("content-type").and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let is_stream = kind.starts_with("text/event-stream");
    let body = response.into_body().collect().await.map_err(|error| format!("{error:?}"))?.to_bytes();
    if is_stream {
        return events(&body);
    }
    serde_json::from_slice(&body).map(|message| vec![message]).map_err(|error| format!("{error}: {body:?}"))
}

fn events(body: &[u8]) -> Result<Vec<Value>, String> {
    let mut parser = SseParser::default();
    parser.push(body).map_err(|error| error.to_string())?;
    let mut messages = Vec::new();
    while let Some(event) = parser.pop() {
        if !event.data.is_empty() {
            let message = serde_json::from_str(&event.data);
            messages.push(message.map_err(|error| format!("{error}: {}", event.data))?);
        }
    }
    Ok(messages)
}
