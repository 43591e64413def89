//! The trace that a request is part of (W3C Trace Context): from a client's headers into the message (`_meta.traceparent`,
//! `_meta.tracestate`, as OpenTelemetry's conventions for MCP have it), and from there into the headers of a server that
//! listens on a port. Nothing of it is made here; a message that carries a trace already keeps its own.

use crate::envelope::Message;
use crate::json::{self, find, members};
use crate::rpc;
use crate::splice::{Edit, splice, with_members};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};

const PARENT: &str = "traceparent";
const STATE: &str = "tracestate";
/// Longest `tracestate` that is passed on, in bytes (Trace Context, section 3.3.1.5).
const LONGEST: usize = 512;

/// What the headers of a request say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceContext {
    parent: String,
    state: Option<String>,
}

impl TraceContext {
    /// `None` where there is none, or none that can be read: then the request begins a trace of its own or has none.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let parent = text(PARENT).filter(|parent| is_parent(parent))?;
        Some(Self { parent, state: text(STATE).filter(|state| state.len() <= LONGEST) })
    }

    /// The same message as a part of this trace. What is no single message, or is part of a trace already, stays as it is.
    #[must_use]
    pub fn on(&self, text: Bytes) -> Bytes {
        let Ok(message) = Message::read(text.clone(), text.len()) else { return text };
        let Some(params) = message.envelope.params else { return self.without_params(&message) };
        let raw = params.of(&message.text);
        if !raw.starts_with(b"{") {
            return text;
        }
        let params_now = match find(raw, "_meta") {
            Some(at) if find(at.of(raw), PARENT).is_some() || !at.of(raw).starts_with(b"{") => return text,
            Some(at) => {
                let meta = with_members(at.of(raw), &self.members());
                splice(raw, &mut [Edit { at, text: &meta }], 0)
            }
            None => with_members(raw, &format!(r#""_meta":{{{}}},"#, self.members().trim_end_matches(','))),
        };
        splice(&message.text, &mut [Edit { at: params, text: &params_now }], 0).into()
    }

    fn without_params(&self, message: &Message) -> Bytes {
        match message.envelope.method.is_some() {
            true => with_members(
                &message.text,
                &format!(r#""params":{{"_meta":{{{}}}}},"#, self.members().trim_end_matches(',')),
            )
            .into(),
            false => message.text.clone(),
        }
    }

    /// Each with its comma.
    fn members(&self) -> String {
        let state = self.state.as_ref().map(|state| format!(r#""{STATE}":{},"#, rpc::quoted(state)));
        format!(r#""{PARENT}":{},{}"#, rpc::quoted(&self.parent), state.unwrap_or_default())
    }
}

/// The headers that say what a message says of its trace.
pub(crate) fn headers(message: &Message) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
    let meta = message.raw(message.envelope.params).and_then(|params| json::member(params, "_meta"));
    let [parent, state] = members(meta.unwrap_or(b"{}"), [PARENT, STATE]);
    let parent = parent.and_then(json::read::<String>).filter(|parent| is_parent(parent));
    let state = state.filter(|_| parent.is_some()).and_then(json::read::<String>);
    let named = [(PARENT, parent), (STATE, state)];
    named.into_iter().filter_map(|(name, value)| {
        Some((HeaderName::from_static(name), HeaderValue::try_from(value?).ok()?))
    })
}

/// `version-traceid-parentid-flags` in small hex digits; version ff and ids of zeros are none. Later versions may have more
/// behind.
fn is_parent(text: &str) -> bool {
    let hex = |part: &str, len: usize| {
        part.len() == len && part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    let id = |part: &str, len: usize| hex(part, len) && part.bytes().any(|byte| byte != b'0');
    let mut parts = text.split('-');
    let head = (parts.next(), parts.next(), parts.next(), parts.next());
    let (Some(version), Some(trace), Some(parent), Some(flags)) = head else { return false };
    let known = hex(version, 2) && version != "ff" && id(trace, 32) && id(parent, 16) && hex(flags, 2);
    known && (version != "00" || parts.next().is_none()) && text.len() <= LONGEST
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT_OF: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn context(state: Option<&'static str>) -> TraceContext {
        let mut headers = HeaderMap::new();
        headers.insert(PARENT, HeaderValue::from_static(PARENT_OF));
        headers.extend(state.map(|state| (HeaderName::from_static(STATE), HeaderValue::from_static(state))));
        TraceContext::of(&headers).unwrap()
    }

    #[track_caller]
    fn check(state: Option<&'static str>, text: &str, expected: &str) {
        let carried = context(state).on(Bytes::copy_from_slice(text.as_bytes()));
        assert_eq!(String::from_utf8(carried.to_vec()).unwrap(), expected);
    }

    #[test]
    fn only_what_the_standard_allows_is_a_parent() {
        assert!(is_parent(PARENT_OF));
        assert!(is_parent(&format!("01{}-more", &PARENT_OF[2..])), "of a later version");
        for wrong in [
            "",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
        ] {
            assert!(!is_parent(wrong), "{wrong}");
        }
    }

    #[test]
    fn a_message_gets_the_trace_where_it_has_none() {
        let with =
            |meta: &str| format!(r#"{{"id":1.0,"jsonrpc":"2.0","method":"x","params":{{{meta}"n": 1.0}}}}"#);
        let meta = format!(r#""_meta":{{"traceparent":"{PARENT_OF}"}},"#);
        check(None, &with(""), &with(&meta));
        check(None, &with(r#""_meta":{},"#), &with(&meta));
        let both =
            format!(r#""_meta":{{"traceparent":"{PARENT_OF}","tracestate":"a=\"","progressToken":1}},"#);
        check(Some("a=\""), &with(r#""_meta":{"progressToken":1},"#), &with(&both));
        let own = with(r#""_meta":{"traceparent":"own"},"#);
        check(None, &own, &own);
        let bare = r#"{"id":1,"jsonrpc":"2.0","method":"x"}"#;
        let carried = format!(r#"{{"params":{{"_meta":{{"traceparent":"{PARENT_OF}"}}}},{}"#, &bare[1..]);
        check(None, bare, &carried);
    }

    #[test]
    fn what_is_no_single_request_stays_as_it_is() {
        for text in
            ["nonsense", r#"[{"jsonrpc":"2.0","method":"x"}]"#, r#"{"jsonrpc":"2.0","id":1,"result":{}}"#]
        {
            check(None, text, text);
        }
        let list = r#"{"jsonrpc":"2.0","id":1,"method":"x","params":[1]}"#;
        check(None, list, list);
    }

    #[test]
    fn a_server_on_a_port_finds_it_in_its_headers() {
        let text = context(Some("a=b")).on(Bytes::from_static(br#"{"jsonrpc":"2.0","id":1,"method":"x"}"#));
        let message = Message::read(text.clone(), text.len()).unwrap();
        let seen: HeaderMap = headers(&message).collect();
        assert_eq!(TraceContext::of(&seen), Some(context(Some("a=b"))));
        let text = Bytes::from_static(
            br#"{"jsonrpc":"2.0","id":1,"method":"x","params":{"_meta":{"traceparent":"x"}}}"#,
        );
        assert_eq!(headers(&Message::read(text.clone(), text.len()).unwrap()).count(), 0);
    }
}
