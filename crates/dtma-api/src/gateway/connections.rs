//! `/gateway/connections`: who grants what to which agent.

use crate::answer::{Answer, ok, with};
use crate::app::App;
use crate::asker::Asker;
use crate::body::Shaped;
use crate::convert;
use crate::error::{ApiError, details};
use crate::path::Named;
use crate::view;
use axum::extract::State;
use axum::response::Response;
use dtma_api_types::{ConnectionList, ConnectionRequest, ConnectionView, Envelope};
use dtma_core::connection::{Agent, Connection, Servers};
use dtma_core::id::{ConnectionId, InstanceName};
use dtma_core::violation::Violation;
use dtma_manager::{ManagerError, PutConnection, Seen};
use http::header::{ETAG, HeaderValue, IF_MATCH};
use http::{HeaderMap, StatusCode};

/// List what is granted to agents
#[utoipa::path(get, path = "/gateway/connections", operation_id = "listConnections", tag = "gateway",
    responses((status = 200, description = "Every connection", body = Envelope<ConnectionList>)))]
pub(crate) async fn list_connections(State(app): State<App>) -> Answer {
    let connections: Vec<_> = app.manager().connections().iter().map(|one| view(&app, one)).collect();
    let total = connections.len();
    let required = app.auth().needs_connections();
    ok(format!("{total} connection(s)"), ConnectionList { connections, total, required })
}

/// Look at a connection
#[utoipa::path(get, path = "/gateway/connections/{connectionId}", operation_id = "getConnection", tag = "gateway",
    params(("connectionId" = String, Path, description = "The connection")),
    responses((status = 200, description = "What it grants", body = Envelope<ConnectionView>)))]
pub(crate) async fn get_connection(State(app): State<App>, Named(id): Named<ConnectionId>) -> Answer {
    let connection = app.manager().connection(&id).ok_or(ManagerError::NoSuchConnection(id))?;
    tagged(ok(format!("connection {}", connection.id), view(&app, &connection)), &connection)
}

/// Grant servers and tools to an agent
///
/// Makes a connection or replaces what it grants; the same again changes nothing. An agent that has, or ever had, a
/// connection reaches what its connections grant and nothing else: other servers are as if they were not there, other
/// tools are not listed and cannot be called. Takes effect at once, on open sessions too.
#[utoipa::path(put, path = "/gateway/connections/{connectionId}", operation_id = "putConnection", tag = "gateway",
    params(("connectionId" = String, Path, description = "The connection: `[A-Za-z0-9][A-Za-z0-9_.-]{0,62}`"),
        ("If-Match" = Option<String>, Header, description = "The revision that must stand, as in `ETag`: `\"3\"`, or `*` for any")),
    request_body = ConnectionRequest,
    responses(
        (status = 200, description = "It grants that", body = Envelope<ConnectionView>),
        (status = 201, description = "There was none of that id: made", body = Envelope<ConnectionView>)))]
pub(crate) async fn put_connection(
    State(app): State<App>,
    asker: Asker,
    Named(id): Named<ConnectionId>,
    headers: HeaderMap,
    Shaped(request): Shaped<ConnectionRequest>,
) -> Answer {
    let seen = seen(&headers)?;
    let present = app.manager().connection(&id);
    let present = present.as_ref().map(|present| &present.terms);
    let terms = convert::connection(&request, present, app.now()).map_err(ApiError::Rules)?;
    let manager = app.manager().clone();
    let put = async move { manager.put_connection(&id, terms, seen, &asker.author).await };
    let PutConnection { connection, created, changed } = app.finish(put).await?;
    let (status, done) = match (created, changed) {
        (true, _) => (StatusCode::CREATED, "was made"),
        (false, true) => (StatusCode::OK, "was changed"),
        (false, false) => (StatusCode::OK, "grants that already"),
    };
    let message = format!("connection {} {done}", connection.id);
    tagged(with(status, message, view(&app, &connection)), &connection)
}

/// Take a connection away
///
/// Its agent reaches what its other connections grant; nothing, when there is none.
#[utoipa::path(delete, path = "/gateway/connections/{connectionId}", operation_id = "removeConnection", tag = "gateway",
    params(("connectionId" = String, Path, description = "The connection"),
        ("If-Match" = Option<String>, Header, description = "The revision that must stand")),
    responses((status = 200, description = "What it granted", body = Envelope<ConnectionView>)))]
pub(crate) async fn remove_connection(
    State(app): State<App>,
    Named(id): Named<ConnectionId>,
    headers: HeaderMap,
) -> Answer {
    let seen = seen(&headers)?;
    let manager = app.manager().clone();
    let gone = app.finish(async move { manager.remove_connection(&id, seen).await }).await?;
    ok(format!("connection {} is gone", gone.id), view::connection(&gone, app.now()))
}

/// Which revision the caller says it has seen.
fn seen(headers: &HeaderMap) -> Result<Seen, ApiError> {
    let mut values = headers.get_all(IF_MATCH).iter();
    let Some(value) = values.next() else { return Ok(Seen::Any) };
    let text = value.to_str().unwrap_or_default().trim();
    let number = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(text);
    match (text, number.parse(), values.next()) {
        ("*", _, None) => Ok(Seen::Some),
        (_, Ok(revision), None) => Ok(Seen::Revision(revision)),
        _ => Err(ApiError::Query("If-Match must be one revision, such as \"3\", or *".into())),
    }
}

fn tagged(answer: Answer, connection: &Connection) -> Result<Response, ApiError> {
    let mut response = answer?;
    if let Ok(tag) = HeaderValue::from_str(&format!("\"{}\"", connection.revision)) {
        response.headers_mut().insert(ETAG, tag);
    }
    Ok(response)
}

fn view(app: &App, connection: &Connection) -> ConnectionView {
    let manager = app.manager();
    let groups = manager.groups();
    let servers = groups.iter().flat_map(|group| group.servers.iter().map(move |server| (group, server)));
    let reached = servers.filter(|(group, server)| {
        connection.covers(&server.instance, Some(&group.group_id)) && manager.mcp(&server.instance).is_some()
    });
    let mut reaches: Vec<_> = reached.map(|(_, server)| server.instance.to_string()).collect();
    reaches.sort();
    let mut found = about_agent(app, &connection.terms.agent);
    found.extend(about_servers(app, connection));
    ConnectionView { reaches, warnings: details(found), ..view::connection(connection, app.now()) }
}

/// What is there may come later, and so is no mistake.
fn about_servers(app: &App, connection: &Connection) -> Vec<Violation> {
    let mut found = Vec::new();
    for (index, grant) in connection.terms.grants.iter().enumerate() {
        let (field, what, is_there) = match &grant.servers {
            Servers::Group(group) => {
                ("groupId", format!("group {group}"), app.manager().group(group).is_some())
            }
            Servers::Named(pattern) if pattern.is_plain() => {
                let instance: Option<InstanceName> = pattern.as_str().parse().ok();
                let door = instance.and_then(|instance| app.manager().mcp(&instance));
                ("instanceName", format!("MCP server {pattern}"), door.is_some())
            }
            Servers::Named(_) => continue,
        };
        if !is_there {
            let message = format!("there is no {what} yet");
            found.push(Violation::new(format!("/servers/{index}/{field}"), "connection.unknown", message));
        }
    }
    found
}

fn about_agent(app: &App, agent: &Agent) -> Vec<Violation> {
    let field = match agent {
        Agent::Named(_) => "/agent",
        Agent::Digest(_) => "/tokenHash",
    };
    let why = app.auth().beyond_connections(agent);
    why.map(|why| Violation::new(field, "connection.token", why)).into_iter().collect()
}
