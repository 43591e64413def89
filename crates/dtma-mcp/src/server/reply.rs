//! What a door gets for what a client sent.

use crate::SessionId;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{Stream, StreamExt, future};
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// The answer to one POST. The comments name the HTTP answer of the Streamable HTTP transport.
#[derive(Debug)]
pub enum PostReply {
    /// 200, `application/json`, with the header `Mcp-Session-Id`: a session was opened.
    Opened {
        /// Its id.
        session: SessionId,
        /// The response to `initialize`.
        body: Bytes,
    },
    /// 202 without a body: a notification or a client's answer was taken.
    Accepted,
    /// 200, `application/json`: the response, which may be an error.
    Body(Bytes),
    /// 200, `text/event-stream`: other messages come before the response; the stream ends after it.
    Stream(MessageStream),
    /// 400, `application/json`: a JSON-RPC error about the request itself (not JSON, not JSON-RPC, no session, …).
    Refused(Bytes),
    /// 503 with `Retry-After`, `application/json`: as many sessions as may have a process of their own have one. The
    /// response to `initialize`, an error.
    Crowded {
        /// That response.
        body: Bytes,
        /// When to try again.
        try_again: Duration,
    },
    /// 404: no such session. The client begins anew with `initialize`.
    UnknownSession,
    /// 503: the server was removed, or the daemon is ending. Nothing was done.
    Closed,
}

/// Where in all that a server said of itself a message stands. Whoever comes back with the last one it got
/// (`Last-Event-ID`) is told what came after. As text: what has no meaning for clients, a colon and a number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventId {
    /// The process that said it.
    pub(crate) process: Arc<str>,
    /// The end of its line in all that the process wrote; where nobody counts that, the lines' number.
    pub(crate) place: u64,
}

impl EventId {
    pub(crate) fn new(process: Arc<str>, place: u64) -> Self {
        Self { process, place }
    }

    /// True when it stands at the other or before it, said by the same process.
    pub(crate) fn is_up_to(&self, other: &Self) -> bool {
        self.place <= other.place && self.process == other.process
    }

    /// Reads what a client sent. `None`: it is nothing that was ever given out.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (process, place) = text.rsplit_once(':')?;
        Some(Self { process: process.into(), place: place.parse().ok()? })
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.process, self.place)
    }
}

/// What comes on the stream of a GET.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Where to go on after it; `None` for what is not said again: questions, and the house's own words.
    pub id: Option<EventId>,
    /// A message, whole, in one line and without a newline. Empty: there is none, and it is about the id only.
    pub text: Bytes,
}

impl Event {
    pub(crate) fn unnumbered(text: Bytes) -> Self {
        Self { id: None, text }
    }
}

/// The [`Event`]s of a session, until it goes elsewhere or ends.
pub struct EventStream(BoxStream<'static, Event>);

impl EventStream {
    pub(crate) fn of(events: impl Stream<Item = Event> + Send + 'static) -> Self {
        Self(Box::pin(events))
    }

    /// Their texts alone.
    #[must_use]
    pub fn messages(self) -> MessageStream {
        let texts = self.map(|event| event.text);
        MessageStream::merged(texts.filter(|text| future::ready(!text.is_empty())).boxed())
    }
}

impl fmt::Debug for EventStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EventStream")
    }
}

impl Stream for EventStream {
    type Item = Event;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        self.0.as_mut().poll_next(cx)
    }
}

/// JSON-RPC messages, each whole, in one line and without a newline: each fits one `data:` field or one frame.
#[derive(Debug)]
pub struct MessageStream(Source);

enum Source {
    /// The response stands beside the queue, so that a full queue cannot lose it.
    Queue { queue: mpsc::Receiver<Bytes>, last: Option<oneshot::Receiver<Bytes>> },
    /// Several, as they come.
    Merged(BoxStream<'static, Bytes>),
}

impl MessageStream {
    pub(crate) fn of(queue: mpsc::Receiver<Bytes>, last: Option<oneshot::Receiver<Bytes>>) -> Self {
        Self(Source::Queue { queue, last })
    }

    pub(crate) fn merged(stream: BoxStream<'static, Bytes>) -> Self {
        Self(Source::Merged(stream))
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Queue { .. } => "one",
            Self::Merged(_) => "merged",
        })
    }
}

impl Stream for MessageStream {
    type Item = Bytes;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        match &mut self.0 {
            Source::Merged(stream) => stream.as_mut().poll_next(cx),
            Source::Queue { queue, last } => match ready!(queue.poll_recv(cx)) {
                Some(message) => Poll::Ready(Some(message)),
                None => poll_last(last, cx),
            },
        }
    }
}

fn poll_last(last: &mut Option<oneshot::Receiver<Bytes>>, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
    let Some(receiver) = last else { return Poll::Ready(None) };
    let response = ready!(Pin::new(receiver).poll(cx));
    *last = None;
    Poll::Ready(response.ok())
}

/// Why a session could not be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SessionError {
    /// It was never opened, was closed, or gave way to another (404).
    #[error("no such session")]
    Unknown,
    /// The server was removed or the daemon is ending (503).
    #[error("the server is being removed")]
    Closed,
}
