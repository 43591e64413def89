//! The few JSON-RPC messages that are ours: error answers, and requests to the server in our own name.

use crate::envelope::ScanError;
use crate::json::member;
use crate::version;
use bytes::Bytes;
use std::time::Duration;

/// Error codes of JSON-RPC, and the one that MCP's libraries use for a connection that ended.
pub(crate) mod code {
    pub(crate) const PARSE_ERROR: i64 = -32700;
    pub(crate) const INVALID_REQUEST: i64 = -32600;
    pub(crate) const METHOD_NOT_FOUND: i64 = -32601;
    pub(crate) const INVALID_PARAMS: i64 = -32602;
    pub(crate) const INTERNAL_ERROR: i64 = -32603;
    pub(crate) const CONNECTION_CLOSED: i64 = -32000;
    /// The code that MCP's libraries use for a request that took too long.
    pub(crate) const TIMED_OUT: i64 = -32001;
    /// Of 2026-07-28, as are the next two: a header says something else than the body.
    pub(crate) const HEADER_MISMATCH: i64 = -32020;
    /// The client lacks a capability.
    pub(crate) const MISSING_CAPABILITY: i64 = -32021;
    pub(crate) const UNSUPPORTED_VERSION: i64 = -32022;
    /// Of ours: the client asks more often than it may.
    pub(crate) const TOO_OFTEN: i64 = -32029;
    /// Not in JSON-RPC nor MCP; what the Language Server Protocol uses for the same.
    pub(crate) const CANCELLED: i64 = -32800;
}

/// An error about the request with this raw id (null when there is none to name).
pub(crate) fn error(id: Option<&[u8]>, code: i64, message: &str) -> Bytes {
    whole_error(id, code, message, "")
}

/// The same with data.
pub(crate) fn error_with(id: Option<&[u8]>, code: i64, message: &str, data: &serde_json::Value) -> Bytes {
    whole_error(id, code, message, &format!(r#","data":{data}"#))
}

/// An error to a call that got no answer. `may_have_executed` says whether the server can have received it: a
/// client that repeats such a call risks doing it twice.
pub(crate) fn lost(id: &[u8], message: &str, may_have_executed: bool) -> Bytes {
    let data = format!(r#","data":{{"may_have_executed":{may_have_executed}}}"#);
    whole_error(Some(id), code::CONNECTION_CLOSED, message, &data)
}

/// An error to a call that was given up. The server had it, and may have done it or do it still.
pub(crate) fn timed_out(id: &[u8], after: Duration) -> Bytes {
    let ms = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
    let data = serde_json::json!({"timeout_ms": ms, "may_have_executed": true});
    error_with(Some(id), code::TIMED_OUT, &format!("timed out: no answer within {after:?}"), &data)
}

/// Whether an error (raw) says what [`lost`] says of a server that can have received the request: a connector answers so
/// for a server whose connection broke.
pub(crate) fn may_have_executed(error: &[u8]) -> bool {
    let data = member(error, "data").and_then(|data| member(data, "may_have_executed"));
    data == Some(b"true")
}

/// The answer to a text that is no message.
pub(crate) fn unreadable(problem: &ScanError) -> Bytes {
    let (code, id) = match problem {
        ScanError::NotUtf8 { .. } | ScanError::NotJson { .. } => (code::PARSE_ERROR, None),
        ScanError::TooLong { .. } | ScanError::TooDeep => (code::INVALID_REQUEST, None),
        ScanError::NotRpc { id, .. } => (code::INVALID_REQUEST, id.as_deref()),
    };
    error(id, code, &format!("the message cannot be read: {problem}"))
}

/// A successful answer.
pub(crate) fn result(id: &[u8], result: &[u8]) -> Bytes {
    [br#"{"jsonrpc":"2.0","id":"#, id, br#","result":"#, result, b"}"].concat().into()
}

/// A request in our own name, without a newline. `params` is raw JSON.
pub(crate) fn request(id: u64, method: &str, params: Option<&[u8]>) -> Vec<u8> {
    call(&format!(r#""id":{id},"#), method, params)
}

/// A notification in our own name, without a newline.
pub(crate) fn notification(method: &str, params: Option<&[u8]>) -> Vec<u8> {
    call("", method, params)
}

fn call(id: &str, method: &str, params: Option<&[u8]>) -> Vec<u8> {
    let mut out = format!(r#"{{"jsonrpc":"2.0",{id}"method":{}"#, quoted(method)).into_bytes();
    if let Some(params) = params {
        out.extend_from_slice(br#","params":"#);
        out.extend_from_slice(params);
    }
    out.push(b'}');
    out
}

fn whole_error(id: Option<&[u8]>, code: i64, message: &str, data: &str) -> Bytes {
    let body = format!(r#","error":{{"code":{code},"message":{}{data}}}}}"#, quoted(message));
    [br#"{"jsonrpc":"2.0","id":"#, id.unwrap_or(b"null"), body.as_bytes()].concat().into()
}

/// What a request of ours says of us where there is no handshake: members of its `_meta`, each with its comma.
/// `capabilities` is raw JSON.
pub(crate) fn introduction(capabilities: &str) -> String {
    let (version, own) = (version::STATELESS, env!("CARGO_PKG_VERSION"));
    let name = |name: &str| format!(r#""io.modelcontextprotocol/{name}""#);
    format!(
        r#"{}:"{version}",{}:{{"name":"dtma","version":"{own}"}},{}:{capabilities},"#,
        name("protocolVersion"),
        name("clientInfo"),
        name("clientCapabilities"),
    )
}

/// A message as a line.
pub(crate) fn line(mut message: Vec<u8>) -> Bytes {
    message.push(b'\n');
    message.into()
}

/// One of our ids as the other side sends it back: the same digits.
pub(crate) fn own_id(raw: &[u8]) -> Option<u64> {
    let digits = raw.iter().all(u8::is_ascii_digit);
    digits.then(|| std::str::from_utf8(raw).ok()?.parse().ok()).flatten()
}

/// The text as a JSON string.
pub(crate) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn decoded(text: &[u8]) -> Value {
        serde_json::from_slice(text).unwrap()
    }

    #[test]
    fn messages_are_well_formed() {
        assert_eq!(
            decoded(&error(None, -32700, "say \"x\"\n")),
            json!({"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"say \"x\"\n"}})
        );
        assert_eq!(
            decoded(&lost(b"\"a\"", "gone", true))["error"]["data"],
            json!({"may_have_executed":true})
        );
        assert_eq!(
            decoded(&request(7, "a\"b", Some(b"{}"))),
            json!({"jsonrpc":"2.0","id":7,"method":"a\"b","params":{}})
        );
        assert_eq!(decoded(&notification("n", None)), json!({"jsonrpc":"2.0","method":"n"}));
        assert_eq!(decoded(&result(b"1.0", b"{}")), json!({"jsonrpc":"2.0","id":1.0,"result":{}}));
    }
}
