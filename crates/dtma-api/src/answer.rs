//! How answers leave: the envelope around data, and errors that wait for their request id.

use crate::error::ApiError;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use dtma_api_types::{Envelope, ErrorBody};
use http::header::{
    ALLOW, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER, SEC_WEBSOCKET_VERSION, UPGRADE,
    WWW_AUTHENTICATE,
};
use http::{HeaderMap, StatusCode};
use serde::Serialize;

/// What handlers give back.
pub(crate) type Answer = Result<Response, ApiError>;

/// 200 with data.
pub(crate) fn ok(message: impl Into<String>, data: impl Serialize) -> Answer {
    with(StatusCode::OK, message, data)
}

/// Any success with data.
pub(crate) fn with(status: StatusCode, message: impl Into<String>, data: impl Serialize) -> Answer {
    Ok(json(status, written(message, data)?))
}

/// Data in its envelope, as JSON.
pub(crate) fn written(message: impl Into<String>, data: impl Serialize) -> Result<Vec<u8>, ApiError> {
    serde_json::to_vec(&Envelope::new(message, data))
        .map_err(|problem| ApiError::Internal(format!("an answer could not be written: {problem}")))
}

/// JSON that is written already.
pub(crate) fn json(status: StatusCode, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// Names the operation that came of a request.
pub(crate) const OPERATION_ID: HeaderName = HeaderName::from_static("x-operation-id");

/// The body of a failed request, carried to where its request id is known.
#[derive(Clone)]
pub(crate) struct Failure {
    body: ErrorBody,
    /// For the log only.
    pub(crate) secret: Option<String>,
}

/// Headers that a failed response brings along.
const KEPT: [HeaderName; 6] =
    [WWW_AUTHENTICATE, ALLOW, RETRY_AFTER, OPERATION_ID, UPGRADE, SEC_WEBSOCKET_VERSION];

impl Failure {
    pub(crate) fn code(&self) -> &str {
        &self.body.code
    }

    pub(crate) fn error(&self) -> &str {
        &self.body.error
    }

    /// Says which operation came of the request.
    pub(crate) fn of_operation(&mut self, id: &str) {
        self.body.operation_id = Some(id.to_owned());
    }

    /// The body as it leaves.
    pub(crate) fn bytes(&self, request_id: &str) -> Vec<u8> {
        let body = ErrorBody { request_id: request_id.to_owned(), ..self.body.clone() };
        serde_json::to_vec(&body).unwrap_or_default()
    }

    /// The whole answer; `headers` are those the failed response had.
    pub(crate) fn render(self, status: StatusCode, headers: HeaderMap, request_id: &str) -> Response {
        let mut response = json(status, self.bytes(request_id));
        let kept = headers.into_iter().filter_map(|(name, value)| Some((name?, value)));
        for (name, value) in kept.filter(|(name, _)| KEPT.contains(name)) {
            response.headers_mut().insert(name, value);
        }
        response
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = self.status();
        if self.status() == StatusCode::UNAUTHORIZED {
            response
                .headers_mut()
                .insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"dtma\""));
        }
        if self.status() == StatusCode::UPGRADE_REQUIRED {
            response.headers_mut().insert(UPGRADE, HeaderValue::from_static("websocket"));
            response.headers_mut().insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        }
        if let Some(seconds) = self.retry_after() {
            response.headers_mut().insert(RETRY_AFTER, seconds.into());
        }
        let secret = self.secret().map(str::to_owned);
        response.extensions_mut().insert(Failure { body: self.body(), secret });
        response
    }
}
