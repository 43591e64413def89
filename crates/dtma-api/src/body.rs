//! Request bodies: read within bounds, then held against the JSON Schema of the OpenAPI document, so that every
//! missing, unknown or wrongly typed field is named at once.

use crate::app::App;
use crate::error::ApiError;
use axum::body::Body;
use axum::extract::{FromRequest, Request};
use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http_body_util::BodyExt;
use serde::de::DeserializeOwned;
use std::time::Duration;
use utoipa::ToSchema;

/// The biggest body of an API request.
pub(crate) const API_LIMIT: usize = 1 << 20;
/// The biggest message through the gateway.
pub(crate) const GATEWAY_LIMIT: usize = 16 << 20;
/// The whole body has to arrive within this.
const READ_TIMEOUT: Duration = Duration::from_secs(30);
/// What is read and thrown away of a body that is too big, so that its sender sees the answer instead of a reset.
const LINGER: (u64, Duration) = (32 << 20, Duration::from_secs(2));

/// A body that has the shape its schema asks for.
pub(crate) struct Shaped<T>(pub(crate) T);

impl<T: DeserializeOwned + ToSchema> FromRequest<App> for Shaped<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &App) -> Result<Self, ApiError> {
        expect_json(request.headers())?;
        let bytes = read(request, API_LIMIT).await?;
        let value =
            serde_json::from_slice(&bytes).map_err(|problem| ApiError::Malformed(problem.to_string()))?;
        let violations = app.schemas().check(&T::name(), &value);
        if !violations.is_empty() {
            return Err(ApiError::Shape(violations));
        }
        // What the schema cannot say (`1.0` is an integer there) is left to serde.
        serde_json::from_value(value).map(Self).map_err(|problem| ApiError::Malformed(problem.to_string()))
    }
}

pub(crate) fn expect_json(headers: &HeaderMap) -> Result<(), ApiError> {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or("");
    let essence = kind.split(';').next().unwrap_or("").trim();
    if essence.eq_ignore_ascii_case("application/json") { Ok(()) } else { Err(ApiError::ContentType) }
}

/// The whole body, at most `limit` bytes of it.
pub(crate) async fn read(request: Request, limit: usize) -> Result<Bytes, ApiError> {
    let announced =
        request.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    let mut body = request.into_body();
    let read = async {
        if announced.is_some_and(|length: usize| length > limit) {
            return Err(ApiError::TooBig(limit));
        }
        collect(&mut body, limit).await
    };
    let result = tokio::time::timeout(READ_TIMEOUT, read).await.unwrap_or(Err(ApiError::SlowBody));
    if matches!(result, Err(ApiError::TooBig(_))) {
        drain(&mut body).await;
    }
    result
}

async fn collect(body: &mut Body, limit: usize) -> Result<Bytes, ApiError> {
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|problem| ApiError::BrokenBody(problem.to_string()))?;
        let Ok(data) = frame.into_data() else { continue };
        if whole.len() + data.len() > limit {
            return Err(ApiError::TooBig(limit));
        }
        whole.extend_from_slice(&data);
    }
    Ok(whole.freeze())
}

async fn drain(body: &mut Body) {
    let (most, patience) = LINGER;
    let throw_away = async {
        let mut seen = 0_u64;
        while let Some(Ok(frame)) = body.frame().await {
            seen += frame.data_ref().map_or(0, |data| data.len() as u64);
            if seen > most {
                break;
            }
        }
    };
    let _ = tokio::time::timeout(patience, throw_away).await;
}
