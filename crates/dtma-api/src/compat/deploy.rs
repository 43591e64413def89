//! Deploying and removing through the manager, with the older contract's idea of what is taken.

use super::claims::Claim;
use super::find::{account_id, by_account_id, find};
use super::notes::Notes;
use crate::app::App;
use crate::asker::Asker;
use crate::convert::{self, merged};
use crate::error::ApiError;
use dtma_api_types::GroupRequest;
use dtma_core::id::{GroupId, InstanceName};
use dtma_core::record::{Operation, Removal};
use dtma_core::spec::{GroupSpec, ServerSpec};
use dtma_manager::{Deployed, Expect, ManagerError, Removed, Wait};

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
    // Asked again, its own servers stand there. A claim is held until the group is known to the manager, whatever
    // becomes of the client.
    let claim = match earlier(app, &asker) {
        Some(_) => None,
        None => Some(free(app, &spec)?),
    };
    let (manager, servers) = (app.manager().clone(), spec.servers.clone());
    let work = async move {
        let deployed = manager.deploy(spec, asker.asking(wait)).await;
        drop(claim);
        deployed
    };
    let deployed = app.finish(work).await;
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

fn free(app: &App, spec: &GroupSpec) -> Result<Claim, ApiError> {
    let claim = app.claims().take(spec)?;
    check_free(app, spec)?;
    Ok(claim)
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

/// Removes a server, with its group when it stands alone, else as a change of the group; gives its name.
///
/// # Errors
/// `no_such_server`, `depended_on` when others of the group need it, `stale_generation` when the group changes at the
/// same moment, and what the manager says.
pub(crate) async fn remove(
    app: &App,
    asker: Asker,
    wait: Wait,
    text: &str,
) -> Result<(String, Removed), ApiError> {
    let found = match (find(app, text), earlier(app, &asker)) {
        (Err(_), Some(operation)) => return again(app, asker, wait, operation, text).await,
        (found, _) => found?,
    };
    let name = found.instance.to_string();
    if found.spec.servers.len() == 1 {
        return Ok((name, remove_group(app, asker, wait, found.group.group_id.clone()).await?));
    }
    let spec = without(&found.spec, &found.instance)?;
    let expect = Expect { generation: None, seen: Some(found.group.generation) };
    Ok((name, apply(app, asker, wait, spec, expect).await?))
}

/// Asked again, the server may be gone, alone or with its group: the manager finds what came of it by the key.
async fn again(
    app: &App,
    asker: Asker,
    wait: Wait,
    operation: Operation,
    text: &str,
) -> Result<(String, Removed), ApiError> {
    match app.manager().spec(&operation.group) {
        Some(spec) => {
            let removed = apply(app, asker, wait, (*spec).clone(), Expect::default()).await?;
            Ok((text.to_owned(), removed))
        }
        None => {
            let name = operation.group.to_string();
            Ok((name, remove_group(app, asker, wait, operation.group).await?))
        }
    }
}

async fn remove_group(app: &App, asker: Asker, wait: Wait, group: GroupId) -> Result<Removed, ApiError> {
    let manager = app.manager().clone();
    app.finish(async move { manager.remove(&group, Removal::default(), asker.asking(wait)).await }).await
}

async fn apply(
    app: &App,
    asker: Asker,
    wait: Wait,
    spec: GroupSpec,
    expect: Expect,
) -> Result<Removed, ApiError> {
    let manager = app.manager().clone();
    let applied = app.finish(async move { manager.apply(spec, expect, asker.asking(wait)).await }).await?;
    Ok(Removed { operation: applied.deployed.operation, gone: wait != Wait::No })
}

fn without(spec: &GroupSpec, instance: &InstanceName) -> Result<GroupSpec, ApiError> {
    let needs = |server: &&ServerSpec| server.depends_on.iter().any(|need| need.instance == *instance);
    let others: Vec<_> = spec.servers.iter().filter(needs).map(|server| server.instance.clone()).collect();
    if !others.is_empty() {
        return Err(ApiError::DependedOn(instance.clone(), others));
    }
    let mut spec = spec.clone();
    spec.servers.retain(|server| server.instance != *instance);
    Ok(spec)
}
