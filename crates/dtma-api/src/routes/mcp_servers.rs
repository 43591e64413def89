//! `/mcp-servers`: MCP servers one by one and many at once, in the older words.

use super::tools;
use crate::answer::{Answer, ok};
use crate::app::App;
use crate::asker::Asker;
use crate::body::Shaped;
use crate::compat::{self, Family, view};
use crate::error::ApiError;
use crate::path::Named;
use crate::query::{Asked, WaitQuery};
use crate::routes::{changes, container_groups};
use axum::extract::State;
use dtma_api_types::compat::{
    DeployServersRequest, DeployedServersView, McpServersView, ScaleMcpServerRequest, ToolDeployedView,
    ToolRemovedView, ToolRequest,
};
use dtma_api_types::{ApplyView, Envelope};
use dtma_core::id::InstanceName;
use dtma_core::violation::Violation;
use dtma_manager::Expect;

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

/// Scale an MCP server
///
/// The same as `PUT /mcp/servers/{instanceName}/scale`, with the server named in the body.
#[utoipa::path(put, path = "/mcp-servers/scale", operation_id = "scaleMcpServer", tag = "mcp-servers",
    params(WaitQuery), request_body = ScaleMcpServerRequest,
    responses(
        (status = 200, description = "It stands", body = Envelope<ApplyView>),
        (status = 202, description = "Accepted (`wait=false`)", body = Envelope<ApplyView>)))]
pub(crate) async fn scale_mcp_server(
    State(app): State<App>,
    asker: Asker,
    Asked(query): Asked<WaitQuery>,
    Shaped(request): Shaped<ScaleMcpServerRequest>,
) -> Answer {
    let (wait, manager, replicas) = (query.wait()?, app.manager().clone(), request.replicas);
    let instance = named(&app, request)?;
    let expect = Expect::default();
    let done =
        app.finish(async move { manager.scale(&instance, replicas, expect, asker.asking(wait)).await });
    changes::answer(&done.await?, wait)
}

/// The one server that every given spelling names.
fn named(app: &App, request: ScaleMcpServerRequest) -> Result<InstanceName, ApiError> {
    let said = [
        ("instanceName", request.instance_name),
        ("id", request.id),
        ("mcpId", request.mcp_id),
        ("instanceNameOnToolbox", request.instance_name_on_toolbox),
        ("accountToolInstanceId", request.account_tool_instance_id),
    ];
    let mut said = said.into_iter().filter_map(|(field, text)| Some((field, text?)));
    let Some((_, first)) = said.next() else {
        let missing =
            Violation::new("/instanceName", "schema.required", "the field \"instanceName\" is missing");
        return Err(ApiError::Shape(vec![missing]));
    };
    let instance = compat::find(app, &first)?.instance;
    for (field, text) in said {
        if compat::find(app, &text)?.instance != instance {
            let message = format!("{text:?} is another server than {instance}");
            let other = Violation::new(format!("/{field}"), "compat.contradiction", message);
            return Err(ApiError::Shape(vec![other]));
        }
    }
    Ok(instance)
}

/// Remove an MCP server
///
/// From a larger group it is removed as a change of that group; what others of the group depend on stays (409).
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
