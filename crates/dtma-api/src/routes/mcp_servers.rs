//! `/mcp-servers`: MCP servers one by one and many at once, in the older words.

use super::tools;
use crate::answer::{Answer, ok};
use crate::app::App;
use crate::asker::Asker;
use crate::body::Shaped;
use crate::compat::{Family, view};
use crate::path::Named;
use crate::query::{Asked, WaitQuery};
use crate::routes::container_groups;
use axum::extract::State;
use dtma_api_types::Envelope;
use dtma_api_types::compat::{
    DeployServersRequest, DeployedServersView, McpServersView, ToolDeployedView, ToolRemovedView, ToolRequest,
};

/// Deploy an MCP server
#[utoipa::path(post, path = "/mcp-servers", operation_id = "deployMcpServer", tag = "mcp-servers",
    params(WaitQuery), request_body = ToolRequest,
    responses(
        (status = 201, description = "Created and running", body = Envelope<ToolDeployedView>),
        (status = 202, description = "Accepted (`wait=false`)", body = Envelope<ToolDeployedView>)))]
pub(crate) async fn deploy_mcp_server(
    State(app): State<App>,
    asker: Asker,
    Asked(query): Asked<WaitQuery>,
    Shaped(request): Shaped<ToolRequest>,
) -> Answer {
    tools::deploy(&app, asker, query.wait()?, request, Family::McpServers).await
}

/// Deploy many MCP servers
///
/// As one group: all of them stand, or what was made is undone.
#[utoipa::path(post, path = "/mcp-servers/deploy", operation_id = "deployMcpServers", tag = "mcp-servers",
    params(WaitQuery), request_body = DeployServersRequest,
    responses(
        (status = 201, description = "Created and running", body = Envelope<DeployedServersView>),
        (status = 202, description = "Accepted (`wait=false`)", body = Envelope<DeployedServersView>)))]
pub(crate) async fn deploy_mcp_servers(
    State(app): State<App>,
    asker: Asker,
    Asked(query): Asked<WaitQuery>,
    Shaped(request): Shaped<DeployServersRequest>,
) -> Answer {
    container_groups::deploy(&app, asker, query.wait()?, request).await
}

/// The status of all MCP servers
#[utoipa::path(get, path = "/mcp-servers/status", operation_id = "getMcpServersStatus", tag = "mcp-servers",
    responses((status = 200, description = "Every MCP server", body = Envelope<McpServersView>)))]
pub(crate) async fn get_mcp_servers_status(State(app): State<App>) -> Answer {
    let mut servers = view::instances(app.manager());
    servers.retain(|server| server.mcp_transport_type.is_some());
    let (total, distribution) = (servers.len(), view::distribution(&servers));
    let view = McpServersView { mcp_servers: servers, total, transport_distribution: distribution };
    ok(format!("{total} MCP server(s)"), view)
}

/// Remove an MCP server
///
/// It must stand alone in its group.
#[utoipa::path(delete, path = "/mcp-servers/{id}", operation_id = "removeMcpServer", tag = "mcp-servers",
    params(("id" = String, Path, description = "Its name, or the caller's own id of it"), WaitQuery),
    responses(
        (status = 200, description = "Gone", body = Envelope<ToolRemovedView>),
        (status = 202, description = "Accepted (`wait=false`)", body = Envelope<ToolRemovedView>)))]
pub(crate) async fn remove_mcp_server(
    State(app): State<App>,
    asker: Asker,
    Named(id): Named<String>,
    Asked(query): Asked<WaitQuery>,
) -> Answer {
    tools::remove(&app, asker, query.wait()?, &id).await
}
