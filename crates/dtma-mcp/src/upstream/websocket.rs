//! WebSocket: one message a text frame, sub-protocol `mcp`.

use super::FAREWELL;
use super::client::Client;
use super::ear::Ear;
use super::refusal::Trouble;
use crate::envelope::Message;
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http::{HeaderValue, Request, header};
use std::io;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message as Frame};
use tokio_util::sync::CancellationToken;

type Socket = WebSocketStream<TcpStream>;

/// One session with a server.
pub(super) struct Session {
    client: Client,
    ear: Ear,
    path: String,
    limit: usize,
}

impl Session {
    pub(super) fn new(client: Client, ear: Ear, path: String, limit: usize) -> Self {
        Self { client, ear, path, limit }
    }

    /// Carries messages both ways until the connection ends or nobody needs it any more.
    pub(super) async fn run(self, said: mpsc::Receiver<Bytes>, stop: CancellationToken) {
        let Some(opened) = stop.run_until_cancelled(self.open()).await else { return };
        let mut socket = match opened {
            Ok(socket) => socket,
            Err(why) => return self.ear.end(why),
        };
        match stop.run_until_cancelled(self.carry(&mut socket, said)).await {
            Some(why) => self.ear.end(why),
            None => drop(tokio::time::timeout(FAREWELL, socket.close(None)).await),
        }
    }

    async fn open(&self) -> io::Result<Socket> {
        match self.shake_hands(true).await? {
            // The sub-protocol was never made a standard, and not everybody names it.
            Err(Error::Protocol(ProtocolError::SecWebSocketSubProtocolError(_))) => {
                self.shake_hands(false).await?.map_err(broken)
            }
            opened => opened.map_err(broken),
        }
    }

    async fn shake_hands(&self, named: bool) -> io::Result<Result<Socket, Error>> {
        let stream = self.client.dial().await.map_err(|trouble| match trouble {
            Trouble::Gone { why, .. } => why,
            Trouble::Unanswered { .. } | Trouble::Refused { .. } => io::Error::other("it cannot be reached"),
        })?;
        let config =
            WebSocketConfig::default().max_message_size(Some(self.limit)).max_frame_size(Some(self.limit));
        let request = self.request(named).map_err(io::Error::other)?;
        let opened = tokio_tungstenite::client_async_with_config(request, stream, Some(config)).await;
        Ok(opened.map(|(socket, _)| socket))
    }

    fn request(&self, named: bool) -> http::Result<Request<()>> {
        let host = self.client.host();
        let uri = format!("ws://{}{}", host.to_str().unwrap_or("localhost"), self.path);
        let mut request = Request::get(uri)
            .header(header::HOST, host)
            .header(header::CONNECTION, "Upgrade")
            .header(header::UPGRADE, "websocket")
            .header(header::SEC_WEBSOCKET_VERSION, "13")
            .header(header::SEC_WEBSOCKET_KEY, generate_key())
            .body(())?;
        if named {
            let name = HeaderValue::from_static("mcp");
            request.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, name);
        }
        Ok(request)
    }

    /// Why it ended.
    async fn carry(&self, socket: &mut Socket, said: mpsc::Receiver<Bytes>) -> io::Error {
        let (mut to, mut from) = socket.split();
        let mut said = said;
        let speak = async {
            while let Some(line) = said.recv().await {
                if let Err(problem) = send(&mut to, line).await {
                    return broken(problem);
                }
            }
            // Nobody speaks any more; who listens says when it ends.
            std::future::pending().await
        };
        let hear = async {
            while let Some(frame) = from.next().await {
                match frame {
                    Ok(frame) => self.hear(frame).await,
                    Err(problem) => return broken(problem),
                }
            }
            io::Error::new(io::ErrorKind::UnexpectedEof, "the server closed the connection")
        };
        tokio::select! {
            // Dropped: the connection is given up.
            why = speak => why,
            // Dropped: the connection is given up.
            why = hear => why,
        }
    }

    async fn hear(&self, frame: Frame) {
        let text = match frame {
            Frame::Text(text) => text.into(),
            Frame::Binary(bytes) => bytes,
            // Answered by the library.
            Frame::Ping(_) | Frame::Pong(_) | Frame::Close(_) | Frame::Frame(_) => return,
        };
        for message in self.ear.read(text).await {
            self.ear.pass(&message).await;
        }
    }
}

async fn send(
    to: &mut futures_util::stream::SplitSink<&mut Socket, Frame>,
    line: Bytes,
) -> Result<(), Error> {
    let Ok(message) = Message::read(line, usize::MAX) else { return Ok(()) };
    match tokio_tungstenite::tungstenite::Utf8Bytes::try_from(message.to_text(&mut [])) {
        Ok(text) => to.send(Frame::Text(text)).await,
        Err(_) => Ok(()),
    }
}

fn broken(problem: Error) -> io::Error {
    match problem {
        Error::Io(problem) => problem,
        other => io::Error::other(other.to_string()),
    }
}
