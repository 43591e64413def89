//! The accept loop: one task a connection, deadlines on everything a client may delay, and a graceful end.
//!
//! Our own because the ready-made ones leave connections that send nothing, or half a head, open for ever.

mod patience;
mod seat;
mod shake;
mod upgrade;

use crate::app::App;
use crate::front::Secure;
use crate::routes::router;
use crate::tls::Tls;
use axum::Router;
use axum::body::Body;
use http::StatusCode;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use patience::{Patient, Turn};
use seat::{Seat, Seats, turn_away};
use shake::shake;
use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;
pub(crate) use upgrade::Upgrade;

/// Bytes of a head, and of a body that was not asked for yet, on one connection. The last read may go beyond it, so
/// that a head of up to twice the size is let through.
const MOST_BUFFERED: usize = 64 << 10;

/// How long and how much.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServeLimits {
    /// Connections at the same moment; further ones wait in the system's queue.
    pub connections: usize,
    /// Connections of one address; further ones are answered 503 and closed (with TLS: closed).
    pub per_peer: usize,
    /// For the TLS handshake.
    pub handshake: Duration,
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
            per_peer: 512,
            handshake: Duration::from_secs(10),
            head: Duration::from_secs(30),
            idle: Duration::from_secs(120),
            drain: Duration::from_secs(10),
        }
    }
}

/// Where and how is served.
pub struct Door {
    /// Where.
    pub listener: TcpListener,
    /// Without it plain HTTP is spoken.
    pub tls: Option<Arc<Tls>>,
    /// How long and how much.
    pub limits: ServeLimits,
}

/// The address a request came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Peer(pub(crate) IpAddr);

/// Serves until `shutdown`, then lets requests under way finish, at most for [`ServeLimits::drain`]. Streams are
/// ended at once.
pub async fn serve(door: Door, app: App, shutdown: CancellationToken) {
    let mut connections = JoinSet::new();
    let drain = door.limits.drain;
    let recorder = record_events(&app);
    let accepting = accept(&door, &app, &mut connections, &shutdown);
    // Neither ends by itself: recording goes on as long as the manager does, accepting until the shutdown.
    tokio::select! {
        () = accepting => {}
        () = recorder => shutdown.cancelled().await,
    }
    drop(door);
    app.closing().cancel();
    let finished = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(drain, finished).await.is_err() {
        tracing::warn!("some requests were still under way at the end");
    }
}

/// Takes down events as long as the manager runs.
async fn record_events(app: &App) {
    app.journal().record(app.manager().events()).await;
}

async fn accept(door: &Door, app: &App, connections: &mut JoinSet<()>, shutdown: &CancellationToken) {
    let seats = Seats::new(door.limits.connections, door.limits.per_peer);
    let router = router(app.clone());
    loop {
        // All may be dropped: a connection is taken whole or stays in the queue, a seat is given back.
        tokio::select! {
            biased;
            () = shutdown.cancelled() => return,
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            taken = take(door, &seats) => {
                let Some((stream, peer, seat)) = taken else { continue };
                let (tls, limits) = (door.tls.clone(), door.limits);
                let secure = tls.is_some();
                let talk = Talk { router: router.clone(), app: app.clone(), peer, secure, limits };
                connections.spawn(connection(stream, seat, tls, talk));
            }
        }
    }
}

async fn take(door: &Door, seats: &Seats) -> Option<(TcpStream, IpAddr, Seat)> {
    let place = seats.place().await?;
    match door.listener.accept().await {
        Ok((stream, peer)) => {
            let peer = peer.ip().to_canonical();
            match seats.seat(place, peer) {
                Some(seat) => Some((stream, peer, seat)),
                None => {
                    turn_away(stream, door.tls.is_some());
                    None
                }
            }
        }
        Err(error) => {
            // Out of file descriptors, mostly: some connection has to end before the next can begin.
            tracing::warn!(%error, "a connection could not be accepted");
            tokio::time::sleep(Duration::from_millis(100)).await;
            None
        }
    }
}

/// What is the same over the whole life of a connection.
struct Talk {
    router: Router,
    app: App,
    peer: IpAddr,
    secure: bool,
    limits: ServeLimits,
}

async fn connection(stream: TcpStream, seat: Seat, tls: Option<Arc<Tls>>, talk: Talk) {
    // Without it an event would wait for the acknowledgement of the one before (measured: 44 ms).
    let _ = stream.set_nodelay(true);
    let app = talk.app.clone();
    app.metrics().connections().inc();
    match tls {
        None => converse(stream, talk).await,
        Some(tls) => match shake(stream, &tls, talk.limits.handshake).await {
            Ok(stream) => converse(stream, talk).await,
            Err(error) => tracing::debug!(peer = %talk.peer, %error, "no TLS with this client"),
        },
    }
    app.metrics().connections().dec();
    drop(seat);
}

async fn converse<S>(stream: S, talk: Talk)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let Talk { router, app, peer, secure, limits } = talk;
    let turn = Turn::default();
    let io = TokioIo::new(Patient::new(stream, turn.clone(), limits.head));
    let upgrade = Upgrade::default();
    let wanted = upgrade.clone();
    let service = service_fn(move |mut request: http::Request<Incoming>| {
        let (router, speaking) = (router.clone(), turn.server());
        request.extensions_mut().insert(Peer(peer));
        if secure {
            request.extensions_mut().insert(Secure);
        }
        request.extensions_mut().insert(wanted.clone());
        async move {
            let response = router.oneshot(request.map(Body::new)).await?;
            if response.status() == StatusCode::SWITCHING_PROTOCOLS {
                speaking.for_good();
            }
            Ok::<_, Infallible>(response.map(|body| speaking.during(body)))
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.idle)
        .max_buf_size(MOST_BUFFERED)
        .serve_connection(io, service)
        .with_upgrades();
    let mut connection = std::pin::pin!(connection);
    // The first arm may be dropped: the connection is polled to its end below.
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = app.closing().cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        tracing::trace!(%error, "a connection ended early");
    }
    upgrade.run().await;
}
