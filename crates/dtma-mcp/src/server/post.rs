//! What a client posts, up to the owner: scanned, checked and rewritten in the poster's own task.

use super::command::{ClientCall, Command, First, Refusal};
use super::handle::ServerHandle;
use super::reply::{MessageStream, PostReply};
use super::session::SessionId;
use super::state::Greeting;
use crate::envelope::{Kind, Message, Packet, ScanError};
use crate::json::{find, member};
use crate::rpc::{self, code};
use crate::splice::{Edit, splice};
use crate::version;
use bytes::Bytes;
use dtma_core::record::GatewaySession;
use futures_util::stream::{self, StreamExt};
use tokio::sync::oneshot;
use tokio::time::Instant;

/// Longest id or progress token of a client's, raw: they are kept as long as their call.
const MAX_ID: usize = 1024;

/// Most messages in a batch.
const MAX_BATCH: usize = 100;

impl ServerHandle {
    /// What a client sent by POST: any JSON-RPC message, `initialize` without a session included.
    ///
    /// Resolves with the first thing to send back, which for a slow call may be long: a door that wants to send
    /// keep-alives polls the future beside its timer. Dropping the future (or the stream it gave) gives the answer
    /// up but does not cancel the call; clients cancel with `notifications/cancelled`.
    ///
    /// A call to a server that is down waits for it ([`Limits::ready_wait`](crate::Limits::ready_wait)), also when
    /// its process ended before the call was written. One that was written and gets no answer ends with an error
    /// whose `data` is `{"may_have_executed": true}`: repeating it is the client's decision.
    ///
    /// Answered here: `initialize` (the server had its own), `ping`, `notifications/initialized`. Everything else
    /// is passed on, `logging/setLevel` included, which with a shared process sets the level for all clients.
    /// Batches are taken from clients of 2025-03-26, the only version that has them, and always answered with a
    /// stream.
    pub async fn post(&self, session: Option<&str>, body: Bytes) -> PostReply {
        match Packet::read(body, self.shared.limits.message) {
            Ok(Packet::One(message)) => self.post_one(session, message).await,
            Ok(Packet::Batch(parts)) => self.post_batch(session, parts).await,
            Err(problem) => PostReply::Refused(rpc::unreadable(&problem)),
        }
    }

    async fn post_one(&self, session: Option<&str>, message: Message) -> PostReply {
        let initialize = message.kind() == Kind::Request && message.is("initialize");
        match session {
            None if initialize => self.open_session(&message).await,
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
            Kind::Request if message.is("ping") => self.pong(session, &message).await,
            Kind::Request if too_long(&message) => refuse(&message, "its id or progress token is too long"),
            Kind::Request => self.call_for(session, &message).await,
            Kind::Notification | Kind::Response => self.notice(session, message).await,
        }
    }

    /// Answers a client's `initialize` with what the server answered to ours.
    async fn open_session(&self, message: &Message) -> PostReply {
        let id = message.raw(message.envelope.id).unwrap_or(b"null");
        if let Err(reason) = self.await_ready(self.patience()).await {
            return PostReply::Body(not_up(id, &reason));
        }
        let Some(greeting) = self.state.borrow().ready().map(|ready| ready.greeting.clone()) else {
            return PostReply::Body(not_up(id, "its process has just ended"));
        };
        let session = SessionId::random();
        let kept = self.new_session(session, message, &greeting);
        let body = rpc::result(id, &welcome(&greeting, &kept.protocol_version));
        match self.keep(session, kept).await {
            Ok(true) => PostReply::Opened { session, body },
            Ok(false) => PostReply::Body(rpc::lost(id, "too many clients use this server", false)),
            Err(_) => PostReply::Closed,
        }
    }

    fn new_session(&self, id: SessionId, message: &Message, greeting: &Greeting) -> GatewaySession {
        let params = message.raw(message.envelope.params).unwrap_or_default();
        let asked = member(params, "protocolVersion").and_then(|raw| serde_json::from_slice(raw).ok());
        let asked: String = asked.unwrap_or_default();
        let capabilities = member(params, "capabilities").unwrap_or(b"{}");
        GatewaySession {
            id: id.to_string(),
            instance: self.shared.instance.clone(),
            protocol_version: version::agree(&asked, &greeting.protocol_version).to_owned(),
            capabilities: String::from_utf8_lossy(capabilities).into_owned(),
            opened_at: (self.shared.wall)(),
        }
    }

    async fn keep(&self, id: SessionId, session: GatewaySession) -> Result<bool, super::call::Closed> {
        let stored = session.clone();
        let session = Box::new(session);
        if !self.ask(|reply| Command::Open { session, id, reply }).await? {
            return Ok(false);
        }
        if let Err(problem) = self.shared.store.put_session(&stored).await {
            // Better a session that a restart of the daemon ends than none.
            tracing::warn!(server = %self.shared.instance, %problem, "a session could not be kept");
        }
        Ok(true)
    }

    async fn pong(&self, session: SessionId, message: &Message) -> PostReply {
        let id = message.raw(message.envelope.id).unwrap_or(b"null");
        match self.ask(|reply| Command::Look { session, reply }).await {
            Ok(Some(_)) => PostReply::Body(rpc::result(id, b"{}")),
            Ok(None) => PostReply::UnknownSession,
            Err(_) => PostReply::Closed,
        }
    }

    async fn notice(&self, session: SessionId, message: Message) -> PostReply {
        // The server was told by us, once; and it was told that there are no roots.
        let ours = ["notifications/initialized", "notifications/roots/list_changed"];
        let known = if ours.iter().any(|method| message.is(method)) {
            self.ask(|reply| Command::Look { session, reply }).await.map(|session| session.is_some())
        } else {
            self.ask(|reply| Command::Notice { session, message, reply }).await
        };
        match known {
            Ok(true) => PostReply::Accepted,
            Ok(false) => PostReply::UnknownSession,
            Err(_) => PostReply::Closed,
        }
    }

    /// Passes a request on, and again when the process ended before it was written.
    async fn call_for(&self, session: SessionId, message: &Message) -> PostReply {
        let deadline = self.patience();
        let id = self.shared.ids.next();
        let prepared = Prepared::new(session, id, message);
        loop {
            match self.call_once(&prepared).await {
                Outcome::Reply(reply) => return reply,
                Outcome::NotReady => {}
            }
            if let Err(reason) = self.await_ready(deadline).await {
                return PostReply::Body(not_up(&prepared.client_id, &reason));
            }
            if Instant::now() >= deadline {
                return PostReply::Body(not_up(&prepared.client_id, "its processes keep ending"));
            }
        }
    }

    async fn call_once(&self, prepared: &Prepared) -> Outcome {
        let (reply, first) = oneshot::channel();
        if self.order(Command::Call(prepared.call(reply))).await.is_err() {
            return Outcome::Reply(PostReply::Closed);
        }
        match first.await {
            Ok(First::Response(response)) => Outcome::Reply(PostReply::Body(response)),
            Ok(First::Stream(stream)) => Outcome::Reply(PostReply::Stream(stream)),
            Ok(First::Refused(Refusal::NotReady)) => Outcome::NotReady,
            Ok(First::Refused(refusal)) => Outcome::Reply(refused(&prepared.client_id, refusal)),
            // The owner ended with the call in its hands.
            Err(_) => {
                let why = "the daemon ended before the server answered";
                Outcome::Reply(PostReply::Body(rpc::lost(&prepared.client_id, why, true)))
            }
        }
    }

    fn patience(&self) -> Instant {
        Instant::now() + self.shared.limits.ready_wait
    }
}

/// Batches, as of 2025-03-26.
impl ServerHandle {
    async fn post_batch(&self, session: Option<&str>, parts: Vec<Bytes>) -> PostReply {
        let refused = |why: &str| PostReply::Refused(rpc::error(None, code::INVALID_REQUEST, why));
        let Some(session) = session else { return refused("a session is needed: begin with initialize") };
        match self.session(session).await {
            Err(super::reply::SessionError::Unknown) => return PostReply::UnknownSession,
            Err(super::reply::SessionError::Closed) => return PostReply::Closed,
            Ok(known) if known.protocol_version != version::BATCHING => {
                return refused("protocol version 2025-03-26 alone has batches");
            }
            Ok(_) if parts.is_empty() || parts.len() > MAX_BATCH => {
                return refused("a batch has 1 to 100 messages");
            }
            Ok(_) => {}
        }
        let limit = self.shared.limits.message;
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
            PostReply::Body(body) | PostReply::Refused(body) | PostReply::Opened { body, .. } => {
                stream::iter([body]).boxed()
            }
            PostReply::Accepted | PostReply::UnknownSession | PostReply::Closed => stream::empty().boxed(),
        }
    }
}

enum Outcome {
    Reply(PostReply),
    NotReady,
}

/// A request as the server will see it, and what is needed to undo that.
struct Prepared {
    session: SessionId,
    id: u64,
    client_id: Bytes,
    client_token: Option<Bytes>,
    line: Bytes,
}

impl Prepared {
    fn new(session: SessionId, id: u64, message: &Message) -> Self {
        let copy = |part| message.raw(part).map(Bytes::copy_from_slice);
        Self {
            session,
            id,
            client_id: copy(message.envelope.id).unwrap_or_default(),
            client_token: copy(message.envelope.meta_token),
            line: message.with_id(id, Message::to_line),
        }
    }

    fn call(&self, reply: oneshot::Sender<First>) -> ClientCall {
        let Self { session, id, .. } = *self;
        let (client_id, client_token) = (self.client_id.clone(), self.client_token.clone());
        ClientCall { id, session, client_id, client_token, line: self.line.clone(), reply }
    }
}

fn too_long(message: &Message) -> bool {
    let long = |part| message.raw(part).is_some_and(|raw| raw.len() > MAX_ID);
    long(message.envelope.id) || long(message.envelope.meta_token)
}

fn refuse(message: &Message, why: &str) -> PostReply {
    PostReply::Refused(rpc::error(message.raw(message.envelope.id), code::INVALID_REQUEST, why))
}

fn refused(id: &[u8], refusal: Refusal) -> PostReply {
    let busy = |why| PostReply::Body(rpc::lost(id, why, false));
    match refusal {
        Refusal::UnknownSession => PostReply::UnknownSession,
        Refusal::DuplicateId => {
            let why = "a request with this id is in flight already";
            PostReply::Refused(rpc::error(Some(id), code::INVALID_REQUEST, why))
        }
        Refusal::NotReady => busy("the server is not up"),
        Refusal::TooManyCalls => busy("too many calls wait for this server"),
        Refusal::TooManyCallsOfSession => busy("too many calls of this session wait for the server"),
        Refusal::Backlog => busy("the server does not read what was sent to it"),
    }
}

fn not_up(id: &[u8], reason: &str) -> Bytes {
    rpc::lost(id, &format!("the server is not up: {reason}"), false)
}

/// The server's answer to `initialize` with the version that this client is told.
fn welcome(greeting: &Greeting, version: &str) -> Vec<u8> {
    let told = rpc::quoted(version);
    let spoken = find(&greeting.raw, "protocolVersion");
    let edit = spoken.map(|at| Edit { at, text: told.as_bytes() });
    splice(&greeting.raw, &mut edit.into_iter().collect::<Vec<_>>(), 0)
}
