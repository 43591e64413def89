//! Making, starting, stopping and removing containers.

use crate::connect::Link;
use crate::create;
use crate::dialect::Dialect;
use crate::errors::{Op, path_segment};
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, KillContainerOptionsBuilder, RemoveContainerOptionsBuilder,
    RenameContainerOptionsBuilder, StartContainerOptions, StopContainerOptionsBuilder,
};
use dtma_core::container::CreateContainer;
use dtma_core::id::ContainerId;
use dtma_core::port::runtime::RuntimeError;
use futures_util::future::try_join_all;
use std::time::Duration;

pub(crate) async fn create(link: &Link, request: &CreateContainer) -> Result<ContainerId, RuntimeError> {
    let op = Op::new("create container", "container", &request.name);
    path_segment(op)?;
    check_volumes(link, request).await?;
    let platform = request.config.platform.as_ref().map(ToString::to_string).unwrap_or_default();
    let options = CreateContainerOptionsBuilder::default().name(&request.name).platform(&platform).build();
    let body = create::body(request, link.dialect(op).await?);
    let ask = |docker: bollard::Docker| async move { docker.create_container(Some(options), body).await };
    let made = link.mutate(op, ask).await.map_err(|error| name_the_image(error, request))?;
    for warning in &made.warnings {
        tracing::warn!(container = %request.name, %warning, "the engine made the container with a warning");
    }
    Ok(made.id.into())
}

/// The engine would make a missing volume on the side, without labels: nobody would ever find it again.
async fn check_volumes(link: &Link, request: &CreateContainer) -> Result<(), RuntimeError> {
    let inspect = |name| crate::volumes::inspect(link, "create container", name);
    try_join_all(request.config.volumes().map(inspect)).await.map(drop)
}

/// The engine speaks of the id; a person knows the reference.
fn name_the_image(error: RuntimeError, request: &CreateContainer) -> RuntimeError {
    match error {
        RuntimeError::ImageMissing { problem, .. } => {
            RuntimeError::ImageMissing { image: request.config.image.clone(), problem }
        }
        other => other,
    }
}

pub(crate) async fn start(link: &Link, id: &ContainerId) -> Result<(), RuntimeError> {
    let op = Op::new("start container", "container", id.as_str());
    let id = path_segment(op)?;
    let ask = |docker: bollard::Docker| async move {
        docker.start_container(id, None::<StartContainerOptions>).await
    };
    link.mutate(op, ask).await
}

pub(crate) async fn stop(link: &Link, id: &ContainerId, grace: Duration) -> Result<(), RuntimeError> {
    let op = Op::new("stop container", "container", id.as_str());
    // Docker thaws what it stops.
    if link.dialect(op).await? == Dialect::Podman {
        unpause(link, id).await?;
    }
    let id = path_segment(op)?;
    // The engine counts whole seconds; less than asked would be unkind.
    let seconds = i32::try_from(grace.as_millis().div_ceil(1000)).unwrap_or(i32::MAX);
    let options = StopContainerOptionsBuilder::default().t(seconds).build();
    let ask = |docker: bollard::Docker| async move { docker.stop_container(id, Some(options)).await };
    link.call(op, grace.saturating_add(link.deadlines.stop_margin), ask).await
}

pub(crate) async fn kill(link: &Link, id: &ContainerId) -> Result<(), RuntimeError> {
    let op = Op::new("kill container", "container", id.as_str());
    let id = path_segment(op)?;
    let options = KillContainerOptionsBuilder::default().signal("SIGKILL").build();
    let ask = |docker: bollard::Docker| async move { docker.kill_container(id, Some(options)).await };
    match link.mutate(op, ask).await {
        Err(RuntimeError::Conflict { problem, .. }) if not_running(&problem) => Ok(()),
        other => other,
    }
}

/// Docker's words and Podman's.
fn not_running(problem: &str) -> bool {
    problem.contains("is not running") || problem.contains("can only kill running containers")
}

pub(crate) async fn pause(link: &Link, id: &ContainerId) -> Result<(), RuntimeError> {
    let op = Op::new("pause container", "container", id.as_str());
    let name = path_segment(op)?;
    let ask = |docker: bollard::Docker| async move { docker.pause_container(name).await };
    match link.mutate(op, ask).await {
        Ok(()) => Ok(()),
        Err(error) => match freezes(link, id, error).await? {
            (true, _) => Ok(()),
            (false, problem) => Err(RuntimeError::Conflict { call: op.call, problem: problem.to_string() }),
        },
    }
}

pub(crate) async fn unpause(link: &Link, id: &ContainerId) -> Result<(), RuntimeError> {
    let op = Op::new("unpause container", "container", id.as_str());
    let name = path_segment(op)?;
    let ask = |docker: bollard::Docker| async move { docker.unpause_container(name).await };
    match link.mutate(op, ask).await {
        Ok(()) => Ok(()),
        Err(error) => match freezes(link, id, error).await? {
            (true, problem) => Err(problem),
            (false, _) => Ok(()),
        },
    }
}

/// Engines refuse a change that was made already in words and codes of their own (Docker with 409 and 500, Podman with
/// 500): whether it was, the container says. Gives the refusal back.
async fn freezes(
    link: &Link,
    id: &ContainerId,
    error: RuntimeError,
) -> Result<(bool, RuntimeError), RuntimeError> {
    match error {
        RuntimeError::Conflict { .. } | RuntimeError::Broken { .. } | RuntimeError::Refused { .. } => {
            let raw = crate::observe::raw_inspect(link, id).await?;
            let paused = raw.state.and_then(|state| state.paused).unwrap_or_default();
            Ok((paused, error))
        }
        other => Err(other),
    }
}

pub(crate) async fn rename(link: &Link, id: &ContainerId, name: &str) -> Result<(), RuntimeError> {
    let op = Op::new("rename container", "container", id.as_str());
    path_segment(Op::new(op.call, "container", name))?;
    if name_of(link, id).await? == name {
        return Ok(());
    }
    let id = path_segment(op)?;
    let options = RenameContainerOptionsBuilder::default().name(name).build();
    let ask = |docker: bollard::Docker| async move { docker.rename_container(id, options).await };
    link.mutate(op, ask).await.map_err(|error| match error {
        RuntimeError::NameTaken { .. } => RuntimeError::NameTaken { name: name.to_owned() },
        other => other,
    })
}

/// The engine (20.10, measured) refuses to give a container the name it has: a repeated call would seem to fail.
async fn name_of(link: &Link, id: &ContainerId) -> Result<String, RuntimeError> {
    let raw = crate::observe::raw_inspect(link, id).await?;
    Ok(raw.name.unwrap_or_default().trim_start_matches('/').to_owned())
}

pub(crate) async fn remove(link: &Link, id: &ContainerId) -> Result<(), RuntimeError> {
    let op = Op::new("remove container", "container", id.as_str());
    let id = path_segment(op)?;
    let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
    let ask = |docker: bollard::Docker| async move { docker.remove_container(id, Some(options)).await };
    link.mutate(op, ask).await
}
