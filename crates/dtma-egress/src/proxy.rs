//! One client's connection: its requests one after the other, and what they leave going on.

use crate::copy::tunnel;
use crate::egress::Egress;
use crate::fault::Fault;
use crate::forward::forward;
use crate::port::Way;
use crate::serve::hear;
use crate::target;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{Request, Response};
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// Bytes of a request's head.
const MOST_HEAD: usize = 32 << 10;
/// For connections to hosts to end in order after the client's has.
const PARTING: Duration = Duration::from_secs(1);

type Body = Either<Full<Bytes>, Incoming>;

/// What goes on after a request has been answered.
pub(crate) enum Work {
    /// The other half of a request: it is of use as long as the client is there.
    Drive(BoxFuture<'static, ()>),
    /// What the client's connection becomes.
    Tunnel(BoxFuture<'static, ()>),
}

/// Takes work on; it is done by whoever owns the connection.
#[derive(Clone)]
pub(crate) struct Works(mpsc::Sender<Work>);

impl Works {
    /// A connection that has ended takes no work; nobody waits for what it would have brought.
    pub(crate) async fn send(&self, work: Work) {
        let _ = self.0.send(work).await;
    }
}

/// Serves a client until it, or its tunnel, has ended.
pub(crate) async fn converse(stream: TcpStream, egress: Arc<Egress>) {
    let _ = stream.set_nodelay(true);
    let (works, mut orders) = mpsc::channel(4);
    let head = egress.limits().head;
    let service = service_fn(move |request| answer(Arc::clone(&egress), Works(works.clone()), request));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(head)
        .max_header_size(MOST_HEAD)
        .max_buf_size(2 * MOST_HEAD)
        .preserve_header_case(true)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut connection = std::pin::pin!(connection);
    let mut going_on = GoingOn::default();
    let result = loop {
        tokio::select! {
            // Neither of the first two loses anything when dropped: it stays in the queue, or in the set.
            Some(work) = orders.recv() => going_on.take(work),
            Some(ended) = going_on.drives.join_next(), if !going_on.drives.is_empty() => hear(ended),
            result = connection.as_mut() => break result,
        }
    };
    // The connection may have ended, or become a tunnel, at the very moment it asked for work.
    while let Ok(work) = orders.try_recv() {
        going_on.take(work);
    }
    match result {
        Ok(()) => going_on.part().await,
        Err(error) => tracing::trace!(%error, "a connection ended early"),
    }
}

/// Dropped, it is ended.
#[derive(Default)]
struct GoingOn {
    drives: JoinSet<()>,
    tunnel: Option<BoxFuture<'static, ()>>,
}

impl GoingOn {
    fn take(&mut self, work: Work) {
        match work {
            Work::Drive(drive) => drop(self.drives.spawn(drive)),
            Work::Tunnel(tunnel) => self.tunnel = Some(tunnel),
        }
    }

    /// The client's connection has ended in order, or become a tunnel.
    async fn part(mut self) {
        let rest = async {
            while let Some(ended) = self.drives.join_next().await {
                hear(ended);
            }
        };
        let tunnel = async {
            if let Some(tunnel) = self.tunnel {
                tunnel.await;
            }
        };
        // What is not over by then is ended with the set.
        let _ = tokio::join!(tokio::time::timeout(PARTING, rest), tunnel);
    }
}

async fn answer(
    egress: Arc<Egress>,
    works: Works,
    request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    let answered = pass(&egress, &works, request).await;
    Ok(answered.unwrap_or_else(|fault| fault.response().map(Either::Left)))
}

async fn pass(
    egress: &Arc<Egress>,
    works: &Works,
    mut request: Request<Incoming>,
) -> Result<Response<Body>, Fault> {
    let (way, limits) = (target::way(request.method()), egress.limits());
    let target = target::of(request.method(), request.uri(), request.version());
    let departure = egress.depart(way, &request.uri().to_string(), target).await?;
    match way {
        Way::Connect => {
            let upgrade = hyper::upgrade::on(&mut request);
            works.send(Work::Tunnel(Box::pin(tunnel(upgrade, departure, limits)))).await;
            Ok(Response::new(Either::Left(Full::default())))
        }
        Way::Http => Ok(forward(request, departure, works, limits).await?.map(Either::Right)),
    }
}
