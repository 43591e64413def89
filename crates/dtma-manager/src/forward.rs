//! Ports that the daemon listens on and forwards to the containers that serve: published ones on the host's loopback,
//! and those of dependencies on a container's own. Docker publishes nothing, so an old and a new container may stand
//! side by side, and a taken port is known before anything is made.

use crate::error::ManagerError;
use dtma_core::id::ContainerId;
use dtma_core::port::{ContainerRuntime, RuntimeError};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Connections forwarded at the same time per port; further ones wait in the listener's queue.
const MAX_CONNECTIONS: usize = 1024;

/// A port that is listened on.
pub(crate) struct Forward {
    port: u16,
    traffic: Arc<Traffic>,
    task: JoinSet<()>,
}

/// Where a connection goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) container: ContainerId,
    pub(crate) port: u16,
}

/// Where connections go, and how many are open to where.
pub(crate) struct Traffic {
    runtime: Arc<dyn ContainerRuntime>,
    table: Mutex<Table>,
    changed: watch::Sender<()>,
}

#[derive(Default)]
struct Table {
    targets: Vec<Target>,
    next: usize,
    open: BTreeMap<ContainerId, usize>,
}

impl Forward {
    /// Listens on the host; connections are closed until [`serve`](Self::serve) names a container.
    pub(crate) fn open(
        runtime: &Arc<dyn ContainerRuntime>,
        address: IpAddr,
        host_port: u16,
    ) -> Result<Self, ManagerError> {
        let taken =
            |error: std::io::Error| ManagerError::PortTaken { port: host_port, problem: error.to_string() };
        let listener = listen(SocketAddr::new(address, host_port)).map_err(taken)?;
        Ok(Self::on(listener, host_port, runtime))
    }

    /// The same on a listener inside a container, which has this port there.
    pub(crate) fn inside(
        runtime: &Arc<dyn ContainerRuntime>,
        listener: std::net::TcpListener,
        port: u16,
    ) -> Result<Self, RuntimeError> {
        let ours = listener.set_nonblocking(true).and_then(|()| TcpListener::from_std(listener));
        let unusable = |error: std::io::Error| RuntimeError::Broken {
            call: "listen inside",
            problem: format!("port {port}: {error}"),
        };
        Ok(Self::on(ours.map_err(unusable)?, port, runtime))
    }

    fn on(listener: TcpListener, port: u16, runtime: &Arc<dyn ContainerRuntime>) -> Self {
        let (runtime, changed) = (Arc::clone(runtime), watch::Sender::new(()));
        let traffic = Arc::new(Traffic { runtime, table: Mutex::default(), changed });
        let mut task = JoinSet::new();
        task.spawn(accept(listener, Arc::clone(&traffic)));
        Self { port, traffic, task }
    }

    /// The port that is listened on.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Hangs up; when it returns the port is free.
    pub(crate) async fn close(mut self) {
        self.task.shutdown().await;
    }

    /// New connections go to these in turn from now on, or to nobody; what is open stays as it is.
    pub(crate) fn serve(&self, targets: &[Target]) {
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

    /// Returns once no connection to this container is open.
    pub(crate) async fn ended(&self, container: &ContainerId) {
        let mut changed = self.changed.subscribe();
        let open = || self.table().open.contains_key(container);
        while open() && changed.changed().await.is_ok() {}
    }

    /// Every target, the one whose turn it is first; that one is counted as taken.
    fn turn(&self) -> Vec<Target> {
        let mut table = self.table();
        let (mut targets, turn) = (table.targets.clone(), table.next);
        table.next = turn.wrapping_add(1);
        if !targets.is_empty() {
            let first = turn % targets.len();
            targets.rotate_left(first);
        }
        targets
    }

    fn open(self: &Arc<Self>, container: ContainerId) -> Open {
        *self.table().open.entry(container.clone()).or_default() += 1;
        Open { traffic: Arc::clone(self), container }
    }
}

/// A connection that is counted.
struct Open {
    traffic: Arc<Traffic>,
    container: ContainerId,
}

impl Drop for Open {
    fn drop(&mut self) {
        let mut table = self.traffic.table();
        if let Some(open) = table.open.get_mut(&self.container) {
            *open -= 1;
            if *open == 0 {
                table.open.remove(&self.container);
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
        let open = traffic.open(target.container.clone());
        match dial(&traffic.runtime, &target).await {
            Ok(upstream) => return Some((upstream, open)),
            Err(error) => tracing::debug!(container = target.container.short(), %error, "not forwarded"),
        }
    }
    None
}

async fn dial(runtime: &Arc<dyn ContainerRuntime>, target: &Target) -> Result<TcpStream, RuntimeError> {
    let stream = runtime.dial(&target.container, target.port).await?;
    let ours = stream.set_nonblocking(true).and_then(|()| TcpStream::from_std(stream));
    ours.map_err(|error| RuntimeError::Broken { call: "dial", problem: error.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use dtma_core::id::{GroupId, SlotId};
    use dtma_core::port::runtime::CreateNetwork;
    use dtma_core::spec::NetworkMode;
    use dtma_testing::fake_runtime::Process;
    use dtma_testing::{FakeRuntime, FakeRuntimeRemote, sample};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    const PORT: u16 = 80;

    /// An engine whose containers say their names on [`PORT`], and a port of the host.
    struct Stage {
        runtime: Arc<dyn ContainerRuntime>,
        engine: FakeRuntimeRemote,
        forward: Forward,
    }

    impl Stage {
        fn new() -> Self {
            let (runtime, engine) = FakeRuntime::new();
            engine.add_image_running("named", say_name);
            let runtime: Arc<dyn ContainerRuntime> = Arc::new(runtime);
            let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let forward = Forward::open(&runtime, IpAddr::from([127, 0, 0, 1]), free).unwrap();
            Self { runtime, engine, forward }
        }

        async fn start(&self, name: &str) -> Target {
            let group: GroupId = sample::group("g");
            let network = CreateNetwork {
                name: "net".into(),
                group: group.clone(),
                mode: NetworkMode::Group,
                labels: BTreeMap::new(),
            };
            let network = self.runtime.create_network(&network).await.unwrap();
            let mut config = sample::container_config("named");
            config.network = NetworkMode::Group;
            let slot = SlotId { group, instance: sample::instance(name), replica: 0 };
            let facts = sample::image_facts(&"named".into());
            let mut request = sample::create_container(&"owner".into(), &slot, config, &facts);
            request.network = Some(network);
            let container = self.runtime.create(&request).await.unwrap();
            self.runtime.start(&container, &sample::launch()).await.unwrap();
            // The fake's process begins to listen when it is polled.
            while self.runtime.dial(&container, PORT).await.is_err() {
                tokio::task::yield_now().await;
            }
            Target { container, port: PORT }
        }

        async fn connect(&self) -> (TcpStream, String) {
            let mut client = TcpStream::connect(("127.0.0.1", self.forward.port())).await.unwrap();
            let mut name = vec![0; 1];
            let read = client.read(&mut name).await.unwrap();
            name.truncate(read);
            (client, String::from_utf8(name).unwrap())
        }
    }

    /// Says its name to whoever connects and hangs up when the other side does.
    async fn say_name(process: Process) -> i64 {
        let listener = process.ports.listen(PORT);
        let name = process.container.slot.instance.to_string();
        let mut connections = JoinSet::new();
        while let Ok((mut client, _)) = listener.accept().await {
            let name = name.clone();
            connections.spawn(async move {
                let _ = client.write_all(name.as_bytes()).await;
                let _ = client.read(&mut [0]).await;
            });
        }
        0
    }

    #[tokio::test]
    async fn targets_take_turns_and_one_that_is_gone_is_passed_over() {
        let stage = Stage::new();
        assert_eq!(stage.connect().await.1, "", "nobody serves");
        let (a, b, gone) = (stage.start("a").await, stage.start("b").await, stage.start("c").await);
        stage.engine.exit("c", 1);
        stage.forward.serve(&[a, b, gone]);
        let mut names = Vec::new();
        for _ in 0..6 {
            names.push(stage.connect().await.1);
        }
        assert!(names.contains(&"a".to_owned()) && names.contains(&"b".to_owned()), "{names:?}");
        assert!(names.iter().all(|name| !name.is_empty()), "{names:?}");
    }

    #[tokio::test]
    async fn what_is_open_goes_on_after_a_switch_and_is_waited_for() {
        let stage = Stage::new();
        let (a, b) = (stage.start("a").await, stage.start("b").await);
        stage.forward.serve(std::slice::from_ref(&a));
        let (old, name) = stage.connect().await;
        assert_eq!(name, "a");
        stage.forward.serve(std::slice::from_ref(&b));
        let (new, name) = stage.connect().await;
        assert_eq!(name, "b");
        let traffic = stage.forward.traffic();
        let waiting = traffic.ended(&a.container);
        tokio::pin!(waiting);
        assert!(tokio::time::timeout(Duration::from_millis(50), &mut waiting).await.is_err());
        drop(old);
        waiting.await;
        assert!(tokio::time::timeout(Duration::from_millis(50), traffic.ended(&b.container)).await.is_err());
        drop(new);
    }
}
