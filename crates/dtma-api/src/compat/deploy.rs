//! Deploying and removing through the manager, with the older contract's idea of what is taken.

use super::find::{Found, account_id, by_account_id};
use super::notes::Notes;
use crate::app::App;
use crate::asker::Asker;
use crate::convert::{self, merged};
use crate::error::ApiError;
use dtma_api_types::GroupRequest;
use dtma_core::record::Removal;
use dtma_core::spec::GroupSpec;
use dtma_manager::{Deployed, ManagerError, Removed, Wait};

/// Deploys what was read. Unlike with the canonical route, a name that is there is taken, whatever stands under it.
///
/// # Errors
/// Everything that is wrong, at the caller's own places.
pub(crate) async fn deploy(
    app: &App,
    asker: Asker,
    wait: Wait,
    request: GroupRequest,
    notes: &mut Notes,
) -> Result<Deployed, ApiError> {
    let spec = sound(app, request, notes)?;
    check_free(app, &spec)?;
    let (manager, servers) = (app.manager().clone(), spec.servers.clone());
    let deployed = app.finish(async move { manager.deploy(spec, asker.asking(wait)).await }).await;
    let deployed = deployed.map_err(|error| notes.relocate(error.located(&servers)))?;
    Ok(deployed)
}

fn sound(app: &App, request: GroupRequest, notes: &mut Notes) -> Result<GroupSpec, ApiError> {
    let broken = notes.take_broken()?;
    let converted = convert::group(request);
    let ours: Vec<_> = converted.violations.into_iter().map(|violation| notes.translate(violation)).collect();
    let ours = merged(broken, ours);
    match converted.spec {
        Some(spec) if ours.is_empty() => Ok(spec),
        Some(spec) => {
            let judged = app.manager().validate(&spec).violations;
            let judged = judged.into_iter().map(|violation| notes.translate(violation)).collect();
            Err(ApiError::Rules(merged(ours, judged)))
        }
        None => Err(ApiError::Rules(ours)),
    }
}

fn check_free(app: &App, spec: &GroupSpec) -> Result<(), ApiError> {
    for server in &spec.servers {
        if let Some(group) = app.manager().group_of(&server.instance) {
            return Err(ManagerError::InstanceTaken { instance: server.instance.clone(), group }.into());
        }
        if let Some(id) = account_id(server)
            && let Some(bearer) = by_account_id(app, id)
        {
            return Err(ApiError::IdTaken(id.to_owned(), bearer));
        }
    }
    Ok(())
}

/// Removes a server that stands alone.
///
/// # Errors
/// `one_of_many` for a server of a larger group, and what the manager says.
pub(crate) async fn remove(app: &App, asker: Asker, wait: Wait, found: &Found) -> Result<Removed, ApiError> {
    if found.spec.servers.len() > 1 {
        return Err(ApiError::OneOfMany(found.instance.clone(), found.group.group_id.clone()));
    }
    let (manager, group) = (app.manager().clone(), found.group.group_id.clone());
    app.finish(async move { manager.remove(&group, Removal::default(), asker.asking(wait)).await }).await
}
