//! What a client may know before it speaks MCP: how a door is protected (RFC 9728), and which servers there are.
//!
//! The first is for everybody, since it is for those who have no token yet, and says nothing of which servers there are:
//! the answer is the same for a name that nobody bears. The catalogue needs a token with the scope `gateway`: what runs
//! in a toolbox is its owner's business.

use super::access;
use super::card::CARD;
use super::target::Target;
use crate::answer::Answer;
use crate::app::App;
use crate::auth::{Caller, Scope};
use crate::error::ApiError;
use crate::front::Base;
use axum::Extension;
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::response::Response;
use dtma_core::id::{GroupId, InstanceName};
use http::HeaderValue;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use serde_json::{Value, json};

/// Doors whose URL is an MCP server's; the last part of their paths.
const DOORS: [&str; 3] = ["mcp", "sse", "ws"];
const METADATA: &str = "/.well-known/oauth-protected-resource";

/// Where the metadata of the door at this path is.
pub(crate) fn metadata_path(path: &str) -> String {
    let target = |(kind, rest): (&str, &str)| {
        let (name, door) = rest.split_once('/')?;
        let target = match kind {
            "servers" => Target::Server(name.parse().ok()?),
            "groups" => Target::Group(name.parse().ok()?),
            _ => return None,
        };
        let door = match door {
            "messages" => "sse",
            "mcp/server-card" => "mcp",
            door => DOORS.into_iter().find(|known| *known == door)?,
        };
        Some(format!("{}/{door}", target.path()))
    };
    let door = path.strip_prefix("/gateway/").and_then(|rest| rest.split_once('/')).and_then(target);
    door.map_or_else(|| METADATA.to_owned(), |door| format!("{METADATA}{door}"))
}

/// How the gateway is protected
///
/// OAuth 2.0 protected-resource metadata (RFC 9728) of the daemon as a whole.
#[utoipa::path(get, path = "/.well-known/oauth-protected-resource", operation_id = "getProtection", tag = "gateway",
    responses((status = 200, description = "The metadata", body = Object, content_type = "application/json")))]
pub(crate) async fn get_protection(State(app): State<App>, request: Request) -> Response {
    let base = Base::of(app.front(), &request);
    document("application/json", "no-store", &protection(&app, &base, "/gateway"))
}

/// How a door is protected
///
/// The same of one door to one server, where clients look for it; 401 answers of that door name it.
#[utoipa::path(get, path = "/.well-known/oauth-protected-resource/gateway/servers/{instanceName}/{door}",
    operation_id = "getDoorProtection", tag = "gateway",
    params(("instanceName" = String, Path, description = "The server, whether it is there or not"),
        ("door" = String, Path, description = "`mcp`, `sse` or `ws`")),
    responses((status = 200, description = "The metadata", body = Object, content_type = "application/json")))]
pub(crate) async fn get_door_protection(
    State(app): State<App>,
    path: Result<Path<(String, String)>, PathRejection>,
    request: Request,
) -> Answer {
    let Path((instance, door)) = path.map_err(|problem| ApiError::PathName(problem.body_text()))?;
    let instance: InstanceName = instance.parse().map_err(wrong)?;
    of_door(&app, &Target::Server(instance), &door, &request)
}

/// How a door to a group is protected
///
/// The same of one door to all MCP servers of a group.
#[utoipa::path(get, path = "/.well-known/oauth-protected-resource/gateway/groups/{groupId}/{door}",
    operation_id = "getGroupDoorProtection", tag = "gateway",
    params(("groupId" = String, Path, description = "The group, whether it is there or not"),
        ("door" = String, Path, description = "`mcp`, `sse` or `ws`")),
    responses((status = 200, description = "The metadata", body = Object, content_type = "application/json")))]
pub(crate) async fn get_group_door_protection(
    State(app): State<App>,
    path: Result<Path<(String, String)>, PathRejection>,
    request: Request,
) -> Answer {
    let Path((group, door)) = path.map_err(|problem| ApiError::PathName(problem.body_text()))?;
    let group: GroupId = group.parse().map_err(wrong)?;
    of_door(&app, &Target::Group(group), &door, &request)
}

fn wrong(problem: impl std::fmt::Display) -> ApiError {
    ApiError::PathName(problem.to_string())
}

fn of_door(app: &App, target: &Target, door: &str, request: &Request) -> Answer {
    if !DOORS.contains(&door) {
        return Err(ApiError::PathName(format!("{door:?} is no door; there are mcp, sse and ws")));
    }
    let base = Base::of(app.front(), request);
    let of_door = protection(app, &base, &format!("{}/{door}", target.path()));
    Ok(document("application/json", "no-store", &of_door))
}

fn protection(app: &App, base: &Base, path: &str) -> Value {
    let mut metadata = json!({
        "resource": base.url(path),
        "resource_name": "DTMA",
        "scopes_supported": [Scope::Gateway.as_str()],
        "bearer_methods_supported": ["header"],
    });
    let servers: Vec<_> = app.front().authorization_servers.iter().map(ToString::to_string).collect();
    if !servers.is_empty() {
        metadata["authorization_servers"] = servers.into();
    }
    metadata
}

/// Which MCP servers there are
///
/// An AI catalogue: where the card of each server is that is granted to the caller.
#[utoipa::path(get, path = "/.well-known/ai-catalog.json", operation_id = "getCatalogue", tag = "gateway",
    responses((status = 200, description = "The catalogue", body = Object,
               content_type = "application/ai-catalog+json")))]
pub(crate) async fn get_catalogue(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Response {
    let base = Base::of(app.front(), &request);
    let groups = app.manager().groups();
    let servers = groups.iter().flat_map(|group| &group.servers).map(|server| &server.instance);
    let reached = servers.filter(|instance| access::reach(&app, &caller, instance).is_ok());
    let mut names: Vec<_> = reached.filter(|instance| app.manager().mcp(instance).is_some()).collect();
    names.sort();
    let host = base.host();
    let entry = |instance: &&InstanceName| {
        json!({
            "identifier": format!("urn:air:{host}:mcp:{instance}"),
            "type": CARD,
            "url": base.url(format_args!("/gateway/servers/{instance}/mcp/server-card")),
        })
    };
    let entries: Vec<Value> = names.iter().map(entry).collect();
    document("application/ai-catalog+json", "no-cache", &json!({"specVersion": "1.0", "entries": entries}))
}

/// A document of another kind than our own answers.
pub(super) fn document(kind: &'static str, cache: &'static str, body: &Value) -> Response {
    let mut response = Response::new(Body::from(body.to_string()));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static(cache));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_door_is_told_by_its_own_metadata_and_everything_else_by_that_of_the_daemon() {
        for (path, expected) in [
            ("/gateway/servers/time/mcp", "/gateway/servers/time/mcp"),
            ("/gateway/servers/time/ws", "/gateway/servers/time/ws"),
            ("/gateway/servers/time/messages", "/gateway/servers/time/sse"),
            ("/gateway/servers/time/mcp/server-card", "/gateway/servers/time/mcp"),
            ("/gateway/groups/demo/ws", "/gateway/groups/demo/ws"),
            ("/gateway/groups/demo/messages", "/gateway/groups/demo/sse"),
            ("/gateway/others/time/mcp", ""),
            ("/gateway/servers/time/other", ""),
            ("/gateway/servers/a\"b/mcp", ""),
            ("/.well-known/ai-catalog.json", ""),
        ] {
            assert_eq!(metadata_path(path), format!("{METADATA}{expected}"), "{path}");
        }
    }
}
