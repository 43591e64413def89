//! `/container-groups`: groups in the older words.

use crate::answer::{Answer, ok, with};
use crate::app::App;
use crate::asker::Asker;
use crate::body::Shaped;
use crate::compat::{self, Notes, view};
use crate::error::details;
use crate::path::Named;
use crate::query::{Asked, WaitQuery};
use axum::extract::State;
use dtma_api_types::Envelope;
use dtma_api_types::compat::{ContainerGroupView, DeployServersRequest, DeployedServersView};
use dtma_core::id::GroupId;
use dtma_manager::{ManagerError, Wait};
use http::StatusCode;

/// Create a container group
#[utoipa::path(post, path = "/container-groups", operation_id = "createContainerGroup", tag = "container-groups",
    params(WaitQuery), request_body = DeployServersRequest,
    responses(
        (status = 201, description = "Created and running", body = Envelope<DeployedServersView>),
        (status = 202, description = "Accepted (`wait=false`)", body = Envelope<DeployedServersView>)))]
pub(crate) async fn create_container_group(
    State(app): State<App>,
    asker: Asker,
    Asked(query): Asked<WaitQuery>,
    Shaped(request): Shaped<DeployServersRequest>,
) -> Answer {
    deploy(&app, asker, query.wait()?, request).await
}

pub(crate) async fn deploy(app: &App, asker: Asker, wait: Wait, request: DeployServersRequest) -> Answer {
    let mut notes = Notes::default();
    let request = compat::group(request, &mut notes);
    let deployed = compat::deploy(app, asker, wait, request, &mut notes).await?;
    let group = view::container_group(app.manager(), &deployed.status);
    let id = group.id.clone();
    let view = DeployedServersView { group, warnings: details(notes.warnings) };
    match wait {
        Wait::No => with(StatusCode::ACCEPTED, format!("accepted; watch group {id}"), view),
        Wait::Until(_) => with(StatusCode::CREATED, format!("group {id} is running"), view),
    }
}

/// Look at a container group
#[utoipa::path(get, path = "/container-groups/{id}", operation_id = "getContainerGroup", tag = "container-groups",
    params(("id" = String, Path, description = "The group")),
    responses((status = 200, description = "The group", body = Envelope<ContainerGroupView>)))]
pub(crate) async fn get_container_group(State(app): State<App>, Named(group): Named<GroupId>) -> Answer {
    let status = app.manager().group(&group).ok_or(ManagerError::NoSuchGroup(group))?;
    let message = format!("group {} is {}", status.group_id, status.state.word());
    ok(message, view::container_group(app.manager(), &status))
}

/// Restart a container group
#[utoipa::path(put, path = "/container-groups/{id}/restart", operation_id = "restartContainerGroup",
    tag = "container-groups",
    params(("id" = String, Path, description = "The group"), WaitQuery),
    responses(
        (status = 200, description = "Running again", body = Envelope<ContainerGroupView>),
        (status = 202, description = "Accepted (`wait=false`)", body = Envelope<ContainerGroupView>)))]
pub(crate) async fn restart_container_group(
    State(app): State<App>,
    asker: Asker,
    Named(group): Named<GroupId>,
    Asked(query): Asked<WaitQuery>,
) -> Answer {
    let (wait, manager) = (query.wait()?, app.manager().clone());
    let done = app.finish(async move { manager.restart_group(&group, asker.asking(wait)).await }).await?;
    let (id, view) = (&done.status.group_id, view::container_group(app.manager(), &done.status));
    match wait {
        Wait::No => with(StatusCode::ACCEPTED, format!("accepted; watch group {id}"), view),
        Wait::Until(_) => ok(format!("group {id} was restarted"), view),
    }
}
