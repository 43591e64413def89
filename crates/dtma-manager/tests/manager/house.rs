//! A manager over fakes, with the remote controls of all of them.

use dtma_config::{Configurator, Policy, Templates};
use dtma_core::id::{GroupId, InstanceName};
use dtma_core::port::NoEgress;
use dtma_core::port::StateStore;
use dtma_core::record::Removal;
use dtma_core::spec::{Condition, Dependency, GroupSpec, ServerKind, ServerSpec, Transport};
use dtma_manager::{
    Backends, Deployed, Drain, Manager, ManagerError, ManagerHandle, ServerStatus, Settings, Wait,
};
use dtma_testing::fake_runtime::{Held, Open, Verb};
use dtma_testing::{
    FakeMcpServer, FakeMcpServerRemote, FakeRuntime, FakeRuntimeRemote, MemoryStore, MemoryStoreRemote,
};
use std::sync::Arc;
use std::time::Duration;

/// Longer than anything takes under paused time, except what is meant to take longer.
pub(crate) const SOON: Wait = Wait::Until(Duration::from_secs(120));

pub(crate) struct House {
    pub(crate) manager: ManagerHandle,
    drain: Option<Drain>,
    pub(crate) engine: FakeRuntimeRemote,
    pub(crate) store: MemoryStoreRemote,
    pub(crate) mcp: FakeMcpServerRemote,
    /// Containers are begun by the shim.
    pub(crate) shims: bool,
    held: Vec<Held>,
}

impl House {
    /// An engine with the images `tool` and `mcp`, and a manager that has nothing to do yet.
    pub(crate) async fn new() -> Self {
        Self::with(false).await
    }

    /// The same, with shims or without.
    pub(crate) async fn with(shims: bool) -> Self {
        let (runtime, engine) = FakeRuntime::new();
        let (_, store) = MemoryStore::new();
        let (server, mcp) = FakeMcpServer::new();
        engine.add_image_running("tool", Open);
        engine.add_image_running("mcp", server);
        drop(runtime);
        let (manager, drain) = start(&engine, &store, shims).await;
        Self { manager, drain: Some(drain), engine, store, mcp, shims, held: Vec::new() }
    }

    /// Ends the manager and starts another over the same engine and store.
    pub(crate) async fn restart_daemon(&mut self) {
        self.stop_daemon().await;
        self.start_daemon().await;
    }

    pub(crate) async fn stop_daemon(&mut self) {
        if let Some(drain) = self.drain.take() {
            assert!(drain.drain(Duration::from_secs(60)).await, "the manager ends");
        }
    }

    pub(crate) async fn start_daemon(&mut self) {
        let (manager, drain) = start(&self.engine, &self.store, self.shims).await;
        (self.manager, self.drain) = (manager, Some(drain));
    }

    pub(crate) async fn deploy(
        &self,
        group: &str,
        servers: Vec<ServerSpec>,
    ) -> Result<Deployed, ManagerError> {
        self.manager.deploy(spec(group, servers), SOON).await
    }

    pub(crate) async fn remove(&self, group: &str, how: Removal) {
        self.manager.remove(&group_id(group), how, SOON).await.unwrap();
    }

    pub(crate) fn server(&self, group: &str, instance: &str) -> ServerStatus {
        let status = self.manager.group(&group_id(group)).unwrap();
        status.server(&name(instance)).unwrap().clone()
    }

    /// Waits until the server's phase has this word.
    pub(crate) async fn until(&self, group: &str, instance: &str, word: &str) -> ServerStatus {
        for _ in 0..100_000 {
            let server = self.server(group, instance);
            if server.phase.word() == word {
                return server;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{instance} never became {word}: {:?}", self.server(group, instance));
    }

    /// Puts the image `tool` back.
    pub(crate) fn add_images(&self) {
        self.engine.add_image_running("tool", Open);
    }

    /// Calls of this verb hang until [`let_go`](Self::let_go).
    pub(crate) fn hold(&mut self, verb: Verb) {
        self.held.push(self.engine.hold(verb));
    }

    pub(crate) fn let_go(&mut self) {
        self.held.clear();
    }

    /// Nothing of anything is left in the engine.
    pub(crate) fn check_nothing_left(&self) {
        assert_eq!(self.engine.containers().len(), 0, "containers");
        assert_eq!(self.engine.network_count(), 0, "networks");
    }
}

async fn start(engine: &FakeRuntimeRemote, store: &MemoryStoreRemote, shims: bool) -> (ManagerHandle, Drain) {
    let store = Arc::new(store.reopen());
    let clock = engine.clone();
    let backends = Backends {
        egress: Arc::new(NoEgress),
        runtime: Arc::new(engine.connect()),
        loaded: store.load().await.unwrap(),
        store,
        configurator: Arc::new(configurator(shims)),
        pressure: Arc::new(|| None),
        wall: Arc::new(move || clock.now()),
    };
    Manager::start(Settings { least_starting: 4, ..Settings::default() }, backends)
}

pub(crate) fn configurator(shims: bool) -> Configurator {
    Configurator::new(Templates::builtin(), Policy::default()).with_shim(shims)
}

pub(crate) fn name(text: &str) -> InstanceName {
    text.parse().unwrap()
}

pub(crate) fn group_id(text: &str) -> GroupId {
    text.parse().unwrap()
}

pub(crate) fn spec(group: &str, servers: Vec<ServerSpec>) -> GroupSpec {
    GroupSpec::new(group_id(group), servers)
}

pub(crate) fn tool(instance: &str) -> ServerSpec {
    ServerSpec::new(name(instance), ServerKind::Tool, "tool".into())
}

pub(crate) fn mcp(instance: &str) -> ServerSpec {
    ServerSpec::new(name(instance), ServerKind::Mcp(Transport::Stdio), "mcp".into())
}

/// `server` waits for `on`.
pub(crate) fn after(mut server: ServerSpec, on: &str, condition: Condition) -> ServerSpec {
    server.depends_on.push(Dependency { instance: name(on), condition, connect: None });
    server
}
