//! What the present process is told of its clients' wishes: all of them together, and again when it is another one.

use super::command::HouseCall;
use super::owner::Owner;
use super::reply::Event;
use super::session::SessionId;
use crate::envelope::Message;
use crate::json::{self, member};
use crate::rpc;
use crate::wish::{self, Wish};
use serde_json::json;
use tokio::sync::oneshot;

/// A notification for everybody, as far as it matters who wants it.
#[derive(Debug)]
pub(crate) enum Subject {
    /// A line of the log; how bad it is, where that is known.
    Log(Option<usize>),
    /// A resource that was watched by somebody.
    Update {
        uri: String,
    },
    Other,
}

impl Owner {
    /// A session wants something that it did not want before, or no longer. The server was told already, but for what
    /// is not wanted any more: others may want it still.
    pub(super) fn wish(&mut self, session: SessionId, wish: &Wish) {
        if let Some(session) = self.sessions.get_mut(session) {
            wish.apply(&mut session.wishes);
        }
        if !matches!(wish, Wish::Unwatch(_)) {
            wish.apply(&mut self.told);
        }
        self.tell_wishes();
    }

    /// Tells the process what its clients want that it does not know yet.
    pub(super) fn tell_wishes(&mut self) {
        let Some(ready) = self.state.borrow().ready().cloned() else { return };
        let wanted = wish::together(self.sessions.wishes());
        let told = std::mem::replace(&mut self.told, wanted.clone());
        if let Some(level) = wanted.log_level.filter(|level| told.log_level.as_ref() != Some(level))
            && ready.greeting.can("logging")
        {
            self.tell("logging/setLevel", &json!({"level": level}));
        }
        if ready.greeting.can("resources") {
            for uri in told.watched.difference(&wanted.watched) {
                self.tell("resources/unsubscribe", &json!({"uri": uri}));
            }
            for uri in wanted.watched.difference(&told.watched) {
                self.tell("resources/subscribe", &json!({"uri": uri}));
            }
        }
    }

    /// Nobody waits for the answer: what a server refuses now it has accepted before, or would have refused its client.
    fn tell(&mut self, method: &str, params: &serde_json::Value) {
        let id = self.shared.ids.next();
        let line = rpc::line(rpc::request(id, method, Some(params.to_string().as_bytes())));
        let (reply, _) = oneshot::channel();
        self.house_call(HouseCall { id, line, may_ask: false, reply });
    }

    /// Those of the notifications for everybody that are for this session.
    pub(super) fn wanted_by(&self, session: SessionId, events: Vec<Event>) -> Vec<Event> {
        let Some(session) = self.sessions.get(session) else { return events };
        let is_for = |event: &Event| {
            let message = Message::read(event.text.clone(), self.shared.limits.message);
            message.is_ok_and(|message| session.hears(&self.subject(&message), false))
        };
        events.into_iter().filter(is_for).collect()
    }

    /// What a notification is about. An update that nobody asked for is for everybody.
    pub(super) fn subject(&self, message: &Message) -> Subject {
        let text = |name: &str| {
            let params = message.raw(message.envelope.params)?;
            member(params, name).and_then(json::read::<String>)
        };
        if message.is("notifications/message") {
            return Subject::Log(text("level").as_deref().and_then(wish::rank));
        }
        let uri = message.is("notifications/resources/updated").then(|| text("uri")).flatten();
        let watched = uri.filter(|uri| self.sessions.wishes().any(|wishes| wish::is_watched(wishes, uri)));
        watched.map_or(Subject::Other, |uri| Subject::Update { uri })
    }
}
