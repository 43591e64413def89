//! Everything at a glance.

use crate::answer::{Answer, json, written};
use crate::app::App;
use crate::error::ApiError;
use crate::view;
use axum::extract::State;
use bytes::Bytes;
use dtma_api_types::{DaemonView, EngineView, Envelope, StatusView};
use dtma_core::port::runtime::EngineInfo;
use dtma_manager::{GroupStatus, ManagerError};
use http::StatusCode;
use std::sync::{Arc, Mutex, PoisonError};

/// Look at everything
#[utoipa::path(get, path = "/mcp/status", operation_id = "getStatus", tag = "groups",
    responses((status = 200, description = "All groups and servers, with totals", body = Envelope<StatusView>)))]
pub(crate) async fn get_status(State(app): State<App>) -> Answer {
    let engine = engine(app.manager().engine().await);
    let (daemon, groups) = (daemon(&app), app.manager().groups());
    app.glance().at(Seen { daemon, engine, groups })
}

/// The last status that was written: as long as nothing changes, it is not written again. A hundred servers make
/// forty kilobytes (measured), and dashboards ask many times a second.
#[derive(Default)]
pub(crate) struct Glance(Mutex<Option<(Seen, Bytes)>>);

/// What a status tells of.
struct Seen {
    daemon: DaemonView,
    engine: EngineView,
    groups: Vec<Arc<GroupStatus>>,
}

impl Glance {
    fn at(&self, seen: Seen) -> Answer {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let body = match &*last {
            Some((before, body)) if before.is_as(&seen) => body.clone(),
            Some(_) | None => {
                let body = seen.written()?;
                *last = Some((seen, body.clone()));
                body
            }
        };
        Ok(json(StatusCode::OK, body))
    }
}

impl Seen {
    /// A status that has not changed is the same one: nothing of it needs to be compared.
    fn is_as(&self, other: &Self) -> bool {
        let mut pairs = self.groups.iter().zip(&other.groups);
        self.groups.len() == other.groups.len()
            && pairs.all(|(group, other)| Arc::ptr_eq(group, other))
            && (&self.daemon, &self.engine) == (&other.daemon, &other.engine)
    }

    fn written(&self) -> Result<Bytes, ApiError> {
        let groups = || self.groups.iter().map(Arc::as_ref);
        let servers = groups().flat_map(|group| &group.servers);
        let view = StatusView {
            daemon: self.daemon.clone(),
            engine: self.engine.clone(),
            groups_total: view::group_totals(groups()),
            servers_total: view::server_totals(servers.map(|server| &server.phase)),
            groups: groups().map(view::group).collect(),
        };
        let (ready, total) = (view.servers_total.ready, view.servers_total.total);
        written(format!("{ready} of {total} server(s) ready"), view).map(Bytes::from)
    }
}

fn daemon(app: &App) -> DaemonView {
    DaemonView {
        version: env!("CARGO_PKG_VERSION").into(),
        started_at: app.started_at().to_string(),
        uptime_seconds: app.uptime_seconds(),
        auth_required: app.auth().is_required(),
    }
}

fn engine(answer: Result<EngineInfo, ManagerError>) -> EngineView {
    match answer {
        Ok(info) => EngineView {
            reachable: true,
            product: Some(info.product),
            api_version: Some(info.api_version),
            endpoint: Some(info.endpoint),
            problem: None,
        },
        Err(error) => EngineView { problem: Some(error.to_string()), ..EngineView::default() },
    }
}
