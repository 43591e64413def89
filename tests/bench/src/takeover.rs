//! Taking over a hundred containers of an engine in memory: what the manager itself needs, with a real state file and
//! nobody else to wait for.

use crate::report::{Report, median, show};
use anyhow::{Context, Result};
use dtma_config::{Configurator, Policy, Templates};
use dtma_core::port::NoEgress;
use dtma_core::port::StateStore;
use dtma_core::spec::{ServerKind, ServerSpec};
use dtma_manager::{Backends, Drain, Expect, Manager, ManagerHandle, Settings, Wait};
use dtma_store::RedbStore;
use dtma_testing::{FakeRuntime, FakeRuntimeRemote};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

const GROUPS: usize = 4;
const SERVERS: usize = 25;
const ROUNDS: usize = 5;
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) async fn measure(report: &mut Report) -> Result<()> {
    let (_runtime, engine) = FakeRuntime::new();
    engine.add_image("tool");
    let state = tempfile::tempdir()?;
    let (manager, drain) = start(&engine, state.path()).await?;
    for group in 0..GROUPS {
        let server = |number: usize| -> Result<ServerSpec> {
            let mut spec =
                ServerSpec::new(format!("g{group}s{number}").parse()?, ServerKind::Tool, "tool".into());
            spec.readiness.settle = Duration::ZERO;
            Ok(spec)
        };
        let servers = (0..SERVERS).map(server).collect::<Result<_>>()?;
        let spec = crate::deploy::group(&format!("g{group}"), servers)?;
        manager.apply(spec, Expect::default(), Wait::Until(PATIENCE)).await?;
    }
    anyhow::ensure!(drain.drain(PATIENCE).await, "the manager did not end");
    drop(manager);
    let (mut times, mut restarts) = (Vec::new(), 0);
    for _ in 0..ROUNDS {
        let began = Instant::now();
        let (manager, drain) = start(&engine, state.path()).await?;
        restarts += until_ready(&manager).await?;
        times.push(began.elapsed());
        anyhow::ensure!(drain.drain(PATIENCE).await, "the manager did not end");
    }
    let what =
        format!("taking over {} containers of an engine in memory, restarts {restarts}", GROUPS * SERVERS);
    report.line(&what, &show(median(&times)), "", "");
    Ok(())
}

async fn start(engine: &FakeRuntimeRemote, state: &Path) -> Result<(ManagerHandle, Drain)> {
    let (store, clock) = (Arc::new(RedbStore::open(state)?), engine.clone());
    let backends = Backends {
        egress: Arc::new(NoEgress),
        runtime: Arc::new(engine.connect()),
        loaded: store.load().await.context("load")?,
        store,
        configurator: Arc::new(Configurator::new(Templates::builtin(), Policy::default())),
        pressure: dtma_manager::pressure::system(),
        wall: Arc::new(move || clock.now()),
    };
    Ok(Manager::start(Settings::default(), backends))
}

async fn until_ready(manager: &ManagerHandle) -> Result<u64> {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        let groups = manager.groups();
        let servers: Vec<_> = groups.iter().flat_map(|group| &group.servers).collect();
        if servers.len() == GROUPS * SERVERS && servers.iter().all(|server| server.phase.word() == "ready") {
            return Ok(servers.iter().map(|server| server.restarts).sum());
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    anyhow::bail!("not every server became ready again")
}
