//! The door of WebSocket: one JSON-RPC message a text frame, sub-protocol `mcp`. The session lives as long as the
//! connection. This file shakes hands; [`socket`] carries frames.

mod pulse;
mod socket;

use super::access;
use super::duplex::Line;
use super::target::Target;
use crate::answer::Answer;
use crate::app::App;
use crate::auth::{Caller, Scope, Standing};
use crate::calls::By;
use crate::error::ApiError;
use crate::path::Named;
use crate::serve::Upgrade;
use axum::Extension;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use dtma_core::id::InstanceName;
use futures_util::FutureExt;
use http::header::{
    CONNECTION, HeaderName, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL,
    SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{HeaderMap, StatusCode};
use hyper::upgrade::OnUpgrade;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

/// The sub-protocol, where a client names one.
const PROTOCOL: &str = "mcp";
/// A nonce of 16 bytes in base64.
const KEY: usize = 24;

/// Open a session with a server over WebSocket
///
/// One JSON-RPC message a text frame, both ways; sub-protocol `mcp`. The session ends with the connection. The close
/// code says why: 1001 the daemon ends, 1003 a binary frame, 1008 the token is none any more, 1009 a message over 16 MiB,
/// 1011 no sign of life, 1012 begin anew, 1013 too slow or too much.
#[utoipa::path(get, path = "/gateway/servers/{instanceName}/ws", operation_id = "gatewayWs", tag = "gateway",
    params(("instanceName" = String, Path, description = "The server")),
    responses((status = 101, description = "WebSocket from here on")))]
pub(crate) async fn gateway_ws(
    State(app): State<App>,
    Named(instance): Named<InstanceName>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Answer {
    open(app, Target::Server(instance), None, caller, "gatewayWs", request)
}

/// Shakes hands. `action` is what the log of refusals calls it.
pub(super) fn open(
    app: App,
    target: Target,
    most_tools: Option<usize>,
    caller: Caller,
    action: &'static str,
    mut request: Request,
) -> Answer {
    let accept = accept(request.headers())?;
    let reached = access::reached(&app, &caller, &target)?;
    let server = access::opened(target.answering(&app)?.with_most_tools(most_tools), &reached);
    let standing = Standing::of(&app, Scope::Gateway, action, &request);
    let upgrade = request.extensions_mut().remove::<OnUpgrade>().ok_or(ApiError::Upgrade)?;
    let after = request.extensions().get::<Upgrade>().ok_or(ApiError::Upgrade)?;
    let (line, posted, told) = Line::new(&app, target, &server, caller, By::WebSocket);
    after.then(socket::run(app, upgrade, socket::Ways { standing, line, posted, told }).boxed());
    Ok(switching(accept, offers(request.headers(), SEC_WEBSOCKET_PROTOCOL, PROTOCOL)))
}

/// What proves to the client that its handshake was understood.
fn accept(headers: &HeaderMap) -> Result<HeaderValue, ApiError> {
    let version = headers.get(SEC_WEBSOCKET_VERSION).is_some_and(|version| version == "13");
    if !version || !offers(headers, CONNECTION, "upgrade") || !offers(headers, UPGRADE, "websocket") {
        return Err(ApiError::Upgrade);
    }
    let wrong = || ApiError::McpHeader("Sec-WebSocket-Key is not 16 bytes in base64".to_owned());
    let key = headers.get(SEC_WEBSOCKET_KEY).ok_or_else(wrong)?.as_bytes();
    let symbols = |bytes: &[u8]| bytes.iter().all(|b| b.is_ascii_alphanumeric() || b"+/".contains(b));
    let (nonce, padding) = key.split_at_checked(KEY - 2).ok_or_else(wrong)?;
    if padding != b"==" || !symbols(nonce) {
        return Err(wrong());
    }
    HeaderValue::try_from(derive_accept_key(key)).map_err(|problem| ApiError::Internal(problem.to_string()))
}

/// Whether a word is in the list of a header, in whatever case.
fn offers(headers: &HeaderMap, name: HeaderName, word: &str) -> bool {
    let lists = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    lists.flat_map(|list| list.split(',')).any(|offered| offered.trim().eq_ignore_ascii_case(word))
}

fn switching(accept: HeaderValue, is_named: bool) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    if is_named {
        headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(PROTOCOL));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn handshake(change: &[(&'static str, &'static str)]) -> HeaderMap {
        let good = [
            ("connection", "keep-alive, Upgrade"),
            ("upgrade", "WebSocket"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ];
        let mut headers = HeaderMap::new();
        for (name, value) in good.iter().chain(change) {
            headers.insert(*name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn a_handshake_is_proved_as_the_rfc_says() {
        assert_eq!(accept(&handshake(&[])).unwrap(), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn what_is_no_handshake_is_told_what_to_do() {
        for (name, value) in
            [("connection", "close"), ("upgrade", "h2c"), ("sec-websocket-version", "8"), ("upgrade", "")]
        {
            let refused = accept(&handshake(&[(name, value)])).unwrap_err();
            assert_eq!(refused.status(), 426, "{name}: {value}");
        }
        for key in
            ["", "short==", "dGhlIHNhbXBsZSBub25jZQ", "dGhlIHNhbXBsZSBub25j!!==", "~~~~~~~~~~~~~~~~~~~~~~=="]
        {
            let refused = accept(&handshake(&[("sec-websocket-key", key)])).unwrap_err();
            assert_eq!(refused.status(), 400, "{key:?}");
        }
    }

    #[test]
    fn the_sub_protocol_is_selected_where_it_is_offered() {
        let named = |offered: &'static str| {
            offers(&handshake(&[("sec-websocket-protocol", offered)]), SEC_WEBSOCKET_PROTOCOL, PROTOCOL)
        };
        assert!(named("mcp") && named("graphql, mcp") && !named("mcp2") && !named("graphql"));
        assert!(!offers(&handshake(&[]), SEC_WEBSOCKET_PROTOCOL, PROTOCOL));
    }
}
