//! Changing a group that stands: another spec, another number of replicas, an earlier generation.

use super::groups::{sound, validation};
use crate::answer::{Answer, ok, with};
use crate::app::App;
use crate::asker::Asker;
use crate::body::Shaped;
use crate::convert;
use crate::error::{ApiError, details};
use crate::path::Named;
use crate::query::{Asked, WaitQuery, wait};
use crate::view;
use axum::extract::State;
use axum::response::Response;
use dtma_api_types::{
    ApplyView, Envelope, GroupRequest, HistoryView, PlanView, PutGroupView, RollbackRequest, ScaleRequest,
};
use dtma_core::id::{Generation, GroupId, InstanceName};
use dtma_core::violation::Violation;
use dtma_manager::{Applied, Expect, ManagerError, ManagerHandle, Preview, Wait};
use http::header::{ETAG, IF_MATCH};
use http::{HeaderMap, HeaderValue, StatusCode};
use serde::Deserialize;
use utoipa::IntoParams;

/// How a change is made.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct PutQuery {
    /// Only say what it would mean (default false).
    dry_run: Option<bool>,
    /// Wait for the outcome (default true). When false the answer is 202 as soon as the request is durable.
    wait: Option<bool>,
    /// How long to wait: `30s`, `5m` (default 5m, at most 1h). Afterwards the answer is 504 and the work goes on.
    #[param(example = "60s")]
    timeout: Option<String>,
}

/// Apply a group
///
/// Makes another spec stand without downtime: what changed is started beside what stands, proved ready and given the
/// work before that is drained and removed. When it fails, what stood before serves on, and the group goes back to it
/// by itself unless `options.autoRevert` is false. A group that is not there is deployed.
#[utoipa::path(put, path = "/mcp/groups/{groupId}", operation_id = "putGroup", tag = "groups",
    params(("groupId" = String, Path, description = "The group"), PutQuery,
        ("If-Match" = Option<String>, Header, description = "The generation that must stand, as in `ETag`: `\"3\"`, or `*` for any")),
    request_body = GroupRequest,
    responses(
        (status = 200, description = "It stands as wanted; with `dryRun` what it would mean", body = Envelope<PutGroupView>),
        (status = 201, description = "There was no such group: created and running", body = Envelope<ApplyView>),
        (status = 202, description = "Accepted (`wait=false`)", body = Envelope<ApplyView>)))]
pub(crate) async fn put_group(
    State(app): State<App>,
    asker: Asker,
    Named(group): Named<GroupId>,
    Asked(query): Asked<PutQuery>,
    headers: HeaderMap,
    Shaped(request): Shaped<GroupRequest>,
) -> Answer {
    let wait = wait(query.wait, query.timeout.as_deref())?;
    let generation = request.generation.map(Generation);
    let expect = Expect { generation, seen: seen(&app, &group, &headers)? };
    same_group(&group, &request)?;
    if query.dry_run.unwrap_or(false) {
        return plan(&app, request, expect);
    }
    let spec = sound(&app, request)?;
    let servers = spec.servers.clone();
    let ask = |manager: ManagerHandle, asking| async move { manager.apply(spec, expect, asking).await };
    let done = app.ask(&asker, wait, ask).await;
    answer(&done.map_err(|error| error.located(&servers))?, wait)
}

fn same_group(group: &GroupId, request: &GroupRequest) -> Result<(), ApiError> {
    if request.group_id == group.as_str() {
        return Ok(());
    }
    let message = format!("the path is that of group {group}");
    let violation = Violation::new("/groupId", "group.other-path", message);
    Err(ApiError::Rules(vec![violation.hint("say the same name in both places")]))
}

/// What would happen, rules that are broken included.
fn plan(app: &App, request: GroupRequest, expect: Expect) -> Answer {
    let converted = convert::group(request.clone());
    let preview = match converted.spec.as_ref().filter(|_| converted.violations.is_empty()) {
        Some(spec) => Some(app.manager().preview(spec, expect)?),
        None => None,
    };
    let mut validation = validation(app, request);
    let (generation, changes, changed) = match preview {
        Some(Preview { generation, changes, same, foreseen, .. }) => {
            validation.warnings.extend(details(foreseen));
            let changed = !same || !changes.is_empty();
            (generation, changes, changed)
        }
        None => (None, Vec::new(), false),
    };
    let message = match (validation.valid, changes.len()) {
        (false, _) => format!("{} mistake(s)", validation.errors.len()),
        (true, 0) if changed => "the group would change, and none of its servers".to_owned(),
        (true, 0) => "nothing would change".to_owned(),
        (true, count) => format!("{count} server(s) would change"),
    };
    let changes = view::diffs(&changes);
    ok(message, PlanView { generation: generation.map(|number| number.0), changed, changes, validation })
}

/// The generation that the caller says it has seen.
fn seen(app: &App, group: &GroupId, headers: &HeaderMap) -> Result<Option<Generation>, ApiError> {
    let mut values = headers.get_all(IF_MATCH).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let text = value.to_str().unwrap_or_default().trim();
    if text == "*" {
        // Whatever stands must stand still when the change is made.
        let status = app.manager().group(group).ok_or_else(|| ManagerError::NoSuchGroup(group.clone()))?;
        return Ok(Some(status.generation));
    }
    let number = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(text);
    match (number.parse(), values.next()) {
        (Ok(number), None) => Ok(Some(Generation(number))),
        _ => Err(ApiError::Query("If-Match must be one generation, such as \"3\", or *".into())),
    }
}

/// The generation as an entity tag.
pub(crate) fn tagged(mut response: Response, generation: Generation) -> Response {
    if let Ok(tag) = HeaderValue::from_str(&format!("\"{generation}\"")) {
        response.headers_mut().insert(ETAG, tag);
    }
    response
}

pub(crate) fn answer(applied: &Applied, wait: Wait) -> Answer {
    let status = &applied.deployed.status;
    let (group, generation) = (&status.group_id, status.generation);
    let (code, message) = match (applied.created, applied.deployed.changed, wait) {
        (_, true, Wait::No) => (StatusCode::ACCEPTED, format!("accepted; watch group {group}")),
        (true, _, _) => (StatusCode::CREATED, format!("group {group} is running")),
        (false, true, _) => (StatusCode::OK, format!("generation {generation} of group {group} stands")),
        (false, false, _) => (StatusCode::OK, format!("group {group} stands as wanted")),
    };
    Ok(tagged(with(code, message, view::applied(applied))?, generation))
}

/// Look at a group's generations
#[utoipa::path(get, path = "/mcp/groups/{groupId}/history", operation_id = "getHistory", tag = "groups",
    params(("groupId" = String, Path, description = "The group")),
    responses((status = 200, description = "Its generations, the oldest first", body = Envelope<HistoryView>)))]
pub(crate) async fn get_history(State(app): State<App>, Named(group): Named<GroupId>) -> Answer {
    let revisions = app.manager().revisions(&group).await?;
    let status = app.manager().group(&group).ok_or_else(|| ManagerError::NoSuchGroup(group.clone()))?;
    let view = view::history(&group, &revisions, status.generation);
    ok(format!("{} generation(s) of group {group}", view.generations.len()), view)
}

/// Go back to an earlier generation
///
/// Its spec becomes the next generation, rolled out like any other.
#[utoipa::path(post, path = "/mcp/groups/{groupId}/rollback", operation_id = "rollbackGroup", tag = "groups",
    params(("groupId" = String, Path, description = "The group"), WaitQuery,
        ("If-Match" = Option<String>, Header, description = "The generation that must stand")),
    request_body = RollbackRequest,
    responses(
        (status = 200, description = "It stands", body = Envelope<ApplyView>),
        (status = 202, description = "Accepted (`wait=false`)", body = Envelope<ApplyView>)))]
pub(crate) async fn rollback_group(
    State(app): State<App>,
    asker: Asker,
    Named(group): Named<GroupId>,
    Asked(query): Asked<WaitQuery>,
    headers: HeaderMap,
    Shaped(request): Shaped<RollbackRequest>,
) -> Answer {
    let wait = query.wait()?;
    let expect = Expect { generation: None, seen: seen(&app, &group, &headers)? };
    let to = request.to_generation.map(Generation);
    let ask =
        |manager: ManagerHandle, asking| async move { manager.rollback(&group, to, expect, asking).await };
    answer(&app.ask(&asker, wait, ask).await?, wait)
}

/// Scale a server
///
/// A change of its group's spec like any other: replicas are added beside those that stand, or drained and removed.
#[utoipa::path(put, path = "/mcp/servers/{instanceName}/scale", operation_id = "scaleServer", tag = "servers",
    params(("instanceName" = String, Path, description = "The server"), WaitQuery,
        ("If-Match" = Option<String>, Header, description = "The generation of the group that must stand")),
    request_body = ScaleRequest,
    responses(
        (status = 200, description = "It stands", body = Envelope<ApplyView>),
        (status = 202, description = "Accepted (`wait=false`)", body = Envelope<ApplyView>)))]
pub(crate) async fn scale_server(
    State(app): State<App>,
    asker: Asker,
    Named(instance): Named<InstanceName>,
    Asked(query): Asked<WaitQuery>,
    headers: HeaderMap,
    Shaped(request): Shaped<ScaleRequest>,
) -> Answer {
    let wait = query.wait()?;
    let unknown = || ManagerError::NoSuchServer(instance.clone());
    let group = app.manager().group_of(&instance).ok_or_else(unknown)?;
    let expect = Expect { generation: None, seen: seen(&app, &group, &headers)? };
    let ask = |manager: ManagerHandle, asking| async move {
        manager.scale(&instance, request.replicas, expect, asking).await
    };
    answer(&app.ask(&asker, wait, ask).await?, wait)
}
