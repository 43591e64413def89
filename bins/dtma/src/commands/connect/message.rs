//! What has to be known of a message, and what is said in the daemon's place.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};
use std::borrow::Cow;

/// JSON-RPC's code for what is no JSON.
const PARSE_ERROR: i64 = -32700;
/// JSON-RPC's code for errors of whoever carries messages.
const NOT_CARRIED: i64 = -32000;

/// Which kind of message, and which number.
#[derive(Debug, Deserialize)]
pub(super) struct Envelope<'a> {
    #[serde(default)]
    pub(super) id: Option<Value>,
    #[serde(default, borrow)]
    pub(super) method: Option<Cow<'a, str>>,
}

impl<'a> Envelope<'a> {
    /// None for what is no object; a list would be read as its fields.
    pub(super) fn read(message: &'a [u8]) -> Option<Self> {
        serde_json::from_slice(message).ok().filter(|_| message.trim_ascii_start().starts_with(b"{"))
    }
}

/// As one line: between the parts of a JSON text newlines are white space, and inside its strings there are none.
pub(super) fn line(message: &[u8]) -> Vec<u8> {
    let message = message.trim_ascii();
    let flat = message.iter().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { *byte });
    flat.chain([b'\n']).collect()
}

/// The answer to a request that could not be carried, or whose answer could not.
pub(super) fn failed(id: &Value, problem: &str) -> Bytes {
    let error = json!({"code": NOT_CARRIED, "message": problem});
    Bytes::from(json!({"jsonrpc": "2.0", "id": id, "error": error}).to_string())
}

/// The answer to what is no message.
pub(super) fn unreadable() -> Bytes {
    let error = json!({"code": PARSE_ERROR, "message": "this line is not a JSON-RPC message"});
    Bytes::from(json!({"jsonrpc": "2.0", "id": null, "error": error}).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_a_line_however_it_was_written() {
        assert_eq!(line(b" {\r\n \"a\":\n1}\n"), b"{   \"a\": 1}\n");
    }

    #[test]
    fn numbers_are_given_back_as_they_came() {
        for id in ["1", "\"1\"", "1.5"] {
            let text = format!("{{\"id\":{id},\"method\":\"\\u0061\"}}");
            let envelope = Envelope::read(text.as_bytes()).unwrap();
            assert_eq!(envelope.method.as_deref(), Some("a"));
            let answer = failed(&envelope.id.unwrap_or_default(), "why");
            assert!(String::from_utf8_lossy(&answer).contains(&format!("\"id\":{id}")), "{answer:?}");
        }
        assert!(Envelope::read(b"banner").is_none() && Envelope::read(b"[]").is_none());
    }
}
