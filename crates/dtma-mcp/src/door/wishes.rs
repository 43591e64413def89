//! What a client asks its server to keep in mind: passed on, and remembered once the server has granted it.

use super::Door;
use crate::envelope::Message;
use crate::json::find;
use crate::rpc::{self, code};
use crate::wish::Wish;
use crate::{MessageStream, PostReply, SessionId};
use futures_util::StreamExt;
use std::sync::Arc;

impl Door {
    pub(super) async fn wished(&self, session: SessionId, request: &Message, wish: Wish) -> PostReply {
        let kept = self.table().sessions.get(&session).map(|entry| Arc::clone(&entry.kept));
        let Some(kept) = kept else { return PostReply::UnknownSession };
        let id = request.raw(request.envelope.id).unwrap_or(b"null");
        if let Some(why) = wish.refusal(&kept.wishes) {
            return PostReply::Body(rpc::error(Some(id), code::INVALID_PARAMS, &why));
        }
        if matches!(&wish, Wish::Unwatch(uri) if kept.wishes.watched.contains(uri)) {
            // Others may watch it still: its owner knows, and tells the server or not.
            self.remember(session, wish).await;
            return PostReply::Body(rpc::result(id, b"{}"));
        }
        match self.request(session, request).await {
            PostReply::Body(body) => {
                if find(&body, "result").is_some() {
                    self.remember(session, wish).await;
                }
                PostReply::Body(body)
            }
            PostReply::Stream(messages) => PostReply::Stream(self.remembering(session, wish, messages)),
            other => other,
        }
    }

    /// The same where something else comes before the answer.
    fn remembering(&self, session: SessionId, wish: Wish, messages: MessageStream) -> MessageStream {
        let (door, wish) = (self.clone(), Arc::new(wish));
        let messages = messages.then(move |message| {
            let (door, wish) = (door.clone(), Arc::clone(&wish));
            async move {
                if find(&message, "result").is_some() {
                    door.remember(session, Wish::clone(&wish)).await;
                }
                message
            }
        });
        MessageStream::merged(messages.boxed())
    }

    async fn remember(&self, session: SessionId, wish: Wish) {
        let changed = self.table().wish(session, &wish);
        let Some((kept, at)) = changed else { return };
        if let Some(at) = at {
            // One that is gone has forgotten all of it, and the next is told when the session comes there.
            let _gone = at.handle.wish(session, wish).await;
        }
        self.keep(&kept).await;
    }
}
