//! The daemon's life: listen, adopt, serve, and end without ending anything else.

use crate::access_log::{self, AccessLog};
use crate::settings::Settings;
use crate::tls::TlsFiles;
use crate::{backends, log, tokens};
use anyhow::{Context, Result};
use dtma_api::{AccessLines, App, Door, Parts, auth::Hosts, serve};
use dtma_core::port::ContainerRuntime;
use dtma_manager::Manager;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// How long engine calls under way may take at the end.
const PATIENCE: Duration = Duration::from_secs(15);

/// Runs until a signal comes.
pub(crate) fn run(settings: &Settings) -> Result<()> {
    log::init(settings);
    runtime()?.block_on(live(settings))
}

/// Half the machine's cores: a message passes from one task to the next on the same thread more often, and the other
/// cores are for the engine and the servers, which do the work (two cores, measured: a tool call takes 282 µs with one
/// worker and 330 µs with two).
fn runtime() -> Result<tokio::runtime::Runtime> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads((cores / 2).max(1)).enable_all().build().context("cannot start the runtime")
}

async fn live(settings: &Settings) -> Result<()> {
    let auth = Arc::new(tokens::auth(settings)?);
    let tls = settings.tls.as_ref().map(TlsFiles::load).transpose()?.map(Arc::new);
    let listener = TcpListener::bind(settings.listen).await;
    let listener = listener.with_context(|| format!("cannot listen on {}", settings.listen))?;
    let address = listener.local_addr()?;
    let backends = backends::open(settings).await?;
    let (wall, runtime) = (backends.wall.clone(), Arc::clone(&backends.runtime));
    let (manager, drain) = Manager::start(dtma_manager::Settings::default(), backends);
    let hosts = Hosts::new(address, settings.allowed_hosts.clone());
    let (sender, lines) = tokio::sync::mpsc::channel(access_log::WAITING);
    let mut access_log = settings
        .access_log
        .as_ref()
        .map(|path| AccessLog::open(path, settings.access_log_size, lines))
        .transpose()?;
    let access = access_log.is_some().then(|| AccessLines::new(sender));
    let rates = settings.rates;
    let app = App::new(Parts {
        manager,
        auth: Arc::clone(&auth),
        hosts,
        rates,
        access,
        wall,
        meter: backends::meter(settings),
    });
    let scheme = if tls.is_some() { "https" } else { "http" };
    println!("listening on {scheme}://{address}");
    tracing::info!(%address, state = %settings.state_dir.display(), "listening");

    let shutdown = CancellationToken::new();
    let door = Door { listener, tls: tls.clone(), limits: settings.limits };
    let serving = serve(door, app, shutdown.clone());
    let fresh = async {
        let tls = async {
            if let (Some(files), Some(tls)) = (&settings.tls, &tls) {
                files.keep_fresh(tls).await;
            }
        };
        let log = async {
            if let Some(log) = &mut access_log {
                log.keep().await;
            }
        };
        tokio::join!(tokens::keep_fresh(&auth, settings), tls, log, look_at(&*runtime));
    };
    // Only serving ends by itself, after the signal; the others are dropped with it.
    tokio::select! {
        () = serving => {}
        result = end_by_signal(&shutdown) => result?,
        () = fresh => {}
    }
    if let Some(log) = access_log {
        log.finish();
    }
    if !drain.drain(PATIENCE).await {
        tracing::warn!("engine calls were still under way; they are found again at the next start");
    }
    tracing::info!("ended; every container is left as it was");
    Ok(())
}

/// An engine that does not answer is no reason not to start, but whoever started us should hear of it.
async fn look_at(engine: &dyn ContainerRuntime) {
    match engine.info().await {
        Ok(info) => {
            let (engine, api, endpoint) = (info.product, info.api_version, info.endpoint);
            tracing::info!(%engine, %api, %endpoint, "the engine answers");
        }
        Err(error) => tracing::warn!(%error, "the engine does not answer yet"),
    }
}

/// The first signal ends the daemon in good order, the second at once.
async fn end_by_signal(shutdown: &CancellationToken) -> Result<()> {
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    for first in [true, false] {
        // Neither loses a signal when it is dropped: both streams remember that one came.
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
        }
        if first {
            tracing::info!("ending");
            shutdown.cancel();
        }
    }
    anyhow::bail!("ended at once by a second signal")
}
