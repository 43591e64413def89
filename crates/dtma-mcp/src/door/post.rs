//! What a client posts: scanned, checked and rewritten in the poster's own task, then taken to the member where its
//! session lives.

use super::Door;
use super::member::Seat;
use super::repeat::{Attempted, Attempts};
use super::sessions::{Full, Homeless};
use super::table::{Entry, Hearers, Route, Table};
use super::wait::Unserved;
use crate::envelope::{Kind, Message, Packet, ScanError};
use crate::json::{find, member};
use crate::rpc::{self, code};
use crate::server::command::Opened;
use crate::server::post::Prepared;
use crate::splice::{Edit, splice};
use crate::wish::Wish;
use crate::{Greeting, MessageStream, PostReply, SessionError, SessionId, version};
use bytes::Bytes;
use dtma_core::record::{GatewaySession, Wishes};
use futures_util::stream::{self, StreamExt};
use std::sync::Arc;
use tokio::time::Instant;

/// Longest id or progress token of a client's, raw: they are kept as long as their call.
const MAX_ID: usize = 1024;

/// Most messages in a batch.
const MAX_BATCH: usize = 100;

impl Door {
    /// What a client sent by POST: any JSON-RPC message, `initialize` without a session included.
    ///
    /// Resolves with the first thing to send back, which for a slow call may be long: a door that wants to send
    /// keep-alives polls the future beside its timer. Dropping the future (or the stream it gave) gives the answer
    /// up but does not cancel the call; clients cancel with `notifications/cancelled`.
    ///
    /// A call to a server that is down waits for any member that comes to serve
    /// ([`Limits::ready_wait`](crate::Limits::ready_wait)), also when its process ended before the call was
    /// written. One that was written and gets no answer ends with an error whose `data` is
    /// `{"may_have_executed": true}`: repeating it is the client's decision. Only what does nothing when it is done
    /// again (listing, reading, tools that say so of themselves) is asked once more, of the next process.
    ///
    /// Answered here: `initialize` (the server had its own), `ping`, `notifications/initialized`. Everything else
    /// is passed on. The level of the log and the resources that a client watches are its own: the server is told what
    /// all of them want together, again when its process is another one.
    /// Batches are taken from clients of 2025-03-26, the only version that has them, and always answered with a
    /// stream.
    pub async fn post(&self, session: Option<&str>, body: Bytes) -> PostReply {
        match Packet::read(body, self.inner.parts.limits.message) {
            Ok(Packet::One(message)) => self.post_one(session, message).await,
            Ok(Packet::Batch(parts)) => self.post_batch(session, parts).await,
            Err(problem) => PostReply::Refused(rpc::unreadable(&problem)),
        }
    }

    async fn post_one(&self, session: Option<&str>, message: Message) -> PostReply {
        let initialize = message.kind() == Kind::Request && message.is("initialize");
        match session {
            None if initialize => match self.own() {
                Some(own) => self.open_own(&message, own).await,
                None => self.open_session(&message).await,
            },
            None => refuse(&message, "a session is needed: begin with initialize"),
            Some(_) if initialize => refuse(&message, "this session is initialized already"),
            Some(session) => match SessionId::parse(session) {
                Some(session) => self.post_in(session, message).await,
                None => PostReply::UnknownSession,
            },
        }
    }

    async fn post_in(&self, session: SessionId, message: Message) -> PostReply {
        match message.kind() {
            Kind::Request if message.is("ping") => self.answer(session, &message, b"{}").await,
            Kind::Request if too_long(&message) => refuse(&message, "its id or progress token is too long"),
            Kind::Request => match Wish::read(&message) {
                Some(wish) => self.wished(session, &message, wish).await,
                None => self.filtered(session, &message).await,
            },
            Kind::Notification | Kind::Response => self.notice(session, message).await,
        }
    }

    /// Passes a request on, and again while it was not written.
    pub(super) async fn request(&self, session: SessionId, message: &Message) -> PostReply {
        if let Some(result) = self.remembered(message) {
            return self.answer(session, message, &result).await;
        }
        let mut at = match self.table().route(session) {
            Route::To(at) => Some(at),
            Route::Nowhere => None,
            Route::Unknown => return PostReply::UnknownSession,
        };
        let deadline = self.patience();
        let prepared = Prepared::new(session, self.inner.ids.next(), message);
        let mut attempts = Attempts::at(message);
        loop {
            if let Some(at) = at {
                match attempts.make(&at.handle, &prepared).await {
                    Attempted::Reply(reply) => return reply,
                    Attempted::Again => {}
                    Attempted::Unknown => match self.move_in(session, &at).await {
                        Ok(()) => {}
                        Err(Full) => return attempts.in_the_end(too_many(&prepared.client_id)),
                    },
                }
            }
            at = match self.home(session, deadline, Table::settle).await {
                Ok(_) if Instant::now() >= deadline => {
                    let keeps_ending = not_up(&prepared.client_id, "its processes keep ending");
                    return attempts.in_the_end(PostReply::Body(keeps_ending));
                }
                Ok(at) => Some(at),
                Err(Homeless::Unknown) => return PostReply::UnknownSession,
                Err(Homeless::Unserved(unserved)) => {
                    return attempts.in_the_end(unserved.reply(&prepared.client_id));
                }
            };
        }
    }

    /// Answers a request in the server's place.
    async fn answer(&self, session: SessionId, message: &Message, result: &[u8]) -> PostReply {
        if !self.table().sessions.contains_key(&session) {
            return PostReply::UnknownSession;
        }
        match self.touch(session).await {
            true => PostReply::Body(rpc::result(message.raw(message.envelope.id).unwrap_or(b"null"), result)),
            false => PostReply::Closed,
        }
    }

    /// A notification or an answer: to a former member of the session's if it is about something there, else to
    /// the present one. Where there is none it is dropped: notifications promise nothing.
    async fn notice(&self, session: SessionId, message: Message) -> PostReply {
        let hearers = self.table().hearers(session);
        let Some(Hearers { at, former }) = hearers else { return PostReply::UnknownSession };
        if self.is_ours(session, &message) {
            return if self.touch(session).await { PostReply::Accepted } else { PostReply::Closed };
        }
        if self.lies_down() && message.kind() == Kind::Notification && !message.is("notifications/cancelled")
        {
            // The server hears it as soon as it goes on; where it does not in time, it is as with one that is down.
            let _waited = self.ready_within(self.inner.parts.limits.ready_wait).await;
        }
        for former in former {
            if former.handle.claim(session, message.clone()).await == Ok(true) {
                return PostReply::Accepted;
            }
        }
        let Some(at) = at else { return PostReply::Accepted };
        let heard = match at.handle.notice(session, message.clone()).await {
            // A member that cannot take the session has asked it nothing either.
            Ok(false) if self.move_in(session, &at).await.is_ok() => at.handle.notice(session, message).await,
            heard => heard,
        };
        match heard {
            Err(_) if self.table().is_over() => PostReply::Closed,
            Ok(_) | Err(_) => PostReply::Accepted,
        }
    }

    /// The server was told by us, once; and it was told that there are no roots, unless its process is this session's.
    fn is_ours(&self, session: SessionId, message: &Message) -> bool {
        let of_own = || self.table().sessions.get(&session).is_some_and(|entry| entry.own.is_some());
        message.is("notifications/initialized") || message.is("notifications/roots/list_changed") && !of_own()
    }
}

/// `initialize`.
impl Door {
    /// Answers a client's `initialize` with what the server answered to ours.
    async fn open_session(&self, message: &Message) -> PostReply {
        let id = message.raw(message.envelope.id).unwrap_or(b"null");
        let deadline = self.patience();
        if let Some((bed, greeting)) = self.bed()
            && let Some(reply) = self.open_at(bed, message, id, &greeting).await
        {
            return reply;
        }
        loop {
            let seat = match self.until(deadline, |table: &mut Table| table.seat()).await {
                Ok(_) if Instant::now() >= deadline => {
                    return PostReply::Body(not_up(id, "its processes keep ending"));
                }
                Ok(seat) => seat,
                Err(unserved) => return unserved.reply(id),
            };
            let greeting = seat.handle.ready().map(|ready| Arc::clone(&ready.greeting));
            if let Some(greeting) = greeting
                && let Some(reply) = self.open_at(seat, message, id, &greeting).await
            {
                return reply;
            }
        }
    }

    /// `None`: that member has just gone.
    async fn open_at(
        &self,
        seat: Seat,
        message: &Message,
        id: &[u8],
        greeting: &Greeting,
    ) -> Option<PostReply> {
        let session = SessionId::random();
        let Greeting { protocol_version, list_changed, .. } = greeting;
        let kept = Arc::new(self.new_session(session, message, protocol_version, list_changed));
        let body = rpc::result(id, &welcome(greeting, &kept.protocol_version));
        let member = Arc::clone(&seat);
        // Known here before it is there, so that it goes along when that member is drained this instant.
        let entry = Entry::opening(Arc::clone(&kept), seat);
        let limit = self.inner.parts.limits.sessions;
        let evicted = self.table().reserve(session, entry, limit);
        let opening = Opening { door: self, session };
        let opened = self.open_there(session, &member, Arc::clone(&kept), true).await;
        drop(opening);
        if let Some(evicted) = evicted {
            self.forget(evicted).await;
        }
        match opened {
            Some(Opened::Here { .. }) => {
                self.keep(&kept).await;
                Some(PostReply::Opened { session, body })
            }
            Some(Opened::Full) => Some(too_many(id)),
            Some(Opened::Draining) | None => None,
        }
    }

    /// `version` and `list_changed` are the server's.
    pub(super) fn new_session(
        &self,
        id: SessionId,
        message: &Message,
        version: &str,
        list_changed: &[String],
    ) -> GatewaySession {
        let params = message.raw(message.envelope.params).unwrap_or_default();
        let asked = member(params, "protocolVersion").and_then(|raw| serde_json::from_slice(raw).ok());
        let asked: String = asked.unwrap_or_default();
        let capabilities = member(params, "capabilities").unwrap_or(b"{}");
        GatewaySession {
            id: id.to_string(),
            instance: self.inner.instance.clone(),
            protocol_version: version::agree(&asked, version).to_owned(),
            capabilities: String::from_utf8_lossy(capabilities).into_owned(),
            list_changed: list_changed.to_vec(),
            wishes: Wishes::default(),
            opened_at: (self.inner.parts.wall)(),
        }
    }

    pub(super) async fn keep(&self, session: &GatewaySession) {
        if !self.durable || self.is_lodger(session) {
            return;
        }
        if let Err(problem) = self.inner.parts.store.put_session(session).await {
            // Better a session that a restart of the daemon ends than none.
            tracing::warn!(server = %self.inner.instance, %problem, "a session could not be kept");
        }
    }
}

/// A session that is being opened; also a client that has gone meanwhile ends that.
struct Opening<'a> {
    door: &'a Door,
    session: SessionId,
}

impl Drop for Opening<'_> {
    fn drop(&mut self) {
        self.door.table().opened(self.session);
    }
}

/// Batches, as of 2025-03-26.
impl Door {
    async fn post_batch(&self, session: Option<&str>, parts: Vec<Bytes>) -> PostReply {
        let refused = |why: &str| PostReply::Refused(rpc::error(None, code::INVALID_REQUEST, why));
        let Some(session) = session else { return refused("a session is needed: begin with initialize") };
        match self.session(session).await {
            Err(SessionError::Unknown) => return PostReply::UnknownSession,
            Err(SessionError::Closed) => return PostReply::Closed,
            Ok(known) if known.protocol_version != version::BATCHING => {
                return refused("protocol version 2025-03-26 alone has batches");
            }
            Ok(_) if parts.is_empty() || parts.len() > MAX_BATCH => {
                return refused("a batch has 1 to 100 messages");
            }
            Ok(_) => {}
        }
        let limit = self.inner.parts.limits.message;
        let messages: Vec<_> = parts.into_iter().map(|part| Message::read(part, limit)).collect();
        self.post_messages(session, messages).await
    }

    async fn post_messages(&self, session: &str, messages: Vec<Result<Message, ScanError>>) -> PostReply {
        let answered = |message: &Result<Message, ScanError>| {
            message.as_ref().map_or(true, |message| message.kind() == Kind::Request)
        };
        if messages.iter().any(answered) {
            let answers =
                messages.into_iter().map(|message| self.clone().post_part(session.to_owned(), message));
            let merged = stream::select_all(answers.map(|answer| stream::once(answer).flatten().boxed()));
            return PostReply::Stream(MessageStream::merged(merged.boxed()));
        }
        for message in messages.into_iter().flatten() {
            self.post_one(Some(session), message).await;
        }
        PostReply::Accepted
    }

    async fn post_part(
        self,
        session: String,
        message: Result<Message, ScanError>,
    ) -> stream::BoxStream<'static, Bytes> {
        let reply = match message {
            Ok(message) => self.post_one(Some(&session), message).await,
            Err(problem) => PostReply::Refused(rpc::unreadable(&problem)),
        };
        match reply {
            PostReply::Stream(messages) => messages.boxed(),
            PostReply::Body(body)
            | PostReply::Refused(body)
            | PostReply::Opened { body, .. }
            | PostReply::Crowded { body, .. } => stream::iter([body]).boxed(),
            PostReply::Accepted | PostReply::UnknownSession | PostReply::Closed => stream::empty().boxed(),
        }
    }
}

impl Unserved {
    pub(super) fn reply(self, id: &[u8]) -> PostReply {
        match self {
            Self::NotUp(reason) => PostReply::Body(not_up(id, &reason)),
            Self::Closed => PostReply::Closed,
        }
    }
}

pub(super) fn too_long(message: &Message) -> bool {
    let long = |part| message.raw(part).is_some_and(|raw| raw.len() > MAX_ID);
    long(message.envelope.id) || long(message.envelope.meta_token)
}

pub(super) fn refuse(message: &Message, why: &str) -> PostReply {
    PostReply::Refused(rpc::error(message.raw(message.envelope.id), code::INVALID_REQUEST, why))
}

pub(super) fn too_many(id: &[u8]) -> PostReply {
    PostReply::Body(rpc::lost(id, "too many clients use this server", false))
}

pub(super) fn not_up(id: &[u8], reason: &str) -> Bytes {
    rpc::lost(id, &format!("the server is not up: {reason}"), false)
}

/// The server's answer to `initialize` with the version that this client is told.
fn welcome(greeting: &Greeting, version: &str) -> Vec<u8> {
    let told = rpc::quoted(version);
    let spoken = find(&greeting.raw, "protocolVersion");
    let edit = spoken.map(|at| Edit { at, text: told.as_bytes() });
    splice(&greeting.raw, &mut edit.into_iter().collect::<Vec<_>>(), 0)
}
