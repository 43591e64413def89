//! `/status`: the daemon and everything on it, in both older shapes; to a stranger only that it is there.

use crate::answer::{Answer, ok};
use crate::app::App;
use crate::auth::Stranger;
use crate::compat::view;
use axum::Extension;
use axum::extract::State;
use dtma_api_types::Envelope;
use dtma_api_types::compat::{CompatStatusView, OauthStatusView};
use dtma_manager::GroupState;

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The daemon's status
///
/// Without a token: service, version and status. With one, everything.
#[utoipa::path(get, path = "/status", operation_id = "getDaemonStatus", tag = "daemon",
    responses((status = 200, description = "The status", body = Envelope<CompatStatusView>)))]
pub(crate) async fn get_daemon_status(
    State(app): State<App>,
    stranger: Option<Extension<Stranger>>,
) -> Answer {
    let summary = summary(&app);
    let message = format!("dtma {VERSION} is {}", summary.status);
    ok(message, if stranger.is_some() { summary } else { everything(&app, summary) })
}

fn summary(app: &App) -> CompatStatusView {
    let failed = app.manager().groups().iter().any(|group| group.state == GroupState::Failed);
    CompatStatusView {
        service: "dtma".to_owned(),
        version: VERSION.to_owned(),
        status: if failed { "degraded" } else { "operational" }.to_owned(),
        dtma_version: None,
        environment: None,
        system_metrics: None,
        tool_instances: None,
        standard_tools: None,
        mcp_servers: None,
        transport_distribution: None,
        oauth_status: None,
        heartbeat: None,
    }
}

fn everything(app: &App, summary: CompatStatusView) -> CompatStatusView {
    let all = view::instances(app.manager());
    let (mcp, tools): (Vec<_>, Vec<_>) =
        all.iter().cloned().partition(|instance| instance.mcp_transport_type.is_some());
    CompatStatusView {
        dtma_version: Some(VERSION.to_owned()),
        environment: Some("production".to_owned()),
        system_metrics: Some(app.system_metrics()),
        transport_distribution: Some(view::distribution(&mcp)),
        tool_instances: Some(all),
        standard_tools: Some(tools),
        mcp_servers: Some(mcp),
        oauth_status: Some(OauthStatusView::default()),
        heartbeat: app.heartbeat(),
        ..summary
    }
}
