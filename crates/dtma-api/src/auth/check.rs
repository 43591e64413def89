//! The check in front of every route that is not open.

use super::scope::{Access, enough};
use super::{Caller, Token};
use crate::app::App;
use crate::error::ApiError;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::HeaderMap;
use http::header::AUTHORIZATION;
use std::sync::Arc;

/// Lets a request through, or answers it.
pub(crate) async fn authorise(
    State((app, access)): State<(App, Access)>,
    mut request: Request,
    next: Next,
) -> Response {
    match admit(&app, access, request.headers()) {
        Ok(caller) => {
            request.extensions_mut().insert(caller.clone());
            let mut response = next.run(request).await;
            response.extensions_mut().insert(caller);
            response
        }
        Err(error) => error.into_response(),
    }
}

fn admit(app: &App, access: Access, headers: &HeaderMap) -> Result<Caller, ApiError> {
    let Access::Needs(scope) = access else { return Ok(anonymous()) };
    app.hosts()
        .check(headers)
        .map_err(|(header, value)| ApiError::Foreign(header, value.chars().take(100).collect()))?;
    if !app.auth().is_required() {
        return Ok(anonymous());
    }
    let token: Token = app.auth().find(bearer(headers)?).ok_or(ApiError::WrongToken)?;
    if !enough(&token.scopes, scope) {
        return Err(ApiError::Scope(scope.as_str()));
    }
    Ok(Caller { name: token.name.into() })
}

fn anonymous() -> Caller {
    Caller { name: Arc::from("-") }
}

fn bearer(headers: &HeaderMap) -> Result<&str, ApiError> {
    let header = headers.get(AUTHORIZATION).ok_or(ApiError::NoToken)?;
    let text = header.to_str().map_err(|_| ApiError::WrongToken)?;
    let (scheme, token) = text.split_once(' ').ok_or(ApiError::NoToken)?;
    if scheme.eq_ignore_ascii_case("bearer") { Ok(token.trim()) } else { Err(ApiError::NoToken) }
}
