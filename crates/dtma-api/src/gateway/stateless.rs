//! Requests of the stateless version (2026-07-28): told by their headers, answered with the status that belongs to the
//! JSON-RPC answer.

use super::{empty, header, lost, stream};
use crate::answer::{Answer, json};
use crate::app::App;
use crate::auth::Caller;
use crate::body::{GATEWAY_LIMIT, read};
use crate::calls::{By, Pending};
use crate::error::ApiError;
use crate::metrics::GatewayOutcome;
use crate::sse;
use axum::extract::Request;
use dtma_core::id::InstanceName;
use dtma_mcp::{Claims, Door, PostReply, SessionError, StatelessReply, version};
use futures_util::future::BoxFuture;
use futures_util::stream::{self as streams, BoxStream, StreamExt};
use http::{HeaderMap, StatusCode};

/// How a tool's arguments are repeated in headers.
const PARAM: &str = "mcp-param-";

/// True for a request that is of no session and of none of the versions that have sessions.
pub(super) fn is_stateless(headers: &HeaderMap) -> bool {
    let version = headers.get(header::VERSION).and_then(|value| value.to_str().ok());
    version.is_some_and(|version| version == version::STATELESS || !version::is_known(version))
        && !headers.contains_key(header::SESSION)
}

/// Where there are no sessions there is nothing to listen to and nothing to end.
pub(super) fn has_sessions(headers: &HeaderMap) -> Result<(), ApiError> {
    let version = headers.get(header::VERSION);
    match version.is_some_and(|version| version.as_bytes() == version::STATELESS.as_bytes()) {
        true => Err(ApiError::NoMethod),
        false => Ok(()),
    }
}

fn claims(headers: &HeaderMap) -> Claims {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let param = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
        let name = name.as_str().strip_prefix(PARAM)?;
        Some((name.to_owned(), value.to_str().ok()?.to_owned()))
    };
    Claims {
        version: text("mcp-protocol-version"),
        method: text("mcp-method"),
        name: text("mcp-name"),
        params: headers.iter().filter_map(param).collect(),
    }
}

pub(super) async fn post(
    app: &App,
    caller: &Caller,
    instance: &InstanceName,
    server: Door,
    request: Request,
) -> Answer {
    let claims = claims(request.headers());
    let body = read(request, GATEWAY_LIMIT).await?;
    let call = app.calls().asked(caller, instance, By::Http, &body);
    let mut pending: BoxFuture<'static, StatelessReply> =
        Box::pin(async move { noted(call, server.post_stateless(&claims, body).await) });
    match tokio::time::timeout(sse::KEEP_ALIVE, &mut pending).await {
        Ok(reply) => reply_to(app, instance, reply),
        Err(_) => {
            app.metrics().gateway(instance.as_str(), GatewayOutcome::Streamed);
            Ok(sse::answer(app, streams::once(pending).flat_map(late)))
        }
    }
}

/// As the log of calls knows answers.
fn noted(call: Pending, reply: StatelessReply) -> StatelessReply {
    let is_refused = |status: StatusCode| status == StatusCode::BAD_REQUEST;
    let noted = match &reply {
        StatelessReply::Body(status, body) if is_refused(*status) => PostReply::Refused(body.clone()),
        StatelessReply::Body(_, body) => PostReply::Body(body.clone()),
        StatelessReply::Accepted => PostReply::Accepted,
        StatelessReply::Closed => PostReply::Closed,
        StatelessReply::Stream(_) => return streamed(call, reply),
    };
    call.answered(noted);
    reply
}

/// Its end is known when the stream is at its end.
fn streamed(call: Pending, reply: StatelessReply) -> StatelessReply {
    let StatelessReply::Stream(messages) = reply else { return reply };
    match call.answered(PostReply::Stream(messages)) {
        PostReply::Stream(messages) => StatelessReply::Stream(messages),
        _ => StatelessReply::Closed,
    }
}

fn reply_to(app: &App, instance: &InstanceName, reply: StatelessReply) -> Answer {
    let (outcome, answer) = match reply {
        StatelessReply::Body(status, body) => {
            let refused = status != StatusCode::OK;
            let outcome = if refused { GatewayOutcome::Refused } else { GatewayOutcome::Answered };
            (outcome, Ok(json(status, body)))
        }
        StatelessReply::Stream(messages) => {
            (GatewayOutcome::Streamed, Ok(sse::answer(app, stream::frames(messages))))
        }
        StatelessReply::Accepted => (GatewayOutcome::Accepted, Ok(empty(StatusCode::ACCEPTED))),
        StatelessReply::Closed => (GatewayOutcome::Closed, Err(lost(SessionError::Closed))),
    };
    app.metrics().gateway(instance.as_str(), outcome);
    answer
}

/// What comes on a stream that was begun before there was an answer.
fn late(reply: StatelessReply) -> BoxStream<'static, bytes::Bytes> {
    match reply {
        StatelessReply::Body(_, body) => streams::iter([sse::event("message", None, &body)]).boxed(),
        StatelessReply::Stream(messages) => stream::frames(messages).boxed(),
        StatelessReply::Accepted | StatelessReply::Closed => streams::empty().boxed(),
    }
}
