//! Query parameters: unknown ones and wrong values are refused like anything else a caller gets wrong.

use crate::duration;
use crate::error::ApiError;
use axum::extract::{FromRequestParts, Query};
use dtma_manager::Wait;
use http::request::Parts;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::time::Duration;
use utoipa::IntoParams;

/// How long a mutation waits when the caller does not say.
const DEFAULT_WAIT: Duration = Duration::from_secs(300);
/// The longest a caller may ask to wait.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);

/// A query that passed.
pub(crate) struct Asked<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Asked<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let query = Query::<T>::from_request_parts(parts, state).await;
        let Query(query) = query.map_err(|problem| ApiError::Query(innermost(&problem)))?;
        Ok(Self(query))
    }
}

fn innermost(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

/// Whether a mutation waits for its outcome.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct WaitQuery {
    /// Wait for the outcome (default true). When false the answer is 202 as soon as the request is durable.
    wait: Option<bool>,
    /// How long to wait: `30s`, `5m` (default 5m, at most 1h). Afterwards the answer is 504 and the work goes on.
    #[param(example = "60s")]
    timeout: Option<String>,
}

impl WaitQuery {
    pub(crate) fn wait(&self) -> Result<Wait, ApiError> {
        wait(self.wait, self.timeout.as_deref())
    }
}

pub(crate) fn wait(wait: Option<bool>, timeout: Option<&str>) -> Result<Wait, ApiError> {
    let time = timeout.map(duration::parse).transpose().map_err(ApiError::Query)?.unwrap_or(DEFAULT_WAIT);
    if time > LONGEST_WAIT {
        return Err(ApiError::Query("timeout is longer than 1h".into()));
    }
    Ok(if wait.unwrap_or(true) { Wait::Until(time) } else { Wait::No })
}
