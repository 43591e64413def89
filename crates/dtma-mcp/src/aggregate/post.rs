//! What a client posts, and by which server it is answered.

use super::Aggregate;
use super::members::Member;
use super::names;
use super::page::LISTS;
use super::sessions::Session;
use super::way::Way;
use crate::envelope::{Kind, Message, Packet};
use crate::rpc::{self, code};
use crate::splice::Edit;
use crate::{MessageStream, PostReply};
use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt};
use std::sync::Arc;

/// Longest id or progress token of a client's, raw.
const MAX_ID: usize = 1024;
/// Most messages in a batch.
const MAX_BATCH: usize = 100;

/// A request, and by which way it came.
pub(super) struct Asked<'a> {
    pub(super) way: &'a Way,
    pub(super) message: &'a Message,
    /// As the client gave it, raw.
    pub(super) id: &'a [u8],
    /// Raw.
    pub(super) params: &'a [u8],
}

impl<'a> Asked<'a> {
    pub(super) fn new(way: &'a Way, message: &'a Message) -> Self {
        let id = message.raw(message.envelope.id).unwrap_or(b"null");
        let params = message.raw(message.envelope.params).unwrap_or(b"{}");
        Self { way, message, id, params }
    }

    pub(super) fn method(&self) -> String {
        let raw = self.message.raw(self.message.envelope.method).unwrap_or(b"\"\"");
        serde_json::from_slice(raw).unwrap_or_default()
    }

    /// The request is wrong.
    pub(super) fn wrong(&self, why: &str) -> PostReply {
        PostReply::Body(rpc::error(Some(self.id), code::INVALID_PARAMS, why))
    }
}

impl Aggregate {
    /// What a client sent by POST: any JSON-RPC message, `initialize` without a session included. As
    /// [`Door::post`](crate::Door::post), but for what only one server can know: methods that nobody here has heard of are
    /// answered with an error.
    pub async fn post(&self, session: Option<&str>, body: Bytes) -> PostReply {
        if self.inner.closed.is_cancelled() {
            return PostReply::Closed;
        }
        let packet = match Packet::read(body, self.inner.limits.message) {
            Ok(packet) => packet,
            Err(problem) => return PostReply::Refused(rpc::unreadable(&problem)),
        };
        let known = match session.map(|id| self.inner.sessions.using(id)) {
            Some(None) => return PostReply::UnknownSession,
            known => known.flatten(),
        };
        match (packet, known) {
            (Packet::One(message), None) if is_hello(&message) => self.open_session(&message).await,
            (Packet::One(message), None) => refuse(&message, "a session is needed: begin with initialize"),
            (Packet::One(message), Some(session)) => self.post_in(session, message).await,
            (Packet::Batch(_), None) => refuse_batch("a session is needed: begin with initialize"),
            (Packet::Batch(parts), Some(session)) => self.post_batch(session, parts).await,
        }
    }

    async fn post_in(&self, session: Arc<Session>, message: Message) -> PostReply {
        match message.kind() {
            Kind::Request if is_hello(&message) => refuse(&message, "this session is initialized already"),
            Kind::Request if too_long(&message) => refuse(&message, "its id or progress token is too long"),
            Kind::Request => self.answer(&Way::Session(session), &message).await,
            Kind::Response => self.pass_on(&session, &message, message.envelope.id).await,
            Kind::Notification if message.is("notifications/progress") => {
                self.pass_on(&session, &message, message.envelope.progress_token).await
            }
            Kind::Notification => to_all(&session, &message).await,
        }
    }

    /// The answer to a request.
    pub(super) async fn answer(&self, way: &Way, message: &Message) -> PostReply {
        let asked = Asked::new(way, message);
        let method = asked.method();
        if let Some(list) = LISTS.into_iter().find(|list| list.method == method) {
            return self.list(&asked, list).await;
        }
        match method.as_str() {
            "ping" => PostReply::Body(rpc::result(asked.id, b"{}")),
            "tools/call" => self.call_tool(&asked).await,
            "prompts/get" => self.get_prompt(&asked).await,
            "resources/read" | "resources/subscribe" | "resources/unsubscribe" => {
                self.of_resource(&asked, &method).await
            }
            "completion/complete" => self.complete(&asked).await,
            "logging/setLevel" => self.set_level(&asked).await,
            "server/discover" => self.discover(&asked).await,
            "subscriptions/listen" => self.subscribe(&asked).await,
            _ => {
                let why = format!("{method} is no method of a group of servers");
                PostReply::Body(rpc::error(Some(asked.id), code::METHOD_NOT_FOUND, &why))
            }
        }
    }

    /// What is about something that a server asked, to that server. What nobody asked is dropped.
    async fn pass_on(
        &self,
        session: &Session,
        message: &Message,
        about: Option<crate::json::Span>,
    ) -> PostReply {
        let asked = about.and_then(|at| Some((at, names::split_question(at.of(&message.text))?)));
        let Some((at, (server, id))) = asked else { return PostReply::Accepted };
        let text = message.to_text(&mut [Edit { at, text: id.as_bytes() }]);
        if let Some(member) = self.named(&server) {
            self.tell(session, &member, text).await;
        }
        PostReply::Accepted
    }

    /// To the session that is there: what is about another is about nothing any more.
    async fn tell(&self, session: &Session, member: &Member, text: Bytes) {
        let taken = session.taken().into_iter().find(|(door, _)| door.is(&member.door));
        if let Some((door, seat)) = taken {
            door.post(Some(&seat), text).await;
        }
    }
}

/// Whose call it is that is cancelled nobody notes: its id is that of one call of this client's.
async fn to_all(session: &Session, message: &Message) -> PostReply {
    if !message.is("notifications/initialized") {
        for (door, seat) in session.taken() {
            door.post(Some(&seat), message.text.clone()).await;
        }
    }
    PostReply::Accepted
}

fn is_hello(message: &Message) -> bool {
    message.kind() == Kind::Request && message.is("initialize")
}

pub(super) fn too_long(message: &Message) -> bool {
    let long = |part| message.raw(part).is_some_and(|raw| raw.len() > MAX_ID);
    long(message.envelope.id) || long(message.envelope.meta_token)
}

pub(super) fn refuse(message: &Message, why: &str) -> PostReply {
    PostReply::Refused(rpc::error(message.raw(message.envelope.id), code::INVALID_REQUEST, why))
}

fn refuse_batch(why: &str) -> PostReply {
    PostReply::Refused(rpc::error(None, code::INVALID_REQUEST, why))
}

/// Batches, as of 2025-03-26.
impl Aggregate {
    async fn post_batch(&self, session: Arc<Session>, parts: Vec<Bytes>) -> PostReply {
        if !session.batches {
            return refuse_batch("protocol version 2025-03-26 alone has batches");
        }
        if parts.is_empty() || parts.len() > MAX_BATCH {
            return refuse_batch("a batch has 1 to 100 messages");
        }
        let limit = self.inner.limits.message;
        let (mut answers, mut asks) = (Vec::new(), false);
        for part in parts {
            let message = Message::read(part, limit);
            asks |= message.as_ref().map_or(true, |message| message.kind() == Kind::Request);
            let (all, session) = (self.clone(), Arc::clone(&session));
            answers.push(stream::once(async move {
                match message {
                    Ok(message) => all.post_in(session, message).await,
                    Err(problem) => PostReply::Refused(rpc::unreadable(&problem)),
                }
            }));
        }
        let merged = stream::select_all(answers.into_iter().map(|answer| answer.flat_map(messages).boxed()));
        match asks {
            true => PostReply::Stream(MessageStream::merged(merged.boxed())),
            false => {
                merged.for_each(async |_| {}).await;
                PostReply::Accepted
            }
        }
    }
}

fn messages(reply: PostReply) -> BoxStream<'static, Bytes> {
    match reply {
        PostReply::Stream(messages) => messages.boxed(),
        PostReply::Body(body)
        | PostReply::Refused(body)
        | PostReply::Opened { body, .. }
        | PostReply::Crowded { body, .. } => stream::iter([body]).boxed(),
        PostReply::Accepted | PostReply::UnknownSession | PostReply::Closed => stream::empty().boxed(),
    }
}
