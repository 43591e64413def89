//! Frames of one client: read, judged and posted; what is said to it, and pings, written.

use super::super::duplex::{End, Line, Posted, Told};
use super::pulse::{Pulse, Signs};
use crate::app::App;
use crate::auth::Standing;
use crate::body::GATEWAY_LIMIT;
use crate::error::ApiError;
use crate::metrics::StreamDoor;
use crate::sse::KEEP_ALIVE;
use bytes::Bytes;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{interval_at, sleep, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message as Frame, Utf8Bytes};

type Socket = WebSocketStream<Pulse<TokioIo<Upgraded>>>;

/// Buffers of one connection, each way; a message bigger than these is one of its own.
const BUFFER: usize = 16 << 10;
/// Pings without a sign of life after which a client is gone.
const UNANSWERED: u32 = 2;
/// The longest that a client is made to wait before it may say more; whoever is further over its rate is sent away.
const SLOWED: Duration = Duration::from_secs(5);
/// For the last frame to arrive, and for the client's own.
const FAREWELL: Duration = Duration::from_secs(2);
/// What is read and thrown away of a message that is too big, so that its sender sees the close frame and not a reset.
const LINGER: u64 = 32 << 20;

/// Everything a connection needs besides itself.
pub(super) struct Ways {
    pub(super) standing: Standing,
    pub(super) line: Line,
    pub(super) posted: mpsc::Sender<Posted>,
    pub(super) told: Told,
}

/// Why a connection ends.
enum Stop {
    /// As any stream does.
    Stream(End),
    /// With this code, for what the client did.
    Fault(CloseCode, String),
    /// No pong came, nor anything else.
    Silent,
}

impl Stop {
    fn end(&self) -> End {
        match self {
            Self::Stream(end) => *end,
            Self::Fault(..) | Self::Silent => End::Left,
        }
    }

    /// `None`: nobody is there to read it.
    fn frame(&self) -> Option<CloseFrame> {
        let (code, reason) = match self {
            Self::Stream(End::Left) => return None,
            Self::Stream(end @ (End::Closed | End::Shutdown)) => (CloseCode::Away, end.to_string()),
            Self::Stream(end @ End::Lost) => (CloseCode::Restart, end.to_string()),
            Self::Stream(end @ (End::Twice | End::Ungranted | End::Revoked)) => {
                (CloseCode::Policy, end.to_string())
            }
            Self::Stream(end @ End::Slow) => (CloseCode::Again, end.to_string()),
            Self::Fault(code, reason) => (*code, reason.clone()),
            Self::Silent => (CloseCode::Error, "no pong came".to_owned()),
        };
        Some(CloseFrame { code, reason: reason.into() })
    }
}

/// Serves one client to its end.
pub(super) async fn run(app: App, upgrade: OnUpgrade, ways: Ways) {
    let Ok(upgraded) = upgrade.await else { return };
    let (pulse, signs) = Pulse::new(TokioIo::new(upgraded));
    let config = WebSocketConfig::default()
        .read_buffer_size(BUFFER)
        .write_buffer_size(BUFFER)
        .max_message_size(Some(GATEWAY_LIMIT))
        .max_frame_size(Some(GATEWAY_LIMIT));
    let mut socket = WebSocketStream::from_raw_socket(pulse, Role::Server, Some(config)).await;
    app.metrics().stream_began(StreamDoor::WebSocket);
    let Ways { standing, line, posted, mut told } = ways;
    let stop = carry(&app, &mut socket, Hearing { standing, line, posted, signs }, &mut told).await;
    let _gone = timeout(FAREWELL, part(socket, &stop)).await;
    app.metrics().stream_ended(StreamDoor::WebSocket);
    told.finish(stop.end()).await;
}

async fn carry(app: &App, socket: &mut Socket, hearing: Hearing, told: &mut Told) -> Stop {
    let (signs, over) = (hearing.signs.clone(), hearing.line.over());
    let (to, from) = socket.split();
    tokio::select! {
        // Dropped, all: the connection ends with each of them.
        stop = hearing.hear(from) => stop,
        stop = tell(to, told, &signs) => stop,
        () = app.closing().cancelled() => Stop::Stream(End::Shutdown),
        end = over => Stop::Stream(end),
    }
}

/// The way in.
struct Hearing {
    standing: Standing,
    line: Line,
    posted: mpsc::Sender<Posted>,
    signs: Signs,
}

impl Hearing {
    async fn hear(self, mut from: SplitStream<&mut Socket>) -> Stop {
        while let Some(frame) = from.next().await {
            let heard = match frame {
                Ok(Frame::Text(text)) => self.post(text.into()).await,
                Ok(Frame::Binary(_)) => {
                    Err(Stop::Fault(CloseCode::Unsupported, "messages are text frames".to_owned()))
                }
                // Answered by the library.
                Ok(Frame::Ping(_) | Frame::Pong(_) | Frame::Close(_) | Frame::Frame(_)) => Ok(()),
                Err(problem) => Err(fault(problem)),
            };
            if let Err(stop) = heard {
                return stop;
            }
        }
        Stop::Stream(End::Left)
    }

    async fn post(&self, message: Bytes) -> Result<(), Stop> {
        self.admitted().await?;
        let reached = match self.line.reached() {
            Ok(reached) => reached,
            Err(error) => {
                self.line.barred(&message, &error);
                return Err(Stop::Stream(End::Ungranted));
            }
        };
        let posted = self.line.post(message, &reached).await;
        let (posted, settled) = match posted {
            // What comes after the handshake needs the session that comes of it.
            Posted::Awaited(reply) if !self.line.is_open() => {
                let (settled, is_settled) = oneshot::channel::<()>();
                let reply = async move {
                    let reply = reply.await;
                    drop(settled);
                    reply
                };
                (Posted::Awaited(Box::pin(reply)), Some(is_settled))
            }
            posted => (posted, None),
        };
        self.posted.send(posted).await.map_err(|_| Stop::Stream(End::Lost))?;
        if let Some(is_settled) = settled {
            let _never_sent = is_settled.await;
        }
        self.signs.excuse();
        Ok(())
    }

    /// As a request of its own would be; but somebody who says too much is made to wait where that helps.
    async fn admitted(&self) -> Result<(), Stop> {
        loop {
            match self.standing.admit() {
                Ok(()) => return Ok(()),
                Err(ApiError::TooMany(_, wait)) if wait <= SLOWED => sleep(wait).await,
                Err(error @ ApiError::TooMany(..)) => {
                    return Err(Stop::Fault(CloseCode::Again, error.message()));
                }
                Err(error) => return Err(Stop::Fault(CloseCode::Policy, error.message())),
            }
        }
    }
}

/// What a client did that it may not.
fn fault(problem: Error) -> Stop {
    match problem {
        Error::Capacity(_) => {
            Stop::Fault(CloseCode::Size, format!("a message is bigger than {GATEWAY_LIMIT} bytes"))
        }
        Error::Utf8(_) => Stop::Fault(CloseCode::Invalid, "a message is not UTF-8".to_owned()),
        Error::Protocol(problem) => Stop::Fault(CloseCode::Protocol, problem.to_string()),
        _gone => Stop::Stream(End::Left),
    }
}

async fn tell(mut to: SplitSink<&mut Socket, Frame>, told: &mut Told, signs: &Signs) -> Stop {
    let mut beat = interval_at(tokio::time::Instant::now() + KEEP_ALIVE, KEEP_ALIVE);
    let mut unanswered = 0;
    loop {
        let frame = tokio::select! {
            // May be dropped and called again.
            message = told.next() => match message {
                Ok(message) => match Utf8Bytes::try_from(message) {
                    Ok(text) => Frame::Text(text),
                    Err(_) => continue,
                },
                Err(end) => return Stop::Stream(end),
            },
            _ = beat.tick() => {
                unanswered = if signs.take() { 0 } else { unanswered + 1 };
                if unanswered > UNANSWERED {
                    return Stop::Silent;
                }
                Frame::Ping(Bytes::new())
            }
        };
        match to.send(frame).await {
            Ok(()) => {}
            Err(Error::Io(problem)) if problem.kind() == std::io::ErrorKind::TimedOut => {
                return Stop::Stream(End::Slow);
            }
            Err(_) => return Stop::Stream(End::Left),
        }
    }
}

/// Says why it ends and waits for the client to do the same.
async fn part(mut socket: Socket, stop: &Stop) {
    let Some(frame) = stop.frame() else { return };
    let is_too_big = frame.code == CloseCode::Size;
    if socket.close(Some(frame)).await.is_err() {
        return;
    }
    if is_too_big {
        let mut rest = socket.get_mut().take(LINGER);
        let _gone = tokio::io::copy(&mut rest, &mut tokio::io::sink()).await;
        return;
    }
    while let Some(Ok(_)) = socket.next().await {}
}
