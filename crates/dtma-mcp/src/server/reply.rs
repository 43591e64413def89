//! What a door gets for what a client sent.

use crate::SessionId;
use bytes::Bytes;
use futures_util::Stream;
use futures_util::stream::BoxStream;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
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
    /// 404: no such session. The client begins anew with `initialize`.
    UnknownSession,
    /// 503: the server was removed, or the daemon is ending. Nothing was done.
    Closed,
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
