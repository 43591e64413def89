//! An MCP client over the gateway's WebSocket door that sends exactly what a test says and hears everything in its order.

use crate::Toolbox;
use futures_util::{SinkExt, StreamExt};
use http::Request;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::{Error, Message};

const PATIENCE: Duration = Duration::from_secs(60);

/// One connection, and the session on it.
pub struct WsClient(WebSocketStream<TcpStream>);

impl WsClient {
    /// Connects and shakes hands with both sides, as a client that answers samplings and elicitations.
    pub async fn open(toolbox: &Toolbox, instance: &str) -> Self {
        let token = format!("Bearer {}", toolbox.token());
        let connected = Self::connect(toolbox, instance, &[("Authorization", &token)]).await;
        connected.unwrap_or_else(|error| panic!("{instance}: {error}")).greet().await
    }

    /// The same with all servers of a group.
    pub async fn open_group(toolbox: &Toolbox, group: &str) -> Self {
        let token = format!("Bearer {}", toolbox.token());
        let (host, path) = (toolbox.url().trim_start_matches("http://"), format!("groups/{group}"));
        let connected = dial(host, &path, &[("Authorization", &token)]).await.map(Self);
        connected.unwrap_or_else(|error| panic!("{group}: {error}")).greet().await
    }

    async fn greet(mut self) -> Self {
        let client = &mut self;
        let capabilities = json!({"sampling": {}, "elicitation": {}});
        let params = json!({"protocolVersion": "2025-11-25", "capabilities": capabilities,
                            "clientInfo": {"name": "test", "version": "0"}});
        client.say(&json!({"jsonrpc": "2.0", "id": "hello", "method": "initialize", "params": params})).await;
        let greeting = client.answer(&json!("hello")).await;
        assert!(greeting["result"]["serverInfo"]["name"].is_string(), "{greeting}");
        client.say(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"})).await;
        self
    }

    /// Connects with these headers only.
    ///
    /// # Errors
    /// The handshake was refused.
    pub async fn connect(toolbox: &Toolbox, instance: &str, headers: &[(&str, &str)]) -> Result<Self, Error> {
        let host = toolbox.url().trim_start_matches("http://");
        dial(host, &format!("servers/{instance}"), headers).await.map(Self)
    }

    /// Sends a message.
    pub async fn say(&mut self, message: &Value) {
        self.send(Message::text(message.to_string())).await.unwrap_or_else(|error| panic!("{error}"));
    }

    /// Sends any frame.
    ///
    /// # Errors
    /// The connection is gone.
    pub async fn send(&mut self, frame: Message) -> Result<(), Error> {
        self.0.send(frame).await
    }

    /// The next message; the close code at the end; 1006 where there was none.
    ///
    /// # Errors
    /// The close code.
    pub async fn next(&mut self) -> Result<Value, u16> {
        loop {
            let frame = tokio::time::timeout(PATIENCE, self.0.next()).await.expect("something in time");
            match frame {
                Some(Ok(Message::Text(text))) => {
                    return Ok(serde_json::from_str(&text).expect("a message is JSON"));
                }
                Some(Ok(Message::Close(Some(close)))) => return Err(close.code.into()),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Err(1006),
            }
        }
    }

    /// The next message.
    pub async fn hear(&mut self) -> Value {
        self.next().await.unwrap_or_else(|code| panic!("closed: {code}"))
    }

    /// The answer to this request; what comes before is passed over.
    pub async fn answer(&mut self, id: &Value) -> Value {
        loop {
            let message = self.hear().await;
            if message["id"] == *id && message.get("method").is_none() {
                return message;
            }
        }
    }

    /// Sends a request and waits for its answer.
    pub async fn ask(&mut self, request: &Value) -> Value {
        self.say(request).await;
        self.answer(&request["id"]).await
    }
}

/// Connects to the door of `whose` (`servers/NAME`, `groups/ID`) of the daemon at `host`, and shakes hands as WebSocket does.
pub(crate) async fn dial(
    host: &str,
    whose: &str,
    headers: &[(&str, &str)],
) -> Result<WebSocketStream<TcpStream>, Error> {
    let mut request = Request::get(format!("ws://{host}/gateway/{whose}/ws"))
        .header("Host", host)
        .header("Connection", "Upgrade")
        .header("Upgrade", "websocket")
        .header("Sec-WebSocket-Version", "13")
        .header("Sec-WebSocket-Protocol", "mcp")
        .header("Sec-WebSocket-Key", generate_key());
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let stream = TcpStream::connect(host).await?;
    let request = request.body(()).expect("a request");
    Ok(tokio_tungstenite::client_async(request, stream).await?.0)
}
