//! A small MCP client through the gateway: enough to list tools and to call one.
//!
//! It declares no capabilities, so a server has nothing to ask of it but `ping`; anything else is answered with
//! "method not found". Answers may come as JSON or as a stream of events.

use crate::client::Client;
use crate::error::Error;
use crate::query::escape;
use crate::sse::SseEvent;
use crate::stream::sse;
use crate::transport::whole;
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderName, HeaderValue};
use http::{HeaderMap, Method, Response};
use hyper::body::Incoming;
use serde_json::{Value, json};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The version that is asked for.
const VERSION: &str = "2025-11-25";
const SESSION: HeaderName = HeaderName::from_static("mcp-session-id");
const PROTOCOL: HeaderName = HeaderName::from_static("mcp-protocol-version");
const LAST_EVENT: HeaderName = HeaderName::from_static("last-event-id");
/// Pages of one listing that are fetched before the server is thought to go in circles.
const MAX_PAGES: usize = 1000;

/// What a door of the gateway leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// One server, by its instance name.
    Server(String),
    /// All MCP servers of a group as one.
    Group(String),
}

impl Target {
    /// The path of one of its doors.
    pub(crate) fn door(&self, rest: &str) -> String {
        match self {
            Self::Server(instance) => format!("/gateway/servers/{}/{rest}", escape(instance)),
            Self::Group(group) => format!("/gateway/groups/{}/{rest}", escape(group)),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Server(instance) => f.write_str(instance),
            Self::Group(group) => write!(f, "group {group}"),
        }
    }
}

/// The gateway's own operations, message by message.
impl Client {
    /// `POST …/mcp`: one JSON-RPC message; the answer is JSON or a stream.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn post_to(
        &self,
        target: &Target,
        headers: HeaderMap,
        body: Bytes,
        timeout: Duration,
    ) -> Result<Response<Incoming>, Error> {
        let mut call = self.call(Method::POST, target.door("mcp"));
        call.headers = headers;
        call.headers.insert(ACCEPT, HeaderValue::from_static("application/json, text/event-stream"));
        call.body = Some(body);
        call.timeout = timeout;
        call.send().await
    }

    /// `GET …/mcp`: what is said that belongs to no call. Whoever gives the id of the last event it got (`after`) is told
    /// first what came since, where events have ids. An event without data only says where it stands.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn listen_to(
        &self,
        target: &Target,
        headers: HeaderMap,
        after: Option<&str>,
    ) -> Result<BoxStream<'static, Result<SseEvent, Error>>, Error> {
        let mut call = self.call(Method::GET, target.door("mcp"));
        call.headers = headers;
        call.headers.insert(ACCEPT, HeaderValue::from_static("text/event-stream"));
        if let Some(after) = after.and_then(|after| HeaderValue::from_str(after).ok()) {
            call.headers.insert(LAST_EVENT, after);
        }
        Ok(sse(call.send().await?.into_body()))
    }

    /// `DELETE …/mcp`: ends a session.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn end_at(&self, target: &Target, headers: HeaderMap) -> Result<(), Error> {
        let mut call = self.call(Method::DELETE, target.door("mcp"));
        call.headers = headers;
        call.send().await.map(|_| ())
    }

    /// `POST /gateway/servers/{instanceName}/mcp`: [`post_to`](Self::post_to) a server.
    pub async fn gateway_post(
        &self,
        instance: &str,
        headers: HeaderMap,
        body: Bytes,
        timeout: Duration,
    ) -> Result<Response<Incoming>, Error> {
        self.post_to(&Target::Server(instance.to_owned()), headers, body, timeout).await
    }

    /// `GET /gateway/servers/{instanceName}/mcp`: [`listen_to`](Self::listen_to) a server.
    pub async fn gateway_listen(
        &self,
        instance: &str,
        headers: HeaderMap,
        after: Option<&str>,
    ) -> Result<BoxStream<'static, Result<SseEvent, Error>>, Error> {
        self.listen_to(&Target::Server(instance.to_owned()), headers, after).await
    }

    /// `DELETE /gateway/servers/{instanceName}/mcp`: ends a session with a server.
    pub async fn gateway_close(&self, instance: &str, headers: HeaderMap) -> Result<(), Error> {
        self.end_at(&Target::Server(instance.to_owned()), headers).await
    }

    /// `POST /gateway/groups/{groupId}/mcp`: [`post_to`](Self::post_to) a group.
    pub async fn gateway_group_post(
        &self,
        group: &str,
        headers: HeaderMap,
        body: Bytes,
        timeout: Duration,
    ) -> Result<Response<Incoming>, Error> {
        self.post_to(&Target::Group(group.to_owned()), headers, body, timeout).await
    }

    /// `GET /gateway/groups/{groupId}/mcp`: [`listen_to`](Self::listen_to) a group, whose events have no ids.
    pub async fn gateway_group_listen(
        &self,
        group: &str,
        headers: HeaderMap,
    ) -> Result<BoxStream<'static, Result<SseEvent, Error>>, Error> {
        self.listen_to(&Target::Group(group.to_owned()), headers, None).await
    }

    /// `DELETE /gateway/groups/{groupId}/mcp`: ends a session with a group.
    pub async fn gateway_group_close(&self, group: &str, headers: HeaderMap) -> Result<(), Error> {
        self.end_at(&Target::Group(group.to_owned()), headers).await
    }
}

/// A session with one MCP server, or with all of a group.
pub struct McpSession {
    client: Client,
    target: Target,
    headers: HeaderMap,
    greeting: Value,
    timeout: Duration,
    next: AtomicU64,
}

impl McpSession {
    /// Shakes hands with the server. `timeout` bounds this and each later call.
    ///
    /// # Errors
    /// [`Error`]; the server's own refusal is [`Error::Rpc`].
    pub async fn open(client: &Client, instance: &str, timeout: Duration) -> Result<Self, Error> {
        Self::open_at(client, Target::Server(instance.to_owned()), timeout).await
    }

    /// The same with any target.
    ///
    /// # Errors
    /// As of [`open`](Self::open).
    pub async fn open_at(client: &Client, target: Target, timeout: Duration) -> Result<Self, Error> {
        let mut session = Self {
            client: client.clone(),
            target,
            headers: HeaderMap::new(),
            greeting: Value::Null,
            timeout,
            next: AtomicU64::new(1),
        };
        session.shake_hands().await?;
        Ok(session)
    }

    async fn shake_hands(&mut self) -> Result<(), Error> {
        let client_info = json!({"name": "dtma", "version": env!("CARGO_PKG_VERSION")});
        let params = json!({"protocolVersion": VERSION, "capabilities": {}, "clientInfo": client_info});
        let (response, id) = self.send("initialize", params).await?;
        if let Some(session) = response.headers().get(SESSION) {
            self.headers.insert(SESSION, session.clone());
        }
        self.greeting = self.answer(response, id).await?;
        let agreed = self.greeting["protocolVersion"].as_str().unwrap_or(VERSION);
        if let Ok(agreed) = HeaderValue::from_str(agreed) {
            self.headers.insert(PROTOCOL, agreed);
        }
        self.tell(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"})).await
    }

    /// The result of the handshake: `protocolVersion`, `serverInfo`, `capabilities`, …
    #[must_use]
    pub fn greeting(&self) -> &Value {
        &self.greeting
    }

    /// Every tool, page by page, as the server describes it.
    ///
    /// # Errors
    /// [`Error`]; also when the listing never ends.
    pub async fn list_tools(&self) -> Result<Vec<Value>, Error> {
        let (mut tools, mut params) = (Vec::new(), json!({}));
        for _ in 0..MAX_PAGES {
            let page = self.request("tools/list", params).await?;
            tools.extend(page["tools"].as_array().cloned().unwrap_or_default());
            match page.get("nextCursor") {
                None | Some(Value::Null) => return Ok(tools),
                Some(cursor) => params = json!({"cursor": cursor}),
            }
        }
        Err(nonsense("the list of tools never ends"))
    }

    /// Calls a tool. A tool that failed says so in the result's `isError`.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn call_tool(&self, name: &str, arguments: &Value) -> Result<Value, Error> {
        self.request("tools/call", json!({"name": name, "arguments": arguments})).await
    }

    /// Any request.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn request(&self, method: &str, params: Value) -> Result<Value, Error> {
        let (response, id) = self.send(method, params).await?;
        self.answer(response, id).await
    }

    /// Says goodbye.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn close(self) -> Result<(), Error> {
        self.client.end_at(&self.target, self.headers).await
    }

    async fn send(&self, method: &str, params: Value) -> Result<(Response<Incoming>, u64), Error> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let message = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
        Ok((self.post(&message).await?, id))
    }

    async fn tell(&self, message: &Value) -> Result<(), Error> {
        self.post(message).await.map(|_| ())
    }

    async fn post(&self, message: &Value) -> Result<Response<Incoming>, Error> {
        let body = Bytes::from(message.to_string());
        self.client.post_to(&self.target, self.headers.clone(), body, self.timeout).await
    }

    async fn answer(&self, response: Response<Incoming>, id: u64) -> Result<Value, Error> {
        let after = self.timeout;
        let read = self.read_answer(response, id);
        tokio::time::timeout(after, read).await.unwrap_or(Err(Error::Timeout { after }))
    }

    async fn read_answer(&self, response: Response<Incoming>, id: u64) -> Result<Value, Error> {
        if !is_stream(&response) {
            let body = whole(response.into_body()).await?;
            return result(parse(&body)?);
        }
        let mut messages = raw_messages(response);
        while let Some(message) = messages.next().await {
            let message = parse(&message?)?;
            if message.get("method").is_some() {
                self.oblige(&message).await?;
            } else if message["id"] == id {
                return result(message);
            }
        }
        Err(nonsense("the stream ended before the answer"))
    }

    /// Answers what the server asks; notifications need no answer.
    async fn oblige(&self, message: &Value) -> Result<(), Error> {
        let Some(id) = message.get("id") else { return Ok(()) };
        let answer = if message["method"] == "ping" {
            json!({"jsonrpc": "2.0", "id": id, "result": {}})
        } else {
            json!({"jsonrpc": "2.0", "id": id, "error": {"code": -32601, "message": "not offered by this client"}})
        };
        self.tell(&answer).await
    }
}

fn is_stream(response: &Response<Incoming>) -> bool {
    let kind = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    kind.is_some_and(|kind| kind.trim_start().starts_with("text/event-stream"))
}

/// The messages of an answer as the bytes they are: one where it is JSON, as they come where it is a stream, none where
/// it is empty.
#[must_use]
pub fn raw_messages(response: Response<Incoming>) -> BoxStream<'static, Result<Bytes, Error>> {
    if !is_stream(&response) {
        let body = futures_util::stream::once(whole(response.into_body()));
        return body.filter(|body| std::future::ready(!matches!(body, Ok(body) if body.is_empty()))).boxed();
    }
    let messages = sse(response.into_body()).filter_map(|event| async move {
        match event {
            Ok(event) if event.data.is_empty() => None,
            Ok(event) => Some(Ok(Bytes::from(event.data))),
            Err(error) => Some(Err(error)),
        }
    });
    messages.boxed()
}

fn parse(body: &[u8]) -> Result<Value, Error> {
    serde_json::from_slice(body).map_err(|problem| nonsense(&format!("not JSON-RPC: {problem}")))
}

fn result(mut message: Value) -> Result<Value, Error> {
    if let Some(error) = message.get("error") {
        let message = error["message"].as_str().unwrap_or("(no message)").to_owned();
        return Err(Error::Rpc { code: error["code"].as_i64().unwrap_or(0), message });
    }
    match message.get_mut("result") {
        Some(result) => Ok(result.take()),
        None => Err(nonsense("neither a result nor an error")),
    }
}

fn nonsense(problem: &str) -> Error {
    Error::Unexpected { status: 200, problem: problem.to_owned() }
}
