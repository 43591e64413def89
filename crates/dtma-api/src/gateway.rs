//! The gateway's door for agents: Streamable HTTP of the handshake era onto one server, or onto all of a group.
//!
//! This file speaks HTTP only: headers, status codes, streams. Messages pass as bytes to and from
//! [`dtma_mcp::Door`] and [`dtma_mcp::Aggregate`], which know sessions and calls.

pub(crate) mod access;
pub(crate) mod card;
pub(crate) mod connections;
mod duplex;
#[expect(unused_qualifications, reason = "utoipa's macro writes query types with a path")]
pub(crate) mod groups;
mod header;
#[expect(unused_qualifications, reason = "utoipa's macro writes query types with a path")]
pub(crate) mod pair;
mod stateless;
mod stream;
mod target;
pub(crate) mod websocket;
pub(crate) mod well_known;

pub(crate) use target::Target;

use crate::answer::{Answer, json};
use crate::app::App;
use crate::auth::Caller;
use crate::body::expect_json;
use crate::error::ApiError;
use crate::metrics::GatewayOutcome;
use crate::path::Named;
use access::Admitted;
use axum::Extension;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use bytes::Bytes;
use dtma_core::id::InstanceName;
use dtma_manager::ManagerError;
use dtma_mcp::{Door, PostReply, SessionError, SessionId};
use http::header::RETRY_AFTER;
use http::{HeaderMap, HeaderValue, StatusCode};
use std::time::Duration;

/// Send an MCP message to a server
///
/// Streamable HTTP, protocol versions 2024-11-05 to 2025-11-25: one JSON-RPC message a request. `initialize` opens
/// a session, whose id comes back as `Mcp-Session-Id` and belongs on every later request. Of 2026-07-28 a request needs
/// no session: `MCP-Protocol-Version`, `Mcp-Method` and `Mcp-Name` say what its body says, and who hangs up cancels.
#[utoipa::path(post, path = "/gateway/servers/{instanceName}/mcp", operation_id = "gatewayPost", tag = "gateway",
    params(("instanceName" = String, Path, description = "The server"),
        ("Mcp-Session-Id" = Option<String>, Header, description = "The session; absent with `initialize`"),
        ("MCP-Protocol-Version" = Option<String>, Header, description = "The version agreed on"),
        ("Mcp-Method" = Option<String>, Header, description = "2026-07-28: the method in the body"),
        ("Mcp-Name" = Option<String>, Header,
            description = "2026-07-28: the tool, prompt or resource in the body")),
    request_body(content = Object, description = "A JSON-RPC message", example = json!({"jsonrpc": "2.0", "id": 1,
        "method": "initialize", "params": {"protocolVersion": "2025-11-25", "capabilities": {},
        "clientInfo": {"name": "example", "version": "1"}}})),
    responses(
        (status = 200, description = "The answer, alone or at the end of a stream",
            content((Object = "application/json"), (String = "text/event-stream"))),
        (status = 202, description = "A notification or a client's answer was taken")))]
pub(crate) async fn gateway_post(
    State(app): State<App>,
    Named(instance): Named<InstanceName>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Answer {
    post(&app, &caller, &Target::Server(instance), None, request).await
}

/// A message, to whomever.
async fn post(
    app: &App,
    caller: &Caller,
    target: &Target,
    most_tools: Option<usize>,
    request: Request,
) -> Answer {
    header::accepts(request.headers(), &["application/json", "text/event-stream"])?;
    expect_json(request.headers())?;
    if stateless::is_stateless(request.headers()) {
        return stateless::post(app, caller, target, most_tools, request).await;
    }
    header::known_version(request.headers())?;
    let session = header::session(request.headers())?;
    let Admitted { server, body, call } = access::admitted(app, caller, target, most_tools, request).await?;
    let answered = stream::patient(server, session, body, call).await;
    match answered {
        stream::Answered::InTime(reply) => {
            let status =
                if matches!(reply, PostReply::Refused(_)) { StatusCode::BAD_REQUEST } else { StatusCode::OK };
            reply_to(app, caller, target, reply, status)
        }
        stream::Answered::Late(pending) => {
            app.metrics().gateway(target, GatewayOutcome::Streamed);
            Ok(access::stream(app, caller, target, stream::late(pending)))
        }
    }
}

/// `status` is that of a response that comes alone.
fn reply_to(app: &App, caller: &Caller, target: &Target, reply: PostReply, status: StatusCode) -> Answer {
    let (outcome, answer) = match reply {
        PostReply::Opened { session, body } => (GatewayOutcome::Opened, Ok(opened(session, body))),
        PostReply::Accepted => (GatewayOutcome::Accepted, Ok(empty(StatusCode::ACCEPTED))),
        PostReply::Body(body) => (GatewayOutcome::Answered, Ok(json(status, body))),
        PostReply::Stream(messages) => {
            (GatewayOutcome::Streamed, Ok(access::stream(app, caller, target, stream::frames(messages))))
        }
        PostReply::Refused(body) => (GatewayOutcome::Refused, Ok(json(status, body))),
        PostReply::Crowded { body, try_again } => (GatewayOutcome::Refused, Ok(crowded(body, try_again))),
        PostReply::UnknownSession => (GatewayOutcome::UnknownSession, Err(ApiError::NoSession)),
        PostReply::Closed => (GatewayOutcome::Closed, Err(lost(SessionError::Closed))),
    };
    app.metrics().gateway(target, outcome);
    answer
}

fn opened(session: SessionId, body: Bytes) -> Response {
    let mut response = json(StatusCode::OK, body);
    if let Ok(id) = HeaderValue::from_str(&session.to_string()) {
        response.headers_mut().insert(header::SESSION, id);
    }
    response
}

fn crowded(body: Bytes, try_again: Duration) -> Response {
    let mut response = json(StatusCode::SERVICE_UNAVAILABLE, body);
    response.headers_mut().insert(RETRY_AFTER, try_again.as_secs().into());
    response
}

fn empty(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

/// Listen to a server
///
/// What it says that belongs to no call, as server-sent events. Each has an id; whoever comes back with the last one it
/// got (`Last-Event-ID`) is told first what was said since, as far as it is remembered (256 messages, 256 KiB), also
/// after a restart of the daemon. A client of 2025-11-25 gets an event with an id and no message first.
#[utoipa::path(get, path = "/gateway/servers/{instanceName}/mcp", operation_id = "gatewayListen", tag = "gateway",
    params(("instanceName" = String, Path, description = "The server"),
        ("Mcp-Session-Id" = String, Header, description = "The session"),
        ("Last-Event-ID" = Option<String>, Header, description = "The id of the last event that was heard")),
    responses((status = 200, description = "Messages until the session ends", body = String,
               content_type = "text/event-stream")))]
pub(crate) async fn gateway_listen(
    State(app): State<App>,
    Named(instance): Named<InstanceName>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
) -> Answer {
    listen(&app, &caller, &Target::Server(instance), &headers).await
}

async fn listen(app: &App, caller: &Caller, target: &Target, headers: &HeaderMap) -> Answer {
    stateless::has_sessions(headers)?;
    header::accepts(headers, &["text/event-stream"])?;
    header::known_version(headers)?;
    let reached = access::reached(app, caller, target)?;
    let server = access::opened(target.entrance(app)?, &reached);
    let session = header::needed_session(headers)?;
    let events = server.listen_after(&session, header::last_event(headers)).await.map_err(lost)?;
    Ok(access::stream(app, caller, target, stream::events(events)))
}

/// End a session with a server
#[utoipa::path(delete, path = "/gateway/servers/{instanceName}/mcp", operation_id = "gatewayClose", tag = "gateway",
    params(("instanceName" = String, Path, description = "The server"),
        ("Mcp-Session-Id" = String, Header, description = "The session")),
    responses((status = 200, description = "Ended")))]
pub(crate) async fn gateway_close(
    State(app): State<App>,
    Named(instance): Named<InstanceName>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
) -> Answer {
    close(&app, &caller, &Target::Server(instance), &headers).await
}

async fn close(app: &App, caller: &Caller, target: &Target, headers: &HeaderMap) -> Answer {
    stateless::has_sessions(headers)?;
    header::known_version(headers)?;
    let reached = access::reached(app, caller, target)?;
    let server = access::opened(target.entrance(app)?, &reached);
    server.close_session(&header::needed_session(headers)?).await.map_err(lost)?;
    app.metrics().session_closed(target);
    Ok(empty(StatusCode::OK))
}

/// The MCP side of a server.
fn server(app: &App, instance: &InstanceName) -> Result<Door, ApiError> {
    let manager = app.manager();
    manager.mcp(instance).ok_or_else(|| match manager.group_of(instance) {
        Some(_) => ApiError::NotMcp(instance.clone()),
        None => ApiError::Manager(ManagerError::NoSuchServer(instance.clone())),
    })
}

fn lost(error: SessionError) -> ApiError {
    match error {
        SessionError::Unknown => ApiError::NoSession,
        SessionError::Closed => ApiError::Manager(ManagerError::ShuttingDown),
    }
}
