//! Named volumes of the local driver. A new volume's top folder belongs to root, and a server that runs as somebody
//! else could not write: it is given away here, on the engine's own disk.

use crate::connect::Link;
use crate::errors::{Op, path_segment};
use crate::observe::{in_scope, label_filter};
use bollard::models::{Volume, VolumeCreateRequest};
use bollard::query_parameters::{ListVolumesOptionsBuilder, RemoveVolumeOptions};
use dtma_core::container::RunAs;
use dtma_core::label;
use dtma_core::port::runtime::{EnsureVolume, RuntimeError, Scope, VolumeObservation};
use std::io;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::Path;

const CALL: &str = "create volume";

/// Making it is one step and giving it away another, and we may be killed in between: so an empty folder of root's
/// is given away whoever made it.
pub(crate) async fn ensure(link: &Link, request: &EnsureVolume) -> Result<(), RuntimeError> {
    let volume = match inspect(link, CALL, &request.name).await {
        Err(RuntimeError::NotFound { .. }) => create(link, request).await?,
        found => found?,
    };
    if !is_ours(&volume, request) {
        return Err(RuntimeError::NameTaken { name: request.name.clone() });
    }
    if !link.is_local() {
        return Err(refuse(&volume, request.owner, "the engine is on another machine"));
    }
    let (path, owner) = (volume.mountpoint.clone(), request.owner);
    let given = tokio::task::spawn_blocking(move || give_away(Path::new(&path), owner)).await;
    let given = given.unwrap_or_else(|join| Err(io::Error::other(join)));
    given.map_err(|error| refuse(&volume, request.owner, &error.to_string()))
}

fn is_ours(volume: &Volume, request: &EnsureVolume) -> bool {
    let has = |key: &str| volume.labels.get(key) == request.labels.get(key);
    [label::MANAGED, label::OWNER, label::GROUP].into_iter().all(has)
}

fn refuse(volume: &Volume, owner: RunAs, problem: &str) -> RuntimeError {
    let problem = format!(
        "the folder {} cannot be given to the server's user {}:{} ({problem}); the daemon must run as root on the \
         engine's machine to make volumes",
        volume.mountpoint, owner.uid, owner.gid
    );
    RuntimeError::Refused { call: CALL, problem }
}

/// Only an empty folder of root's: what anybody put there, or gave to somebody, stays as it is.
fn give_away(folder: &Path, owner: RunAs) -> io::Result<()> {
    let found = std::fs::symlink_metadata(folder)?;
    if !found.is_dir() {
        return Err(io::Error::from(io::ErrorKind::NotADirectory));
    }
    let fresh = found.uid() == 0 && std::fs::read_dir(folder)?.next().is_none();
    if fresh { chown(folder, Some(owner.uid), Some(owner.gid)) } else { Ok(()) }
}

async fn create(link: &Link, request: &EnsureVolume) -> Result<Volume, RuntimeError> {
    let op = Op::new(CALL, "volume", &request.name);
    let body = VolumeCreateRequest {
        name: Some(request.name.clone()),
        driver: Some("local".to_owned()),
        labels: Some(request.labels.clone().into_iter().collect()),
        ..VolumeCreateRequest::default()
    };
    link.mutate(op, |docker| async move { docker.create_volume(body).await }).await
}

pub(crate) async fn inspect(link: &Link, call: &'static str, name: &str) -> Result<Volume, RuntimeError> {
    let op = Op::new(call, "volume", name);
    let name = path_segment(op)?;
    link.read(op, |docker| async move { docker.inspect_volume(name).await }).await
}

pub(crate) async fn list(link: &Link, scope: &Scope) -> Result<Vec<VolumeObservation>, RuntimeError> {
    let op = Op::new("list volumes", "engine", link.endpoint());
    let options = ListVolumesOptionsBuilder::default().filters(&label_filter(scope)).build();
    let found = link.read(op, |docker| async move { docker.list_volumes(Some(options)).await }).await?;
    let observe =
        |volume: Volume| VolumeObservation { name: volume.name, labels: volume.labels.into_iter().collect() };
    let ours = |volume: &Volume| in_scope(scope, &volume.labels);
    Ok(found.volumes.unwrap_or_default().into_iter().filter(ours).map(observe).collect())
}

pub(crate) async fn remove(link: &Link, name: &str) -> Result<(), RuntimeError> {
    let op = Op::new("remove volume", "volume", name);
    let name = path_segment(op)?;
    let ask = |docker: bollard::Docker| async move {
        docker.remove_volume(name, None::<RemoveVolumeOptions>).await
    };
    link.mutate(op, ask).await
}
