//! What one server says, as a client of all of them hears it: ids of questions, addresses of resources and the names of
//! loggers get their server in front. Everything else passes as it came. Pure.

use super::names;
use crate::envelope::{Kind, Message};
use crate::json::{Cursor, Fault, Span, find, within};
use crate::splice::{Edit, splice};
use crate::{MessageStream, PostReply, rpc};
use bytes::Bytes;
use dtma_core::id::InstanceName;
use futures_util::StreamExt;

/// Where addresses stand in the result of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answers {
    /// `content` has links to resources and resources themselves (`tools/call`).
    Content,
    /// The same in `messages` (`prompts/get`).
    Messages,
    /// `contents` are resources (`resources/read`).
    Contents,
    /// Nowhere.
    Plain,
}

/// One server, as the answers to one request are told.
#[derive(Clone)]
pub(super) struct Voice {
    pub(super) server: InstanceName,
    pub(super) answers: Answers,
}

type Edits = Vec<(Span, Vec<u8>)>;

impl Voice {
    /// What a server says that belongs to no request.
    pub(super) fn of(server: &InstanceName) -> Self {
        Self { server: server.clone(), answers: Answers::Plain }
    }

    /// An answer with all that comes before it.
    pub(super) fn reply(self, reply: PostReply) -> PostReply {
        match reply {
            PostReply::Body(body) => PostReply::Body(self.result(body)),
            PostReply::Stream(messages) => {
                let messages = messages.map(move |text| self.message(text));
                PostReply::Stream(MessageStream::merged(messages.boxed()))
            }
            other => other,
        }
    }

    /// Any message.
    pub(super) fn message(&self, text: Bytes) -> Bytes {
        let Ok(message) = Message::read(text.clone(), usize::MAX) else { return text };
        let edits = match message.kind() {
            Kind::Response => return self.result(text),
            Kind::Request => self.question(&message),
            Kind::Notification => self.notification(&message),
        };
        done(&text, &edits)
    }

    fn question(&self, message: &Message) -> Edits {
        let places = [message.envelope.id, message.envelope.meta_token];
        let named = |at: Span| (at, names::question(&self.server, at.of(&message.text)));
        places.into_iter().flatten().map(named).collect()
    }

    fn notification(&self, message: &Message) -> Edits {
        let (text, params) = (&message.text, message.envelope.params);
        if message.is("notifications/cancelled") {
            let named = |at: Span| (at, names::question(&self.server, at.of(text)));
            return message.envelope.request_id.into_iter().map(named).collect();
        }
        if message.is("notifications/resources/updated") {
            return self.address(text, within(text, params, "uri")).into_iter().collect();
        }
        match message.is("notifications/message") {
            true => params.and_then(|params| self.logger(text, params)).into_iter().collect(),
            false => Vec::new(),
        }
    }

    /// `everything`, or `everything/its-own`.
    fn logger(&self, text: &[u8], params: Span) -> Option<(Span, Vec<u8>)> {
        if let Some(at) = within(text, Some(params), "logger") {
            let own: String = serde_json::from_slice(at.of(text)).ok()?;
            return Some((at, rpc::quoted(&format!("{}/{own}", self.server)).into_bytes()));
        }
        let rest = params.of(text).strip_prefix(b"{")?;
        let first = format!("{{\"logger\":\"{}\",", self.server);
        (!rest.trim_ascii_start().starts_with(b"}")).then(|| (params, [first.as_bytes(), rest].concat()))
    }

    /// A response.
    fn result(&self, text: Bytes) -> Bytes {
        if self.answers == Answers::Plain || memchr::memmem::find(&text, b"\"uri\"").is_none() {
            return text;
        }
        let result = find(&text, "result");
        let mut edits = Edits::new();
        match self.answers {
            Answers::Content => {
                each(&text, within(&text, result, "content"), |at| self.block(&text, at, &mut edits));
            }
            Answers::Messages => each(&text, within(&text, result, "messages"), |at| {
                self.blocks(&text, within(&text, Some(at), "content"), &mut edits);
            }),
            Answers::Contents => each(&text, within(&text, result, "contents"), |at| {
                edits.extend(self.address(&text, within(&text, Some(at), "uri")));
            }),
            Answers::Plain => {}
        }
        done(&text, &edits)
    }

    fn blocks(&self, text: &[u8], at: Option<Span>, edits: &mut Edits) {
        match at {
            Some(list) if list.of(text).starts_with(b"[") => {
                each(text, at, |one| self.block(text, one, edits));
            }
            Some(one) => self.block(text, one, edits),
            None => {}
        }
    }

    /// A link to a resource, or a resource.
    fn block(&self, text: &[u8], at: Span, edits: &mut Edits) {
        let kind = within(text, Some(at), "type").map_or(&b""[..], |kind| kind.of(text));
        let holder = match kind {
            b"\"resource_link\"" => Some(at),
            b"\"resource\"" => within(text, Some(at), "resource"),
            _ => None,
        };
        edits.extend(self.address(text, within(text, holder, "uri")));
    }

    fn address(&self, text: &[u8], at: Option<Span>) -> Option<(Span, Vec<u8>)> {
        at.map(|at| (at, names::prefixed(&self.server, at.of(text))))
    }
}

/// The elements of an array.
fn each(text: &[u8], list: Option<Span>, mut visit: impl FnMut(Span)) {
    let Some(list) = list else { return };
    let mut cursor = Cursor::new(list.of(text));
    // What is no list has no elements.
    let _walked: Result<(), Fault> = cursor.array(|cursor| {
        let inner = cursor.value(1)?;
        visit(Span { start: list.start + inner.start, end: list.start + inner.end });
        Ok(())
    });
}

fn done(text: &Bytes, edits: &Edits) -> Bytes {
    if edits.is_empty() {
        return text.clone();
    }
    let mut edits: Vec<Edit<'_>> = edits.iter().map(|(at, text)| Edit { at: *at, text }).collect();
    splice(text, &mut edits, 0).into()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::needless_pass_by_value, reason = "what is said and heard is written where it is")]

    use super::*;
    use serde_json::{Value, json};

    #[track_caller]
    fn check(answers: Answers, said: Value, heard: Value) {
        let voice = Voice { server: "fs".parse().unwrap(), answers };
        let text = voice.message(said.to_string().into());
        assert_eq!(serde_json::from_slice::<Value>(&text).unwrap(), heard);
    }

    fn response(result: &Value) -> Value {
        json!({"jsonrpc": "2.0", "id": 1, "result": result})
    }

    #[test]
    fn resources_in_results_are_named_so_that_they_can_be_read_again() {
        let blocks = |prefix: &str| {
            json!([
                {"type": "text", "text": "\"uri\": \"x\"", "uri": "not-one"},
                {"type": "resource_link", "uri": format!("{prefix}file:///a"), "name": "a"},
                {"type": "resource", "resource": {"text": "t", "uri": format!("{prefix}file:///b")}},
            ])
        };
        let (own, all) = (blocks(""), blocks("dtma://fs/"));
        check(
            Answers::Content,
            response(&json!({"content": own, "isError": false})),
            response(&json!({"content": all, "isError": false})),
        );
        let messages = |blocks: &Value| json!({"messages": [{"content": blocks[2]}, {"content": blocks}]});
        check(Answers::Messages, response(&messages(&own)), response(&messages(&all)));
        let contents = |uri: &str| json!({"contents": [{"uri": uri, "text": "t"}]});
        check(Answers::Contents, response(&contents("x:y")), response(&contents("dtma://fs/x:y")));
        check(Answers::Plain, response(&contents("x:y")), response(&contents("x:y")));
    }

    #[test]
    fn what_a_server_asks_and_notes_bears_its_name() {
        let asks = |id: Value| {
            json!({"jsonrpc": "2.0", "id": id, "method": "sampling/createMessage",
                "params": {"_meta": {"progressToken": id}}})
        };
        check(Answers::Plain, asks(json!(7)), asks(json!("fs__7")));
        let notes = |method: &str, params: Value| json!({"jsonrpc": "2.0", "method": format!("notifications/{method}"), "params": params});
        let cancelled = |id: Value| notes("cancelled", json!({"requestId": id}));
        check(Answers::Plain, cancelled(json!(7)), cancelled(json!("fs__7")));
        let updated = |uri: &str| notes("resources/updated", json!({"uri": uri}));
        check(Answers::Content, updated("x:y"), updated("dtma://fs/x:y"));
        let log = |logger: Value| notes("message", json!({"level": "info", "data": 1, "logger": logger}));
        check(Answers::Plain, log(json!("a\"b")), log(json!("fs/a\"b")));
        check(Answers::Plain, notes("message", json!({"level": "info"})), {
            notes("message", json!({"level": "info", "logger": "fs"}))
        });
        let progress = notes("progress", json!({"progressToken": 7, "progress": 1}));
        check(Answers::Content, progress.clone(), progress);
    }

    #[test]
    fn what_is_odd_passes_as_it_is() {
        for odd in ["nothing", r#"{"jsonrpc":"2.0","id":1,"result":{"content":"\"uri\"","uri":1}}"#] {
            let voice = Voice { server: "fs".parse().unwrap(), answers: Answers::Content };
            assert_eq!(voice.message(Bytes::from(odd)), odd);
        }
    }
}
