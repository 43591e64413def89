//! The same doors onto all MCP servers of a group as one.

use super::target::Target;
use super::{close, listen, pair, post, websocket};
use crate::answer::Answer;
use crate::app::App;
use crate::auth::Caller;
use crate::path::Named;
use crate::query::Asked;
use axum::Extension;
use axum::extract::{Request, State};
use dtma_core::id::GroupId;
use http::HeaderMap;
use serde::Deserialize;
use utoipa::IntoParams;

/// How a client wants to see a group.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
pub(crate) struct GroupView {
    /// Most tools that are listed (default 40). Where there are more, `tools/list` has `find_tools` and `call_tool` instead.
    most_tools: Option<usize>,
}

/// Send an MCP message to a group of servers
///
/// As to one server. Tools and prompts are called `server__name`, resources `dtma://server/` and their own address.
#[utoipa::path(post, path = "/gateway/groups/{groupId}/mcp", operation_id = "gatewayGroupPost", tag = "gateway",
    params(("groupId" = String, Path, description = "The group"), GroupView,
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
pub(crate) async fn gateway_group_post(
    State(app): State<App>,
    Named(group): Named<GroupId>,
    Asked(view): Asked<GroupView>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Answer {
    post(&app, &caller, &Target::Group(group), view.most_tools, request).await
}

/// Listen to a group of servers
///
/// What they say that belongs to no call, as server-sent events without ids. The stream goes on while servers come and go.
#[utoipa::path(get, path = "/gateway/groups/{groupId}/mcp", operation_id = "gatewayGroupListen", tag = "gateway",
    params(("groupId" = String, Path, description = "The group"), GroupView,
        ("Mcp-Session-Id" = String, Header, description = "The session")),
    responses((status = 200, description = "Messages until the session ends", body = String,
               content_type = "text/event-stream")))]
pub(crate) async fn gateway_group_listen(
    State(app): State<App>,
    Named(group): Named<GroupId>,
    Asked(_): Asked<GroupView>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
) -> Answer {
    listen(&app, &caller, &Target::Group(group), &headers).await
}

/// End a session with a group of servers
#[utoipa::path(delete, path = "/gateway/groups/{groupId}/mcp", operation_id = "gatewayGroupClose", tag = "gateway",
    params(("groupId" = String, Path, description = "The group"), GroupView,
        ("Mcp-Session-Id" = String, Header, description = "The session")),
    responses((status = 200, description = "Ended")))]
pub(crate) async fn gateway_group_close(
    State(app): State<App>,
    Named(group): Named<GroupId>,
    Asked(_): Asked<GroupView>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
) -> Answer {
    close(&app, &caller, &Target::Group(group), &headers).await
}

/// Open a session with a group of servers over HTTP+SSE
///
/// As with one server.
#[utoipa::path(get, path = "/gateway/groups/{groupId}/sse", operation_id = "gatewayGroupSse", tag = "gateway",
    params(("groupId" = String, Path, description = "The group"), GroupView),
    responses((status = 200, description = "Messages until either side ends the stream", body = String,
               content_type = "text/event-stream")))]
pub(crate) async fn gateway_group_sse(
    State(app): State<App>,
    Named(group): Named<GroupId>,
    Asked(view): Asked<GroupView>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
) -> Answer {
    pair::open(&app, &Target::Group(group), view.most_tools, caller, &headers)
}

/// Send an MCP message on a session with a group over HTTP+SSE
///
/// One JSON-RPC message a request; its answer comes on the stream.
#[utoipa::path(post, path = "/gateway/groups/{groupId}/messages", operation_id = "gatewayGroupMessages", tag = "gateway",
    params(("groupId" = String, Path, description = "The group"), pair::MessagesQuery),
    request_body(content = Object, description = "A JSON-RPC message",
        example = json!({"jsonrpc": "2.0", "id": 2, "method": "tools/list"})),
    responses((status = 202, description = "The message was taken")))]
pub(crate) async fn gateway_group_messages(
    State(app): State<App>,
    Named(group): Named<GroupId>,
    Asked(query): Asked<pair::MessagesQuery>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Answer {
    pair::message(&app, &Target::Group(group), &query, &caller, request).await
}

/// Open a session with a group of servers over WebSocket
///
/// As with one server.
#[utoipa::path(get, path = "/gateway/groups/{groupId}/ws", operation_id = "gatewayGroupWs", tag = "gateway",
    params(("groupId" = String, Path, description = "The group"), GroupView),
    responses((status = 101, description = "WebSocket from here on")))]
pub(crate) async fn gateway_group_ws(
    State(app): State<App>,
    Named(group): Named<GroupId>,
    Asked(view): Asked<GroupView>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Answer {
    websocket::open(app, Target::Group(group), view.most_tools, caller, "gatewayGroupWs", request)
}
