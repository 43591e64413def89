//! Messages as server-sent events, and calls that take so long that their connection must be kept alive.

use super::target::Entrance;
use crate::calls::Pending;
use crate::sse;
use bytes::Bytes;
use dtma_mcp::{EventStream, MessageStream, PostReply};
use futures_util::Stream;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream, StreamExt};

/// An answer that came, or is still awaited.
pub(super) enum Answered {
    /// Before the connection had to be kept alive.
    InTime(PostReply),
    /// Not yet: the answer has to be a stream from here on.
    Late(BoxFuture<'static, PostReply>),
}

/// Waits for the answer as long as a silent connection is safe. Without a session the answer carries the new one's
/// id in its head, so its head must wait for it.
pub(super) async fn patient(
    server: Entrance,
    session: Option<String>,
    body: Bytes,
    call: Pending,
) -> Answered {
    let has_session = session.is_some();
    let mut pending: BoxFuture<'static, PostReply> =
        Box::pin(async move { call.answered(server.post(session.as_deref(), body).await) });
    if !has_session {
        return Answered::InTime(pending.await);
    }
    match tokio::time::timeout(sse::KEEP_ALIVE, &mut pending).await {
        Ok(reply) => Answered::InTime(reply),
        Err(_) => Answered::Late(pending),
    }
}

/// Each message as one event.
pub(super) fn frames(messages: MessageStream) -> impl Stream<Item = Bytes> + Send {
    messages.map(|message| sse::event("message", None, &message))
}

/// Each as it is, with its id.
pub(super) fn events(events: EventStream) -> impl Stream<Item = Bytes> + Send {
    events.map(|event| {
        let id = event.id.map(|id| id.to_string());
        sse::event("message", id.as_deref(), &event.text)
    })
}

/// The events of an answer that is still awaited. A session that went away meanwhile ends the stream.
pub(super) fn late(pending: BoxFuture<'static, PostReply>) -> impl Stream<Item = Bytes> + Send {
    stream::once(pending).flat_map(|reply| -> BoxStream<'static, Bytes> {
        match reply {
            PostReply::Body(body)
            | PostReply::Refused(body)
            | PostReply::Opened { body, .. }
            | PostReply::Crowded { body, .. } => stream::iter([sse::event("message", None, &body)]).boxed(),
            PostReply::Stream(messages) => frames(messages).boxed(),
            PostReply::Accepted | PostReply::UnknownSession | PostReply::Closed => stream::empty().boxed(),
        }
    })
}
