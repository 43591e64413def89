//! The same engine calls with the same bodies, issued at once and with nothing around them: what a deployment costs
//! at the least.

use crate::stdio::StdioClient;
use anyhow::{Context, Result};
use dtma_config::{Configurator, Policy, Rendered, Templates};
use dtma_core::container::CreateContainer;
use dtma_core::id::{ContainerId, Generation, NetworkId, OwnerId, SlotId, container_name, network_name};
use dtma_core::label;
use dtma_core::port::ContainerRuntime;
use dtma_core::port::runtime::{CreateNetwork, Scope};
use dtma_core::spec::{GroupSpec, NetworkMode, ServerSpec};
use dtma_docker::{DockerRuntime, Settings};
use dtma_shims::ShimRuntime;
use futures_util::future::try_join_all;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The engine, without a daemon before it.
pub(crate) struct RawEngine {
    pub(crate) runtime: Arc<dyn ContainerRuntime>,
    owner: OwnerId,
    shims: bool,
}

impl RawEngine {
    pub(crate) fn connect(host: &str) -> Result<Self> {
        let owner = OwnerId::from(uuid::Uuid::new_v4().to_string());
        let settings = Settings { host: Some(host.to_owned()), ..Settings::new(owner.clone()) };
        Ok(Self { runtime: Arc::new(DockerRuntime::connect(settings)?), owner, shims: false })
    }

    /// The same with the shim in every container; its places are in `dir`.
    pub(crate) fn connect_with_shims(host: &str, dir: &Path) -> Result<Self> {
        let plain = Self::connect(host)?;
        let settings = dtma_shims::Settings {
            owner: plain.owner.clone(),
            state_dir: dir.to_owned(),
            runtime_dir: dir.to_owned(),
        };
        let runtime = ShimRuntime::open(&settings, Arc::clone(&plain.runtime))?;
        Ok(Self { runtime: Arc::new(runtime), shims: true, ..plain })
    }

    /// Everything the daemon does for this group, all at once. What was made is removed afterwards, unmeasured.
    pub(crate) async fn deploy(&self, group: &GroupSpec) -> Result<Duration> {
        let rendered = self.render(group)?;
        let began = Instant::now();
        let network = self.network(group, &rendered).await?;
        let servers = group.servers.iter();
        let started =
            try_join_all(servers.map(|server| self.server(group, server, &rendered, network.as_ref())));
        let clients = started.await?;
        let took = began.elapsed();
        drop(clients);
        self.sweep().await?;
        Ok(took)
    }

    /// Makes the group's only server, and says which container it is. Removed by [`sweep`](Self::sweep).
    pub(crate) async fn make(&self, group: &GroupSpec) -> Result<ContainerId> {
        let rendered = self.render(group)?;
        let network = self.network(group, &rendered).await?;
        let server = group.servers.first().context("no server")?;
        let request = self.request(group, server, &rendered, network.as_ref()).await?;
        Ok(self.runtime.create(&request).await?)
    }

    fn render(&self, group: &GroupSpec) -> Result<BTreeMap<String, Rendered>> {
        let configurator = Configurator::new(Templates::builtin(), Policy::default()).with_shim(self.shims);
        let rendered = configurator.render(group, &self.owner);
        let rendered = rendered.map_err(|violations| anyhow::anyhow!("{violations:?}"))?;
        Ok(rendered.into_iter().map(|(name, rendered)| (name.to_string(), rendered)).collect())
    }

    async fn network(
        &self,
        group: &GroupSpec,
        rendered: &BTreeMap<String, Rendered>,
    ) -> Result<Option<NetworkId>> {
        if rendered.values().all(|rendered| rendered.config.network == NetworkMode::None) {
            return Ok(None);
        }
        let labels = [
            (label::MANAGED, "true"),
            (label::OWNER, self.owner.as_str()),
            (label::GROUP, group.group_id.as_str()),
        ];
        let request = CreateNetwork {
            name: network_name(&self.owner, &group.group_id, NetworkMode::Group),
            mode: NetworkMode::Group,
            group: group.group_id.clone(),
            labels: labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
        };
        Ok(Some(self.runtime.create_network(&request).await?))
    }

    async fn server(
        &self,
        group: &GroupSpec,
        server: &ServerSpec,
        rendered: &BTreeMap<String, Rendered>,
        network: Option<&NetworkId>,
    ) -> Result<Option<StdioClient>> {
        let request = self.request(group, server, rendered, network).await?;
        let (id, launch) = (self.runtime.create(&request).await?, request.launch());
        if !server.kind.is_stdio() {
            self.runtime.start(&id, &launch).await?;
            self.until_accepting(&id, server.port.context("a tool without a port")?).await?;
            return Ok(None);
        }
        let attached = self.runtime.attach(&id).await?;
        self.runtime.start(&id, &launch).await?;
        Ok(Some(StdioClient::greet(attached).await?))
    }

    async fn request(
        &self,
        group: &GroupSpec,
        server: &ServerSpec,
        rendered: &BTreeMap<String, Rendered>,
        network: Option<&NetworkId>,
    ) -> Result<CreateContainer> {
        let Rendered { config, hash } = rendered.get(server.instance.as_str()).context("not rendered")?;
        let image = self.runtime.ensure_image(&config.image, config.pull, None, &|_| {}).await?;
        let slot = SlotId { group: group.group_id.clone(), instance: server.instance.clone(), replica: 0 };
        let labels = label::for_container(&self.owner, &slot, server.kind, Generation(1), hash);
        Ok(CreateContainer {
            name: container_name(&self.owner, &slot),
            slot,
            generation: Generation(1),
            config_hash: hash.clone(),
            run_as: image.run_as(),
            config: config.finished_for(&image),
            image,
            network: network.cloned(),
            labels,
            shim: None,
        })
    }

    pub(crate) async fn until_accepting(&self, id: &ContainerId, port: u16) -> Result<()> {
        while self.runtime.dial(id, port).await.is_err() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Ok(())
    }

    /// Removes everything made here.
    pub(crate) async fn sweep(&self) -> Result<()> {
        let scope = Scope { owner: self.owner.clone(), group: None };
        for container in self.runtime.containers(&scope).await? {
            self.runtime.remove(&container.id).await?;
        }
        for network in self.runtime.networks(&scope).await? {
            self.runtime.remove_network(&network.id).await?;
        }
        Ok(())
    }
}
