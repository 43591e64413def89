//! What surrounds every route that changes something: the work goes on when its client hangs up, the operation that
//! came of it is named in the answer, the audit log tells of it, and a request with an `Idempotency-Key` has one effect and one answer.
//!
//! A key is known in three places, from the quickest to the most durable: among the requests under way (the second
//! waits for the first), among the kept answers, and in the operation itself, which was kept in the transaction that
//! accepted the request. So a daemon that was killed before it answered finds the operation again, waits for its end
//! and answers from how things stand then.
//!
//! An answer is kept when it is final: it came of an operation, and does not say that the work goes on. Requests
//! that were refused before there was an operation are not remembered: a key may be used again for them.

pub(crate) mod keys;

use crate::answer::{Failure, OPERATION_ID, json};
use crate::app::App;
use crate::asker::Asker;
use crate::audit::{Draft, Ended};
use crate::auth::Caller;
use crate::body::{self, API_LIMIT};
use crate::error::ApiError;
use crate::observe::{RequestId, panic_text};
use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use dtma_core::id::OperationId;
use dtma_core::idempotency::{IdempotencyKey, KeptAnswer};
use dtma_manager::ManagerError;
use futures_util::FutureExt;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::{HeaderMap, StatusCode};
use keys::Place;
use sha2::{Digest, Sha256};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

/// The caller's name for the request.
pub(crate) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Says that the answer is that of an earlier request.
pub(crate) const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");
/// The biggest answer that is kept; after a bigger one the same question is answered from how things stand.
const MOST_KEPT: usize = 64 << 10;
/// The biggest answer that is shared with those who ask the same at the same moment.
const MOST_SHARED: usize = 16 << 20;

/// What was answered, to be said again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Said {
    status: StatusCode,
    body: Bytes,
    operation: Option<OperationId>,
}

pub(crate) async fn mutate(
    State((app, action)): State<(App, &'static str)>,
    request: Request,
    next: Next,
) -> Response {
    // In a task of its own, because a client that hangs up drops this future.
    let work = app.tasks().spawn(audited(app.clone(), action, request, next));
    work.await.unwrap_or_else(|error| {
        ApiError::Internal(format!("a request's task ended: {error}")).into_response()
    })
}

/// Does it between its two lines in the audit log; without the first nothing is done.
async fn audited(app: App, action: &'static str, request: Request, next: Next) -> Response {
    let caller = request.extensions().get::<Caller>().map(|caller| Arc::clone(&caller.name));
    let caller = caller.unwrap_or_else(|| Arc::from("-"));
    let (draft, request) = Draft::of(request, action, Some(&caller)).await;
    let begun = match app.audit().begin(draft, app.now()).await {
        Ok(begun) => begun,
        Err(error) => return error.into_response(),
    };
    let answer = AssertUnwindSafe(conduct(&app, caller, request, next)).catch_unwind().await;
    let response = answer.unwrap_or_else(|panic| ApiError::Internal(panic_text(&*panic)).into_response());
    let ended = Ended::of(&app, &response);
    app.audit().end(begun, app.now(), |record| ended.add_to(record)).await;
    response
}

async fn conduct(app: &App, caller: Arc<str>, request: Request, next: Next) -> Response {
    let key = match known_by(request).await {
        Ok((None, request)) => return run(app, &Asker::new(caller, None), request, next).await,
        Ok((Some(key), request)) => once(app, caller, key, request, next).await,
        Err(error) => Err(error),
    };
    key.unwrap_or_else(IntoResponse::into_response)
}

/// Lets the handler work, and names the operation in its answer.
async fn run(app: &App, asker: &Asker, mut request: Request, next: Next) -> Response {
    request.extensions_mut().insert(asker.clone());
    let mut response = next.run(request).await;
    if let Some(id) = operation_of(app, asker) {
        name(&mut response, &id);
    }
    response
}

/// The operation that the manager knows: the one of an earlier request when the key is known, else the one whose id
/// was chosen here.
fn operation_of(app: &App, asker: &Asker) -> Option<OperationId> {
    let of_key = asker.key.as_ref().and_then(|key| app.manager().operation_of(&asker.author, key));
    let of_key = of_key.filter(|operation| operation.key == asker.key);
    of_key.or_else(|| app.manager().operation(&asker.operation)).map(|operation| operation.id)
}

fn name(response: &mut Response, id: &OperationId) {
    if let Ok(value) = HeaderValue::from_str(id.as_str()) {
        response.headers_mut().insert(OPERATION_ID, value);
    }
    if let Some(failure) = response.extensions_mut().get_mut::<Failure>() {
        failure.of_operation(id.as_str());
    }
}

/// The key of a request with the digest of what it asks, when it has one.
async fn known_by(request: Request) -> Result<(Option<IdempotencyKey>, Request), ApiError> {
    let Some(key) = sole_key(request.headers())? else { return Ok((None, request)) };
    let (parts, body) = request.into_parts();
    let bytes = body::read(Request::from_parts(parts.clone(), body), API_LIMIT).await?;
    let place = parts.uri.path_and_query().map_or("", |place| place.as_str());
    let digest = digest(&[parts.method.as_str().as_bytes(), place.as_bytes(), &bytes]);
    let key = IdempotencyKey::new(key, digest).map_err(|error| ApiError::BadKey(error.to_string()))?;
    Ok((Some(key), Request::from_parts(parts, Body::from(bytes))))
}

fn sole_key(headers: &HeaderMap) -> Result<Option<String>, ApiError> {
    let mut keys = headers.get_all(IDEMPOTENCY_KEY).iter();
    match (keys.next(), keys.next()) {
        (None, _) => Ok(None),
        (Some(key), None) => {
            let text = key.to_str().map_err(|_| dtma_core::idempotency::KeyError.to_string());
            text.map(|text| Some(text.to_owned())).map_err(ApiError::BadKey)
        }
        (Some(_), Some(_)) => Err(ApiError::BadKey("there is more than one Idempotency-Key header".into())),
    }
}

/// Every part with its length before it, so that none can pass for a piece of another.
fn digest(parts: &[&[u8]]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Does it, unless it was done or is being done: then the answer is the same.
async fn once(
    app: &App,
    caller: Arc<str>,
    key: IdempotencyKey,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let turn = loop {
        match app.keys().enter(&caller, &key)? {
            Place::First(turn) => break turn,
            Place::Later(mut answer) => {
                // Neither loses anything when it is dropped: the answer stays where it is.
                let said = tokio::select! {
                    said = answer.wait_for(Option::is_some) => said.ok().and_then(|said| said.clone()),
                    () = app.closing().cancelled() => return Err(ManagerError::ShuttingDown.into()),
                };
                if let Some(said) = said {
                    return Ok(again(&said));
                }
            }
        }
    };
    if let Some(kept) = app.manager().kept_answer(&caller, &key.key).await? {
        return repeat(&key, kept);
    }
    let asker = Asker::new(caller, Some(key));
    let id = request.extensions().get::<RequestId>().map_or_else(String::new, |id| id.0.clone());
    let (response, said) = heard(run(app, &asker, request, next).await, &id).await;
    if let Some(said) = said {
        if is_final(&response) {
            keep(app, &asker, &said).await;
        }
        turn.tell(said);
    }
    Ok(response)
}

fn repeat(key: &IdempotencyKey, kept: KeptAnswer) -> Result<Response, ApiError> {
    if kept.key != *key {
        return Err(ManagerError::KeyReused(key.key.clone()).into());
    }
    let status = StatusCode::from_u16(kept.status).unwrap_or(StatusCode::OK);
    Ok(again(&Said { status, body: kept.body.into(), operation: Some(kept.operation) }))
}

fn again(said: &Said) -> Response {
    let mut response = json(said.status, said.body.clone());
    response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    if let Some(id) = &said.operation {
        name(&mut response, id);
    }
    response
}

/// The answer, and what is in it; nothing when it is a stream.
async fn heard(response: Response, request_id: &str) -> (Response, Option<Said>) {
    let operation =
        response.headers().get(OPERATION_ID).and_then(|id| id.to_str().ok()).map(OperationId::from);
    let status = response.status();
    if let Some(failure) = response.extensions().get::<Failure>() {
        let body = failure.bytes(request_id).into();
        return (response, Some(Said { status, body, operation }));
    }
    if response.headers().get(CONTENT_TYPE).is_none_or(|kind| kind != "application/json") {
        return (response, None);
    }
    let (parts, body) = response.into_parts();
    match axum::body::to_bytes(body, MOST_SHARED).await {
        Ok(body) => {
            let said = Said { status, body: body.clone(), operation };
            (Response::from_parts(parts, Body::from(body)), Some(said))
        }
        Err(error) => {
            let error = ApiError::Internal(format!("an answer could not be read: {error}"));
            (error.into_response(), None)
        }
    }
}

/// Keeps a final answer for whoever asks again. One that cannot be kept is found again by its operation.
async fn keep(app: &App, asker: &Asker, said: &Said) {
    let (Some(key), Some(operation)) = (&asker.key, &said.operation) else { return };
    let body = String::from_utf8(said.body.to_vec()).ok().filter(|body| body.len() <= MOST_KEPT);
    let Some(body) = body else { return };
    let answer = KeptAnswer {
        author: asker.author.to_string(),
        key: key.clone(),
        operation: operation.clone(),
        status: said.status.as_u16(),
        body,
        at: app.now(),
    };
    if let Err(error) = app.manager().keep_answer(&answer).await {
        tracing::warn!(%operation, %error, "the answer to a request with a key could not be kept");
    }
}

/// Whoever asks again is not told again that the work goes on, or that a key is wrong.
fn is_final(response: &Response) -> bool {
    let failure = response.extensions().get::<Failure>();
    failure.is_none_or(|failure| {
        !matches!(
            failure.code(),
            "deadline" | "shutting_down" | "internal" | "store_failed" | "idempotency_key_reused"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_tells_where_parts_end() {
        assert_ne!(digest(&[b"ab", b"c"]), digest(&[b"a", b"bc"]));
        assert_eq!(digest(&[b"a"]), digest(&[b"a"]));
    }

    #[test]
    fn one_header_is_a_key_and_two_are_a_mistake() {
        let mut headers = HeaderMap::new();
        assert_eq!(sole_key(&headers).unwrap(), None);
        headers.append(IDEMPOTENCY_KEY, HeaderValue::from_static("k"));
        assert_eq!(sole_key(&headers).unwrap().as_deref(), Some("k"));
        headers.append(IDEMPOTENCY_KEY, HeaderValue::from_static("k"));
        assert!(sole_key(&headers).is_err());
    }
}
