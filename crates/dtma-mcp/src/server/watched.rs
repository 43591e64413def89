//! A stream of messages that somebody looks at on their way.

use super::reply::MessageStream;
use bytes::Bytes;
use futures_util::Stream;
use futures_util::stream::StreamExt;
use std::pin::Pin;
use std::task::{Context, Poll};

/// Who looks. Dropped with the stream: before its end when the client left.
pub trait Watcher: Send + Unpin + 'static {
    /// A message passes.
    fn passes(&mut self, message: &Bytes);

    /// The last one has passed.
    fn ended(&mut self);
}

struct Watched<W> {
    messages: MessageStream,
    watcher: W,
}

impl<W: Watcher> Stream for Watched<W> {
    type Item = Bytes;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let polled = self.messages.poll_next_unpin(cx);
        match &polled {
            Poll::Ready(Some(message)) => self.watcher.passes(message),
            Poll::Ready(None) => self.watcher.ended(),
            Poll::Pending => {}
        }
        polled
    }
}

impl MessageStream {
    /// The same messages, looked at by somebody.
    #[must_use]
    pub fn watched(self, watcher: impl Watcher) -> Self {
        Self::merged(Watched { messages: self, watcher }.boxed())
    }
}
