//! Requests without a session over Streamable HTTP: their headers repeat what is in their bodies, and whoever no longer wants
//! the answer hangs up (2026-07-28, Streamable HTTP).

use super::form::PREFIX;
use crate::envelope::Message;
use crate::json::{self, member, members};
use crate::version;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio_util::sync::CancellationToken;

/// Whether a request says itself what a handshake would have said.
pub(in crate::upstream) fn is_stateless(message: &Message) -> bool {
    let meta = message.raw(message.envelope.params).and_then(|params| member(params, "_meta"));
    let version = meta.and_then(|meta| member(meta, &format!("{PREFIX}protocolVersion")));
    version.and_then(json::read::<String>).is_some_and(|version| version == version::STATELESS)
}

/// The headers that go with such a request; `None` for another one.
pub(in crate::upstream) fn claims(
    message: &Message,
) -> Option<impl Iterator<Item = (HeaderName, HeaderValue)>> {
    let method = message.raw(message.envelope.method).and_then(json::read::<String>);
    let method = method.filter(|_| is_stateless(message))?;
    let [name, uri] = members(message.raw(message.envelope.params)?, ["name", "uri"]);
    let name = match method.as_str() {
        "tools/call" | "prompts/get" => name.and_then(json::read::<String>),
        "resources/read" => uri.and_then(json::read::<String>),
        _ => None,
    };
    let version = Some(version::STATELESS.to_owned());
    let named = [("mcp-protocol-version", version), ("mcp-method", Some(method)), ("mcp-name", name)];
    Some(named.into_iter().filter_map(|(header, text)| {
        Some((HeaderName::from_static(header), HeaderValue::try_from(encoded(text?)).ok()?))
    }))
}

/// What cannot stand in a header as it is goes as `=?base64?…?=`.
pub(super) fn encoded(text: String) -> String {
    let plain = text.bytes().all(|byte| matches!(byte, b' '..=b'~')) && text.trim() == text;
    match plain && !text.starts_with("=?base64?") {
        true => text,
        false => format!("=?base64?{}?=", STANDARD.encode(text)),
    }
}

/// Requests in flight that end when their connection does.
#[derive(Default)]
pub(in crate::upstream) struct Hangers(Mutex<HashMap<Bytes, CancellationToken>>);

impl Hangers {
    fn table(&self) -> MutexGuard<'_, HashMap<Bytes, CancellationToken>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(in crate::upstream) fn enter(&self, id: &[u8]) -> CancellationToken {
        let token = CancellationToken::new();
        self.table().insert(Bytes::copy_from_slice(id), token.clone());
        token
    }

    pub(in crate::upstream) fn leave(&self, id: &[u8]) {
        self.table().remove(id);
    }

    /// Whether it is one of these.
    pub(in crate::upstream) fn hang_up(&self, id: &[u8]) -> bool {
        let token = self.table().remove(id);
        token.inspect(CancellationToken::cancel).is_some()
    }
}
