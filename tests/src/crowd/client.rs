//! A client by one door, whichever it is: calls go out, and everything comes back that was heard until all are
//! answered. Dropping one is how clients vanish: its connections are closed, and nobody is told.

use super::call::Call;
use super::connection::{Address, Connection, Events, message, read};
use crate::websocket::dial;
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http::{HeaderMap, HeaderValue, Method};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

/// No call of a test waits longer: then it hangs.
const PATIENCE: Duration = Duration::from_secs(120);

/// A door of the gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// Streamable HTTP with a session, of this version of the protocol.
    Http(&'static str),
    /// Streamable HTTP without a session, 2026-07-28.
    Stateless,
    /// HTTP+SSE.
    Pair,
    /// WebSocket.
    Socket,
}

/// One client, with its session where its door has one.
pub struct Client {
    address: Address,
    wire: Wire,
}

enum Wire {
    Http(Connection, HeaderMap),
    Stateless(Connection, HeaderMap),
    Pair(Pair),
    Socket(WebSocketStream<TcpStream>),
}

struct Pair {
    events: Events,
    posts: Connection,
    path: String,
    headers: HeaderMap,
    /// The connection of the stream lives as long as the session.
    _stream: Connection,
}

/// The stream of a GET, on a connection of its own.
pub struct Listener {
    events: Events,
    _connection: Connection,
}

impl Listener {
    /// The next message.
    ///
    /// # Errors
    /// The stream ended, or broke.
    pub async fn next(&mut self) -> Result<Value, String> {
        loop {
            let data = self.events.next().await?.ok_or("the stream ended")?;
            if let Some(message) = message(&data)? {
                return Ok(message);
            }
        }
    }
}

impl Client {
    /// Connects, and shakes hands where the door wants that.
    ///
    /// # Errors
    /// What went wrong.
    pub async fn open(address: &Address, door: Door) -> Result<Self, String> {
        let opened = async {
            Ok(match door {
                Door::Http(version) => http(address, version).await?,
                Door::Stateless => stateless(address).await?,
                Door::Pair => Wire::Pair(Pair::open(address).await?),
                Door::Socket => socket(address).await?,
            })
        };
        let wire = within(opened).await?;
        Ok(Self { address: address.clone(), wire })
    }

    /// Sends these calls, whose ids differ, and returns every message that was heard until the last was answered. By a
    /// door with one stream they are in flight together.
    ///
    /// # Errors
    /// Something else than messages came, or nothing any more.
    pub async fn burst(&mut self, calls: &[Call]) -> Result<Vec<Value>, String> {
        let path = self.address.path("mcp");
        within(async {
            match &mut self.wire {
                Wire::Http(connection, headers) => posted(connection, &path, headers, calls, false).await,
                Wire::Stateless(connection, headers) => posted(connection, &path, headers, calls, true).await,
                Wire::Pair(pair) => pair.burst(calls).await,
                Wire::Socket(socket) => abreast(socket, calls).await,
            }
        })
        .await
    }

    /// Opens the stream of a session over Streamable HTTP.
    ///
    /// # Errors
    /// The door has none, or it is refused.
    pub async fn listen(&self) -> Result<Listener, String> {
        let Wire::Http(_, headers) = &self.wire else { return Err("this door has no such stream".into()) };
        let mut connection = Connection::open(&self.address).await?;
        let answer = connection.send(Method::GET, &self.address.path("mcp"), headers, Bytes::new()).await?;
        Ok(Listener { events: Events::of(answer), _connection: connection })
    }

    /// Subscribes without a session and returns at the acknowledgement.
    ///
    /// # Errors
    /// The door has no subscriptions, or it is refused.
    pub async fn subscribe(&self) -> Result<Listener, String> {
        let Wire::Stateless(_, headers) = &self.wire else { return Err("this door has none".into()) };
        let mut headers = headers.clone();
        headers.insert("mcp-method", HeaderValue::from_static("subscriptions/listen"));
        headers.remove("mcp-name");
        let meta = json!({"io.modelcontextprotocol/protocolVersion": "2026-07-28",
                          "io.modelcontextprotocol/clientCapabilities": {}});
        let params = json!({"notifications": {"toolsListChanged": true}, "_meta": meta});
        let ask = json!({"jsonrpc": "2.0", "id": 1, "method": "subscriptions/listen", "params": params});
        let mut connection = Connection::open(&self.address).await?;
        let answer = connection.send(Method::POST, &self.address.path("mcp"), &headers, body(&ask)).await?;
        let mut listener = Listener { events: Events::of(answer), _connection: connection };
        listener.next().await.map(|_| listener)
    }

    /// Ends a session over Streamable HTTP as one should.
    ///
    /// # Errors
    /// The door has no such end, or it is refused.
    pub async fn close(mut self) -> Result<(), String> {
        let path = self.address.path("mcp");
        let Wire::Http(connection, headers) = &mut self.wire else { return Err("this door has none".into()) };
        within(connection.send(Method::DELETE, &path, headers, Bytes::new())).await.map(drop)
    }
}

async fn within<T>(work: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    tokio::time::timeout(PATIENCE, work).await.unwrap_or_else(|_| Err("nothing came in time".to_owned()))
}

fn body(message: &Value) -> Bytes {
    message.to_string().into()
}

fn hello(version: &str) -> Value {
    let params = json!({"protocolVersion": version, "capabilities": {},
                        "clientInfo": {"name": "crowd", "version": "0"}});
    json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params})
}

fn ready() -> Value {
    json!({"jsonrpc": "2.0", "method": "notifications/initialized"})
}

async fn http(address: &Address, version: &'static str) -> Result<Wire, String> {
    let (mut connection, mut headers) = (Connection::open(address).await?, address.headers());
    let path = address.path("mcp");
    let response = connection.send(Method::POST, &path, &headers, body(&hello(version))).await?;
    let session = response.headers().get("mcp-session-id").ok_or("no session")?.clone();
    let greeting = read(response).await?;
    if greeting.iter().all(|answer| answer["result"]["protocolVersion"] != version) {
        return Err(format!("{version} is answered {greeting:?}"));
    }
    headers.insert("mcp-session-id", session);
    headers.insert("mcp-protocol-version", HeaderValue::from_static(version));
    read(connection.send(Method::POST, &path, &headers, body(&ready())).await?).await?;
    Ok(Wire::Http(connection, headers))
}

async fn stateless(address: &Address) -> Result<Wire, String> {
    let mut headers = address.headers();
    headers.insert("mcp-protocol-version", HeaderValue::from_static("2026-07-28"));
    headers.insert("mcp-method", HeaderValue::from_static("tools/call"));
    headers.insert("mcp-name", HeaderValue::from_static("echo"));
    Ok(Wire::Stateless(Connection::open(address).await?, headers))
}

/// One call after the other.
async fn posted(
    connection: &mut Connection,
    path: &str,
    headers: &HeaderMap,
    calls: &[Call],
    stateless: bool,
) -> Result<Vec<Value>, String> {
    let mut heard = Vec::new();
    for call in calls {
        let body = body(&call.message(stateless));
        heard.extend(read(connection.send(Method::POST, path, headers, body).await?).await?);
    }
    Ok(heard)
}

impl Pair {
    async fn open(address: &Address) -> Result<Self, String> {
        let headers = address.headers();
        let mut stream = Connection::open(address).await?;
        let answer = stream.send(Method::GET, &address.path("sse"), &headers, Bytes::new()).await?;
        let mut events = Events::of(answer);
        let path = events.next().await?.ok_or("the stream ended")?;
        let posts = Connection::open(address).await?;
        let mut pair = Self { events, posts, path, headers, _stream: stream };
        pair.post(&hello("2024-11-05")).await?;
        let greeting = pair.hear().await?;
        if greeting["result"]["protocolVersion"] != "2024-11-05" {
            return Err(format!("initialize is answered {greeting}"));
        }
        pair.post(&ready()).await?;
        Ok(pair)
    }

    async fn post(&mut self, message: &Value) -> Result<(), String> {
        read(self.posts.send(Method::POST, &self.path, &self.headers, body(message)).await?).await.map(drop)
    }

    async fn hear(&mut self) -> Result<Value, String> {
        let data = self.events.next().await?.ok_or("the stream ended")?;
        message(&data)?.ok_or_else(|| "an empty event".to_owned())
    }

    async fn burst(&mut self, calls: &[Call]) -> Result<Vec<Value>, String> {
        let (mut heard, mut answers) = (Vec::new(), 0);
        for call in calls {
            self.post(&call.message(false)).await?;
        }
        while answers < calls.len() {
            let message = self.hear().await?;
            answers += usize::from(message.get("method").is_none());
            heard.push(message);
        }
        Ok(heard)
    }
}

async fn socket(address: &Address) -> Result<Wire, String> {
    let token = format!("Bearer {}", address.token);
    let dialled =
        dial(&address.host, &format!("servers/{}", address.instance), &[("Authorization", &token)]).await;
    let mut socket = dialled.map_err(|error| error.to_string())?;
    say(&mut socket, &hello("2025-11-25")).await?;
    let greeting = hear(&mut socket).await?;
    if greeting["result"]["protocolVersion"] != "2025-11-25" {
        return Err(format!("initialize is answered {greeting}"));
    }
    say(&mut socket, &ready()).await?;
    Ok(Wire::Socket(socket))
}

async fn say(socket: &mut WebSocketStream<TcpStream>, message: &Value) -> Result<(), String> {
    socket.send(Message::text(message.to_string())).await.map_err(|error| error.to_string())
}

async fn hear(socket: &mut WebSocketStream<TcpStream>) -> Result<Value, String> {
    loop {
        match socket.next().await {
            Some(Ok(Message::Text(text))) => {
                return message(&text)?.ok_or_else(|| "an empty frame".to_owned());
            }
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
            other => return Err(format!("the connection ended: {other:?}")),
        }
    }
}

async fn abreast(socket: &mut WebSocketStream<TcpStream>, calls: &[Call]) -> Result<Vec<Value>, String> {
    let (mut heard, mut answers) = (Vec::new(), 0);
    for call in calls {
        say(socket, &call.message(false)).await?;
    }
    while answers < calls.len() {
        let message = hear(socket).await?;
        answers += usize::from(message.get("method").is_none());
        heard.push(message);
    }
    Ok(heard)
}
