//! Volumes on the engine's disk: whose they are, and what survives.

use crate::harness::{Harness, mounted};
use bollard::query_parameters::RemoveVolumeOptions;
use dtma_core::port::runtime::{ContainerRuntime, RuntimeError};
use std::os::unix::fs::{MetadataExt, chown};

async fn owner_on_disk(harness: &Harness, name: &str) -> (u32, u32) {
    let folder = harness.inspect_volume(name).await.mountpoint;
    let found = std::fs::metadata(&folder).unwrap_or_else(|error| panic!("{folder}: {error}"));
    (found.uid(), found.gid())
}

#[tokio::test]
async fn the_server_can_write_to_its_new_volume_and_finds_it_again() {
    let harness = Harness::new().await;
    let write = harness.request("writer", "echo kept > /data/file && ls -ldn /data | cut -c1-10").await;
    let volume = harness.volume("data", &write);
    harness.engine().ensure_volume(&volume).await.expect("ensure_volume");
    assert_eq!(owner_on_disk(&harness, &volume.name).await, (65532, 65532));
    let (output, _) = harness.run(&mounted(write, &volume)).await;
    assert_eq!(output, "drwxr-xr-x\n");
    harness.engine().ensure_volume(&volume).await.expect("ensure_volume again");
    let read = harness.request("reader", "cat /data/file").await;
    let (output, _) = harness.run(&mounted(read, &volume)).await;
    assert_eq!(output, "kept\n");
    harness.leave().await;
}

/// We may be killed after making it and before giving it away.
#[tokio::test]
async fn a_half_made_volume_is_finished() {
    let harness = Harness::new().await;
    let request = harness.request("a", "true").await;
    let volume = harness.volume("data", &request);
    let body = bollard::models::VolumeCreateRequest {
        name: Some(volume.name.clone()),
        labels: Some(volume.labels.clone().into_iter().collect()),
        ..Default::default()
    };
    harness.docker().create_volume(body).await.expect("docker volume create");
    assert_eq!(owner_on_disk(&harness, &volume.name).await, (0, 0));
    harness.engine().ensure_volume(&volume).await.expect("ensure_volume");
    assert_eq!(owner_on_disk(&harness, &volume.name).await, (65532, 65532));
    harness.leave().await;
}

/// What a person arranged is left alone.
#[tokio::test]
async fn a_volume_that_is_in_use_keeps_its_owner() {
    let harness = Harness::new().await;
    let request = harness.request("a", "true").await;
    let volume = harness.volume("data", &request);
    harness.engine().ensure_volume(&volume).await.expect("ensure_volume");
    let folder = harness.inspect_volume(&volume.name).await.mountpoint;
    std::fs::write(format!("{folder}/file"), "").expect("write");
    chown(&folder, Some(0), Some(0)).expect("chown");
    harness.engine().ensure_volume(&volume).await.expect("ensure_volume again");
    assert_eq!(owner_on_disk(&harness, &volume.name).await, (0, 0));
    harness.leave().await;
}

#[tokio::test]
async fn a_volume_without_our_labels_is_somebody_elses() {
    let harness = Harness::new().await;
    let request = harness.request("a", "true").await;
    let volume = harness.volume("data", &request);
    let body = bollard::models::VolumeCreateRequest { name: Some(volume.name.clone()), ..Default::default() };
    harness.docker().create_volume(body).await.expect("docker volume create");
    let answer = harness.engine().ensure_volume(&volume).await;
    harness
        .docker()
        .remove_volume(&volume.name, None::<RemoveVolumeOptions>)
        .await
        .expect("docker volume rm");
    assert_eq!(answer, Err(RuntimeError::NameTaken { name: volume.name }));
    harness.leave().await;
}
