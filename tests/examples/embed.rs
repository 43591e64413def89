//! A service that embeds the manager: it composes the real parts, deploys a tool, shows it, and takes it down.
//!
//! `cargo run -p dtma-tests --example embed` wants a Docker Engine (`DOCKER_HOST`) and the image that
//! `cargo xtask images` bakes. Any part can be another one behind the same port: `dtma-testing` has fakes of all.
#![allow(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "an example prints and reads its environment"
)]

use dtma_config::{Configurator, Policy, Templates};
use dtma_core::port::NoEgress;
use dtma_core::port::StateStore;
use dtma_core::record::Removal;
use dtma_core::spec::{GroupSpec, ServerKind, ServerSpec};
use dtma_docker::DockerRuntime;
use dtma_manager::{Backends, Manager, Settings, Wait, wall};
use dtma_store::RedbStore;
use std::{sync::Arc, time::Duration};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let state = tempfile::tempdir()?;
    let store = Arc::new(RedbStore::open(state.path())?);
    let loaded = store.load().await?;
    let mut engine = dtma_docker::Settings::new(loaded.owner.clone());
    engine.host = std::env::var("DOCKER_HOST").ok();
    let backends = Backends {
        egress: Arc::new(NoEgress),
        runtime: Arc::new(DockerRuntime::connect(engine)?),
        store,
        loaded,
        configurator: Arc::new(Configurator::new(Templates::builtin(), Policy::default())),
        pressure: dtma_manager::pressure::system(),
        wall: wall::system(),
    };
    let (manager, drain) = Manager::start(Settings::default(), backends);

    let mut web = ServerSpec::new("web".parse()?, ServerKind::Tool, "dtma/busybox:dev".into());
    web.command = Some(["httpd", "-f", "-p", "8080"].map(String::from).into());
    web.port = Some(8080);
    let group_id: dtma_core::id::GroupId = format!("embedded-{}", std::process::id()).parse()?;
    let group = GroupSpec::new(group_id.clone(), vec![web]);

    let wait = Wait::Until(Duration::from_secs(60));
    let deployed = manager.deploy(group, wait).await?;
    for server in &deployed.status.servers {
        let container = server.container_name.as_deref().unwrap_or("no container");
        println!("{} is {} in {container}", server.instance, server.phase.word());
    }
    let how = Removal { force: false, grace: None, volumes: true, keep: Default::default() };
    manager.remove(&group_id, how, wait).await?;
    println!("{group_id} is gone");
    anyhow::ensure!(drain.drain(Duration::from_secs(10)).await, "engine calls are still under way");
    Ok(())
}
