//! What the tests against the real engine share: an installation of its own for each, and a way to look at what the
//! engine really has.

use crate::relay::Relay;
use async_trait::async_trait;
use bollard::models::{ContainerInspectResponse, NetworkInspect, Volume};
use dtma_core::container::{ContainerMount, CreateContainer, ImageFacts, LogDriver};
use dtma_core::id::{ContainerId, ImageRef, NetworkId, OwnerId, VolumeName, network_name, volume_name};
use dtma_core::label;
use dtma_core::observation::ContainerState;
use dtma_core::port::runtime::{
    ContainerRuntime, CreateNetwork, EnsureVolume, LogQuery, OutputStream, Scope,
};
use dtma_core::spec::{NetworkMode, PullPolicy};
use dtma_docker::{DockerRuntime, Settings};
use dtma_testing::sample;
use dtma_testing::suite::runtime::{RuntimeHarness, sweep};
use futures_util::StreamExt;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

const IMAGE: &str = "dtma/busybox:dev";
pub(crate) const GROUP: &str = "engine-test";

/// One installation on the real engine. What it made is removed when a test fails, too.
pub(crate) struct Harness {
    runtime: Arc<DockerRuntime>,
    pub(crate) owner: OwnerId,
    relay: Relay,
}

/// The engine's address.
#[expect(clippy::disallowed_methods, reason = "a test has no main that could read the environment for it")]
pub(crate) fn docker_host() -> String {
    std::env::var("DOCKER_HOST").unwrap_or_else(|_| {
        panic!("these tests need a Docker Engine and its address in DOCKER_HOST: run `cargo xtask test`")
    })
}

/// An adapter at this address.
pub(crate) fn runtime_at(host: String, owner: &OwnerId) -> DockerRuntime {
    DockerRuntime::connect(Settings { host: Some(host), ..Settings::new(owner.clone()) }).expect("connect")
}

impl Harness {
    pub(crate) async fn new() -> Self {
        let owner = OwnerId::from(uuid::Uuid::new_v4().to_string());
        let relay = Relay::to(&docker_host());
        let runtime = Arc::new(runtime_at(relay.host(), &owner));
        if let Err(error) = runtime.ensure_image(&IMAGE.into(), PullPolicy::Never, None, &|_| {}).await {
            panic!("the engine at {} is not ready ({error}): run `cargo xtask test`", docker_host());
        }
        Self { runtime, owner, relay }
    }

    /// The engine as it is, without the adapter.
    pub(crate) fn docker(&self) -> bollard::Docker {
        bollard::Docker::connect_with_host(&self.relay.host()).expect("connect")
    }

    pub(crate) async fn image(&self) -> ImageFacts {
        self.runtime.ensure_image(&IMAGE.into(), PullPolicy::Never, None, &|_| {}).await.expect("the image")
    }

    /// The hardened defaults, running this shell text, with a log.
    pub(crate) async fn request(&self, instance: &str, script: &str) -> CreateContainer {
        let mut config = sample::container_config(IMAGE);
        config.command = Some(["sh", "-c", script].map(str::to_owned).into());
        config.log = LogDriver::Bounded { max_size: 1024 * 1024, max_files: 2 };
        sample::create_container(&self.owner, &sample::slot(GROUP, instance), config, &self.image().await)
    }

    pub(crate) async fn create(&self, request: &CreateContainer) -> ContainerId {
        self.runtime.create(request).await.expect("create")
    }

    pub(crate) async fn start(&self, request: &CreateContainer) -> ContainerId {
        let id = self.create(request).await;
        self.runtime.start(&id, &sample::launch()).await.expect("start");
        id
    }

    /// Runs to the end and says what it wrote to standard output, and how it ended.
    pub(crate) async fn run(&self, request: &CreateContainer) -> (String, ContainerState) {
        let id = self.start(request).await;
        let state = self.exited(&id).await;
        let lines = self.runtime.logs(&id, &LogQuery::default()).await.expect("logs");
        let lines: Vec<_> = lines.map(|line| line.expect("a log line")).collect().await;
        let stdout = lines.into_iter().filter(|line| line.stream == OutputStream::Stdout);
        (stdout.map(|line| line.text + "\n").collect(), state)
    }

    pub(crate) async fn exited(&self, id: &ContainerId) -> ContainerState {
        let wait = async {
            loop {
                let state = self.runtime.inspect(id).await.expect("inspect").state;
                if matches!(state, ContainerState::Exited { .. }) {
                    return state;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), wait).await.expect("it ends within 30 s")
    }

    pub(crate) async fn inspect(&self, id: &ContainerId) -> ContainerInspectResponse {
        self.docker().inspect_container(id.as_str(), None).await.expect("docker inspect")
    }

    /// On its only network.
    pub(crate) async fn address(&self, id: &ContainerId) -> String {
        let settings = self.inspect(id).await.network_settings.expect("its networks");
        let mut networks = settings.networks.unwrap_or_default().into_values();
        networks.find_map(|network| network.ip_address).expect("an address")
    }

    pub(crate) async fn inspect_network(&self, id: &NetworkId) -> NetworkInspect {
        self.docker().inspect_network(id.as_str(), None).await.expect("docker network inspect")
    }

    pub(crate) async fn inspect_volume(&self, name: &str) -> Volume {
        self.docker().inspect_volume(name).await.expect("docker volume inspect")
    }

    pub(crate) fn scope(&self) -> Scope {
        Scope { owner: self.owner.clone(), group: None }
    }

    pub(crate) fn labels(&self) -> BTreeMap<String, String> {
        let labels = [
            (label::MANAGED, "true".to_owned()),
            (label::OWNER, self.owner.to_string()),
            (label::GROUP, GROUP.to_owned()),
        ];
        labels.map(|(key, value)| (key.to_owned(), value)).into()
    }

    pub(crate) fn network(&self) -> CreateNetwork {
        let group = sample::group(GROUP);
        let mode = NetworkMode::Group;
        CreateNetwork { name: network_name(&self.owner, &group, mode), group, mode, labels: self.labels() }
    }

    pub(crate) fn volume(&self, name: &str, request: &CreateContainer) -> EnsureVolume {
        let volume: VolumeName = name.parse().expect("a valid volume name");
        let name = volume_name(&self.owner, &sample::group(GROUP), &volume);
        EnsureVolume { name, labels: self.labels(), owner: request.run_as }
    }

    /// One that no registry has.
    pub(crate) fn local_image(&self) -> ImageRef {
        IMAGE.into()
    }

    pub(crate) fn host(&self) -> String {
        self.relay.host()
    }

    pub(crate) fn owner_id(&self) -> &OwnerId {
        &self.owner
    }

    pub(crate) fn engine(&self) -> &DockerRuntime {
        &self.runtime
    }

    pub(crate) fn cut(&self) {
        self.relay.cut();
    }

    pub(crate) async fn leave(self) {
        sweep(&*self.runtime, &self.owner).await;
    }
}

/// The same container on the group's network.
pub(crate) fn joined(mut request: CreateContainer, network: &NetworkId) -> CreateContainer {
    request.config.network = NetworkMode::Group;
    request.network = Some(network.clone());
    request
}

/// The same container with a volume at `/data`.
pub(crate) fn mounted(mut request: CreateContainer, volume: &EnsureVolume) -> CreateContainer {
    let (name, target) = (volume.name.clone(), "/data".to_owned());
    request.config.mounts.push(ContainerMount::Volume { name, target, read_only: false });
    request
}

#[async_trait]
impl RuntimeHarness for Harness {
    fn runtime(&self) -> Arc<dyn ContainerRuntime> {
        Arc::clone(&self.runtime) as Arc<dyn ContainerRuntime>
    }
    fn owner(&self) -> OwnerId {
        self.owner.clone()
    }
    fn image(&self) -> ImageRef {
        IMAGE.into()
    }
    async fn break_connections(&self) {
        self.cut();
    }
}

impl Drop for Harness {
    /// The test's own runtime is about to end: cleaning up needs one of its own.
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        let (runtime, owner) = (runtime_at(docker_host(), &self.owner), self.owner.clone());
        let clean = move || {
            let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build();
            tokio.map(|tokio| tokio.block_on(sweep(&runtime, &owner)))
        };
        let _ = std::thread::spawn(clean).join();
    }
}
