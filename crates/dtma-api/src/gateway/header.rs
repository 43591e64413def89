//! Headers of the Streamable HTTP transport.

use crate::error::ApiError;
use dtma_mcp::{EventId, version};
use http::HeaderMap;
use http::header::{ACCEPT, HeaderName};

/// The session's id.
pub(super) const SESSION: HeaderName = HeaderName::from_static("mcp-session-id");
const LAST_EVENT: HeaderName = HeaderName::from_static("last-event-id");
pub(super) const VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");

/// The client has to be ready for every form the answer may take.
pub(super) fn accepts(headers: &HeaderMap, wanted: &[&'static str]) -> Result<(), ApiError> {
    let accepted: Vec<String> = headers
        .get_all(ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|range| range.split(';').next().unwrap_or("").trim().to_ascii_lowercase())
        .collect();
    match wanted.iter().find(|kind| !accepted.iter().any(|range| covers(range, kind))) {
        Some(missing) => Err(ApiError::NotAcceptable(missing)),
        None => Ok(()),
    }
}

fn covers(range: &str, kind: &str) -> bool {
    let family = kind.split('/').next().unwrap_or("");
    range == "*/*" || range == kind || range.strip_suffix("/*") == Some(family)
}

/// The version that was agreed on, when the client says it, is one that is spoken here.
pub(super) fn known_version(headers: &HeaderMap) -> Result<(), ApiError> {
    let Some(value) = headers.get(VERSION) else { return Ok(()) };
    if value.to_str().is_ok_and(version::is_known) {
        return Ok(());
    }
    let known = version::HANDSHAKE_ERA.join(", ");
    Err(ApiError::McpHeader(format!("MCP-Protocol-Version is not one that is spoken here: {known}")))
}

/// The session, when there is one.
pub(super) fn session(headers: &HeaderMap) -> Result<Option<String>, ApiError> {
    let Some(value) = headers.get(SESSION) else { return Ok(None) };
    let text = value.to_str().map_err(|_| ApiError::McpHeader("Mcp-Session-Id is not text".into()))?;
    Ok(Some(text.to_owned()))
}

pub(super) fn needed_session(headers: &HeaderMap) -> Result<String, ApiError> {
    session(headers)?.ok_or_else(|| ApiError::McpHeader("Mcp-Session-Id is missing".into()))
}

/// Up to where an earlier stream was heard. An id that was never given out says nothing.
pub(super) fn last_event(headers: &HeaderMap) -> Option<EventId> {
    EventId::parse(headers.get(LAST_EVENT)?.to_str().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(accept: &[&str], post: bool, get: bool) {
        let mut headers = HeaderMap::new();
        for value in accept {
            headers.append(ACCEPT, value.parse().unwrap());
        }
        let both = accepts(&headers, &["application/json", "text/event-stream"]).is_ok();
        assert_eq!((both, accepts(&headers, &["text/event-stream"]).is_ok()), (post, get), "{accept:?}");
    }

    #[test]
    fn a_client_must_be_ready_for_every_form() {
        check(&["application/json, text/event-stream"], true, true);
        check(&["application/json", "text/event-stream;q=0.5"], true, true);
        check(&["*/*"], true, true);
        check(&["text/*, application/JSON"], true, true);
        check(&["application/json"], false, false);
        check(&["text/event-stream"], false, true);
        check(&["text/event-streams"], false, false);
        check(&[], false, false);
    }

    #[test]
    fn only_versions_of_the_handshake_era_are_spoken() {
        let version = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(VERSION, text.parse().unwrap());
            known_version(&headers).is_ok()
        };
        assert!(known_version(&HeaderMap::new()).is_ok() && version("2025-06-18") && version("2025-11-25"));
        assert!(!version("2026-07-28") && !version("") && !version("latest"));
    }
}
