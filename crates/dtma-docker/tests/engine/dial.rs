//! Connections into containers: what is known of an address, and for how long.

use crate::harness::{Harness, docker_host, joined, runtime_at};
use crate::relay::Relay;
use dtma_core::id::ContainerId;
use dtma_core::port::runtime::{ContainerChange, ContainerRuntime, EngineEvent, RuntimeError};
use dtma_docker::DockerRuntime;
use futures_util::StreamExt;
use std::time::Duration;

const PORT: u16 = 8080;

async fn serving(harness: &Harness) -> ContainerId {
    let network = harness.engine().create_network(&harness.network()).await.expect("create_network");
    let server = harness.request("web", "exec httpd -f -p 8080 -h /www").await;
    harness.start(&joined(server, &network)).await
}

async fn until_dialled(runtime: &DockerRuntime, id: &ContainerId) {
    let dialled = async {
        while runtime.dial(id, PORT).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), dialled).await.expect("it takes a connection within 10 s");
}

/// What was dialled before needs no engine any more.
#[tokio::test]
async fn a_server_is_dialled_while_the_engine_is_away() {
    let harness = Harness::new().await;
    let id = serving(&harness).await;
    let (host, way) = Relay::tcp(&docker_host()).await;
    let runtime = runtime_at(host, harness.owner_id());
    until_dialled(&runtime, &id).await;
    drop(way);
    let answer = runtime.inspect(&id).await;
    assert!(matches!(answer, Err(RuntimeError::EngineAway { .. })), "{answer:?}");
    runtime.dial(&id, PORT).await.expect("its address is known");
    harness.leave().await;
}

/// Whoever ended it.
#[tokio::test]
async fn an_address_is_forgotten_with_the_run_that_had_it() {
    let harness = Harness::new().await;
    let other = runtime_at(docker_host(), harness.owner_id());
    let mut events = other.events(harness.owner_id());
    assert_eq!(events.next().await, Some(EngineEvent::Resync));
    let id = serving(&harness).await;
    until_dialled(&other, &id).await;
    harness.engine().kill(&id).await.expect("kill");
    let died = async {
        loop {
            let event = events.next().await.expect("events do not end");
            if matches!(event, EngineEvent::Container { change: ContainerChange::Died, .. }) {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(10), died).await.expect("its end is told within 10 s");
    let answer = other.dial(&id, PORT).await;
    assert!(matches!(answer, Err(RuntimeError::Conflict { .. })), "{answer:?}");
    harness.leave().await;
}
