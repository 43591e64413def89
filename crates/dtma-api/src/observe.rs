//! What surrounds every request: its id, its line in the log, its place in the metrics, and the last net under
//! defects of ours.

use crate::answer::Failure;
use crate::app::App;
use crate::auth::Caller;
use crate::error::ApiError;
use crate::serve::Peer;
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use dtma_core::Timestamp;
use futures_util::FutureExt;
use http::header::{HeaderName, HeaderValue};
use http_body::Body as _;
use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::Sender;
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
    peer: Option<IpAddr>,
}

pub(crate) async fn observe(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let began = Instant::now();
    let line = Line {
        id: request_id(&request),
        method: request.method().clone(),
        path: request.uri().path().to_owned(),
        route: request.extensions().get::<MatchedPath>().map_or("none", MatchedPath::as_str).to_owned(),
        peer: request.extensions().get::<Peer>().map(|peer| peer.0),
    };
    request.extensions_mut().insert(RequestId(line.id.clone()));
    let answer = AssertUnwindSafe(next.run(request)).catch_unwind().await;
    let response = answer.unwrap_or_else(|panic| ApiError::Internal(panic_text(&*panic)).into_response());
    finish(&app, &line, began.elapsed(), response)
}

/// The id of the request under way.
#[derive(Debug, Clone)]
pub(crate) struct RequestId(pub(crate) String);

/// The caller's own id when it is harmless, else a new one.
fn request_id(request: &Request) -> String {
    let theirs = request.headers().get(&REQUEST_ID).and_then(|id| id.to_str().ok());
    let harmless = |id: &&str| {
        (1..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
    };
    theirs.filter(harmless).map_or_else(|| uuid::Uuid::new_v4().simple().to_string(), str::to_owned)
}

pub(crate) fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text =
        panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("a handler panicked: {}", text.unwrap_or("(no message)"))
}

fn finish(app: &App, line: &Line, took: Duration, response: Response) -> Response {
    let status = response.status();
    let (mut parts, body) = response.into_parts();
    let failure = parts.extensions.remove::<Failure>();
    let caller = parts.extensions.remove::<Caller>().map(|caller| caller.name);
    app.metrics().request(&line.method, &line.route, status.as_u16(), took);
    let mut response = match failure.clone() {
        Some(failure) => failure.render(status, parts.headers, &line.id),
        None => Response::from_parts(parts, body),
    };
    let end =
        End { status: status.as_u16(), took, caller, failure, bytes: response.body().size_hint().exact() };
    log(line, &end);
    if let Some(lines) = app.access() {
        lines.say(app.now(), line, &end);
    }
    if let Ok(id) = HeaderValue::from_str(&line.id) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}

/// How a request ended; a stream has only begun.
struct End {
    status: u16,
    took: Duration,
    /// The name of the token.
    caller: Option<Arc<str>>,
    failure: Option<Failure>,
    /// Of the body; a stream's are not known.
    bytes: Option<u64>,
}

/// What people filter by: `DTMA_LOG=info,access=debug` shows every request, `access=error` defects only.
const ACCESS: &str = "access";

fn log(line: &Line, end: &End) {
    let Line { id, method, path, route, .. } = line;
    let End { status, took, caller, failure, bytes } = end;
    let (millis, caller) = (took.as_millis(), caller.as_deref());
    match failure {
        Some(failure) if *status >= 500 => {
            let (code, error, defect) = (failure.code(), failure.error(), failure.secret.as_deref());
            tracing::error!(target: ACCESS, request_id = id, %method, path, status, millis, caller, code, error, defect, "failed");
        }
        Some(failure) => {
            let (code, error) = (failure.code(), failure.error());
            tracing::info!(target: ACCESS, request_id = id, %method, path, status, millis, caller, code, error, "refused");
        }
        None => {
            tracing::debug!(target: ACCESS, request_id = id, %method, path, route, status, millis, caller, bytes, "answered");
        }
    }
}

/// Takes a line of JSON about each request. Where nobody takes them away in time, lines are left out.
#[derive(Debug, Clone)]
pub struct AccessLines(Sender<String>);

impl AccessLines {
    /// Lines without their newline go to `sender`.
    #[must_use]
    pub fn new(sender: Sender<String>) -> Self {
        Self(sender)
    }

    fn say(&self, now: Timestamp, line: &Line, end: &End) {
        let said = serde_json::json!({
            "time": now, "requestId": line.id, "peer": line.peer, "token": end.caller.as_deref(),
            "method": line.method.as_str(), "route": line.route, "path": line.path, "status": end.status,
            "micros": u64::try_from(end.took.as_micros()).unwrap_or(u64::MAX), "bytes": end.bytes,
            "code": end.failure.as_ref().map(Failure::code),
        });
        if self.0.try_send(said.to_string()).is_err() {
            tracing::warn!("the access log cannot keep up: a line is left out");
        }
    }
}
