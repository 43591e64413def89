//! Requests of the stateless version (2026-07-28): told by their headers, answered with the status that belongs to the
//! JSON-RPC answer.

use super::access::{self, Admitted};
use super::target::Target;
use super::{header, reply_to, stream};
use crate::answer::Answer;
use crate::app::App;
use crate::auth::Caller;
use crate::error::ApiError;
use crate::metrics::GatewayOutcome;
use crate::sse;
use axum::extract::Request;
use dtma_mcp::{Claims, PostReply, stateless_status, version};
use futures_util::future::BoxFuture;
use http::HeaderMap;

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
    target: &Target,
    most_tools: Option<usize>,
    request: Request,
) -> Answer {
    let claims = claims(request.headers());
    let Admitted { server, body, call } = access::admitted(app, caller, target, most_tools, request).await?;
    let mut pending: BoxFuture<'static, PostReply> =
        Box::pin(async move { call.answered(server.post_stateless(&claims, body).await) });
    match tokio::time::timeout(sse::KEEP_ALIVE, &mut pending).await {
        Ok(reply) => {
            let status = stateless_status(&reply);
            reply_to(app, caller, target, reply, status)
        }
        Err(_) => {
            app.metrics().gateway(target, GatewayOutcome::Streamed);
            Ok(access::stream(app, caller, target, stream::late(pending)))
        }
    }
}
