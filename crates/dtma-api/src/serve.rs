//! The accept loop: one task a connection, deadlines on everything a client may delay, and a graceful end.
//!
//! Our own because the ready-made ones leave connections that send nothing, or half a head, open for ever.

mod patience;

use crate::app::App;
use crate::routes::router;
use axum::Router;
use axum::body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use patience::{Patient, Turn};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

/// Bytes of a head, and of a body that was not asked for yet, on one connection.
const MOST_BUFFERED: usize = 64 << 10;

/// How long and how much.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServeLimits {
    /// Connections at the same moment; further ones wait in the system's queue.
    pub connections: usize,
    /// From the first byte of a request to the end of its head.
    pub head: Duration,
    /// Between two requests.
    pub idle: Duration,
    /// At the end: for requests under way.
    pub drain: Duration,
}

impl Default for ServeLimits {
    fn default() -> Self {
        Self {
            connections: 1024,
            head: Duration::from_secs(30),
            idle: Duration::from_secs(120),
            drain: Duration::from_secs(10),
        }
    }
}

/// Serves until `shutdown`, then lets requests under way finish, at most for [`ServeLimits::drain`]. Streams are
/// ended at once.
pub async fn serve(listener: TcpListener, app: App, limits: ServeLimits, shutdown: CancellationToken) {
    let mut connections = JoinSet::new();
    let recorder = record_events(&app);
    let accepting = accept(&listener, &app, limits, &mut connections, &shutdown);
    // Neither ends by itself: recording goes on as long as the manager does, accepting until the shutdown.
    tokio::select! {
        () = accepting => {}
        () = recorder => shutdown.cancelled().await,
    }
    drop(listener);
    app.closing().cancel();
    let finished = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(limits.drain, finished).await.is_err() {
        tracing::warn!("some requests were still under way at the end");
    }
}

/// Takes down events as long as the manager runs.
async fn record_events(app: &App) {
    app.journal().record(app.manager().events()).await;
}

async fn accept(
    listener: &TcpListener,
    app: &App,
    limits: ServeLimits,
    connections: &mut JoinSet<()>,
    shutdown: &CancellationToken,
) {
    let seats = Arc::new(Semaphore::new(limits.connections));
    let router = router(app.clone());
    loop {
        // All may be dropped: a connection is taken whole or stays in the queue, a seat is given back.
        tokio::select! {
            biased;
            () = shutdown.cancelled() => return,
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            taken = take(listener, &seats) => {
                let Some((stream, seat)) = taken else { continue };
                connections.spawn(connection(stream, seat, router.clone(), app.clone(), limits));
            }
        }
    }
}

async fn take(listener: &TcpListener, seats: &Arc<Semaphore>) -> Option<(TcpStream, OwnedSemaphorePermit)> {
    let seat = Arc::clone(seats).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, _)) => Some((stream, seat)),
        Err(error) => {
            // Out of file descriptors, mostly: some connection has to end before the next can begin.
            tracing::warn!(%error, "a connection could not be accepted");
            tokio::time::sleep(Duration::from_millis(100)).await;
            None
        }
    }
}

async fn connection(
    stream: TcpStream,
    seat: OwnedSemaphorePermit,
    router: Router,
    app: App,
    limits: ServeLimits,
) {
    // Without it an event would wait for the acknowledgement of the one before (measured: 44 ms).
    let _ = stream.set_nodelay(true);
    app.metrics().connections().inc();
    converse(stream, router, app.closing(), limits).await;
    app.metrics().connections().dec();
    drop(seat);
}

async fn converse(stream: TcpStream, router: Router, closing: &CancellationToken, limits: ServeLimits) {
    let turn = Turn::default();
    let io = TokioIo::new(Patient::new(stream, turn.clone(), limits.head));
    let service = service_fn(move |request: http::Request<Incoming>| {
        let (router, speaking) = (router.clone(), turn.server());
        async move {
            let response = router.oneshot(request.map(Body::new)).await?;
            Ok::<_, Infallible>(response.map(|body| speaking.during(body)))
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.idle)
        .max_buf_size(MOST_BUFFERED)
        .serve_connection(io, service);
    let mut connection = std::pin::pin!(connection);
    // The first arm may be dropped: the connection is polled to its end below.
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = closing.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        tracing::trace!(%error, "a connection ended early");
    }
}
