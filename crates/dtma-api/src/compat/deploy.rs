//! Deploying and removing through the manager, with the older contract's idea of what is taken.

use super::find::{account_id, by_account_id, find};
use super::notes::Notes;
use crate::app::App;
use crate::asker::Asker;
use crate::convert::{self, merged};
use crate::error::ApiError;
use dtma_api_types::GroupRequest;
use dtma_core::id::GroupId;
use dtma_core::record::{Operation, Removal};
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
    // Asked again, its own servers stand there.
    if earlier(app, &asker).is_none() {
        check_free(app, &spec)?;
    }
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

/// The operation that came of an earlier request with the same key.
fn earlier(app: &App, asker: &Asker) -> Option<Operation> {
    asker.key.as_ref().and_then(|key| app.manager().operation_of(&asker.author, key))
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

/// Removes a server that stands alone; gives its name.
///
/// # Errors
/// `no_such_server`, `one_of_many` for a server of a larger group, and what the manager says.
pub(crate) async fn remove(
    app: &App,
    asker: Asker,
    wait: Wait,
    text: &str,
) -> Result<(String, Removed), ApiError> {
    let (name, group) = alone(app, &asker, text)?;
    let manager = app.manager().clone();
    let work = async move { manager.remove(&group, Removal::default(), asker.asking(wait)).await };
    Ok((name, app.finish(work).await?))
}

/// The server and its group. Asked again, it may be gone: its group, which bears the same name, is in the operation.
fn alone(app: &App, asker: &Asker, text: &str) -> Result<(String, GroupId), ApiError> {
    let found = match (find(app, text), earlier(app, asker)) {
        (Err(_), Some(operation)) => return Ok((operation.group.to_string(), operation.group)),
        (found, _) => found?,
    };
    if found.spec.servers.len() > 1 {
        return Err(ApiError::OneOfMany(found.instance, found.group.group_id));
    }
    Ok((found.instance.to_string(), found.group.group_id))
}
