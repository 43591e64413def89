//! Published ports: the daemon itself listens on the host's loopback and forwards to the containers that serve.
//! Docker publishes nothing, so an old and a new container may stand side by side, and a taken port is known before
//! anything is made.

use crate::error::ManagerError;
use dtma_core::spec::Publish;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
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
    host_port: u16,
    traffic: Arc<Traffic>,
    task: JoinSet<()>,
}

/// Where connections go, and how many are open to where.
pub(crate) struct Traffic {
    table: Mutex<Table>,
    changed: watch::Sender<()>,
}

#[derive(Default)]
struct Table {
    targets: Vec<SocketAddr>,
    next: usize,
    open: BTreeMap<SocketAddr, usize>,
}

/// Opens every port, or none.
pub(crate) fn open_all(address: IpAddr, wanted: &[Publish]) -> Result<Vec<Forward>, ManagerError> {
    wanted.iter().map(|publish| Forward::open(address, publish.host_port)).collect()
}

impl Forward {
    /// Listens; connections are closed until [`serve`](Self::serve) names a container.
    pub(crate) fn open(address: IpAddr, host_port: u16) -> Result<Self, ManagerError> {
        let taken =
            |error: std::io::Error| ManagerError::PortTaken { port: host_port, problem: error.to_string() };
        let listener = listen(SocketAddr::new(address, host_port)).map_err(taken)?;
        let traffic = Arc::new(Traffic { table: Mutex::default(), changed: watch::Sender::new(()) });
        let mut task = JoinSet::new();
        task.spawn(accept(listener, Arc::clone(&traffic)));
        Ok(Self { host_port, traffic, task })
    }

    /// The port of the host.
    pub(crate) fn host_port(&self) -> u16 {
        self.host_port
    }

    /// Hangs up; when it returns the port is free.
    pub(crate) async fn close(mut self) {
        self.task.shutdown().await;
    }

    /// New connections go to these in turn from now on, or to nobody; what is open stays as it is.
    pub(crate) fn serve(&self, targets: &[SocketAddr]) {
        let mut table = self.traffic.table();
        if table.targets != targets {
            table.targets = targets.to_vec();
        }
    }

    /// For waiting until connections have ended, apart from this value's life.
    pub(crate) fn traffic(&self) -> Arc<Traffic> {
        Arc::clone(&self.traffic)
    }
}

impl Traffic {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns once no connection to this address is open.
    pub(crate) async fn ended(&self, ip: IpAddr) {
        let mut changed = self.changed.subscribe();
        let open = || self.table().open.keys().any(|target| target.ip() == ip);
        while open() && changed.changed().await.is_ok() {}
    }

    /// Every target, the one whose turn it is first; that one is counted as taken.
    fn turn(self: &Arc<Self>) -> Vec<SocketAddr> {
        let mut table = self.table();
        let (mut targets, turn) = (table.targets.clone(), table.next);
        table.next = turn.wrapping_add(1);
        if !targets.is_empty() {
            let first = turn % targets.len();
            targets.rotate_left(first);
        }
        targets
    }

    fn open(self: &Arc<Self>, target: SocketAddr) -> Open {
        *self.table().open.entry(target).or_default() += 1;
        Open { traffic: Arc::clone(self), target }
    }
}

/// A connection that is counted.
struct Open {
    traffic: Arc<Traffic>,
    target: SocketAddr,
}

impl Drop for Open {
    fn drop(&mut self) {
        let mut table = self.traffic.table();
        if let Some(open) = table.open.get_mut(&self.target) {
            *open -= 1;
            if *open == 0 {
                table.open.remove(&self.target);
            }
        }
        drop(table);
        self.traffic.changed.send_replace(());
    }
}

/// Binding does not wait for anybody, so it need not be async.
fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let listener = std::net::TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

async fn accept(listener: TcpListener, traffic: Arc<Traffic>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            // Dropping `accept` loses no connection: it stays in the listener's queue.
            accepted = listener.accept(), if connections.len() < MAX_CONNECTIONS => match accepted {
                Ok((client, _)) => {
                    connections.spawn(forward(client, Arc::clone(&traffic)));
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

async fn forward(mut client: TcpStream, traffic: Arc<Traffic>) {
    let Some((mut upstream, _open)) = connect(&traffic).await else { return };
    let _ = (client.set_nodelay(true), upstream.set_nodelay(true));
    // An error here is one side hanging up, which ends the other by the drop below.
    let _ = copy_bidirectional(&mut client, &mut upstream).await;
}

/// The first target that takes the connection. It is counted before it is tried, so that nobody ends a container
/// between the choice and the connection.
async fn connect(traffic: &Arc<Traffic>) -> Option<(TcpStream, Open)> {
    for target in traffic.turn() {
        let open = traffic.open(target);
        if let Ok(Ok(upstream)) = tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(target)).await {
            return Some((upstream, open));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    /// Says its name to whoever connects and hangs up when the other side does.
    async fn named(name: &'static str, tasks: &mut JoinSet<()>) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((mut client, _)) = listener.accept().await {
                connections.spawn(async move {
                    let _ = client.write_all(name.as_bytes()).await;
                    let _ = client.read(&mut [0]).await;
                });
            }
        });
        address
    }

    async fn dial(port: u16) -> (TcpStream, String) {
        let mut client = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let mut name = vec![0; 1];
        let read = client.read(&mut name).await.unwrap();
        name.truncate(read);
        (client, String::from_utf8(name).unwrap())
    }

    #[tokio::test]
    async fn targets_take_turns_and_one_that_is_gone_is_passed_over() {
        let mut tasks = JoinSet::new();
        let (a, b) = (named("a", &mut tasks).await, named("b", &mut tasks).await);
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let forward = Forward::open("127.0.0.1".parse().unwrap(), free.port()).unwrap();
        assert_eq!(dial(free.port()).await.1, "", "nobody serves");
        forward.serve(&[a, b, "127.0.0.1:1".parse().unwrap()]);
        let mut names = Vec::new();
        for _ in 0..6 {
            names.push(dial(free.port()).await.1);
        }
        assert!(names.contains(&"a".to_owned()) && names.contains(&"b".to_owned()), "{names:?}");
        assert!(names.iter().all(|name| !name.is_empty()), "{names:?}");
    }

    #[tokio::test]
    async fn what_is_open_goes_on_after_a_switch_and_is_waited_for() {
        let mut tasks = JoinSet::new();
        let (a, b) = (named("a", &mut tasks).await, named("b", &mut tasks).await);
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let forward = Forward::open("127.0.0.1".parse().unwrap(), free.port()).unwrap();
        forward.serve(&[a]);
        let (old, name) = dial(free.port()).await;
        assert_eq!(name, "a");
        forward.serve(&[b]);
        assert_eq!(dial(free.port()).await.1, "b");
        let traffic = forward.traffic();
        let waiting = traffic.ended(a.ip());
        tokio::pin!(waiting);
        assert!(tokio::time::timeout(Duration::from_millis(50), &mut waiting).await.is_err());
        drop(old);
        waiting.await;
    }
}
