//! The check in front of every route that is not open.

use super::challenge::challenge;
use super::scope::{Access, Scope, enough};
use super::{Caller, Token};
use crate::app::App;
use crate::audit::Draft;
use crate::error::ApiError;
use crate::front::Base;
use crate::limit::Asker;
use crate::serve::Peer;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use dtma_core::connection::TokenDigest;
use http::HeaderMap;
use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

/// Lets a request through, or answers it.
pub(crate) async fn authorise(State(guard): State<Guard>, mut request: Request, next: Next) -> Response {
    if is_stranger(&guard.app, guard.access, request.headers()) {
        request.extensions_mut().insert(Stranger);
    }
    match admit(&guard, request.headers(), peer(&request)) {
        Ok(caller) => {
            request.extensions_mut().insert(caller.clone());
            let mut response = next.run(request).await;
            response.extensions_mut().insert(caller);
            response
        }
        Err(Denied(actor, error)) => {
            let base = Base::of(guard.app.front(), &request);
            let challenge = challenge(guard.access, &error, &base, request.uri().path());
            let (draft, _) = Draft::of(request, guard.action, actor.as_deref()).await;
            guard.app.audit().deny(&guard.app, draft, &error).await;
            let mut response = error.into_response();
            if let Some(challenge) = challenge {
                response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
            }
            response
        }
    }
}

/// What stands before a route, and what is known about it.
#[derive(Clone)]
pub(crate) struct Guard {
    pub(crate) app: App,
    pub(crate) access: Access,
    /// Its name in the OpenAPI document.
    pub(crate) action: &'static str,
    pub(crate) mutates: bool,
}

impl Guard {
    /// What a request counts as: to look is to look, also where only few may.
    fn counted(&self) -> Access {
        match self.access {
            Access::Needs(Scope::Deploy | Scope::Credentials | Scope::Admin) if !self.mutates => {
                Access::Needs(Scope::Read)
            }
            access => access,
        }
    }
}

/// Why somebody was turned away, with the token's name where it is known.
struct Denied(Option<Arc<str>>, Box<ApiError>);

impl Denied {
    fn of(name: impl Into<Arc<str>>, error: ApiError) -> Self {
        Self(Some(name.into()), Box::new(error))
    }
}

impl From<ApiError> for Denied {
    fn from(error: ApiError) -> Self {
        Self(None, Box::new(error))
    }
}

/// Marks a request that came without a token to a route that then tells less.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stranger;

fn is_stranger(app: &App, access: Access, headers: &HeaderMap) -> bool {
    let redacted = matches!(access, Access::Redacted(_));
    redacted && app.auth().is_required() && !headers.contains_key(AUTHORIZATION)
}

/// Somebody whose connection stays open and who says one thing after the other on it: each is judged as a request of its
/// own would be.
pub(crate) struct Standing {
    guard: Guard,
    headers: HeaderMap,
    peer: IpAddr,
}

impl Standing {
    /// Whoever sent this request, which was let in.
    pub(crate) fn of(app: &App, scope: Scope, action: &'static str, request: &Request) -> Self {
        let guard = Guard { app: app.clone(), access: Access::Needs(scope), action, mutates: false };
        let token = request.headers().get(AUTHORIZATION).cloned();
        let headers = token.into_iter().map(|token| (AUTHORIZATION, token)).collect();
        Self { guard, headers, peer: peer(request) }
    }

    /// # Errors
    /// The token is none any more, or too much was said.
    pub(crate) fn admit(&self) -> Result<(), ApiError> {
        admit(&self.guard, &self.headers, self.peer).map(drop).map_err(|Denied(_, error)| *error)
    }
}

fn peer(request: &Request) -> IpAddr {
    request.extensions().get::<Peer>().map_or(NOBODY, |peer| peer.0)
}

fn admit(guard: &Guard, headers: &HeaderMap, peer: IpAddr) -> Result<Caller, Denied> {
    let (app, access) = (&guard.app, guard.access);
    let (Access::Needs(scope) | Access::Redacted(scope)) = access else { return Ok(anonymous()) };
    app.hosts()
        .check(headers)
        .map_err(|(header, value)| ApiError::Foreign(header, value.chars().take(100).collect()))?;
    if !app.auth().is_required() || is_stranger(app, access, headers) {
        app.limiter().admit(guard.counted(), || Asker::Peer(peer))?;
        return Ok(anonymous());
    }
    let token = known(app, bearer(headers)?, peer)?;
    let digest = token.is_agent().then_some(TokenDigest(token.digest));
    let bearer = Some(TokenDigest(token.digest));
    let name: Arc<str> = token.name.into();
    if !enough(&token.scopes, scope) {
        return Err(Denied::of(name, ApiError::Scope(scope.as_str())));
    }
    match app.limiter().admit(guard.counted(), || Asker::Token(Arc::clone(&name))) {
        Ok(()) => Ok(Caller { name, digest, bearer }),
        Err(error) => Err(Denied::of(name, error)),
    }
}

/// Where no connection is (a test without one), everybody is the same.
const NOBODY: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

fn known(app: &App, presented: &str, peer: IpAddr) -> Result<Token, Denied> {
    app.limiter().may_try(peer)?;
    match app.auth().find(presented) {
        Some(token) if token.has_expired(app.now()) => Err(Denied::of(token.name, ApiError::ExpiredToken)),
        Some(token) => Ok(token),
        None => {
            app.limiter().failed(peer)?;
            Err(ApiError::WrongToken.into())
        }
    }
}

fn anonymous() -> Caller {
    Caller { name: Arc::from("-"), digest: None, bearer: None }
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
