//! The real parts behind the ports.

use crate::egress::Exits;
use crate::settings::Settings;
use anyhow::{Context, Result};
use dtma_api::EgressJournal;
use dtma_config::Configurator;
use dtma_core::id::OwnerId;
use dtma_core::port::{ContainerRuntime, ImageShelf, Meter, StateStore};
use dtma_docker::{CgroupMeter, DockerRuntime};
use dtma_manager::{Backends, wall};
use dtma_shims::ShimRuntime;
use dtma_store::RedbStore;
use std::sync::Arc;
use std::time::Duration;

/// In the state directory: which images were fetched. Where it is lost, none of them is ever removed.
const FETCHED_IMAGES: &str = "images.json";
/// Where the kernel shows its cgroups.
const CGROUPS: &str = "/sys/fs/cgroup";

/// What lies behind the ports, and what is beside them.
pub(crate) struct Opened {
    pub(crate) backends: Backends,
    pub(crate) images: Arc<dyn ImageShelf>,
    pub(crate) egress: EgressJournal,
}

/// Opens the state and points at the engine, which need not answer yet.
pub(crate) async fn open(settings: &Settings) -> Result<Opened> {
    let store = RedbStore::open(&settings.state_dir)
        .with_context(|| format!("cannot use the state directory {}", settings.state_dir.display()))?;
    let standard = dtma_docker::Settings::new(store.owner().clone());
    let docker = dtma_docker::Settings {
        host: settings.engine.host.clone(),
        tls: settings.engine.tls.clone(),
        registries: settings.engine.registries.clone(),
        deadlines: settings.engine.deadlines,
        network_pool: settings.network_pool,
        fetched_images: Some(settings.state_dir.join(FETCHED_IMAGES)),
        pull_min_free: settings.engine.pull_min_free.unwrap_or(standard.pull_min_free),
        ..standard
    };
    let runtime = Arc::new(DockerRuntime::connect(docker).context("cannot use this engine")?);
    let configurator = Configurator::new(settings.templates.clone(), settings.policy.clone());
    let local = runtime.is_local();
    let configurator = if local { configurator } else { configurator.for_remote_engine() };
    let configurator = configurator.with_shim(settings.shims && can_be_given_shims(&runtime).await);
    let images = Arc::clone(&runtime) as Arc<dyn ImageShelf>;
    let runtime: Arc<dyn ContainerRuntime> = match local {
        true => with_shims(settings, store.owner(), runtime)?,
        false => runtime,
    };
    let (runtime, store) = with_failpoint(runtime, Arc::new(store))?;
    let egress = journal(settings)?;
    let backends = Backends {
        egress: Arc::new(Exits::new(&settings.policy, egress.clone())),
        runtime,
        loaded: store.load().await?,
        store,
        configurator: Arc::new(configurator),
        pressure: dtma_manager::pressure::system(),
        wall: wall::system(),
    };
    Ok(Opened { backends, images, egress })
}

/// In the state directory, which is this daemon's alone by now.
fn journal(settings: &Settings) -> Result<EgressJournal> {
    let dir = settings.state_dir.join("egress");
    EgressJournal::open(&dir, settings.audit, wall::system())
        .with_context(|| format!("cannot use the log of what servers reach in {}", dir.display()))
}

/// How long the engine may take to say where it is. One that does not answer yet is taken for one like any other.
const WHERE: Duration = Duration::from_millis(500);

/// Whether the engine can give containers what lies on this machine.
async fn can_be_given_shims(engine: &DockerRuntime) -> bool {
    let elsewhere = matches!(tokio::time::timeout(WHERE, engine.shares_files()).await, Ok(Ok(false)));
    if elsewhere {
        tracing::warn!("servers are begun without a shim: the engine does not see the files of this machine");
    }
    engine.is_local() && !elsewhere
}

/// Also where new servers get none: those that have one need somebody to speak to. Only there it may be that they
/// cannot be spoken to.
fn with_shims(
    settings: &Settings,
    owner: &OwnerId,
    engine: Arc<dyn ContainerRuntime>,
) -> Result<Arc<dyn ContainerRuntime>> {
    let places = dtma_shims::Settings {
        owner: owner.clone(),
        state_dir: settings.state_dir.clone(),
        runtime_dir: settings.runtime_dir.clone(),
    };
    match ShimRuntime::open(&places, Arc::clone(&engine)) {
        Ok(runtime) => Ok(Arc::new(runtime)),
        Err(error) if !settings.shims => {
            tracing::warn!(%error, "servers that were begun by a shim cannot be spoken to");
            Ok(engine)
        }
        Err(error) => {
            Err(error).context("the shims have no place: name another --runtime-dir, or say --shims off")
        }
    }
}

/// Reads what containers use, when their cgroups are on this machine: an engine behind a unix socket.
pub(crate) fn meter(settings: &Settings) -> Option<Arc<dyn Meter>> {
    let local = settings.engine.host.as_deref().is_none_or(|host| host.starts_with("unix://"));
    local.then(|| Arc::new(CgroupMeter::new(CGROUPS)) as Arc<dyn Meter>)
}

type Ports = (Arc<dyn ContainerRuntime>, Arc<dyn StateStore>);

/// In debug builds `DTMA_FAILPOINT` names a place at which the process dies.
#[cfg(debug_assertions)]
#[expect(clippy::disallowed_methods, reason = "for tests only, and not a setting a person should find")]
fn with_failpoint(runtime: Arc<dyn ContainerRuntime>, store: Arc<dyn StateStore>) -> Result<Ports> {
    use dtma_manager::failpoint::{FailingRuntime, FailingStore, arm};
    let Ok(text) = std::env::var("DTMA_FAILPOINT") else { return Ok((runtime, store)) };
    let point = arm(&text).map_err(anyhow::Error::msg)?;
    Ok((Arc::new(FailingRuntime(runtime, Arc::clone(&point))), Arc::new(FailingStore(store, point))))
}

#[cfg(not(debug_assertions))]
#[expect(clippy::unnecessary_wraps, reason = "the debug build can fail")]
fn with_failpoint(runtime: Arc<dyn ContainerRuntime>, store: Arc<dyn StateStore>) -> Result<Ports> {
    Ok((runtime, store))
}
