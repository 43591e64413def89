//! Groups: deploy, look, restart, remove, and ask what would happen.

use super::changes::tagged;
use crate::answer::{Answer, ok, with};
use crate::app::App;
use crate::asker::Asker;
use crate::body::Shaped;
use crate::convert::{self, merged};
use crate::duration;
use crate::error::{ApiError, details};
use crate::path::Named;
use crate::query::{Asked, WaitQuery, wait};
use crate::view;
use axum::extract::State;
use dtma_api_types::{
    Envelope, GroupChangeView, GroupList, GroupRequest, GroupView, RemovalView, ValidationView,
};
use dtma_config::{Rendered, exposure};
use dtma_core::id::{GroupId, InstanceName};
use dtma_core::record::Removal;
use dtma_core::spec::{GroupSpec, ServerSpec};
use dtma_manager::{Deployed, ManagerError, Wait};
use http::StatusCode;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::time::Duration;
use utoipa::IntoParams;

/// Deploy a group
///
/// Waits until every server is ready, completed or failed. The same request again changes nothing (200). When the
/// engine refuses something for good (an image is missing, a name is taken), everything made is undone.
#[utoipa::path(post, path = "/mcp/groups", operation_id = "deployGroup", tag = "groups",
    params(WaitQuery), request_body = GroupRequest,
    responses(
        (status = 201, description = "Created and running", body = Envelope<GroupChangeView>),
        (status = 200, description = "It stood already as wanted", body = Envelope<GroupChangeView>),
        (status = 202, description = "Accepted (`wait=false`)", body = Envelope<GroupChangeView>)))]
pub(crate) async fn deploy_group(
    State(app): State<App>,
    asker: Asker,
    Asked(query): Asked<WaitQuery>,
    Shaped(request): Shaped<GroupRequest>,
) -> Answer {
    let wait = query.wait()?;
    let spec = sound(&app, request)?;
    let (manager, servers) = (app.manager().clone(), spec.servers.clone());
    let deployed = app.finish(async move { manager.deploy(spec, asker.asking(wait)).await }).await;
    let deployed = deployed.map_err(|error| error.located(&servers))?;
    let group = &deployed.status.group_id;
    match (deployed.changed, wait) {
        (false, _) => ok(format!("group {group} stands as wanted"), view::group_change(&deployed)),
        (true, Wait::No) => accepted(&deployed),
        (true, Wait::Until(_)) => {
            with(StatusCode::CREATED, format!("group {group} is running"), view::group_change(&deployed))
        }
    }
}

fn accepted(deployed: &Deployed) -> Answer {
    let message = format!("accepted; watch group {}", deployed.status.group_id);
    with(StatusCode::ACCEPTED, message, view::group_change(deployed))
}

/// The request as a spec, when nothing is wrong with it; else everything that is.
pub(super) fn sound(app: &App, request: GroupRequest) -> Result<GroupSpec, ApiError> {
    let converted = convert::group(request);
    match (converted.spec, converted.violations) {
        (Some(spec), violations) if violations.is_empty() => Ok(spec),
        (Some(spec), violations) => {
            Err(ApiError::Rules(merged(violations, app.manager().validate(&spec).violations)))
        }
        (None, violations) => Err(ApiError::Rules(violations)),
    }
}

/// List groups
#[utoipa::path(get, path = "/mcp/groups", operation_id = "listGroups", tag = "groups",
    responses((status = 200, description = "Every group, by id", body = Envelope<GroupList>)))]
pub(crate) async fn list_groups(State(app): State<App>) -> Answer {
    let groups: Vec<GroupView> = app.manager().groups().iter().map(|group| view::group(group)).collect();
    ok(format!("{} group(s)", groups.len()), GroupList { groups })
}

/// Look at a group
#[utoipa::path(get, path = "/mcp/groups/{groupId}", operation_id = "getGroup", tag = "groups",
    params(("groupId" = String, Path, description = "The group")),
    responses((status = 200, description = "The group with its servers", body = Envelope<GroupView>)))]
pub(crate) async fn get_group(State(app): State<App>, Named(group): Named<GroupId>) -> Answer {
    let status = app.manager().group(&group).ok_or(ManagerError::NoSuchGroup(group))?;
    let message = format!("group {} is {}", status.group_id, status.state.word());
    Ok(tagged(ok(message, view::group(&status))?, status.generation))
}

/// How a group is removed.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct RemoveQuery {
    /// Kill instead of stop, all at once (default false).
    force_remove: Option<bool>,
    /// Milliseconds between SIGTERM and SIGKILL, instead of each server's own.
    graceful_timeout_ms: Option<u64>,
    /// Remove its volumes too (default false: they are kept for the next deployment).
    volumes: Option<bool>,
    /// Wait for the outcome (default true). When false the answer is 202 as soon as the request is durable.
    wait: Option<bool>,
    /// How long to wait: `30s`, `5m` (default 5m, at most 1h).
    #[param(example = "60s")]
    timeout: Option<String>,
}

impl RemoveQuery {
    fn removal(&self) -> Removal {
        Removal {
            force: self.force_remove.unwrap_or(false),
            grace: self
                .graceful_timeout_ms
                .map(|millis| Duration::from_millis(millis).min(duration::LONGEST)),
            volumes: self.volumes.unwrap_or(false),
            ..Removal::default()
        }
    }
}

/// Remove a group
///
/// In reverse order of its dependencies.
#[utoipa::path(delete, path = "/mcp/groups/{groupId}", operation_id = "removeGroup", tag = "groups",
    params(("groupId" = String, Path, description = "The group"), RemoveQuery),
    responses(
        (status = 200, description = "Gone", body = Envelope<RemovalView>),
        (status = 202, description = "Accepted (`wait=false`)", body = Envelope<RemovalView>)))]
pub(crate) async fn remove_group(
    State(app): State<App>,
    asker: Asker,
    Named(group): Named<GroupId>,
    Asked(query): Asked<RemoveQuery>,
) -> Answer {
    let wait = wait(query.wait, query.timeout.as_deref())?;
    let (manager, name) = (app.manager().clone(), group.clone());
    let removed =
        app.finish(async move { manager.remove(&group, query.removal(), asker.asking(wait)).await }).await?;
    let (status, message) = match removed.gone {
        true => (StatusCode::OK, format!("group {name} is gone")),
        false => (StatusCode::ACCEPTED, format!("accepted; group {name} is being removed")),
    };
    with(status, message, view::removal(&removed))
}

/// Restart a group
///
/// Ends every running server and starts it again. Not counted against restart budgets.
#[utoipa::path(post, path = "/mcp/groups/{groupId}/restart", operation_id = "restartGroup", tag = "groups",
    params(("groupId" = String, Path, description = "The group"), WaitQuery),
    responses(
        (status = 200, description = "Running again", body = Envelope<GroupChangeView>),
        (status = 202, description = "Accepted (`wait=false`)", body = Envelope<GroupChangeView>)))]
pub(crate) async fn restart_group(
    State(app): State<App>,
    asker: Asker,
    Named(group): Named<GroupId>,
    Asked(query): Asked<WaitQuery>,
) -> Answer {
    let wait = query.wait()?;
    let manager = app.manager().clone();
    let deployed = app.finish(async move { manager.restart_group(&group, asker.asking(wait)).await }).await?;
    match wait {
        Wait::No => accepted(&deployed),
        Wait::Until(_) => {
            let message = format!("group {} was restarted", deployed.status.group_id);
            ok(message, view::group_change(&deployed))
        }
    }
}

/// Ask what would happen
///
/// Nothing is changed. A request that is not well formed is a 400 as with a deployment; one that is well formed is
/// answered with 200 and everything that would be refused.
#[utoipa::path(post, path = "/mcp/validate", operation_id = "validateGroup", tag = "groups",
    request_body = GroupRequest,
    responses((status = 200, description = "Errors, warnings, effective configuration",
               body = Envelope<ValidationView>)))]
pub(crate) async fn validate_group(State(app): State<App>, Shaped(request): Shaped<GroupRequest>) -> Answer {
    let view = validation(&app, request);
    let message = match view.valid {
        true => "the group could be deployed".into(),
        false => format!("{} mistake(s)", view.errors.len()),
    };
    ok(message, view)
}

/// Everything that would be refused, and what the containers would be made from.
pub(super) fn validation(app: &App, request: GroupRequest) -> ValidationView {
    let converted = convert::group(request);
    let judged = converted.spec.as_ref().map(|spec| app.manager().validate(spec));
    let sound = converted.violations.is_empty();
    let (errors, warnings, effective) = match judged {
        Some(judged) => (merged(converted.violations, judged.violations), judged.warnings, judged.effective),
        None => (converted.violations, Vec::new(), Default::default()),
    };
    let effective: BTreeMap<_, _> = effective.into_iter().filter(|_| sound).collect();
    let exposed = converted.spec.iter().flat_map(|spec| exposed(spec, &effective)).collect();
    let effective = effective
        .into_iter()
        .map(|(name, rendered)| (name.to_string(), serde_json::json!(rendered.config)))
        .collect();
    let valid = errors.is_empty();
    let (errors, warnings) = (details(errors), details(warnings));
    ValidationView { valid, errors, warnings, effective, exposed }
}

/// What each server reaches, and what reaches it.
fn exposed(
    spec: &GroupSpec,
    effective: &BTreeMap<InstanceName, Rendered>,
) -> impl Iterator<Item = (String, Vec<String>)> {
    let sentences = |server: &ServerSpec| {
        let config = &effective.get(&server.instance)?.config;
        Some((server.instance.to_string(), exposure(server, config)))
    };
    spec.servers.iter().filter_map(sentences).filter(|(_, sentences)| !sentences.is_empty())
}
