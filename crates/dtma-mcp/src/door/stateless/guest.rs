//! A call of somebody who has no session, and its end when nobody waits for it any more.

use super::Asked;
use crate::door::Door;
use crate::door::member::Member;
use crate::door::repeat::{Attempted, Attempts};
use crate::envelope::Message;
use crate::server::command::Guest;
use crate::server::post::Prepared;
use crate::{MessageStream, PostReply, SessionId};
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream;
use std::sync::Arc;

/// A call in flight. Dropping it cancels it.
pub(crate) struct Ongoing {
    pub(crate) member: Arc<Member>,
    pub(crate) session: SessionId,
    id: u64,
    /// `None`: the response is there.
    stream: Option<MessageStream>,
}

impl Ongoing {
    /// The next message; the last one is the response. Dropping the future loses nothing.
    pub(crate) async fn next(&mut self) -> Option<Bytes> {
        let next = self.stream.as_mut()?.next().await;
        if next.is_none() {
            self.stream = None;
        }
        next
    }
}

impl Drop for Ongoing {
    fn drop(&mut self) {
        if self.stream.is_some() {
            self.member.handle.give_up(self.id);
        }
    }
}

/// What became of a call so far.
pub(crate) enum Begun {
    /// It is answered, or was not even taken.
    Over(PostReply),
    /// Other messages come before its response.
    Streams(Ongoing),
}

impl Begun {
    /// As it is.
    pub(crate) fn reply(self) -> PostReply {
        match self {
            Self::Over(reply) => reply,
            Self::Streams(call) => {
                let messages = stream::unfold(call, |mut call| async move {
                    let message = call.next().await?;
                    Some((message, call))
                });
                PostReply::Stream(MessageStream::merged(messages.boxed()))
            }
        }
    }
}

impl Door {
    /// Calls a member for a guest, and waits for the first that comes back. `None`: it may be made at the next process.
    /// Dropping the future cancels the call.
    pub(super) async fn guest_call(
        &self,
        member: &Arc<Member>,
        asked: &Asked,
        message: &Message,
        attempts: &mut Attempts<'_>,
    ) -> Option<Begun> {
        let session = SessionId::random();
        let guest = Guest { capabilities: asked.capabilities.clone(), logs: asked.log_level.is_some() };
        let prepared = Prepared::new(session, self.inner.ids.next(), message).of_guest(guest);
        let mut waiting = Waiting { member, id: prepared.id, over: false };
        let attempted = attempts.make(&member.handle, &prepared).await;
        waiting.over = true;
        match attempted {
            Attempted::Reply(PostReply::Stream(stream)) => Some(Begun::Streams(Ongoing {
                member: Arc::clone(member),
                session,
                id: prepared.id,
                stream: Some(stream),
            })),
            Attempted::Reply(reply) => Some(Begun::Over(reply)),
            Attempted::Again | Attempted::Unknown => None,
        }
    }
}

struct Waiting<'a> {
    member: &'a Arc<Member>,
    id: u64,
    over: bool,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if !self.over {
            self.member.handle.give_up(self.id);
        }
    }
}
