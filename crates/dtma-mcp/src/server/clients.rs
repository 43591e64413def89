//! The owner's dealings with clients: their sessions, calls, notifications and answers.

use super::calls::{Call, Caller, ClientCaller, Way};
use super::command::{ClientCall, First, Listening, Opened, Refusal};
use super::owner::{Chore, Owner};
use super::reply::EventId;
use super::session::SessionId;
use super::sessions::{AllInUse, Session};
use crate::envelope::{Kind, Message};
use crate::rpc::{self, code};
use crate::splice::Edit;
use dtma_core::record::GatewaySession;
use tokio::sync::watch;

impl Owner {
    pub(super) fn open(&mut self, id: SessionId, session: &GatewaySession) -> Opened {
        if self.is_draining() {
            return Opened::Draining;
        }
        match self.sessions.open(id, session) {
            Ok(evicted) => {
                evicted.into_iter().for_each(|evicted| self.forget(evicted));
                self.tell_wishes();
                Opened::Here { evicted }
            }
            Err(AllInUse) => Opened::Full,
        }
    }

    /// All sessions go elsewhere, unless somebody has thought better of it meanwhile.
    pub(super) fn leave(&mut self, left: watch::Sender<Option<usize>>) {
        if self.is_draining() {
            self.sessions.release_all();
            self.left = Some(left);
        }
    }

    /// Tells whoever drains this server how far it is.
    pub(super) fn report_left(&self) {
        if let Some(left) = &self.left {
            left.send_replace(Some(self.calls.owed()));
        }
    }

    pub(super) fn close(&mut self, id: SessionId) -> bool {
        let Some(session) = self.sessions.close(id) else { return false };
        self.end_calls(&session);
        self.leave_unanswered(id);
        self.tell_wishes();
        true
    }

    /// A session goes elsewhere.
    pub(super) fn release(&mut self, id: SessionId) {
        self.sessions.release(id);
        self.tell_wishes();
    }

    fn end_calls(&mut self, session: &Session) {
        for id in session.calls.values() {
            let Some(call) = self.calls.take(*id) else { continue };
            self.cancel(*id, "the session was closed");
            if let Caller::Client(client) = call.caller {
                client.way.finish(rpc::error(Some(&client.id), code::CANCELLED, "the session was closed"));
            }
        }
    }

    /// Removes a session that made way from the store, beside: a slow disk holds nobody up.
    fn forget(&mut self, id: SessionId) {
        let shared = self.shared.clone();
        self.chores.push(Box::pin(async move {
            if let Err(problem) = shared.store.remove_session(&id.to_string()).await {
                tracing::warn!(server = %shared.instance, %problem, "a session that made way stays in the store");
            }
            Chore::Kept
        }));
    }

    pub(super) fn listen(&mut self, id: SessionId, after: Option<&EventId>) -> Option<Listening> {
        let room = self.shared.limits.stream;
        let missed = after.into_iter().flat_map(|after| self.recent.after(after)).collect();
        let missed = self.wanted_by(id, missed);
        let events = self.sessions.using(id)?.listen(room, after, missed);
        Some(Listening { events, last: self.recent.last().clone() })
    }

    pub(super) fn client_call(&mut self, call: ClientCall) {
        self.shared.used.note();
        if let Some(guest) = &call.guest {
            self.sessions.host(call.session, guest);
        }
        match self.may_call(&call).and_then(|()| self.write(call.line)) {
            Err(refusal) => {
                if call.guest.is_some() {
                    self.sessions.close(call.session);
                }
                drop(call.reply.send(First::Refused(refusal)));
            }
            Ok(place) => {
                if let Some(session) = self.sessions.get_mut(call.session) {
                    session.calls.insert(call.client_id.clone(), call.id);
                }
                let way = Way::Waiting(call.reply);
                let due = if call.endless { None } else { self.due() };
                let ClientCall { id, session, client_id, client_token: token, .. } = call;
                let caller = Caller::Client(ClientCaller { session, id: client_id, token, way });
                self.calls.insert(id, Call { place, due, caller });
                if let Some(session) = self.sessions.get_mut(session) {
                    session.give_held(&mut self.calls, self.shared.limits.stream);
                }
            }
        }
    }

    fn may_call(&mut self, call: &ClientCall) -> Result<(), Refusal> {
        let session = self.sessions.using(call.session).ok_or(Refusal::UnknownSession)?;
        if session.calls.contains_key(&call.client_id) {
            return Err(Refusal::DuplicateId);
        }
        let of_session = session.calls.len();
        if !self.is_ready() || self.is_draining() {
            return Err(Refusal::NotReady);
        }
        if of_session >= self.shared.limits.calls_per_session || self.calls.len() >= self.shared.limits.calls
        {
            return self.make_room(call.session);
        }
        Ok(())
    }

    fn make_room(&mut self, session: SessionId) -> Result<(), Refusal> {
        self.reap();
        let of_session = self.sessions.get(session).map_or(0, |session| session.calls.len());
        if of_session >= self.shared.limits.calls_per_session {
            return Err(Refusal::TooManyCallsOfSession);
        }
        if self.calls.len() >= self.shared.limits.calls { Err(Refusal::TooManyCalls) } else { Ok(()) }
    }

    /// Forgets the calls whose answer nobody awaits.
    pub(super) fn reap(&mut self) {
        for call in self.calls.reap() {
            if let Caller::Client(client) = call.caller {
                self.sessions.ended(client.session, &client.id);
            }
        }
    }

    /// A notification or an answer from a client. `false`: no such session.
    pub(super) fn notice(&mut self, id: SessionId, message: &Message) -> bool {
        if self.sessions.using(id).is_none() {
            return false;
        }
        self.shared.used.note();
        match message.kind() {
            Kind::Response => self.client_answers(id, message),
            Kind::Notification if message.is("notifications/cancelled") => self.client_cancels(id, message),
            Kind::Notification if message.is("notifications/progress") => self.client_progresses(id, message),
            Kind::Notification => self.pass_on(message, &mut []),
            // Requests come as calls.
            Kind::Request => {}
        }
        true
    }

    /// Takes a notification or an answer that is about something of this owner's.
    pub(super) fn claim(&mut self, id: SessionId, message: &Message) -> bool {
        let asked = |part| {
            let question = message.raw(part).and_then(rpc::own_id);
            question.is_some_and(|question| self.questions.get(question, id).is_some())
        };
        let is_ours = match message.kind() {
            Kind::Response => asked(message.envelope.id),
            Kind::Notification if message.is("notifications/cancelled") => {
                let call = message.raw(message.envelope.request_id).zip(self.sessions.get(id));
                call.is_some_and(|(call, session)| session.calls.contains_key(call))
            }
            Kind::Notification => asked(message.envelope.progress_token),
            Kind::Request => false,
        };
        is_ours && self.notice(id, message)
    }

    fn client_answers(&mut self, session: SessionId, message: &Message) {
        let Some(at) = message.envelope.id else { return };
        let question = rpc::own_id(at.of(&message.text)).and_then(|id| self.questions.take(id, session));
        let Some(question) = question else {
            tracing::debug!(server = %self.shared.instance, "a client answered what nobody asked");
            return;
        };
        self.pass_on(message, &mut [Edit { at, text: &question.id }]);
    }

    /// Ends the call at once: a server does not answer what was cancelled, and one that answers all the same has
    /// raced with the client, who has to ignore that answer.
    fn client_cancels(&mut self, session: SessionId, message: &Message) {
        let Some(at) = message.envelope.request_id else { return };
        let known =
            self.sessions.get_mut(session).and_then(|session| session.calls.remove(at.of(&message.text)));
        let Some(id) = known else { return };
        self.pass_on(message, &mut [Edit { at, text: id.to_string().as_bytes() }]);
        self.sessions.ended(session, at.of(&message.text));
        if let Some(Call { caller: Caller::Client(client), .. }) = self.calls.take(id) {
            client.way.finish(rpc::error(Some(&client.id), code::CANCELLED, "cancelled by the client"));
        }
    }

    fn client_progresses(&mut self, session: SessionId, message: &Message) {
        let Some(at) = message.envelope.progress_token else { return };
        let question = rpc::own_id(at.of(&message.text)).and_then(|id| self.questions.get(id, session));
        let Some(token) = question.and_then(|question| question.token.clone()) else { return };
        self.pass_on(message, &mut [Edit { at, text: &token }]);
    }

    /// To the server as it is but for the edits. While no process answers, or when the server reads nothing, it is
    /// dropped: notifications promise nothing.
    fn pass_on(&mut self, message: &Message, edits: &mut [Edit<'_>]) {
        if !self.is_ready() {
            return;
        }
        if self.write(message.to_line(edits)).is_err() {
            tracing::warn!(server = %self.shared.instance, "a client's message was dropped: the server does not read");
        }
    }

    /// Nobody waits for a call any more.
    pub(super) fn give_up(&mut self, id: u64, why: &str) {
        let Some(call) = self.calls.take(id) else { return };
        if let Caller::Client(client) = call.caller {
            self.sessions.ended(client.session, &client.id);
            if self.sessions.get(client.session).is_none() {
                self.leave_unanswered(client.session);
            }
        }
        self.cancel(id, why);
    }

    /// Whom the server asked is gone.
    pub(super) fn leave_unanswered(&mut self, id: SessionId) {
        for question in self.questions.take_of(id) {
            let answer = rpc::error(Some(&question.id), code::INTERNAL_ERROR, "the client is gone");
            self.answer_server(&answer);
        }
    }

    pub(super) fn cancel(&mut self, id: u64, reason: &str) {
        let params = format!(r#"{{"requestId":{id},"reason":{}}}"#, rpc::quoted(reason));
        let line = rpc::line(rpc::notification("notifications/cancelled", Some(params.as_bytes())));
        // A server that does not read need not know.
        let _unread = self.write(line);
    }
}
