//! What a client is told when its request got no answer of its own.

use crate::envelope::{Kind, Message};
use crate::rpc::{self, code};
use bytes::Bytes;
use http::StatusCode;
use std::io;

/// Most characters of a body that are shown to the client.
const SHOWN: usize = 200;

/// Why a message had no answer.
#[derive(Debug)]
pub(super) enum Trouble {
    /// It will have none. `sent`: the server can have received it.
    Unanswered { why: String, sent: bool },
    /// The server refused it with these words.
    Refused { status: StatusCode, body: Bytes },
    /// The session, or the server, is gone for good. `sent`: the server can have received the message.
    Gone { why: io::Error, sent: bool },
}

impl Trouble {
    pub(super) fn unanswered(why: impl Into<String>) -> Self {
        Self::Unanswered { why: why.into(), sent: true }
    }

    /// The answer to the request with this id.
    pub(super) fn answer(&self, id: &[u8]) -> Bytes {
        match self {
            Self::Unanswered { why, sent } => rpc::lost(id, why, *sent),
            Self::Gone { why, sent } => rpc::lost(id, &why.to_string(), *sent),
            Self::Refused { status, body } => refused(id, *status, body),
        }
    }
}

/// The error of the body with the id of the request, whatever id it has there: some servers say null.
fn refused(id: &[u8], status: StatusCode, body: &Bytes) -> Bytes {
    let message = Message::read(body.clone(), body.len()).ok();
    let message = message.filter(|message| message.kind() == Kind::Response);
    match message.as_ref().and_then(|message| message.raw(message.envelope.error)) {
        Some(error) => {
            let mut text = [br#"{"jsonrpc":"2.0","id":"#, id, br#","error":"#, error, b"}"].concat();
            crate::splice::flatten(&mut text);
            text.into()
        }
        None => rpc::error(Some(id), code::CONNECTION_CLOSED, &in_words(status, body)),
    }
}

fn in_words(status: StatusCode, body: &[u8]) -> String {
    let shown: String = String::from_utf8_lossy(body).trim().chars().take(SHOWN).collect();
    match shown.is_empty() {
        true => format!("the server answered with status {status}"),
        false => format!("the server answered with status {status}: {shown}"),
    }
}
