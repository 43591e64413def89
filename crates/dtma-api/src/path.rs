//! Names in paths.

use crate::error::ApiError;
use axum::extract::{FromRequestParts, Path};
use http::request::Parts;
use std::str::FromStr;

/// A name in the path that passed its rule. One that cannot be anybody's name is a 400, not a 404.
pub(crate) struct Named<T>(pub(crate) T);

impl<S, T> FromRequestParts<S> for Named<T>
where
    S: Send + Sync,
    T: FromStr,
    T::Err: std::fmt::Display,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let path = Path::<String>::from_request_parts(parts, state).await;
        let Path(text) = path.map_err(|problem| ApiError::PathName(problem.body_text()))?;
        text.parse().map(Self).map_err(|problem: T::Err| ApiError::PathName(problem.to_string()))
    }
}
