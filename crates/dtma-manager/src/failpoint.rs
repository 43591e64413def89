//! Named places at which a test may end the process as a `kill -9` would. Absent from release builds: there the
//! decorators do not exist.
//!
//! Every mutating method of the engine's and the store's port is a point before and a point after its effect:
//! `runtime.create:before`, `store.put_group:after`. [`arm`] chooses one and the n-th time it is reached.

#[cfg(debug_assertions)]
mod armed {
    use async_trait::async_trait;
    use dtma_core::catalogue::Catalogue;
    use dtma_core::connection::Connection;
    use dtma_core::container::{CreateContainer, ImageFacts, Launch};
    use dtma_core::contract::Contract;
    use dtma_core::history::GroupHistory;
    use dtma_core::id::{ConnectionId, ContainerId, GroupId, ImageRef, InstanceName, NetworkId, OwnerId};
    use dtma_core::idempotency::KeptAnswer;
    use dtma_core::observation::{ContainerObservation, NetworkObservation};
    use dtma_core::platform::Platform;
    use dtma_core::port::runtime::{
        Attached, CreateNetwork, EngineEvent, EngineInfo, EnsureVolume, ExecRequest, ExecResult, LogLine,
        LogQuery, OnProgress, Scope, VolumeObservation,
    };
    use dtma_core::port::store::LoadedState;
    use dtma_core::port::{ContainerRuntime, RuntimeError, StateStore, StoreError};
    use dtma_core::record::{GatewaySession, GroupRecord, Handshake, Journal, Operation, Revision};
    use dtma_core::spec::PullPolicy;
    use futures_util::stream::BoxStream;
    use std::net::{TcpListener, TcpStream};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    /// Every point there is, without `:before` and `:after`.
    pub const POINTS: &[&str] = &[
        "runtime.ensure_image",
        "runtime.create",
        "runtime.start",
        "runtime.stop",
        "runtime.end_process",
        "runtime.listen",
        "runtime.kill",
        "runtime.pause",
        "runtime.unpause",
        "runtime.rename",
        "runtime.remove",
        "runtime.create_network",
        "runtime.remove_network",
        "runtime.ensure_volume",
        "runtime.remove_volume",
        "store.put_group",
        "store.remove_group",
        "store.put_history",
        "store.put_operation",
        "store.put_answer",
        "store.put_session",
        "store.remove_session",
        "store.put_handshake",
        "store.forget_handshake",
        "store.forget_server",
    ];

    /// One armed point, shared by both decorators.
    #[derive(Debug)]
    pub struct Failpoint {
        name: String,
        remaining: AtomicUsize,
    }

    /// Reads `runtime.create:after` or `runtime.create:after:3` (the third time).
    ///
    /// # Errors
    /// The text of what is wrong, with the points there are.
    pub fn arm(text: &str) -> Result<Arc<Failpoint>, String> {
        let mut parts = text.splitn(3, ':');
        let (point, moment) = (parts.next().unwrap_or(""), parts.next().unwrap_or(""));
        let count = parts.next().unwrap_or("1").parse().map_err(|_| format!("{text:?}: not a count"))?;
        if !POINTS.contains(&point) || !matches!(moment, "before" | "after") {
            return Err(format!(
                "{text:?} is not POINT:before|after[:N] with POINT one of {}",
                POINTS.join(", ")
            ));
        }
        Ok(Arc::new(Failpoint { name: format!("{point}:{moment}"), remaining: AtomicUsize::new(count) }))
    }

    impl Failpoint {
        fn hit(&self, point: &str, moment: &str) {
            let here = self.name.strip_prefix(point).and_then(|rest| rest.strip_prefix(':')) == Some(moment);
            if here && self.remaining.fetch_sub(1, Ordering::SeqCst) == 1 {
                // No destructor, no flush, no goodbye: what a SIGKILL leaves is what this leaves.
                std::process::abort();
            }
        }
    }

    /// The engine with a point before and after each call that changes something.
    pub struct FailingRuntime(pub Arc<dyn ContainerRuntime>, pub Arc<Failpoint>);

    /// The store with a point before and after each call that changes something.
    pub struct FailingStore(pub Arc<dyn StateStore>, pub Arc<Failpoint>);

    macro_rules! pass {
        ($self:ident, $name:literal, $call:expr) => {{
            $self.1.hit($name, "before");
            let result = $call.await;
            $self.1.hit($name, "after");
            result
        }};
    }

    #[async_trait]
    impl ContainerRuntime for FailingRuntime {
        async fn info(&self) -> Result<EngineInfo, RuntimeError> {
            self.0.info().await
        }
        async fn containers(&self, scope: &Scope) -> Result<Vec<ContainerObservation>, RuntimeError> {
            self.0.containers(scope).await
        }
        async fn inspect(&self, id: &ContainerId) -> Result<ContainerObservation, RuntimeError> {
            self.0.inspect(id).await
        }
        async fn ensure_image(
            &self,
            image: &ImageRef,
            policy: PullPolicy,
            platform: Option<&Platform>,
            progress: OnProgress<'_>,
        ) -> Result<ImageFacts, RuntimeError> {
            pass!(self, "runtime.ensure_image", self.0.ensure_image(image, policy, platform, progress))
        }
        async fn create(&self, request: &CreateContainer) -> Result<ContainerId, RuntimeError> {
            pass!(self, "runtime.create", self.0.create(request))
        }
        async fn start(&self, id: &ContainerId, launch: &Launch) -> Result<(), RuntimeError> {
            pass!(self, "runtime.start", self.0.start(id, launch))
        }
        async fn stop(&self, id: &ContainerId, grace: Duration) -> Result<(), RuntimeError> {
            pass!(self, "runtime.stop", self.0.stop(id, grace))
        }
        async fn end_process(&self, id: &ContainerId, grace: Duration) -> Result<(), RuntimeError> {
            pass!(self, "runtime.end_process", self.0.end_process(id, grace))
        }
        async fn kill(&self, id: &ContainerId) -> Result<(), RuntimeError> {
            pass!(self, "runtime.kill", self.0.kill(id))
        }
        async fn pause(&self, id: &ContainerId) -> Result<(), RuntimeError> {
            pass!(self, "runtime.pause", self.0.pause(id))
        }
        async fn unpause(&self, id: &ContainerId) -> Result<(), RuntimeError> {
            pass!(self, "runtime.unpause", self.0.unpause(id))
        }
        async fn rename(&self, id: &ContainerId, new_name: &str) -> Result<(), RuntimeError> {
            pass!(self, "runtime.rename", self.0.rename(id, new_name))
        }
        async fn remove(&self, id: &ContainerId) -> Result<(), RuntimeError> {
            pass!(self, "runtime.remove", self.0.remove(id))
        }
        async fn attach(&self, id: &ContainerId) -> Result<Attached, RuntimeError> {
            self.0.attach(id).await
        }
        // Nothing of ours follows from a command in a container: a kill beside it leaves nothing to converge.
        async fn exec(&self, id: &ContainerId, request: &ExecRequest) -> Result<ExecResult, RuntimeError> {
            self.0.exec(id, request).await
        }
        async fn dial(&self, id: &ContainerId, port: u16) -> Result<TcpStream, RuntimeError> {
            self.0.dial(id, port).await
        }
        async fn listen(&self, id: &ContainerId, ports: &[u16]) -> Result<Vec<TcpListener>, RuntimeError> {
            pass!(self, "runtime.listen", self.0.listen(id, ports))
        }
        async fn logs(
            &self,
            id: &ContainerId,
            query: &LogQuery,
        ) -> Result<BoxStream<'static, Result<LogLine, RuntimeError>>, RuntimeError> {
            self.0.logs(id, query).await
        }
        fn events(&self, owner: &OwnerId) -> BoxStream<'static, EngineEvent> {
            self.0.events(owner)
        }
        async fn create_network(&self, request: &CreateNetwork) -> Result<NetworkId, RuntimeError> {
            pass!(self, "runtime.create_network", self.0.create_network(request))
        }
        async fn networks(&self, scope: &Scope) -> Result<Vec<NetworkObservation>, RuntimeError> {
            self.0.networks(scope).await
        }
        async fn remove_network(&self, id: &NetworkId) -> Result<(), RuntimeError> {
            pass!(self, "runtime.remove_network", self.0.remove_network(id))
        }
        async fn ensure_volume(&self, request: &EnsureVolume) -> Result<(), RuntimeError> {
            pass!(self, "runtime.ensure_volume", self.0.ensure_volume(request))
        }
        async fn volumes(&self, scope: &Scope) -> Result<Vec<VolumeObservation>, RuntimeError> {
            self.0.volumes(scope).await
        }
        async fn remove_volume(&self, name: &str) -> Result<(), RuntimeError> {
            pass!(self, "runtime.remove_volume", self.0.remove_volume(name))
        }
    }

    #[async_trait]
    impl StateStore for FailingStore {
        async fn load(&self) -> Result<LoadedState, StoreError> {
            self.0.load().await
        }
        async fn put_group(&self, group: &GroupRecord, journal: Journal<'_>) -> Result<(), StoreError> {
            pass!(self, "store.put_group", self.0.put_group(group, journal))
        }
        async fn revisions(&self, group: &GroupId) -> Result<Vec<Revision>, StoreError> {
            self.0.revisions(group).await
        }
        async fn remove_group(
            &self,
            group: &GroupId,
            operation: Option<&Operation>,
        ) -> Result<(), StoreError> {
            pass!(self, "store.remove_group", self.0.remove_group(group, operation))
        }
        async fn put_history(&self, group: &GroupId, history: &GroupHistory) -> Result<(), StoreError> {
            pass!(self, "store.put_history", self.0.put_history(group, history))
        }
        async fn put_operation(&self, operation: &Operation) -> Result<(), StoreError> {
            pass!(self, "store.put_operation", self.0.put_operation(operation))
        }
        async fn put_answer(&self, answer: &KeptAnswer) -> Result<(), StoreError> {
            pass!(self, "store.put_answer", self.0.put_answer(answer))
        }
        async fn answer(&self, author: &str, key: &str) -> Result<Option<KeptAnswer>, StoreError> {
            self.0.answer(author, key).await
        }
        async fn put_session(&self, session: &GatewaySession) -> Result<(), StoreError> {
            pass!(self, "store.put_session", self.0.put_session(session))
        }
        async fn remove_session(&self, id: &str) -> Result<(), StoreError> {
            pass!(self, "store.remove_session", self.0.remove_session(id))
        }
        async fn put_handshake(
            &self,
            instance: &InstanceName,
            handshake: &Handshake,
        ) -> Result<(), StoreError> {
            pass!(self, "store.put_handshake", self.0.put_handshake(instance, handshake))
        }
        async fn forget_handshake(
            &self,
            instance: &InstanceName,
            container: &ContainerId,
        ) -> Result<(), StoreError> {
            pass!(self, "store.forget_handshake", self.0.forget_handshake(instance, container))
        }
        async fn put_catalogue(&self, catalogue: &Catalogue) -> Result<(), StoreError> {
            self.0.put_catalogue(catalogue).await
        }
        async fn put_contract(&self, contract: &Contract) -> Result<(), StoreError> {
            self.0.put_contract(contract).await
        }
        async fn put_connection(&self, connection: &Connection) -> Result<(), StoreError> {
            self.0.put_connection(connection).await
        }
        async fn remove_connection(&self, id: &ConnectionId) -> Result<(), StoreError> {
            self.0.remove_connection(id).await
        }
        async fn forget_server(&self, instance: &InstanceName) -> Result<(), StoreError> {
            pass!(self, "store.forget_server", self.0.forget_server(instance))
        }
    }
}

#[cfg(debug_assertions)]
pub use armed::{FailingRuntime, FailingStore, Failpoint, POINTS, arm};
