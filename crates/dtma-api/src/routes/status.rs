//! Everything at a glance.

use crate::answer::{Answer, ok};
use crate::app::App;
use crate::view;
use axum::extract::State;
use dtma_api_types::{DaemonView, EngineView, Envelope, StatusView};
use dtma_core::port::runtime::EngineInfo;
use dtma_manager::ManagerError;
use std::time::Duration;

/// An engine that hangs must not hide the rest of the status.
const ENGINE_PATIENCE: Duration = Duration::from_secs(2);

/// Look at everything
#[utoipa::path(get, path = "/mcp/status", operation_id = "getStatus", tag = "groups",
    responses((status = 200, description = "All groups and servers, with totals", body = Envelope<StatusView>)))]
pub(crate) async fn get_status(State(app): State<App>) -> Answer {
    let engine = engine(tokio::time::timeout(ENGINE_PATIENCE, app.manager().engine()).await.ok());
    let groups = app.manager().groups();
    let servers = groups.iter().flat_map(|group| &group.servers);
    let view = StatusView {
        daemon: daemon(&app),
        engine,
        groups_total: view::group_totals(groups.iter()),
        servers_total: view::server_totals(servers.map(|server| &server.phase)),
        groups: groups.iter().map(view::group).collect(),
    };
    let (ready, total) = (view.servers_total.ready, view.servers_total.total);
    ok(format!("{ready} of {total} server(s) ready"), view)
}

fn daemon(app: &App) -> DaemonView {
    DaemonView {
        version: env!("CARGO_PKG_VERSION").into(),
        started_at: app.started_at().to_string(),
        uptime_seconds: app.uptime_seconds(),
        auth_required: app.auth().is_required(),
    }
}

fn engine(answer: Option<Result<EngineInfo, ManagerError>>) -> EngineView {
    let away = |problem: String| EngineView { problem: Some(problem), ..EngineView::default() };
    match answer {
        Some(Ok(info)) => EngineView {
            reachable: true,
            product: Some(info.product),
            api_version: Some(info.api_version),
            endpoint: Some(info.endpoint),
            problem: None,
        },
        Some(Err(ManagerError::Engine(error))) => away(error.to_string()),
        Some(Err(error)) => away(error.to_string()),
        None => away(format!("no answer within {ENGINE_PATIENCE:?}")),
    }
}
