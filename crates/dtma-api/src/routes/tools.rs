//! `/tools`: one tool or MCP server at a time, as the callers of the original know it.

use crate::answer::{Answer, ok, with};
use crate::app::App;
use crate::asker::Asker;
use crate::body::Shaped;
use crate::compat::{self, Family, Found, Notes, find, view};
use crate::error::{ApiError, details};
use crate::path::Named;
use crate::query::{Asked, WaitQuery};
use axum::extract::State;
use dtma_api_types::Envelope;
use dtma_api_types::compat::{
    ExecuteRequest, ExecuteView, ToolDeployedView, ToolListView, ToolRemovedView, ToolRequest, ToolStateView,
};
use dtma_core::id::InstanceName;
use dtma_manager::{Asking, Deployed, ManagerError, ManagerHandle, Wait};
use http::StatusCode;

/// Deploy a tool or an MCP server
///
/// Waits until it is ready. Unlike `POST /mcp/groups`, a name that is there already is a 409.
#[utoipa::path(post, path = "/tools", operation_id = "deployTool", tag = "tools",
    params(WaitQuery), request_body = ToolRequest,
    responses(
        (status = 201, description = "Created and running", body = Envelope<ToolDeployedView>),
        (status = 202, description = "Accepted (`wait=false`)", body = Envelope<ToolDeployedView>)))]
pub(crate) async fn deploy_tool(
    State(app): State<App>,
    asker: Asker,
    Asked(query): Asked<WaitQuery>,
    Shaped(request): Shaped<ToolRequest>,
) -> Answer {
    deploy(&app, asker, query.wait()?, request, Family::Tools).await
}

pub(crate) async fn deploy(
    app: &App,
    asker: Asker,
    wait: Wait,
    request: ToolRequest,
    family: Family,
) -> Answer {
    let mut notes = Notes::default();
    let request = compat::tool(request, family, &mut notes);
    let deployed = compat::deploy(app, asker, wait, request, &mut notes).await?;
    let (found, notes) = (found(app, &deployed)?, details(notes.warnings));
    let server = found.status().ok_or_else(|| gone(&found.instance))?;
    let name = found.instance.to_string();
    let view = ToolDeployedView {
        container_id: server.container.as_ref().map(ToString::to_string),
        instance_name_on_toolbox: name.clone(),
        account_tool_instance_id: found.account_id().map(str::to_owned),
        image: server.image.to_string(),
        ports: view::bindings(&server.publish),
        state: view::state(server),
        warnings: notes,
    };
    match wait {
        Wait::No => with(StatusCode::ACCEPTED, format!("accepted; watch {name}"), view),
        Wait::Until(_) => with(StatusCode::CREATED, format!("Tool '{name}' deployed successfully."), view),
    }
}

/// The group's only server.
fn found(app: &App, deployed: &Deployed) -> Result<Found, ApiError> {
    let group = &deployed.status.group_id;
    let spec = app.manager().spec(group).ok_or_else(|| ManagerError::NoSuchGroup(group.clone()))?;
    let instance = spec.servers.first().map(|server| server.instance.clone());
    let instance = instance.ok_or_else(|| ManagerError::NoSuchGroup(group.clone()))?;
    Ok(Found { group: deployed.status.clone(), spec, instance })
}

fn gone(instance: &InstanceName) -> ApiError {
    ManagerError::NoSuchServer(instance.clone()).into()
}

/// List tools and MCP servers
#[utoipa::path(get, path = "/tools", operation_id = "listTools", tag = "tools",
    responses((status = 200, description = "Every one", body = Envelope<ToolListView>)))]
pub(crate) async fn list_tools(State(app): State<App>) -> Answer {
    list(&app)
}

/// The status of all tools and MCP servers
///
/// The same as `GET /tools`.
#[utoipa::path(get, path = "/tools/status", operation_id = "getToolsStatus", tag = "tools",
    responses((status = 200, description = "Every one", body = Envelope<ToolListView>)))]
pub(crate) async fn get_tools_status(State(app): State<App>) -> Answer {
    list(&app)
}

fn list(app: &App) -> Answer {
    let tools = view::instances(app.manager());
    let total = tools.len();
    ok(format!("{total} tool instance(s)"), ToolListView { tools, total })
}

/// Remove a tool
///
/// From a larger group it is removed as a change of that group; what others of the group depend on stays (409).
#[utoipa::path(delete, path = "/tools/{name}", operation_id = "removeTool", tag = "tools",
    params(("name" = String, Path, description = "Its name, or the caller's own id of it"), WaitQuery),
    responses(
        (status = 200, description = "Gone", body = Envelope<ToolRemovedView>),
        (status = 202, description = "Accepted (`wait=false`)", body = Envelope<ToolRemovedView>)))]
pub(crate) async fn remove_tool(
    State(app): State<App>,
    asker: Asker,
    Named(name): Named<String>,
    Asked(query): Asked<WaitQuery>,
) -> Answer {
    remove(&app, asker, query.wait()?, &name).await
}

pub(crate) async fn remove(app: &App, asker: Asker, wait: Wait, name: &str) -> Answer {
    let (name, removed) = compat::remove(app, asker, wait, name).await?;
    let (status, message) = match removed.gone {
        true => (StatusCode::OK, format!("Tool instance '{name}' removed successfully.")),
        false => (StatusCode::ACCEPTED, format!("accepted; {name} is being removed")),
    };
    with(status, message, ToolRemovedView { instance_name_on_toolbox: name, gone: removed.gone })
}

/// Start a tool
///
/// One that runs is left alone.
#[utoipa::path(post, path = "/tools/{name}/start", operation_id = "startTool", tag = "tools",
    params(("name" = String, Path, description = "Its name, or the caller's own id of it"), WaitQuery),
    responses(
        (status = 200, description = "Running", body = Envelope<ToolStateView>),
        (status = 202, description = "Accepted (`wait=false`)", body = Envelope<ToolStateView>)))]
pub(crate) async fn start_tool(
    State(app): State<App>,
    asker: Asker,
    Named(name): Named<String>,
    Asked(query): Asked<WaitQuery>,
) -> Answer {
    let start = |manager: ManagerHandle, name, asking| async move { manager.start(&name, asking).await };
    change(&app, &asker, query.wait()?, &name, ("started", start)).await
}

/// Stop a tool
///
/// It stays stopped until somebody starts it. One that is stopped is left alone.
#[utoipa::path(post, path = "/tools/{name}/stop", operation_id = "stopTool", tag = "tools",
    params(("name" = String, Path, description = "Its name, or the caller's own id of it"), WaitQuery),
    responses(
        (status = 200, description = "Stopped", body = Envelope<ToolStateView>),
        (status = 202, description = "Accepted (`wait=false`)", body = Envelope<ToolStateView>)))]
pub(crate) async fn stop_tool(
    State(app): State<App>,
    asker: Asker,
    Named(name): Named<String>,
    Asked(query): Asked<WaitQuery>,
) -> Answer {
    let stop = |manager: ManagerHandle, name, asking| async move { manager.stop(&name, asking).await };
    change(&app, &asker, query.wait()?, &name, ("stopped", stop)).await
}

async fn change<W>(
    app: &App,
    asker: &Asker,
    wait: Wait,
    name: &str,
    (past, how): (&str, impl FnOnce(ManagerHandle, InstanceName, Asking) -> W),
) -> Answer
where
    W: Future<Output = Result<Deployed, ManagerError>> + Send + 'static,
{
    let instance = &find(app, name)?.instance;
    let done = app.ask(asker, wait, |manager, asking| how(manager, instance.clone(), asking)).await?;
    let server = done.status.server(instance).ok_or_else(|| gone(instance))?;
    let view = ToolStateView { instance_name_on_toolbox: instance.to_string(), state: view::state(server) };
    match wait {
        Wait::No => with(StatusCode::ACCEPTED, format!("accepted; watch {instance}"), view),
        Wait::Until(_) => ok(format!("Tool instance '{instance}' {past}."), view),
    }
}

/// Execute a capability of a tool
///
/// Of an MCP server it is a tool, called with the payload as its arguments. Otherwise it is a program in the running
/// container, given the payload as one JSON argument. A capability that fails is a 502 that says how. With `command`
/// instead of a capability, any program is run and its exit code told.
#[utoipa::path(post, path = "/tools/{name}/execute", operation_id = "executeTool", tag = "tools",
    params(("name" = String, Path, description = "Its name, or the caller's own id of it")),
    request_body = ExecuteRequest,
    responses((status = 200, description = "It ran", body = Envelope<ExecuteView>)))]
pub(crate) async fn execute_tool(
    State(app): State<App>,
    Named(name): Named<String>,
    Shaped(request): Shaped<ExecuteRequest>,
) -> Answer {
    let found = find(&app, &name)?;
    let what = request.capability_name.clone().or_else(|| request.tool.clone());
    let view = compat::execute(&app, &found, request).await?;
    match what {
        Some(capability) => ok(format!("Capability '{capability}' executed successfully."), view),
        None => ok(format!("the command ended with {}", view.exit_code), view),
    }
}
