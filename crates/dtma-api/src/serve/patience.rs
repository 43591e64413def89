//! A connection that is dropped when its client takes too long over the head of a request.
//!
//! hyper knows one deadline, from the end of an answer to the end of the next head: the idle time. It would let a
//! client that has begun a head dawdle just as long; the shorter deadline for that is kept here.

use axum::body::Body;
use bytes::Bytes;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// Whose turn it is to speak on a connection.
#[derive(Debug, Clone, Default)]
pub(super) struct Turn(Arc<State>);

#[derive(Debug, Default)]
struct State {
    server: AtomicBool,
    /// No head comes any more: the connection speaks something else.
    upgraded: AtomicBool,
    /// Heads that were complete in time.
    heads: AtomicU64,
}

impl Turn {
    /// A head is complete: it is the server's turn until the value is dropped.
    pub(super) fn server(&self) -> Speaking {
        self.0.heads.fetch_add(1, Ordering::AcqRel);
        self.0.server.store(true, Ordering::Release);
        Speaking(self.clone())
    }

    fn is_servers(&self) -> bool {
        self.0.server.load(Ordering::Acquire) || self.0.upgraded.load(Ordering::Acquire)
    }

    fn heads(&self) -> u64 {
        self.0.heads.load(Ordering::Acquire)
    }
}

/// The server's turn.
#[derive(Debug)]
pub(super) struct Speaking(Turn);

impl Speaking {
    /// The connection speaks something else from here on, in which there are no turns.
    pub(super) fn for_good(&self) {
        self.0.0.upgraded.store(true, Ordering::Release);
    }

    /// The turn lasts as long as this body.
    pub(super) fn during(self, body: Body) -> Spoken {
        Spoken { body, _turn: self }
    }
}

impl Drop for Speaking {
    fn drop(&mut self) {
        self.0.0.server.store(false, Ordering::Release);
    }
}

/// The body of an answer, which keeps the turn.
pub(super) struct Spoken {
    body: Body,
    _turn: Speaking,
}

impl http_body::Body for Spoken {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}

/// A stream whose reads fail when a head takes too long.
pub(super) struct Patient<S> {
    stream: S,
    turn: Turn,
    head: Duration,
    deadline: Option<Deadline>,
}

/// By when the head numbered `head` must be complete.
struct Deadline {
    head: u64,
    at: Pin<Box<Sleep>>,
}

impl<S> Patient<S> {
    pub(super) fn new(stream: S, turn: Turn, head: Duration) -> Self {
        Self { stream, turn, head, deadline: None }
    }

    /// Bytes came: if they are the first of a head, its time begins.
    fn heard(&mut self) {
        let head = self.turn.heads();
        let counted = self.deadline.as_ref().is_some_and(|deadline| deadline.head == head);
        if !self.turn.is_servers() && !counted {
            self.deadline = Some(Deadline { head, at: Box::pin(sleep(self.head)) });
        }
    }

    /// Nothing came: has the time of a head run out?
    fn overdue(&mut self, cx: &mut Context<'_>) -> bool {
        let head = self.turn.heads();
        self.deadline.take_if(|deadline| deadline.head != head);
        self.deadline.as_mut().is_some_and(|deadline| deadline.at.as_mut().poll(cx).is_ready())
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        if let Poll::Ready(result) = Pin::new(&mut self.stream).poll_read(cx, buffer) {
            if buffer.filled().len() > before {
                self.heard();
            }
            return Poll::Ready(result);
        }
        if self.overdue(cx) { Poll::Ready(Err(io::ErrorKind::TimedOut.into())) } else { Poll::Pending }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
