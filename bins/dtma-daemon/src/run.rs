//! The daemon's life: listen, adopt, serve, and end without ending anything else.

use crate::access_log::{self, AccessLog};
use crate::backends::Opened;
use crate::heartbeat::{self, Heartbeat};
use crate::log::Log;
use crate::log_file::LogFile;
use crate::otel::Export;
use crate::settings::Settings;
use crate::systemd::{self, Service};
use crate::tls::TlsFiles;
use crate::{backends, log, system, tokens};
use anyhow::{Context, Result};
use dtma_api::{
    AccessLines, App, AuditLog, CallJournal, CallOptions, CallSink, Door, Parts, auth::Hosts, serve,
};
use dtma_core::Timestamp;
use dtma_core::port::ContainerRuntime;
use dtma_manager::Manager;
use dtma_manager::wall::Wall;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// How long engine calls under way may take at the end.
const PATIENCE: Duration = Duration::from_secs(15);
/// How long spans that wait may take at the end; where it does not end in good order, no time at all.
const LAST_SPANS: Duration = Duration::from_secs(10);

/// Runs until a signal comes.
pub(crate) fn run(settings: &Settings, service: Service) -> Result<()> {
    let log = log::init(settings)?;
    let export = Export::begin()?;
    let ended = runtime()?.block_on(live(settings, service, &log, export.as_ref()));
    if let Some(export) = export {
        export.finish(if ended.is_ok() { LAST_SPANS } else { Duration::ZERO });
    }
    ended
}

/// Half the machine's cores: a message passes from one task to the next on the same thread more often, and the other
/// cores are for the engine and the servers, which do the work (two cores, measured: a tool call takes 282 µs with one
/// worker and 330 µs with two).
fn runtime() -> Result<tokio::runtime::Runtime> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads((cores / 2).max(1)).enable_all().build().context("cannot start the runtime")
}

async fn live(settings: &Settings, mut service: Service, log: &Log, export: Option<&Export>) -> Result<()> {
    let Signals { ends, hangup } = Signals::listen()?;
    let (auth, mut token_files) = tokens::auth(settings)?;
    let auth = Arc::new(auth);
    let (tls, mut tls_files) = settings.tls.as_ref().map(TlsFiles::load).transpose()?.unzip();
    let tls = tls.map(Arc::new);
    let listener = listener(settings, &mut service).await;
    let listener = listener.with_context(|| format!("cannot listen on {}", settings.listen))?;
    let address = listener.local_addr()?;
    let Opened { backends, images, egress } = backends::open(settings).await?;
    let (wall, runtime) = (backends.wall.clone(), Arc::clone(&backends.runtime));
    let audit = audit(settings, wall())?;
    let calls = calls(settings, &wall, export.map(Export::sink))?;
    let (mcp, session_idle) = (settings.mcp.clone(), settings.session_idle);
    let managing = dtma_manager::Settings { mcp, session_idle, ..dtma_manager::Settings::default() };
    let (manager, drain) = Manager::start(managing, backends);
    let hosts = Hosts::new(address, settings.allowed_hosts.clone());
    let (sender, lines) = tokio::sync::mpsc::channel(access_log::WAITING);
    let mut access_log = settings
        .access_log
        .as_ref()
        .map(|path| AccessLog::open(path, settings.access_log_size, lines))
        .transpose()?;
    let access_file = access_log.as_ref().map(AccessLog::file);
    let access = access_log.is_some().then(|| AccessLines::new(sender));
    let rates = settings.rates;
    let sources = || heartbeat::Sources {
        manager: manager.clone(),
        system: system::probe(&settings.state_dir),
        wall: wall.clone(),
    };
    let heartbeat = settings.backend.as_ref().map(|address| Heartbeat::new(address, sources()));
    let app = App::new(Parts {
        manager: manager.clone(),
        auth: Arc::clone(&auth),
        hosts,
        front: settings.front.clone(),
        rates,
        access,
        audit,
        egress,
        calls: calls.clone(),
        wall,
        meter: backends::meter(settings),
        system: system::probe(&settings.state_dir),
        heartbeat: heartbeat.as_ref().map(Heartbeat::probe),
    });
    let scheme = if tls.is_some() { "https" } else { "http" };
    println!("listening on {scheme}://{address}");
    let (state, running) = (settings.state_dir.display(), settings.runtime_dir.display());
    tracing::info!(%address, %state, runtime = %running, "listening");
    systemd::ready(&address.to_string(), manager.groups().len());

    let shutdown = CancellationToken::new();
    let door = Door { listener, tls: tls.clone(), limits: settings.limits };
    let serving = serve(door, app, shutdown.clone());
    let life = async {
        let fresh = async {
            let tls = async {
                if let (Some(from), Some(tls), Some(files)) = (&settings.tls, &tls, &mut tls_files) {
                    from.keep_fresh(tls, files).await;
                }
            };
            let log = async {
                if let Some(log) = &mut access_log {
                    log.keep().await;
                }
            };
            let heartbeat = async {
                if let Some(heartbeat) = &heartbeat {
                    heartbeat.keep().await;
                }
            };
            let images = async {
                if let Some(policy) = settings.image_gc {
                    manager.keep_images(&*images, policy).await;
                }
            };
            tokio::join!(
                tokens::keep_fresh(&auth, settings, &mut token_files),
                tls,
                log,
                heartbeat,
                look_at(&*runtime),
                images
            );
        };
        // Only serving ends by itself, after the signal; the others are dropped with it.
        tokio::select! {
            () = serving => {}
            result = end_by_signal(ends, &shutdown) => result?,
            () = reload_by_signal(hangup, log, access_file.as_deref()) => {}
            () = fresh => {}
        }
        if let Some(log) = access_log {
            log.finish();
        }
        if tokio::time::timeout(PATIENCE, calls.finish()).await.is_err() {
            tracing::warn!("not every call was written down in time");
        }
        if !drain.drain(PATIENCE).await {
            tracing::warn!("engine calls were still under way; they are found again at the next start");
        }
        anyhow::Ok(())
    };
    // Signs of life are given until the very end, and it is the life that ends.
    tokio::select! {
        result = life => result?,
        () = service.keep_alive(&manager) => {}
    }
    tracing::info!("ended; every container is left as it was");
    Ok(())
}

/// In the state directory, which is this daemon's alone by now.
fn audit(settings: &Settings, now: Timestamp) -> Result<AuditLog> {
    let dir = settings.state_dir.join("audit");
    AuditLog::open(&dir, settings.audit, now)
        .with_context(|| format!("cannot use the audit log in {}", dir.display()))
}

fn calls(settings: &Settings, wall: &Wall, sink: Option<Box<dyn CallSink>>) -> Result<CallJournal> {
    let dir = settings.state_dir.join("calls");
    let options = CallOptions { arguments: settings.audit_arguments, sink };
    CallJournal::open(&dir, settings.audit, wall.clone(), options)
        .with_context(|| format!("cannot use the log of calls in {}", dir.display()))
}

/// The socket that was passed, else one of our own.
async fn listener(settings: &Settings, service: &mut Service) -> std::io::Result<TcpListener> {
    let Some(socket) = service.socket.take() else { return TcpListener::bind(settings.listen).await };
    socket.set_nonblocking(true)?;
    TcpListener::from_std(socket)
}

/// What the daemon is told by signals. They are listened to before anybody can know that it is there: one that came
/// before would end it on the spot.
struct Signals {
    ends: [Signal; 2],
    hangup: Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        let ends = [signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?];
        Ok(Self { ends, hangup: signal(SignalKind::hangup())? })
    }
}

/// Tokens and certificates need no signal; what a signal opens anew are the log files.
async fn reload_by_signal(mut hangup: Signal, log: &Log, access: Option<&LogFile>) {
    while hangup.recv().await.is_some() {
        systemd::reloading();
        log.reopen();
        if let Some(access) = access {
            log::reopen("access log", access);
        }
        tracing::info!("the log files were opened anew");
        systemd::reloaded();
    }
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
async fn end_by_signal([mut term, mut int]: [Signal; 2], shutdown: &CancellationToken) -> Result<()> {
    for first in [true, false] {
        // Neither loses a signal when it is dropped: both streams remember that one came.
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
        }
        if first {
            tracing::info!("ending");
            systemd::stopping(PATIENCE * 2);
            shutdown.cancel();
        }
    }
    anyhow::bail!("ended at once by a second signal")
}
