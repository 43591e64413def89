//! A served API over a manager over fakes.

use crate::wire::{Answer, exchange};
use dtma_api::auth::{Auth, Hosts, Scope, Token};
use dtma_api::limit::Rates;
use dtma_api::tls::Tls;
use dtma_api::{
    AccessLines, App, AuditBounds, AuditLog, CallJournal, CallOptions, CallOver, CallSink, Door,
    EgressJournal, Parts, ServeLimits, SpanCounts, serve,
};
use dtma_client::Client;
use dtma_client::types::compat::SystemMetrics;
use dtma_config::{Configurator, Policy, Templates};
use dtma_core::id::ContainerId;
use dtma_core::port::NoEgress;
use dtma_core::port::meter::Usage;
use dtma_core::port::{Meter, StateStore};
use dtma_manager::{Backends, Drain, Manager, Settings};
use dtma_testing::fake_runtime::Open;
use dtma_testing::{FakeMcpServer, FakeMcpServerRemote, FakeRuntime, FakeRuntimeRemote, MemoryStore};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// The token named `robot`, which may do everything.
pub(crate) const ROBOT: &str = "canary-in-the-token";

pub(crate) struct House {
    pub(crate) address: SocketAddr,
    pub(crate) engine: FakeRuntimeRemote,
    pub(crate) mcp: FakeMcpServerRemote,
    pub(crate) auth: Arc<Auth>,
    pub(crate) shutdown: CancellationToken,
    pub(crate) served: JoinHandle<()>,
    pub(crate) dir: tempfile::TempDir,
    /// Calls that are over.
    pub(crate) over: Arc<Mutex<Vec<String>>>,
    _drain: Drain,
}

/// Remembers the calls that are over.
struct Remembers(Arc<Mutex<Vec<String>>>);

impl CallSink for Remembers {
    fn over(&mut self, call: &CallOver<'_>) {
        self.0.lock().unwrap().push(format!("{call:?}"));
    }

    fn spans(&self) -> SpanCounts {
        SpanCounts::default()
    }
}

/// Every container uses the same.
struct OneSize;

impl Meter for OneSize {
    fn read(&self, _: &ContainerId) -> Option<Usage> {
        Some(Usage { cpu_micros: Some(1500), memory: Some(4096), ..Usage::default() })
    }
}

impl House {
    pub(crate) async fn new() -> Self {
        Self::with(ServeLimits::default()).await
    }

    /// Tokens are named after their only scope; the engine has the images `tool` and `mcp`.
    pub(crate) async fn with(limits: ServeLimits) -> Self {
        Self::with_tls(limits, None).await
    }

    pub(crate) async fn with_tls(limits: ServeLimits, tls: Option<Arc<Tls>>) -> Self {
        Self::with_all(limits, tls, Rates::off(), None).await
    }

    pub(crate) async fn with_all(
        limits: ServeLimits,
        tls: Option<Arc<Tls>>,
        rates: Rates,
        access: Option<AccessLines>,
    ) -> Self {
        Self::in_dir(limits, tls, rates, access, tempfile::tempdir().unwrap()).await
    }

    /// The audit log is in the folder `audit` of `dir`.
    pub(crate) async fn in_dir(
        limits: ServeLimits,
        tls: Option<Arc<Tls>>,
        rates: Rates,
        access: Option<AccessLines>,
        dir: tempfile::TempDir,
    ) -> Self {
        let (runtime, engine) = FakeRuntime::new();
        let (server, mcp) = FakeMcpServer::new();
        engine.add_image_running("tool", Open);
        engine.add_image_running("mcp", server);
        let (store, _) = MemoryStore::new();
        let clock = engine.clone();
        let wall: dtma_manager::wall::Wall = Arc::new(move || clock.now());
        let (manager, drain) = Manager::start(
            Settings::default(),
            Backends {
                egress: Arc::new(NoEgress),
                runtime: Arc::new(runtime),
                loaded: store.load().await.unwrap(),
                store: Arc::new(store),
                configurator: Arc::new(Configurator::new(Templates::builtin(), Policy::default())),
                pressure: Arc::new(|| None),
                wall: Arc::clone(&wall),
            },
        );
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let tokens = Scope::ALL.map(|scope| Token::new(scope.as_str(), scope.as_str(), [scope]));
        let robot = Token::new("robot", ROBOT, [Scope::Admin]);
        let auth = Arc::new(Auth::tokens(tokens.into_iter().chain([robot]).collect()));
        let audit = AuditLog::open(&dir.path().join("audit"), AuditBounds::default(), wall()).unwrap();
        let egress =
            EgressJournal::open(&dir.path().join("egress"), AuditBounds::default(), Arc::clone(&wall))
                .unwrap();
        let over = Arc::<Mutex<Vec<String>>>::default();
        let sink: Box<dyn CallSink> = Box::new(Remembers(Arc::clone(&over)));
        let options = CallOptions { arguments: false, sink: Some(sink) };
        let calls =
            CallJournal::open(&dir.path().join("calls"), AuditBounds::default(), Arc::clone(&wall), options)
                .unwrap();
        let app = App::new(Parts {
            manager,
            auth: Arc::clone(&auth),
            hosts: Hosts::new(address, []),
            front: dtma_api::Front::default(),
            rates,
            access,
            audit,
            egress,
            calls,
            wall,
            meter: Some(Arc::new(OneSize)),
            system: Arc::new(SystemMetrics::default),
            heartbeat: None,
        });
        let shutdown = CancellationToken::new();
        #[expect(clippy::disallowed_methods, reason = "a test's server lives as long as its runtime")]
        let served = tokio::spawn(serve(Door { listener, tls, limits }, app, shutdown.clone()));
        Self { address, engine, mcp, auth, shutdown, served, dir, over, _drain: drain }
    }

    /// A client with the token of that name.
    pub(crate) fn client(&self, token: &str) -> Client {
        Client::builder(format!("http://{}", self.address)).token(token.into()).build().unwrap()
    }

    /// Sends a request with the admin token.
    pub(crate) async fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Answer {
        let body = body.map(Value::to_string).unwrap_or_default();
        self.send(
            method,
            path,
            &[("Authorization", "Bearer admin"), ("Content-Type", "application/json")],
            &body,
        )
        .await
    }

    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        let mut text = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n");
        for (name, value) in headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str(&format!("Content-Length: {}\r\n\r\n{body}", body.len()));
        exchange(self.address, text.as_bytes()).await
    }
}

/// A group of one tool called `web`.
pub(crate) fn one_tool(group: &str) -> Value {
    json!({"groupId": group, "servers": [{"instanceName": "web", "kind": "tool", "image": "tool", "port": 8080}]})
}

/// A group of one MCP server called `time`.
pub(crate) fn one_mcp(group: &str) -> Value {
    json!({"groupId": group, "servers": [{"instanceName": "time", "image": "mcp"}]})
}
