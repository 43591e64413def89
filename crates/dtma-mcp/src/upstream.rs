//! Servers that are spoken to over a port: Streamable HTTP, HTTP+SSE or WebSocket, made to look like one on its
//! standard streams. Lines go in, lines come out, so that whatever holds for a stdio server holds for these too.
//!
//! The tasks of one session end when its output is dropped, and within a second the server was told so.

mod client;
mod ear;
mod http;
mod refusal;
mod sse;
pub(crate) mod stateless;
#[cfg(test)]
mod tests;
mod websocket;

use self::client::Client;
use self::ear::Ear;
use async_trait::async_trait;
use bytes::Bytes;
use dtma_core::port::runtime::{AttachInput, Attached, OutputChunk};
use futures_util::future::BoxFuture;
use futures_util::{Stream, StreamExt};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

/// Messages that may wait for whoever writes them to the server, and for whoever hears the server.
const QUEUE: usize = 256;
/// How long a server may take to hear that nobody needs the session any more.
const FAREWELL: Duration = Duration::from_secs(1);
/// How long it may take to note that the client is initialised, before it is told anything else.
const INITIALISED: Duration = Duration::from_secs(10);

/// Connects to the server's port. [`io::ErrorKind::ConnectionRefused`] when nobody listens there: before the first
/// connection that is asked again and again; any other error says that the server is gone.
pub type Dial = Arc<dyn Fn() -> BoxFuture<'static, io::Result<TcpStream>> + Send + Sync>;

/// How messages travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// A POST for each message, answered with JSON or a stream of events (2025-03-26 and later).
    StreamableHttp,
    /// A stream of events to listen to, which says where to POST (2024-11-05).
    Sse,
    /// One message a text frame.
    WebSocket,
}

/// A server that listens on a port.
#[derive(Clone)]
pub struct Upstream {
    /// How it is spoken to.
    pub protocol: Protocol,
    /// How it is reached.
    pub dial: Dial,
    /// Its port, for the `Host` header.
    pub port: u16,
    /// Where it is found there, from the slash on.
    pub path: String,
    /// Most bytes of one message.
    pub message: usize,
}

impl Upstream {
    /// Begins a session: nothing was said to the server yet. The output ends, saying why, when the session is gone for
    /// good. Call it inside a Tokio runtime.
    #[must_use]
    pub fn attach(self) -> Attached {
        let crew = Crew::default();
        let (lines, said) = mpsc::channel(QUEUE);
        let (out, chunks) = mpsc::channel(QUEUE);
        let (end, ended) = oneshot::channel();
        let guard = crew.stop.clone().drop_guard();
        self.begin(&crew, Ear::new(out, end, self.message), said);
        let output = Output { chunks, ended: Ended::NotYet(ended), _guard: guard };
        Attached { output: output.boxed(), input: Box::new(Pen { lines }), exact: true }
    }

    fn begin(&self, crew: &Crew, ear: Ear, said: mpsc::Receiver<Bytes>) {
        let client = Client::new(self.dial.clone(), self.port, crew.clone());
        let (path, stop) = (self.path.clone(), crew.stop.clone());
        match self.protocol {
            Protocol::StreamableHttp => {
                let session = Arc::new(http::Session::new(client, ear, path, self.message, crew.clone()));
                crew.tracker.spawn(async move {
                    stop.run_until_cancelled(session.run(said)).await;
                    stop.cancelled().await;
                    let _ = tokio::time::timeout(FAREWELL, session.farewell()).await;
                });
            }
            Protocol::Sse => {
                let session = Arc::new(sse::Session::new(client, ear, path, self.message, crew.clone()));
                crew.spawn(session.run(said));
            }
            Protocol::WebSocket => {
                let session = websocket::Session::new(client, ear, path, self.message);
                crew.tracker.spawn(session.run(said, stop));
            }
        }
    }
}

/// The tasks of one session. They end when it is dropped.
#[derive(Clone, Default)]
struct Crew {
    tracker: TaskTracker,
    stop: CancellationToken,
}

impl Crew {
    fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        self.tracker.spawn(async move {
            let _ = stop.run_until_cancelled_owned(work).await;
        });
    }
}

/// Takes whole lines.
struct Pen {
    lines: mpsc::Sender<Bytes>,
}

#[async_trait]
impl AttachInput for Pen {
    async fn send(&mut self, bytes: Bytes) -> io::Result<()> {
        for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let sent = self.lines.send(bytes.slice_ref(line)).await;
            sent.map_err(|_| io::Error::new(io::ErrorKind::BrokenPipe, "the session ended"))?;
        }
        Ok(())
    }
}

/// What the server says, and why it stopped.
struct Output {
    chunks: mpsc::Receiver<OutputChunk>,
    ended: Ended,
    _guard: DropGuard,
}

enum Ended {
    NotYet(oneshot::Receiver<io::Error>),
    Because(io::Error),
    Told,
}

impl Stream for Output {
    type Item = io::Result<OutputChunk>;

    /// The end is looked for first: what was said before it is then there to be taken.
    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Ended::NotYet(end) = &mut self.ended
            && let Poll::Ready(why) = Pin::new(end).poll(cx)
        {
            self.ended = why.map_or(Ended::Told, Ended::Because);
        }
        if let Poll::Ready(Some(chunk)) = self.chunks.poll_recv(cx) {
            return Poll::Ready(Some(Ok(chunk)));
        }
        match std::mem::replace(&mut self.ended, Ended::Told) {
            Ended::NotYet(end) => {
                self.ended = Ended::NotYet(end);
                Poll::Pending
            }
            Ended::Because(why) => Poll::Ready(Some(Err(why))),
            Ended::Told => Poll::Ready(None),
        }
    }
}
