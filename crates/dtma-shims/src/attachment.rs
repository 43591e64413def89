//! A server's three streams for whoever is attached, over the session of its container.

use crate::desk::Turn;
use crate::session::Session;
use async_trait::async_trait;
use bytes::Bytes;
use dtma_core::port::runtime::{AttachInput, Attached};
use futures_util::StreamExt;
use futures_util::stream;
use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::task::Poll;

/// Attaches to what runs in the session's container, or, when nothing does, to what runs next.
pub(crate) fn attach(session: &Arc<Session>) -> Attached {
    let attachment = Arc::new(Attachment { session: Arc::clone(session), turn: session.attach() });
    let reader = Arc::clone(&attachment);
    let output = stream::poll_fn(move |context| {
        match reader.session.with_desk(|desk| desk.take(reader.turn, context)) {
            Some(chunk) => Poll::Ready(chunk.map(Ok)),
            None => Poll::Pending,
        }
    });
    Attached { output: output.boxed(), input: Box::new(Input(attachment)), exact: true }
}

/// Gone with its last half.
struct Attachment {
    session: Arc<Session>,
    turn: Turn,
}

impl Drop for Attachment {
    fn drop(&mut self) {
        self.session.with_desk(|desk| desk.detach(self.turn));
    }
}

struct Input(Arc<Attachment>);

#[async_trait]
impl AttachInput for Input {
    async fn send(&mut self, mut bytes: Bytes) -> io::Result<()> {
        let Attachment { session, turn } = &*self.0;
        poll_fn(|context| match session.with_desk(|desk| desk.write(*turn, &mut bytes, context)) {
            Some(written) => Poll::Ready(written),
            None => Poll::Pending,
        })
        .await
    }
}
