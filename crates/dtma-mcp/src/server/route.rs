//! What the server says, and to whom it goes.
//!
//! | said | goes to |
//! |---|---|
//! | an answer | the call with its id, and nobody else |
//! | progress | the call whose token it bears, which is the call's id |
//! | a request | the only session with a call in flight; with several or none the server gets an error |
//! | a request of a process that belongs to one session | that session, whatever it does |
//! | `notifications/cancelled` | the session that was asked |
//! | any other notification | every session |
//! | no JSON-RPC | the log ring |

use super::calls::{Call, Caller};
use super::command::HouseAnswer;
use super::link::Heard;
use super::owner::Owner;
use super::questions::Question;
use super::reply::Event;
use super::session::SessionId;
use super::sessions::Audience;
use super::state::Ready;
use super::wishes::Subject;
use crate::envelope::{Kind, Message, Packet};
use crate::json::Span;
use crate::line::Framed;
use crate::rpc::{self, code};
use crate::splice::{Edit, flatten};
use bytes::Bytes;
use dtma_core::port::runtime::OutputStream;
use std::sync::Arc;

/// Which capability a client must have declared to be asked; other methods pass.
const NEEDS: [(&str, &str); 3] =
    [("sampling/createMessage", "sampling"), ("elicitation/create", "elicitation"), ("roots/list", "roots")];

const TOOLS_CHANGED: &str = "notifications/tools/list_changed";
const LIST_CHANGED: [&str; 3] =
    [TOOLS_CHANGED, "notifications/prompts/list_changed", "notifications/resources/list_changed"];

/// Notifications that are about one call or question.
const PRIVATE: [&str; 2] = ["notifications/progress", "notifications/cancelled"];

const WHOM: &str = "several clients have calls in flight; whom to ask is unknown";

impl Owner {
    pub(super) fn heard(&mut self, heard: Heard) {
        let Heard { stream, framed, place, again } = heard;
        if stream == OutputStream::Stdout {
            self.recent.heard(place);
        }
        match (stream, framed) {
            (_, Framed::Line(line)) if again => self.heard_before(&line),
            (_, Framed::Dropped { .. }) if again => {}
            (OutputStream::Stderr, Framed::Line(line)) => self.note(OutputStream::Stderr, &line),
            (OutputStream::Stdout, Framed::Line(line)) => self.line(&line),
            (stream, Framed::Dropped { bytes }) => {
                tracing::warn!(server = %self.shared.instance, bytes, "a line was too long and was dropped");
                self.note(
                    stream,
                    format!("[a line of {bytes} bytes was too long and was dropped]").as_bytes(),
                );
                self.after_gap();
            }
        }
    }

    /// A former life of the daemon has seen to it. Whoever listened then may not have got what was for everybody.
    fn heard_before(&mut self, line: &Bytes) {
        if let Ok(Packet::One(message)) = Packet::read(line.clone(), self.shared.limits.message)
            && message.kind() == Kind::Notification
            && message.envelope.subscription.is_none()
            && !PRIVATE.iter().any(|method| message.is(method))
        {
            let text = message.to_text(&mut []);
            let subject = self.subject(&message);
            let event = Event { id: Some(self.recent.keep(&text)), text };
            let hearers = self.sessions.all().filter(|session| session.hears(&subject, false));
            hearers.for_each(|session| session.tell_again(&event));
        }
    }

    fn line(&mut self, line: &Bytes) {
        let after_gap = self.after_gap();
        let begins = line.iter().copied().find(|byte| !byte.is_ascii_whitespace());
        match begins {
            None => {}
            Some(b'{' | b'[') => match Packet::read(line.clone(), self.shared.limits.message) {
                Ok(packet) => self.packet(packet),
                // The tail of a message that was begun for somebody else is not shown either.
                Err(_) if after_gap => {}
                Err(_) => self.note(OutputStream::Stdout, line),
            },
            Some(_) if after_gap => {}
            Some(_) => self.note(OutputStream::Stdout, line),
        }
    }

    /// Whether this is the first line after a gap; the next one is not.
    fn after_gap(&mut self) -> bool {
        self.link.as_mut().is_some_and(|link| std::mem::take(&mut link.after_gap))
    }

    fn note(&self, stream: OutputStream, line: &[u8]) {
        self.log.push((self.shared.wall)(), stream, line);
    }

    fn packet(&mut self, packet: Packet) {
        match packet {
            Packet::One(message) => self.said(&message),
            Packet::Batch(elements) => {
                for element in elements {
                    match Message::read(element.clone(), self.shared.limits.message) {
                        Ok(message) => self.said(&message),
                        Err(_) => self.note(OutputStream::Stdout, &element),
                    }
                }
            }
        }
    }

    fn said(&mut self, message: &Message) {
        match message.kind() {
            Kind::Response => self.answered(message),
            Kind::Request => {
                self.shared.used.note();
                self.asked(message);
            }
            Kind::Notification => {
                self.shared.used.note();
                self.notified(message);
            }
        }
    }

    fn answered(&mut self, message: &Message) {
        let Some(at) = message.envelope.id else { return };
        let call = rpc::own_id(at.of(&message.text)).and_then(|id| self.calls.take(id));
        match call {
            Some(Call { caller: Caller::House { reply, .. }, .. }) => drop(reply.send(house_answer(message))),
            Some(Call { caller: Caller::Client(client), .. }) => {
                self.sessions.ended(client.session, &client.id);
                self.shared.used.note();
                let text = message.to_text(&mut [Edit { at, text: &client.id }]);
                match message.raw(message.envelope.error).is_some_and(rpc::may_have_executed) {
                    true => client.way.lose(text),
                    false => client.way.finish(text),
                }
            }
            // Cancelled, given up, or asked before the daemon was restarted; or an error about nothing readable.
            None => tracing::debug!(server = %self.shared.instance, "an answer that nobody awaits"),
        }
    }

    fn notified(&mut self, message: &Message) {
        if message.is("notifications/progress") {
            return self.progressed(message);
        }
        if message.is("notifications/cancelled") {
            return self.withdrawn(message);
        }
        if message.is(TOOLS_CHANGED) {
            self.tools_changed();
        }
        if LIST_CHANGED.iter().any(|method| message.is(method)) {
            self.shared.lists_changed.send_modify(|count| *count += 1);
        }
        if let Some(at) = message.envelope.subscription {
            return self.subscribed(message, at);
        }
        self.tell_all(message);
    }

    /// Something for the call that asked to be told: its id is that of the subscription.
    fn subscribed(&mut self, message: &Message, at: Span) {
        let room = self.shared.limits.stream;
        let client = rpc::own_id(at.of(&message.text)).and_then(|id| self.calls.client(id));
        let Some(client) = client else { return };
        let id = client.id.clone();
        if !client.way.say(message.to_text(&mut [Edit { at, text: &id }]), room) {
            tracing::trace!(server = %self.shared.instance, "a client that is too slow misses a notification");
        }
    }

    fn progressed(&mut self, message: &Message) {
        let Some(at) = message.envelope.progress_token else { return };
        let room = self.shared.limits.stream;
        let Some(id) = rpc::own_id(at.of(&message.text)) else { return };
        self.is_heard_of(id);
        let Some(client) = self.calls.client(id) else { return };
        let Some(token) = client.token.clone() else { return };
        // A client that does not keep up misses progress, nothing more.
        let _missed = client.way.say(message.to_text(&mut [Edit { at, text: &token }]), room);
    }

    fn tell_all(&mut self, message: &Message) {
        let text = message.to_text(&mut []);
        let room = self.shared.limits.stream;
        let subject = self.subject(message);
        let alone = matches!(self.sessions.with_calls(), Audience::One(_));
        let event = Event { id: Some(self.recent.keep(&text)), text };
        for session in self.sessions.all().filter(|session| session.hears(&subject, alone)) {
            if !session.tell(event.clone(), &mut self.calls, room) {
                tracing::trace!(server = %self.shared.instance, "a client without a stream, or too slow, misses a notification");
            }
        }
    }

    /// Says in the server's name that its tools are others, if it declares that it would. As no output of the server's it is
    /// not remembered.
    pub(super) fn tools_show_otherwise(&mut self) {
        let declared = |ready: &Arc<Ready>| ready.greeting.list_changed.iter().any(|list| list == "tools");
        if !self.state.borrow().ready().is_some_and(declared) {
            return;
        }
        let event = Event::unnumbered(rpc::notification(TOOLS_CHANGED, None).into());
        let room = self.shared.limits.stream;
        for session in self.sessions.all().filter(|session| session.hears(&Subject::Other, false)) {
            // One without a stream, or too slow, misses it.
            let _missed = session.tell(event.clone(), &mut self.calls, room);
        }
    }

    /// The server no longer wants an answer.
    fn withdrawn(&mut self, message: &Message) {
        let Some(at) = message.envelope.request_id else { return };
        let Some((id, question)) = self.questions.take_by_server_id(at.of(&message.text)) else { return };
        let text = message.to_text(&mut [Edit { at, text: id.to_string().as_bytes() }]);
        // One that does not listen any more answers into the void.
        let _put = self.put_to(question.session, text);
    }

    fn asked(&mut self, message: &Message) {
        let Some(server_id) = message.shared(message.envelope.id) else { return };
        if message.is("ping") {
            return self.answer_server(&rpc::result(&server_id, b"{}"));
        }
        let put = self.audience(message).and_then(|session| self.put_question(session, message, &server_id));
        if let Err((code, why)) = put {
            tracing::warn!(server = %self.shared.instance, why, "a request of the server's was refused");
            self.answer_server(&rpc::error(Some(&server_id), code, why));
        }
    }

    fn audience(&self, message: &Message) -> Result<SessionId, (i64, &'static str)> {
        let session = match self.sessions.with_calls() {
            _ if self.shared.host.is_session() => {
                self.sessions.only().ok_or((code::INTERNAL_ERROR, "its client is not there yet"))?
            }
            Audience::One(_) if self.calls.house_may_be_asked() => return Err((code::INTERNAL_ERROR, WHOM)),
            Audience::One(session) => session,
            Audience::Nobody => {
                return Err((code::INTERNAL_ERROR, "no client has a call in flight to ask it about"));
            }
            Audience::Several => return Err((code::INTERNAL_ERROR, WHOM)),
        };
        let needed = NEEDS.iter().find(|(method, _)| message.is(method));
        let can = |needed: &str| self.sessions.get(session).is_some_and(|session| session.can(needed));
        match needed {
            Some((_, capability)) if !can(capability) => {
                Err((code::METHOD_NOT_FOUND, "the client did not declare this capability"))
            }
            Some(_) | None => Ok(session),
        }
    }

    fn put_question(
        &mut self,
        session: SessionId,
        message: &Message,
        server_id: &Bytes,
    ) -> Result<(), (i64, &'static str)> {
        if self.questions.is_full() {
            return Err((code::INTERNAL_ERROR, "too many requests wait for clients"));
        }
        let id = self.shared.ids.next();
        let text = message.with_id(id, Message::to_text);
        if !self.put_to(session, text) {
            return Err((code::INTERNAL_ERROR, "the client does not listen"));
        }
        let token = message.raw(message.envelope.meta_token).map(Bytes::copy_from_slice);
        // Copied: a slice would keep the whole message in memory until the answer.
        let server_id = Bytes::copy_from_slice(server_id);
        self.questions.insert(id, Question { session, id: server_id, token });
        Ok(())
    }

    /// Something that a session is asked, or is not asked any more. `false`: its client does not listen.
    fn put_to(&mut self, session: SessionId, text: Bytes) -> bool {
        let (room, own) = (self.shared.limits.stream, self.shared.host.is_session());
        let Some(session) = self.sessions.get_mut(session) else { return false };
        match own {
            true => session.ask_in_time(text, &mut self.calls, room),
            false => session.ask(text, &mut self.calls, room),
        }
    }

    pub(super) fn answer_server(&mut self, answer: &[u8]) {
        if self.write([answer, b"\n"].concat().into()).is_err() {
            tracing::warn!(server = %self.shared.instance, "an answer was dropped: the server does not read");
        }
    }
}

fn house_answer(message: &Message) -> HouseAnswer {
    let copy = |raw: &[u8]| {
        let mut copy = raw.to_vec();
        flatten(&mut copy);
        Bytes::from(copy)
    };
    match (message.raw(message.envelope.result), message.raw(message.envelope.error)) {
        (Some(result), _) => HouseAnswer::Result(copy(result)),
        (None, error) => HouseAnswer::Error(copy(error.unwrap_or(b"{}"))),
    }
}
