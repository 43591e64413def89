//! What a client of the gateway is told that was turned away: where it can read how to get a token (RFC 9728), and what
//! was wrong with the one it has (RFC 6750).

use super::Access;
use super::scope::Scope;
use crate::error::ApiError;
use crate::front::Base;
use crate::gateway::well_known::metadata_path;
use http::HeaderValue;

/// The header `WWW-Authenticate`; none where nobody was asked for a token.
pub(super) fn challenge(access: Access, error: &ApiError, base: &Base, path: &str) -> Option<HeaderValue> {
    let wrong = match error {
        ApiError::NoToken => "",
        ApiError::WrongToken | ApiError::ExpiredToken => "error=\"invalid_token\", ",
        ApiError::Scope(_) => "error=\"insufficient_scope\", ",
        _elsewhere => return None,
    };
    if access != Access::Needs(Scope::Gateway) {
        return None;
    }
    let (scope, metadata) = (Scope::Gateway, base.url(metadata_path(path)));
    let text = format!("Bearer realm=\"dtma\", {wrong}scope=\"{scope}\", resource_metadata=\"{metadata}\"");
    HeaderValue::try_from(text).ok()
}
