//! The card of one server (SEP-2127): who it is and by which doors one comes to it. Made from what the server said about
//! itself the last time it shook hands, so that it can be read while the server is down.

use super::well_known::document;
use crate::answer::Answer;
use crate::app::App;
use crate::auth::Caller;
use crate::front::Base;
use crate::path::Named;
use axum::Extension;
use axum::extract::{Request, State};
use dtma_core::id::InstanceName;
use dtma_manager::McpSummary;
use dtma_mcp::version::{HANDSHAKE_ERA, STATELESS};
use http::header::{ETAG, IF_NONE_MATCH};
use http::{HeaderMap, HeaderValue, StatusCode};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::fmt::Write;
use std::net::IpAddr;
use std::sync::Arc;

/// The media type.
pub(super) const CARD: &str = "application/mcp-server-card+json";
const SCHEMA: &str = "https://static.modelcontextprotocol.io/schemas/v1/server-card.schema.json";
/// Longest title and description, in characters.
const LINE: usize = 100;
/// Longest version, in characters.
const VERSION: usize = 255;

/// Who a server is and how one comes to it
///
/// An MCP server card (SEP-2127). The URL under `_meta` is that of the WebSocket door, which is no transport of MCP.
#[utoipa::path(get, path = "/gateway/servers/{instanceName}/mcp/server-card", operation_id = "getServerCard", tag = "gateway",
    params(("instanceName" = String, Path, description = "The server"),
        ("If-None-Match" = Option<String>, Header, description = "The `ETag` of a card that is known already")),
    responses((status = 200, description = "The card", body = Object, content_type = "application/mcp-server-card+json"),
        (status = 304, description = "The card is the one that is known already")))]
pub(crate) async fn get_server_card(
    State(app): State<App>,
    Named(instance): Named<InstanceName>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Answer {
    super::access::reach(&app, &caller, &instance)?;
    super::server(&app, &instance)?;
    let base = Base::of(app.front(), &request);
    let card = card(&base, &instance, summary(&app, &instance).as_deref());
    let tag = tag(&card);
    let mut response = document(CARD, "private, no-cache", &card);
    if knows(request.headers(), &tag) {
        response = super::empty(StatusCode::NOT_MODIFIED);
    }
    if let Ok(tag) = HeaderValue::try_from(tag) {
        response.headers_mut().insert(ETAG, tag);
    }
    Ok(response)
}

fn summary(app: &App, instance: &InstanceName) -> Option<Arc<McpSummary>> {
    let group = app.manager().group(&app.manager().group_of(instance)?)?;
    group.server(instance)?.mcp.clone()
}

fn card(base: &Base, instance: &InstanceName, said: Option<&McpSummary>) -> Value {
    let title = said.map_or(instance.as_str(), |said| said.server_name.as_str());
    let version = said.map_or("", |said| said.server_version.as_str());
    let version = if version.is_empty() { "unknown" } else { version };
    let token = json!([{"name": "Authorization", "isRequired": true, "isSecret": true,
        "description": "Bearer and a token with the scope gateway"}]);
    let remote = |kind: &str, door: &str| {
        let mut remote = json!({"type": kind, "headers": token,
            "url": base.url(format_args!("/gateway/servers/{instance}/{door}"))});
        if let Some(said) = said {
            let mut versions = versions(&said.protocol_version);
            // What needs no session needs no agreement either.
            versions.extend((door == "mcp").then_some(STATELESS));
            remote["supportedProtocolVersions"] = versions.into();
        }
        remote
    };
    let socket = base.url(format_args!("/gateway/servers/{instance}/ws")).replacen("http", "ws", 1);
    json!({
        "$schema": SCHEMA,
        "name": format!("{}/{instance}", reversed(&base.host())),
        "version": short(version, VERSION),
        "title": short(if title.is_empty() { instance.as_str() } else { title }, LINE),
        "description": short(&format!("{instance}, an MCP server in a container of DTMA"), LINE),
        "remotes": [remote("streamable-http", "mcp"), remote("sse", "sse")],
        "_meta": {"io.dtma/websocket": {"url": socket, "subprotocol": "mcp"}},
    })
}

/// What a client may agree on: nothing newer than the server did.
fn versions(agreed: &str) -> Vec<&'static str> {
    HANDSHAKE_ERA.into_iter().filter(|version| *version <= agreed).collect()
}

/// `tools.example.com` as `com.example.tools`; an address has no order of its own.
fn reversed(host: &str) -> String {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    match address.parse::<IpAddr>() {
        Ok(_) => address.replace(':', "-"),
        Err(_) => host.rsplit('.').collect::<Vec<_>>().join("."),
    }
}

fn short(text: &str, most: usize) -> String {
    text.chars().take(most).collect()
}

fn tag(card: &Value) -> String {
    let digest = Sha256::digest(card.to_string());
    let mut tag = String::from('"');
    for byte in &digest[..16] {
        // Writing into a string cannot fail.
        let _ = write!(tag, "{byte:02x}");
    }
    tag.push('"');
    tag
}

fn knows(headers: &HeaderMap, tag: &str) -> bool {
    let sent = headers.get_all(IF_NONE_MATCH).into_iter().filter_map(|value| value.to_str().ok());
    let mut known = sent.flat_map(|list| list.split(',')).map(str::trim);
    known.any(|known| known == "*" || known.trim_start_matches("W/") == tag)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::front::Front;
    use http::Extensions;
    use http::header::HOST;

    fn base(host: &'static str) -> Base {
        let headers = HeaderMap::from_iter([(HOST, HeaderValue::from_static(host))]);
        Base::from_parts(&Front::default(), &headers, &Extensions::new())
    }

    fn said(name: &str, version: &str) -> McpSummary {
        McpSummary {
            protocol_version: "2025-03-26".into(),
            server_name: name.into(),
            server_version: version.into(),
            capabilities: Vec::new(),
            tools: Vec::new(),
        }
    }

    #[test]
    fn a_card_tells_who_it_is_and_every_door() {
        let card = card(&base("tools.example:1"), &"time".parse().unwrap(), Some(&said("mcp-time", "1.2")));
        let told = ["name", "title", "version"].map(|field| card[field].as_str().unwrap());
        assert_eq!(told, ["example.tools/time", "mcp-time", "1.2"]);
        assert_eq!(card["remotes"][0]["url"], "http://tools.example:1/gateway/servers/time/mcp");
        assert_eq!(
            card["remotes"][0]["supportedProtocolVersions"],
            json!(["2024-11-05", "2025-03-26", "2026-07-28"])
        );
        assert_eq!(card["remotes"][1]["type"], "sse");
        assert_eq!(card["_meta"]["io.dtma/websocket"]["url"], "ws://tools.example:1/gateway/servers/time/ws");
    }

    #[test]
    fn a_server_that_never_answered_has_a_card_too() {
        let card = card(&base("127.0.0.1:1"), &"time".parse().unwrap(), None);
        let told = ["name", "title", "version"].map(|field| card[field].as_str().unwrap());
        assert_eq!(told, ["127.0.0.1/time", "time", "unknown"]);
        assert!(card["remotes"][0].get("supportedProtocolVersions").is_none(), "nobody knows yet");
    }

    #[test]
    fn whatever_a_server_says_the_card_keeps_its_form() {
        let long = "ä".repeat(1000);
        for (name, version) in [("", ""), (long.as_str(), long.as_str())] {
            let card = card(&base("[::1]:1"), &"time".parse().unwrap(), Some(&said(name, version)));
            let length = |field: &str| card[field].as_str().unwrap().chars().count();
            assert!((1..=100).contains(&length("title")) && (1..=255).contains(&length("version")));
            assert!((1..=100).contains(&length("description")));
            assert_eq!(card["name"], "--1/time");
        }
    }

    #[test]
    fn a_card_that_is_known_is_recognised() {
        let tag = tag(&json!({"a": 1}));
        let is_known = |sent: &str| {
            let sent = HeaderValue::try_from(sent).unwrap();
            knows(&HeaderMap::from_iter([(IF_NONE_MATCH, sent)]), &tag)
        };
        assert!(is_known(&tag) && is_known(&format!("\"x\", W/{tag}")) && is_known("*"));
        assert!(!is_known("\"x\"") && !is_known(&tag.replace('"', "")));
    }
}
