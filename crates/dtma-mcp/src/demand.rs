//! What a client's text asks a server to do, for those who count that or refuse it before it is passed on.

use crate::envelope::{Kind, Message, Packet};
use crate::json::member;
use crate::rpc;
use crate::{MessageStream, PostReply};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use serde_json::json;
use std::time::Duration;

/// What else counts as a call, besides those of tools.
const OTHERS: [&str; 2] = ["prompts/get", "resources/read"];

/// A call: something that a server is to do, and not only to tell about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Demand {
    /// Of a tool.
    Tool(String),
    /// Of a prompt or a resource.
    Other,
}

/// The calls in a text: none, one, or those of a batch. A call that names no tool, or two, is none: it is refused later.
#[must_use]
pub fn demands(text: &Bytes) -> Vec<Demand> {
    messages(text).iter().filter_map(demand).collect()
}

/// The answer to a text whose sender asks too often: an error to every request in it.
#[must_use]
pub fn too_often(text: &Bytes, why: &str, again: Duration) -> PostReply {
    let data = json!({"retry_after_ms": u64::try_from(again.as_millis()).unwrap_or(u64::MAX)});
    let refused = |id: &[u8]| rpc::error_with(Some(id), rpc::code::TOO_OFTEN, why, &data);
    to_each_request(text, refused).unwrap_or(PostReply::Accepted)
}

/// The answer to a text that nobody will answer, as nothing of it was done: an error to every request in it. `None`: it
/// has no request.
#[must_use]
pub fn unanswerable(text: &Bytes, why: &str) -> Option<PostReply> {
    to_each_request(text, |id| rpc::lost(id, why, false))
}

fn to_each_request(text: &Bytes, answer: impl Fn(&[u8]) -> Bytes) -> Option<PostReply> {
    let answered = |message: &Message| {
        let id = message.raw(message.envelope.id).filter(|_| message.kind() == Kind::Request);
        id.map(&answer)
    };
    let mut answers: Vec<Bytes> = messages(text).iter().filter_map(answered).collect();
    let last = answers.pop()?;
    if answers.is_empty() {
        return Some(PostReply::Body(last));
    }
    let all = answers.into_iter().chain([last]);
    Some(PostReply::Stream(MessageStream::merged(stream::iter(all).boxed())))
}

pub(crate) fn messages(text: &Bytes) -> Vec<Message> {
    let read = |text: Bytes| Message::read(text, usize::MAX).ok();
    match Packet::read(text.clone(), usize::MAX) {
        Ok(Packet::One(message)) => vec![message],
        Ok(Packet::Batch(parts)) => parts.into_iter().filter_map(read).collect(),
        Err(_) => Vec::new(),
    }
}

fn demand(message: &Message) -> Option<Demand> {
    if message.kind() != Kind::Request {
        return None;
    }
    if message.is("tools/call") {
        let name = member(message.raw(message.envelope.params)?, "name")?;
        return serde_json::from_slice(name).ok().map(Demand::Tool);
    }
    OTHERS.iter().any(|method| message.is(method)).then_some(Demand::Other)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALL: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo"}}"#;
    const READ: &str = r#"{"jsonrpc":"2.0","id":"r","method":"resources/read","params":{"uri":"a:b"}}"#;
    const LIST: &str = r#"{"jsonrpc":"2.0","id":2,"method":"tools/list"}"#;
    const NOTE: &str = r#"{"jsonrpc":"2.0","method":"tools/call","params":{"name":"echo"}}"#;

    fn found(text: &str) -> Vec<Demand> {
        demands(&Bytes::copy_from_slice(text.as_bytes()))
    }

    #[test]
    fn only_calls_count() {
        assert_eq!(found(CALL), [Demand::Tool("echo".to_owned())]);
        assert_eq!(found(READ), [Demand::Other]);
        assert_eq!(found(&format!("[{CALL},{LIST},{NOTE},{READ},7]")).len(), 2);
        for none in [LIST, NOTE, "", "[]", "{", r#"{"jsonrpc":"2.0","id":1,"method":"tools/call"}"#] {
            assert_eq!(found(none), [], "{none}");
        }
        let twice = CALL.replace(r#""name":"echo""#, r#""name":"echo","name":"other""#);
        assert_eq!(found(&twice), [], "which of both is meant nobody can say");
    }

    #[test]
    fn every_request_of_a_refused_text_is_answered() {
        let refused = |text: &str| {
            too_often(&Bytes::copy_from_slice(text.as_bytes()), "wait", Duration::from_millis(1500))
        };
        let PostReply::Body(body) = refused(CALL) else { panic!("one request has one answer") };
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        let error = json!({"code": -32029, "message": "wait", "data": {"retry_after_ms": 1500}});
        assert_eq!(body, json!({"jsonrpc": "2.0", "id": 1, "error": error}));
        let PostReply::Stream(answers) = refused(&format!("[{CALL},{LIST},{NOTE}]")) else {
            panic!("a batch has several")
        };
        let answers: Vec<Bytes> = futures_util::FutureExt::now_or_never(answers.collect()).unwrap();
        assert_eq!(answers.len(), 2);
        assert!(matches!(refused(NOTE), PostReply::Accepted));
    }

    #[test]
    fn only_a_text_that_asks_for_something_can_go_unanswered() {
        let refused = |text: &str| unanswerable(&Bytes::copy_from_slice(text.as_bytes()), "time is stopped");
        let Some(PostReply::Body(body)) = refused(READ) else { panic!("one request has one answer") };
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!((&body["id"], &body["error"]["message"]), (&json!("r"), &json!("time is stopped")));
        assert_eq!(body["error"]["data"]["may_have_executed"], false, "{body}");
        assert!(refused(NOTE).is_none() && refused("{").is_none());
    }
}
