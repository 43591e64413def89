//! What a door gets for what a client sent.

use crate::SessionId;
use bytes::Bytes;
use futures_util::Stream;
use std::pin::Pin;
use std::task::{Context, Poll};
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
    /// 200, `application/json`: one response (or, for a batch, an array of them).
    Body(Bytes),
    /// 200, `text/event-stream`: other messages come before the response; the stream ends after it.
    Stream(MessageStream),
    /// 400, `application/json`: a JSON-RPC error about the request itself (not JSON, not JSON-RPC, no session, …).
    Refused(Bytes),
    /// 404: no such session. The client begins anew with `initialize`.
    UnknownSession,
}

/// JSON-RPC messages, each whole, in one line and without a newline: each fits one `data:` field or one frame.
#[derive(Debug)]
pub struct MessageStream {
    pub(crate) queue: mpsc::Receiver<Bytes>,
    /// The response, beside the queue so that a full queue cannot lose it.
    pub(crate) last: Option<oneshot::Receiver<Bytes>>,
}

impl Stream for MessageStream {
    type Item = Bytes;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if let Some(message) = std::task::ready!(self.queue.poll_recv(cx)) {
            return Poll::Ready(Some(message));
        }
        let Some(last) = self.last.as_mut() else { return Poll::Ready(None) };
        let answer = std::task::ready!(Pin::new(last).poll(cx));
        self.last = None;
        Poll::Ready(answer.ok())
    }
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
