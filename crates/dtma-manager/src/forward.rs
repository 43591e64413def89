//! Published ports: the daemon itself listens on the host's loopback and forwards to the container that serves.
//! Docker publishes nothing, so an old and a new container may stand side by side, and a taken port is known before
//! anything is made.

use crate::error::ManagerError;
use dtma_core::spec::Publish;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// How long a connection to the container may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Connections forwarded at the same time per port; further ones wait in the listener's queue.
const MAX_CONNECTIONS: usize = 1024;

/// A port that is listened on.
pub(crate) struct Forward {
    pub(crate) publish: Publish,
    target: watch::Sender<Option<IpAddr>>,
    task: JoinSet<()>,
}

/// Opens every port, or none.
pub(crate) fn open_all(address: IpAddr, wanted: &[Publish]) -> Result<Vec<Forward>, ManagerError> {
    wanted.iter().map(|publish| Forward::open(address, *publish)).collect()
}

impl Forward {
    /// Listens; connections are closed until [`serve`](Self::serve) names a container.
    pub(crate) fn open(address: IpAddr, publish: Publish) -> Result<Self, ManagerError> {
        let taken = |error: std::io::Error| ManagerError::PortTaken {
            port: publish.host_port,
            problem: error.to_string(),
        };
        let listener = listen(SocketAddr::new(address, publish.host_port)).map_err(taken)?;
        let (target, watched) = watch::channel(None);
        let mut task = JoinSet::new();
        task.spawn(accept(listener, watched, publish.container_port));
        Ok(Self { publish, target, task })
    }

    /// Hangs up; when it returns the port is free.
    pub(crate) async fn close(mut self) {
        self.task.shutdown().await;
    }

    /// Forwards to this address from now on, or to nobody.
    pub(crate) fn serve(&self, ip: Option<IpAddr>) {
        self.target.send_if_modified(|current| std::mem::replace(current, ip) != ip);
    }
}

/// Binding does not wait for anybody, so it need not be async.
fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let listener = std::net::TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

async fn accept(listener: TcpListener, target: watch::Receiver<Option<IpAddr>>, port: u16) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            // Dropping `accept` loses no connection: it stays in the listener's queue.
            accepted = listener.accept(), if connections.len() < MAX_CONNECTIONS => match accepted {
                Ok((client, _)) => {
                    let server = target.borrow().map(|ip| SocketAddr::new(ip, port));
                    connections.spawn(forward(client, server));
                }
                // Out of descriptors, most likely: trying again at once would spin.
                Err(error) => {
                    tracing::warn!(%error, "accept failed");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
            // Dropping `join_next` loses no result: it stays in the set.
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn forward(mut client: TcpStream, server: Option<SocketAddr>) {
    let Some(server) = server else { return };
    let connected = tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(server)).await;
    let Ok(Ok(mut upstream)) = connected else { return };
    let _ = (client.set_nodelay(true), upstream.set_nodelay(true));
    // An error here is one side hanging up, which ends the other by the drop below.
    let _ = copy_bidirectional(&mut client, &mut upstream).await;
}
