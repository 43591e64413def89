//! WebSocket: one message a text frame.

use super::super::message;
use super::http::Address;
use anyhow::{Context, Result, bail};
use futures_util::{SinkExt, StreamExt};
use http::{HeaderValue, Request};
use serde_json::Value;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message as Frame;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;

/// One session.
pub(in super::super) struct WebSocket {
    socket: WebSocketStream<TcpStream>,
}

impl WebSocket {
    /// Opens the socket and shakes hands.
    pub(in super::super) async fn open(address: &Address) -> Result<Self> {
        let uri = address.uri()?;
        let host = uri.authority().context("no host")?.as_str();
        let mut request = Request::builder()
            .uri(format!("ws://{host}{}", uri.path()))
            .header("connection", "upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", generate_key())
            .header("sec-websocket-protocol", "mcp")
            .body(())?;
        request.headers_mut().extend(address.headers()?);
        request.headers_mut().insert("origin", HeaderValue::from_str(&format!("http://{host}"))?);
        let (socket, _) = tokio_tungstenite::client_async(request, address.connect().await?).await?;
        let mut opened = Self { socket };
        opened.say(message::hello()).await?;
        message::version(&opened.answer(0).await?)?;
        opened.say(message::ready()).await?;
        Ok(opened)
    }

    pub(super) async fn call(&mut self, client: usize, id: u64) -> Result<Duration> {
        let body = message::call(client, id);
        let began = Instant::now();
        self.say(body).await?;
        let answer = self.answer(id).await?;
        let took = began.elapsed();
        message::check(client, id, &answer)?;
        Ok(took)
    }

    async fn say(&mut self, body: Vec<u8>) -> Result<()> {
        let text = String::from_utf8(body)?;
        Ok(self.socket.send(Frame::text(text)).await?)
    }

    async fn answer(&mut self, id: u64) -> Result<Value> {
        loop {
            match self.socket.next().await.context("the socket ended")?? {
                Frame::Text(text) => match message::answer(text.as_bytes()) {
                    Some((answered, answer)) if answered == id => return Ok(answer),
                    Some(_) | None => {}
                },
                Frame::Close(why) => bail!("closed: {why:?}"),
                Frame::Binary(_) | Frame::Ping(_) | Frame::Pong(_) | Frame::Frame(_) => {}
            }
        }
    }
}
