//! The connection: address, version, deadlines. Every request of the crate passes [`Link::call`].
//!
//! A lost engine is looked for anew, and the version is agreed on anew: it may have been upgraded while it was away.

use crate::dial::Addresses;
use crate::dialect::{Dialect, Pong};
use crate::errors::{self, Op};
use crate::oom::Ooms;
use crate::pool::NetworkPool;
use crate::registry::RegistryLogins;
use crate::tls::Tls;
use crate::transport::Transport;
use bollard::errors::Error;
use bollard::{API_DEFAULT_VERSION, BollardRequest, ClientVersion, Docker};
use dtma_core::id::OwnerId;
use dtma_core::port::runtime::{EngineInfo, RuntimeError};
use http::{HeaderValue, Uri};
use std::future::Future;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::timeout;

/// Docker 20.10. Older engines lack private cgroup namespaces.
const OLDEST: ClientVersion = ClientVersion { major_version: 1, minor_version: 41 };

/// What the adapter needs to know.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `unix:///…` or `tcp://…`, the value of `DOCKER_HOST`; `None` means Docker's own default socket.
    pub host: Option<String>,
    /// For an engine on `tcp://…` that speaks TLS. Means nothing to a unix socket.
    pub tls: Option<Tls>,
    /// Credentials of private registries.
    pub registries: RegistryLogins,
    /// This installation; containers of others are not seen.
    pub owner: OwnerId,
    /// Where the groups' networks take their addresses from.
    pub network_pool: NetworkPool,
    /// How long calls may take.
    pub deadlines: Deadlines,
    /// Bytes that must be free on the engine's disk before anything is pulled; 0 asks for none.
    pub pull_min_free: u64,
    /// The file in which it is remembered which images this installation fetched; `None` forgets it with the process.
    pub fetched_images: Option<PathBuf>,
}

/// 512 MiB: what an image of a language's runtime with its packages takes.
const PULL_MIN_FREE: u64 = 512 << 20;

impl Settings {
    /// Docker's default socket, pool and deadlines.
    #[must_use]
    pub fn new(owner: OwnerId) -> Self {
        Self {
            host: None,
            tls: None,
            registries: RegistryLogins::default(),
            owner,
            network_pool: NetworkPool::default(),
            deadlines: Deadlines::default(),
            pull_min_free: PULL_MIN_FREE,
            fetched_images: None,
        }
    }
}

/// How long calls may take before they end with [`RuntimeError::Timeout`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadlines {
    /// A call that changes nothing.
    pub read: Duration,
    /// A call that changes something.
    pub mutation: Duration,
    /// What a stop may take on top of its grace.
    pub stop_margin: Duration,
    /// A pull that says nothing for so long has stalled.
    pub pull_stall: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            read: Duration::from_secs(5),
            mutation: Duration::from_secs(30),
            stop_margin: Duration::from_secs(10),
            pull_stall: Duration::from_secs(60),
        }
    }
}

/// The way to the engine.
#[derive(Debug)]
pub(crate) struct Link {
    transport: Transport,
    pub(crate) deadlines: Deadlines,
    pub(crate) ooms: Ooms,
    pub(crate) addresses: Addresses,
    /// The client with its agreed version; `None` before the first call and after the engine was lost.
    client: Mutex<Option<Known>>,
}

/// What was found out about the engine when it was connected to.
#[derive(Debug, Clone)]
struct Known {
    docker: Docker,
    dialect: Dialect,
}

impl Link {
    pub(crate) fn new(transport: Transport, deadlines: Deadlines) -> Self {
        Self {
            transport,
            deadlines,
            ooms: Ooms::default(),
            addresses: Addresses::default(),
            client: Mutex::new(None),
        }
    }

    pub(crate) fn endpoint(&self) -> &str {
        self.transport.endpoint()
    }

    pub(crate) fn transport(&self) -> &Transport {
        &self.transport
    }

    /// True when the engine's files can be expected on this machine.
    pub(crate) fn is_local(&self) -> bool {
        self.transport.is_local()
    }

    /// A call that changes nothing.
    pub(crate) async fn read<T, F>(
        &self,
        op: Op<'_>,
        ask: impl FnOnce(Docker) -> F,
    ) -> Result<T, RuntimeError>
    where
        F: Future<Output = Result<T, Error>>,
    {
        self.call(op, self.deadlines.read, ask).await
    }

    /// The same, asked in the words of whose engine it is.
    pub(crate) async fn read_in_dialect<T, F>(
        &self,
        op: Op<'_>,
        ask: impl FnOnce(Docker, Dialect) -> F,
    ) -> Result<T, RuntimeError>
    where
        F: Future<Output = Result<T, Error>>,
    {
        self.call_known(op, self.deadlines.read, |known| ask(known.docker, known.dialect)).await
    }

    /// A call that changes something.
    pub(crate) async fn mutate<T, F>(
        &self,
        op: Op<'_>,
        ask: impl FnOnce(Docker) -> F,
    ) -> Result<T, RuntimeError>
    where
        F: Future<Output = Result<T, Error>>,
    {
        self.call(op, self.deadlines.mutation, ask).await
    }

    /// One call with its deadline, the connection included.
    pub(crate) async fn call<T, F>(
        &self,
        op: Op<'_>,
        after: Duration,
        ask: impl FnOnce(Docker) -> F,
    ) -> Result<T, RuntimeError>
    where
        F: Future<Output = Result<T, Error>>,
    {
        self.call_known(op, after, |known| ask(known.docker)).await
    }

    async fn call_known<T, F>(
        &self,
        op: Op<'_>,
        after: Duration,
        ask: impl FnOnce(Known) -> F,
    ) -> Result<T, RuntimeError>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let done = timeout(after, async {
            let known = self.connected(op).await?;
            ask(known).await.map_err(|error| self.classify(op, error))
        });
        done.await.unwrap_or(Err(RuntimeError::Timeout { call: op.call, after }))
    }

    /// Our word for the engine's; an engine that is away is connected to anew next time.
    pub(crate) fn classify(&self, op: Op<'_>, error: Error) -> RuntimeError {
        let error = errors::classify(op, self.endpoint(), error);
        if matches!(error, RuntimeError::EngineAway { .. }) {
            *self.known() = None;
        }
        error
    }

    /// The client, connected if need be.
    pub(crate) async fn client(&self, op: Op<'_>) -> Result<Docker, RuntimeError> {
        self.connected(op).await.map(|known| known.docker)
    }

    /// Whose engine it is.
    pub(crate) async fn dialect(&self, op: Op<'_>) -> Result<Dialect, RuntimeError> {
        self.connected(op).await.map(|known| known.dialect)
    }

    async fn connected(&self, op: Op<'_>) -> Result<Known, RuntimeError> {
        let known = self.known().clone();
        if let Some(known) = known {
            return Ok(known);
        }
        // A deadline of its own: streams ask for the client outside of `call`.
        let after = self.deadlines.read;
        let negotiated = timeout(after, self.negotiate()).await;
        let negotiated = negotiated.map_err(|_| RuntimeError::Timeout { call: op.call, after })?;
        let (found, known) = negotiated.map_err(|error| errors::classify(op, self.endpoint(), error))?;
        if found < OLDEST {
            let problem = format!("it speaks API {found}; Docker 20.10 (API {OLDEST}) or newer is needed");
            return Err(RuntimeError::Refused { call: "connect", problem });
        }
        *self.known() = Some(known.clone());
        Ok(known)
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Option<Known>> {
        self.client.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The newest version that both know.
    async fn negotiate(&self) -> Result<(ClientVersion, Known), Error> {
        // First, because it says best what is wrong with the address.
        self.transport.open(API_DEFAULT_VERSION)?;
        let pong = self.transport.ping().await?;
        let theirs = version_of(&pong).ok_or(Error::APIVersionParseError {})?;
        let agreed = if theirs < *API_DEFAULT_VERSION { theirs } else { *API_DEFAULT_VERSION };
        let docker = self.transport.open(&agreed)?;
        let docker = docker.with_request_modifier(move |request| url_safe(versioned(request, agreed)));
        Ok((agreed, Known { docker, dialect: pong.dialect() }))
    }

    pub(crate) async fn info(&self) -> Result<EngineInfo, RuntimeError> {
        let op = Op::new("ask for the version", "engine", self.endpoint());
        let product = match self.dialect(op).await? {
            Dialect::Docker => {
                let version = self.read(op, |docker| async move { docker.version().await }).await?;
                format!("Docker Engine {}", version.version.unwrap_or_default())
            }
            Dialect::Podman => {
                let pong = self.read(op, |_| self.transport.ping()).await?;
                format!("Podman Engine {}", pong.podman.unwrap_or_default())
            }
        };
        let api_version = self.client(op).await?.client_version().to_string();
        Ok(EngineInfo { product, api_version, endpoint: self.endpoint().to_owned(), local: self.is_local() })
    }
}

fn version_of(pong: &Pong) -> Option<ClientVersion> {
    let (major, minor) = pong.api.as_deref()?.split_once('.')?;
    Some(ClientVersion { major_version: major.parse().ok()?, minor_version: minor.parse().ok()? })
}

/// Puts the agreed version in front of the path. The client itself leaves it out (measured with bollard 0.21.1:
/// joining an absolute path drops the prefix), and without it an engine answers in its own newest dialect.
fn versioned(mut request: BollardRequest, version: ClientVersion) -> BollardRequest {
    let path = request.uri().path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    let prefix = format!("/v{version}");
    if path.starts_with(&prefix) {
        return request;
    }
    let mut parts = request.uri().clone().into_parts();
    parts.path_and_query = format!("{prefix}{path}").parse().ok();
    if let Ok(uri) = Uri::from_parts(parts) {
        *request.uri_mut() = uri;
    }
    request
}

/// Credentials go in base64 of the kind for addresses; the client (bollard 0.21.1) writes the other one, and an engine
/// takes what it cannot decode for no credentials at all.
fn url_safe(mut request: BollardRequest) -> BollardRequest {
    if let Some(value) = request.headers_mut().get_mut("X-Registry-Auth") {
        let safe: Vec<u8> = value.as_bytes().iter().map(|byte| url_safe_digit(*byte)).collect();
        if let Ok(mut safe) = HeaderValue::from_bytes(&safe) {
            safe.set_sensitive(true);
            *value = safe;
        }
    }
    request
}

fn url_safe_digit(byte: u8) -> u8 {
    match byte {
        b'+' => b'-',
        b'/' => b'_',
        other => other,
    }
}
