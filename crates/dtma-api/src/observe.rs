//! What surrounds every request: its id, its line in the log, its place in the metrics, and the last net under
//! defects of ours.

use crate::answer::Failure;
use crate::app::App;
use crate::auth::Caller;
use crate::error::ApiError;
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use http::header::{HeaderName, HeaderValue};
use std::panic::AssertUnwindSafe;
use std::time::Duration;
use tokio::time::Instant;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What is said about a request when it is over.
struct Line {
    id: String,
    method: http::Method,
    /// The path as requested. Tokens never stand in paths.
    path: String,
    /// The path as declared; bounded, so it may label a metric.
    route: String,
}

pub(crate) async fn observe(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let began = Instant::now();
    let line = Line {
        id: request_id(&request),
        method: request.method().clone(),
        path: request.uri().path().to_owned(),
        route: request.extensions().get::<MatchedPath>().map_or("none", MatchedPath::as_str).to_owned(),
    };
    request.extensions_mut().insert(RequestId(line.id.clone()));
    let answer = AssertUnwindSafe(next.run(request)).catch_unwind().await;
    let response = answer.unwrap_or_else(|panic| ApiError::Internal(panic_text(&*panic)).into_response());
    finish(&app, &line, began.elapsed(), response)
}

/// The id of the request under way.
#[derive(Debug, Clone)]
pub(crate) struct RequestId(
    #[expect(dead_code, reason = "read by whoever logs inside a handler")] pub(crate) String,
);

/// The caller's own id when it is harmless, else a new one.
fn request_id(request: &Request) -> String {
    let theirs = request.headers().get(&REQUEST_ID).and_then(|id| id.to_str().ok());
    let harmless = |id: &&str| {
        (1..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
    };
    theirs.filter(harmless).map_or_else(|| uuid::Uuid::new_v4().simple().to_string(), str::to_owned)
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text =
        panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("a handler panicked: {}", text.unwrap_or("(no message)"))
}

fn finish(app: &App, line: &Line, took: Duration, response: Response) -> Response {
    let status = response.status();
    let (mut parts, body) = response.into_parts();
    let failure = parts.extensions.remove::<Failure>();
    let caller = parts.extensions.remove::<Caller>().map(|caller| caller.name);
    log(line, status.as_u16(), took, caller.as_deref(), failure.as_ref());
    app.metrics().request(&line.method, &line.route, status.as_u16(), took);
    let mut response = match failure {
        Some(failure) => failure.render(status, parts.headers, &line.id),
        None => Response::from_parts(parts, body),
    };
    if let Ok(id) = HeaderValue::from_str(&line.id) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}

fn log(line: &Line, status: u16, took: Duration, caller: Option<&str>, failure: Option<&Failure>) {
    let Line { id, method, path, .. } = line;
    let millis = took.as_millis();
    match failure {
        Some(failure) if status >= 500 => {
            let (code, error, defect) = (failure.code(), failure.error(), failure.secret.as_deref());
            tracing::error!(request_id = id, %method, path, status, millis, caller, code, error, defect, "failed");
        }
        Some(failure) => {
            let (code, error) = (failure.code(), failure.error());
            tracing::info!(request_id = id, %method, path, status, millis, caller, code, error, "refused");
        }
        None => tracing::debug!(request_id = id, %method, path, status, millis, caller, "answered"),
    }
}
