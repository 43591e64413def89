//! One server: restart, start, stop.

use crate::answer::{Answer, with};
use crate::app::App;
use crate::asker::Asker;
use crate::path::Named;
use crate::query::{Asked, WaitQuery};
use crate::view;
use axum::extract::State;
use dtma_api_types::{Envelope, ServerChangeView};
use dtma_core::id::InstanceName;
use dtma_manager::{Asking, Deployed, ManagerError, ManagerHandle, Wait};
use http::StatusCode;

/// Restart a server
///
/// Ends its process and starts it again, or starts it when it stands still. Resets its restart budget.
#[utoipa::path(post, path = "/mcp/servers/{instanceName}/restart", operation_id = "restartServer", tag = "servers",
    params(("instanceName" = String, Path, description = "The server"), WaitQuery),
    responses(
        (status = 200, description = "Running again", body = Envelope<ServerChangeView>),
        (status = 202, description = "Accepted (`wait=false`)", body = Envelope<ServerChangeView>)))]
pub(crate) async fn restart_server(
    State(app): State<App>,
    asker: Asker,
    Named(instance): Named<InstanceName>,
    Asked(query): Asked<WaitQuery>,
) -> Answer {
    let restart = |manager: ManagerHandle, name, asking| async move { manager.restart(&name, asking).await };
    change(&app, &asker, query.wait()?, &instance, restart).await
}

/// Start a server
///
/// Starts a stopped or failed server; a running one is left alone.
#[utoipa::path(post, path = "/mcp/servers/{instanceName}/start", operation_id = "startServer", tag = "servers",
    params(("instanceName" = String, Path, description = "The server"), WaitQuery),
    responses(
        (status = 200, description = "Running", body = Envelope<ServerChangeView>),
        (status = 202, description = "Accepted (`wait=false`)", body = Envelope<ServerChangeView>)))]
pub(crate) async fn start_server(
    State(app): State<App>,
    asker: Asker,
    Named(instance): Named<InstanceName>,
    Asked(query): Asked<WaitQuery>,
) -> Answer {
    let start = |manager: ManagerHandle, name, asking| async move { manager.start(&name, asking).await };
    change(&app, &asker, query.wait()?, &instance, start).await
}

/// Stop a server
///
/// It stays stopped until somebody starts it, also over restarts of the daemon and the machine.
#[utoipa::path(post, path = "/mcp/servers/{instanceName}/stop", operation_id = "stopServer", tag = "servers",
    params(("instanceName" = String, Path, description = "The server"), WaitQuery),
    responses(
        (status = 200, description = "Stopped", body = Envelope<ServerChangeView>),
        (status = 202, description = "Accepted (`wait=false`)", body = Envelope<ServerChangeView>)))]
pub(crate) async fn stop_server(
    State(app): State<App>,
    asker: Asker,
    Named(instance): Named<InstanceName>,
    Asked(query): Asked<WaitQuery>,
) -> Answer {
    let stop = |manager: ManagerHandle, name, asking| async move { manager.stop(&name, asking).await };
    change(&app, &asker, query.wait()?, &instance, stop).await
}

async fn change<W>(
    app: &App,
    asker: &Asker,
    wait: Wait,
    instance: &InstanceName,
    how: impl FnOnce(ManagerHandle, InstanceName, Asking) -> W,
) -> Answer
where
    W: Future<Output = Result<Deployed, ManagerError>> + Send + 'static,
{
    let done = app.ask(asker, wait, |manager, asking| how(manager, instance.clone(), asking)).await?;
    let group = &done.status.group_id;
    let server = done.status.server(instance).ok_or_else(|| ManagerError::NoSuchServer(instance.clone()))?;
    let server = view::server(group, server);
    let (status, message) = match (done.changed, wait) {
        (true, Wait::No) => (StatusCode::ACCEPTED, format!("accepted; watch {instance}")),
        (true, Wait::Until(_)) | (false, _) => (StatusCode::OK, format!("{instance} is {}", server.phase)),
    };
    let operation_id = done.operation.to_string();
    with(status, message, ServerChangeView { operation_id, changed: done.changed, server })
}
