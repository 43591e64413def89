//! The check in front of every route that is not open.

use super::scope::{Access, enough};
use super::{Caller, Token};
use crate::app::App;
use crate::error::ApiError;
use crate::limit::Asker;
use crate::serve::Peer;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::HeaderMap;
use http::header::AUTHORIZATION;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

/// Lets a request through, or answers it.
pub(crate) async fn authorise(
    State((app, access)): State<(App, Access)>,
    mut request: Request,
    next: Next,
) -> Response {
    if is_stranger(&app, access, request.headers()) {
        request.extensions_mut().insert(Stranger);
    }
    match admit(&app, access, &request) {
        Ok(caller) => {
            request.extensions_mut().insert(caller.clone());
            let mut response = next.run(request).await;
            response.extensions_mut().insert(caller);
            response
        }
        Err(error) => error.into_response(),
    }
}

/// Marks a request that came without a token to a route that then tells less.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stranger;

fn is_stranger(app: &App, access: Access, headers: &HeaderMap) -> bool {
    let redacted = matches!(access, Access::Redacted(_));
    redacted && app.auth().is_required() && !headers.contains_key(AUTHORIZATION)
}

fn admit(app: &App, access: Access, request: &Request) -> Result<Caller, ApiError> {
    let (Access::Needs(scope) | Access::Redacted(scope)) = access else { return Ok(anonymous()) };
    let headers = request.headers();
    app.hosts()
        .check(headers)
        .map_err(|(header, value)| ApiError::Foreign(header, value.chars().take(100).collect()))?;
    let peer = request.extensions().get::<Peer>().map_or(NOBODY, |peer| peer.0);
    if !app.auth().is_required() || is_stranger(app, access, headers) {
        app.limiter().admit(access, || Asker::Peer(peer))?;
        return Ok(anonymous());
    }
    let token = known(app, bearer(headers)?, peer)?;
    if !enough(&token.scopes, scope) {
        return Err(ApiError::Scope(scope.as_str()));
    }
    let name: Arc<str> = token.name.into();
    app.limiter().admit(access, || Asker::Token(Arc::clone(&name)))?;
    Ok(Caller { name })
}

/// Where no connection is (a test without one), everybody is the same.
const NOBODY: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

fn known(app: &App, presented: &str, peer: IpAddr) -> Result<Token, ApiError> {
    app.limiter().may_try(peer)?;
    match app.auth().find(presented) {
        Some(token) if token.has_expired(app.now()) => Err(ApiError::ExpiredToken),
        Some(token) => Ok(token),
        None => {
            app.limiter().failed(peer)?;
            Err(ApiError::WrongToken)
        }
    }
}

fn anonymous() -> Caller {
    Caller { name: Arc::from("-") }
}

/// What was sent as a token. Of two headers nobody could say which one counts.
fn bearer(headers: &HeaderMap) -> Result<&str, ApiError> {
    let mut sent = headers.get_all(AUTHORIZATION).iter();
    let header = sent.next().ok_or(ApiError::NoToken)?;
    if sent.next().is_some() {
        return Err(ApiError::DoubledHeader("Authorization"));
    }
    let text = header.to_str().map_err(|_| ApiError::WrongToken)?;
    let (scheme, token) = text.split_once(' ').ok_or(ApiError::NoToken)?;
    if scheme.eq_ignore_ascii_case("bearer") { Ok(token.trim()) } else { Err(ApiError::NoToken) }
}
