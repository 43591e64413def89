//! A client's message on its way to one owner. Which owner, and what becomes of what it could not take, is left to
//! the [`Door`](crate::Door).

use super::call::Closed;
use super::command::{ClientCall, Command, First, Guest, Listening, Opened, Refusal};
use super::handle::ServerHandle;
use super::reply::{EventId, PostReply};
use super::session::SessionId;
use crate::envelope::Message;
use crate::rpc::{self, code};
use crate::wish::Wish;
use bytes::Bytes;
use dtma_core::record::GatewaySession;
use std::sync::Arc;
use tokio::sync::{oneshot, watch};

/// What became of a request at one owner.
pub(crate) enum Passed {
    /// This goes back to the client.
    Reply(PostReply),
    /// Nothing of it was written, for a reason that waiting does not mend; this goes back to the client.
    Refused(PostReply),
    /// Nothing of it was written: no process answers, or the owner is going.
    NotReady,
    /// The process ended, or the connection to it, before it said anything. The server can have received it, as this error
    /// says.
    Lost(Bytes),
    /// The session is not here.
    Unknown,
}

/// A request as the server will see it, and what is needed to undo that. It may be offered to several owners, one
/// after the other, as long as none has written it.
pub(crate) struct Prepared {
    session: SessionId,
    guest: Option<Guest>,
    pub(crate) id: u64,
    /// The client's id, raw.
    pub(crate) client_id: Bytes,
    client_token: Option<Bytes>,
    line: Bytes,
    endless: bool,
}

impl Prepared {
    /// `id` must never have been used behind the door.
    pub(crate) fn new(session: SessionId, id: u64, message: &Message) -> Self {
        let copy = |part| message.raw(part).map(Bytes::copy_from_slice);
        Self {
            session,
            guest: None,
            id,
            client_id: copy(message.envelope.id).unwrap_or_default(),
            client_token: copy(message.envelope.meta_token),
            line: message.with_id(id, Message::to_line),
            endless: message.is("subscriptions/listen"),
        }
    }

    /// The session is there for this request alone.
    pub(crate) fn of_guest(self, guest: Guest) -> Self {
        Self { guest: Some(guest), ..self }
    }

    fn call(&self, reply: oneshot::Sender<First>) -> ClientCall {
        let Self { session, id, endless, .. } = *self;
        let (client_id, client_token) = (self.client_id.clone(), self.client_token.clone());
        let guest = self.guest.clone();
        ClientCall { id, session, guest, client_id, client_token, line: self.line.clone(), endless, reply }
    }
}

impl ServerHandle {
    pub(crate) async fn request(&self, prepared: &Prepared) -> Passed {
        let (reply, first) = oneshot::channel();
        if self.order(Command::Call(prepared.call(reply))).await.is_err() {
            return Passed::NotReady;
        }
        match self.shared.quickness.answer(first).await {
            Ok(First::Response(response)) => Passed::Reply(PostReply::Body(response)),
            Ok(First::Stream(stream)) => Passed::Reply(PostReply::Stream(stream)),
            Ok(First::Refused(Refusal::NotReady)) => Passed::NotReady,
            Ok(First::Refused(Refusal::UnknownSession)) => Passed::Unknown,
            Ok(First::Refused(refusal)) => Passed::Refused(refused(&prepared.client_id, refusal)),
            Ok(First::Lost(error)) => Passed::Lost(error),
            // The owner's task was ended with the call in its hands.
            Err(_) => {
                let why = "the daemon ended before the server answered";
                Passed::Reply(PostReply::Body(rpc::lost(&prepared.client_id, why, true)))
            }
        }
    }

    pub(crate) async fn open(&self, id: SessionId, session: Arc<GatewaySession>) -> Result<Opened, Closed> {
        self.begin_open(id, session).await?.await.map_err(|_| Closed)
    }

    /// The same without waiting for the answer.
    pub(crate) async fn begin_open(
        &self,
        id: SessionId,
        session: Arc<GatewaySession>,
    ) -> Result<oneshot::Receiver<Opened>, Closed> {
        let (reply, answer) = oneshot::channel();
        self.order(Command::Open { session, id, reply }).await?;
        Ok(answer)
    }

    /// `None`: the session is not here.
    pub(crate) async fn listen(
        &self,
        session: SessionId,
        after: Option<EventId>,
    ) -> Result<Option<Listening>, Closed> {
        self.ask(|reply| Command::Listen { session, after, reply }).await
    }

    /// The sessions that have calls or streams open here.
    pub(crate) async fn in_use(&self) -> Result<Vec<SessionId>, Closed> {
        self.ask(|reply| Command::InUse { reply }).await
    }

    /// `false`: the session is not here; likewise the next three.
    pub(crate) async fn touch(&self, session: SessionId) -> Result<bool, Closed> {
        self.ask(|reply| Command::Touch { session, reply }).await
    }

    pub(crate) async fn notice(&self, session: SessionId, message: Message) -> Result<bool, Closed> {
        self.ask(|reply| Command::Notice { session, message, reply }).await
    }

    pub(crate) async fn close_session(&self, session: SessionId) -> Result<bool, Closed> {
        self.ask(|reply| Command::Close { session, reply }).await
    }

    /// `false`: it is about nothing of this owner's.
    pub(crate) async fn claim(&self, session: SessionId, message: Message) -> Result<bool, Closed> {
        self.ask(|reply| Command::Claim { session, message, reply }).await
    }

    pub(crate) async fn wish(&self, session: SessionId, wish: Wish) -> Result<(), Closed> {
        self.order(Command::Wish { session, wish }).await
    }

    pub(crate) async fn release(&self, session: SessionId) -> Result<(), Closed> {
        self.order(Command::Release { session }).await
    }

    pub(crate) async fn leave(&self, left: watch::Sender<Option<usize>>) -> Result<(), Closed> {
        self.order(Command::Leave { left }).await
    }
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
