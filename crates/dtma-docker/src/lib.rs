//! [`ContainerRuntime`] over the HTTP API of Docker Engine 20.10 (API 1.41) and later.
//!
//! The hardened profile is applied in `create.rs`, the words of the engine become errors in `errors.rs`, and nothing of
//! the engine's own model leaves this crate. Every call has a deadline of its own ([`Deadlines`]).
//!
//! What it leaves to others: whether, when and in which order anything is done; whose containers they are to be.

mod attach;
mod cgroup;
mod connect;
mod create;
mod dial;
mod dialect;
mod errors;
mod events;
mod exec;
mod images;
mod ledger;
mod lifecycle;
mod logs;
mod networks;
mod observe;
mod oom;
mod pool;
mod raw;
mod registry;
mod shelf;
mod space;
mod tls;
mod transport;
mod volumes;

pub use cgroup::CgroupMeter;
pub use connect::{Deadlines, Settings};
pub use pool::{NetworkPool, NetworkPoolError};
pub use registry::{RegistryAuthError, RegistryLogins};
pub use tls::{Tls, TlsError};

use async_trait::async_trait;
use connect::Link;
use dtma_core::container::{CreateContainer, ImageFacts, Launch};
use dtma_core::id::{ContainerId, ImageRef, NetworkId, OwnerId};
use dtma_core::observation::{ContainerObservation, NetworkObservation};
use dtma_core::platform::Platform;
use dtma_core::port::runtime::{
    Attached, ContainerRuntime, CreateNetwork, EngineEvent, EngineInfo, EnsureVolume, ExecRequest,
    ExecResult, LogLine, LogQuery, OnProgress, RuntimeError, Scope, VolumeObservation,
};
use dtma_core::spec::PullPolicy;
use errors::Op;
use futures_util::stream::BoxStream;
use ledger::Ledger;
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;
use transport::Transport;

/// A Docker Engine.
#[derive(Debug)]
pub struct DockerRuntime {
    link: Arc<Link>,
    owner: OwnerId,
    pulls: images::Pulls,
    ledger: Arc<Ledger>,
    networks: networks::Allocator,
}

impl DockerRuntime {
    /// True when the engine's files and its containers' addresses can be expected on this machine: its socket is a
    /// unix socket.
    #[must_use]
    pub fn is_local(&self) -> bool {
        self.link.is_local()
    }

    /// Whether the engine sees the files of this machine, so that it can give them to containers. One behind a unix
    /// socket need not: it may run in a virtual machine, or this program in a container. Known by its data root, which
    /// is here or is not.
    ///
    /// # Errors
    /// The engine does not answer.
    pub async fn shares_files(&self) -> Result<bool, RuntimeError> {
        let op = Op::new("ask where it is", "engine", self.link.endpoint());
        Ok(space::usage(&self.link, op).await?.is_some())
    }

    /// A client of the engine at `settings.host`. Nothing is sent yet: the daemon may start before its engine, and
    /// the first call finds out. Ask [`info`](ContainerRuntime::info) to know whether it answers.
    ///
    /// # Errors
    /// [`RuntimeError::Refused`] when the address is of a kind that is not supported.
    pub fn connect(settings: Settings) -> Result<Self, RuntimeError> {
        let Settings { host, tls, registries, owner, network_pool, deadlines, pull_min_free, fetched_images } =
            settings;
        let ledger = Arc::new(Ledger::open(fetched_images));
        Ok(Self {
            link: Arc::new(Link::new(Transport::new(host, tls)?, deadlines)),
            owner,
            pulls: images::Pulls::new(registries, pull_min_free, Arc::clone(&ledger)),
            ledger,
            networks: networks::Allocator::new(network_pool),
        })
    }

    /// Something that ends a run or begins one: its address is another one then, or somebody else's.
    async fn ending<T>(&self, id: &ContainerId, call: impl Future<Output = T>) -> T {
        let done = call.await;
        self.link.addresses.forget(id);
        done
    }
}

#[async_trait]
impl ContainerRuntime for DockerRuntime {
    async fn info(&self) -> Result<EngineInfo, RuntimeError> {
        self.link.info().await
    }

    async fn containers(&self, scope: &Scope) -> Result<Vec<ContainerObservation>, RuntimeError> {
        observe::containers(&self.link, scope).await
    }
    async fn inspect(&self, id: &ContainerId) -> Result<ContainerObservation, RuntimeError> {
        observe::inspect(&self.link, &self.owner, id).await
    }

    async fn ensure_image(
        &self,
        image: &ImageRef,
        policy: PullPolicy,
        platform: Option<&Platform>,
        progress: OnProgress<'_>,
    ) -> Result<ImageFacts, RuntimeError> {
        let wanted = images::Wanted { image: image.clone(), platform: platform.cloned() };
        images::ensure(&self.link, &self.pulls, &wanted, policy, progress).await
    }

    async fn create(&self, request: &CreateContainer) -> Result<ContainerId, RuntimeError> {
        lifecycle::create(&self.link, request).await
    }
    async fn start(&self, id: &ContainerId, _: &Launch) -> Result<(), RuntimeError> {
        self.ending(id, lifecycle::start(&self.link, id)).await
    }
    async fn stop(&self, id: &ContainerId, grace: Duration) -> Result<(), RuntimeError> {
        self.ending(id, lifecycle::stop(&self.link, id, grace)).await
    }
    async fn kill(&self, id: &ContainerId) -> Result<(), RuntimeError> {
        self.ending(id, lifecycle::kill(&self.link, id)).await
    }
    async fn pause(&self, id: &ContainerId) -> Result<(), RuntimeError> {
        lifecycle::pause(&self.link, id).await
    }
    async fn unpause(&self, id: &ContainerId) -> Result<(), RuntimeError> {
        lifecycle::unpause(&self.link, id).await
    }
    async fn rename(&self, id: &ContainerId, new_name: &str) -> Result<(), RuntimeError> {
        lifecycle::rename(&self.link, id, new_name).await
    }
    async fn remove(&self, id: &ContainerId) -> Result<(), RuntimeError> {
        self.ending(id, lifecycle::remove(&self.link, id)).await
    }

    async fn attach(&self, id: &ContainerId) -> Result<Attached, RuntimeError> {
        attach::attach(&self.link, id).await
    }
    async fn exec(&self, id: &ContainerId, request: &ExecRequest) -> Result<ExecResult, RuntimeError> {
        exec::exec(&self.link, id, request).await
    }
    async fn dial(&self, id: &ContainerId, port: u16) -> Result<TcpStream, RuntimeError> {
        dial::dial(&self.link, &self.owner, id, port).await
    }
    async fn logs(
        &self,
        id: &ContainerId,
        query: &LogQuery,
    ) -> Result<BoxStream<'static, Result<LogLine, RuntimeError>>, RuntimeError> {
        logs::read(&self.link, id, query).await
    }
    fn events(&self, owner: &OwnerId) -> BoxStream<'static, EngineEvent> {
        events::listen(Arc::clone(&self.link), owner)
    }

    async fn create_network(&self, request: &CreateNetwork) -> Result<NetworkId, RuntimeError> {
        self.networks.create(&self.link, request).await
    }
    async fn networks(&self, scope: &Scope) -> Result<Vec<NetworkObservation>, RuntimeError> {
        networks::list(&self.link, scope).await
    }
    async fn remove_network(&self, id: &NetworkId) -> Result<(), RuntimeError> {
        networks::remove(&self.link, id).await
    }

    async fn ensure_volume(&self, request: &EnsureVolume) -> Result<(), RuntimeError> {
        volumes::ensure(&self.link, request).await
    }
    async fn volumes(&self, scope: &Scope) -> Result<Vec<VolumeObservation>, RuntimeError> {
        volumes::list(&self.link, scope).await
    }
    async fn remove_volume(&self, name: &str) -> Result<(), RuntimeError> {
        volumes::remove(&self.link, name).await
    }
}
