//! What a person may want: groups, servers, and how they hang together. Already parsed and well formed; whether
//! policy allows it is `dtma-config`'s business.

mod dependency;
pub mod gateway;
mod idle;
mod kind;
mod session;
mod surroundings;
mod update;

pub use dependency::{Condition, Connect, Dependency};
pub use gateway::GatewaySpec;
pub use idle::IdleSpec;
pub use kind::{ServerKind, Transport};
pub use session::{SessionMode, SessionSpec};
pub use surroundings::{Mount, MountSource, NetworkMode, Publish, PullPolicy, Resources};
pub use update::{UpdateOrder, UpdateSpec};

use crate::contract::Pinning;
use crate::egress::EgressRule;
use crate::id::{GroupId, ImageRef, InstanceName, ReplicaId};
use crate::platform::Platform;
use crate::restart::RestartPolicy;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// A group of servers that is deployed, watched and removed together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GroupSpec {
    /// The group's id.
    pub group_id: GroupId,
    /// Its servers, in the order written; order has no meaning, `depends_on` has.
    pub servers: Vec<ServerSpec>,
    /// How it is deployed.
    #[serde(default)]
    pub options: GroupOptions,
    /// How its MCP servers look as one.
    #[serde(default, skip_serializing_if = "GatewaySpec::is_default")]
    pub gateway: GatewaySpec,
    /// Labels for people and other tools; carried onto every container.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
}

impl GroupSpec {
    /// A group of these servers, everything else at its default.
    #[must_use]
    pub fn new(group_id: GroupId, servers: Vec<ServerSpec>) -> Self {
        let (options, gateway, labels) = (GroupOptions::default(), GatewaySpec::default(), BTreeMap::new());
        Self { group_id, servers, options, gateway, labels }
    }

    /// The server of that name.
    #[must_use]
    pub fn server(&self, instance: &InstanceName) -> Option<&ServerSpec> {
        self.servers.iter().find(|server| server.instance == *instance)
    }
}

/// How a group is deployed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupOptions {
    /// Servers may ask for the group's networks. When false none gets one.
    pub shared_networking: bool,
    /// Starts wait for `depends_on`. When false all start at once and only removal is ordered.
    pub dependency_order: bool,
    /// Most servers created or started at the same moment.
    pub max_concurrent_deployments: u32,
    /// An update that fails goes back to what stood before.
    #[serde(default = "yes")]
    pub auto_revert: bool,
    /// An update that is not through after this has failed.
    #[serde(default = "default_progress_deadline")]
    pub progress_deadline: Duration,
}

fn yes() -> bool {
    true
}

/// Ten minutes, as with a Kubernetes Deployment.
fn default_progress_deadline() -> Duration {
    Duration::from_secs(600)
}

impl Default for GroupOptions {
    fn default() -> Self {
        Self {
            shared_networking: true,
            dependency_order: true,
            max_concurrent_deployments: 16,
            auto_revert: true,
            progress_deadline: default_progress_deadline(),
        }
    }
}

/// One server of a group.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServerSpec {
    /// Its name, unique per daemon.
    pub instance: InstanceName,
    /// An MCP server with its transport, or an ordinary tool.
    pub kind: ServerKind,
    /// The image.
    pub image: ImageRef,
    /// For which platform; `None`: whichever the engine takes by itself, its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// Begun by the shim. `None`: wherever that can be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shim: Option<bool>,
    /// Replaces the image's entrypoint.
    #[serde(default)]
    pub command: Option<Vec<String>>,
    /// Replaces the image's command.
    #[serde(default)]
    pub args: Option<Vec<String>>,
    /// Plain environment. Not for secrets: the engine shows it in `inspect` for ever.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
    /// The TCP port inside on which a tool listens (it is ready when the port accepts), or on which an MCP server of
    /// another transport than stdio is spoken to.
    #[serde(default)]
    pub port: Option<u16>,
    /// Where an MCP server is found under its port; `None`: the transport's usual place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint_path: Option<String>,
    /// Host ports that the daemon listens on and forwards.
    #[serde(default)]
    pub publish: Vec<Publish>,
    /// Where the server may write, and what survives it.
    #[serde(default)]
    pub mounts: Vec<Mount>,
    /// What must hold before it starts.
    #[serde(default)]
    pub depends_on: Vec<Dependency>,
    /// What it asks for; empty fields take the template's values.
    #[serde(default)]
    pub resources: Resources,
    /// When it counts as ready.
    #[serde(default)]
    pub readiness: ReadinessSpec,
    /// What happens when it exits.
    #[serde(default)]
    pub restart: RestartPolicy,
    /// How many containers serve it at the same time, at least 1; 0 where sessions have processes of their own only.
    #[serde(default = "one")]
    pub replicas: u32,
    /// How its clients share it.
    #[serde(default)]
    pub session: SessionSpec,
    /// In which order an update replaces its containers.
    #[serde(default)]
    pub update: UpdateSpec,
    /// Its network; `None`: none, or the group's for a tool that could not be reached otherwise.
    #[serde(default)]
    pub network: Option<NetworkMode>,
    /// What it may reach outside, through the daemon; nothing when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub egress: Vec<EgressRule>,
    /// When the image is fetched.
    #[serde(default)]
    pub pull: PullPolicy,
    /// Between SIGTERM and SIGKILL.
    #[serde(default = "default_stop_grace")]
    pub stop_grace: Duration,
    /// The configuration template, `standard` when not named.
    #[serde(default)]
    pub template: Option<String>,
    /// A create request in the engine's own words (`Env`, `HostConfig`, …), applied through policy.
    #[serde(default)]
    pub overrides: Option<serde_json::Map<String, serde_json::Value>>,
    /// What follows when an MCP server's tools are not those that were approved.
    #[serde(default)]
    pub pinning: Pinning,
    /// When it is put to rest.
    #[serde(default, skip_serializing_if = "IdleSpec::is_never")]
    pub idle: IdleSpec,
    /// Labels for people and other tools.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
}

fn one() -> u32 {
    1
}

/// Ten seconds, as `docker stop` has taught people.
#[must_use]
pub fn default_stop_grace() -> Duration {
    Duration::from_secs(10)
}

impl ServerSpec {
    /// The least that makes a server: a name, a kind and an image; everything else at its default.
    #[must_use]
    pub fn new(instance: InstanceName, kind: ServerKind, image: ImageRef) -> Self {
        Self {
            instance,
            kind,
            image,
            platform: None,
            shim: None,
            command: None,
            args: None,
            environment: BTreeMap::new(),
            port: None,
            endpoint_path: None,
            publish: Vec::new(),
            mounts: Vec::new(),
            depends_on: Vec::new(),
            resources: Resources::default(),
            readiness: ReadinessSpec::default(),
            restart: RestartPolicy::default(),
            replicas: 1,
            session: SessionSpec::default(),
            update: UpdateSpec::default(),
            network: None,
            egress: Vec::new(),
            pull: PullPolicy::default(),
            stop_grace: default_stop_grace(),
            template: None,
            overrides: None,
            pinning: Pinning::default(),
            idle: IdleSpec::default(),
            labels: BTreeMap::new(),
        }
    }

    /// The order in which an update replaces its containers.
    #[must_use]
    pub fn update_order(&self) -> UpdateOrder {
        let writes = |mount: &Mount| !mount.read_only && matches!(mount.source, MountSource::Volume(_));
        let by_nature = match self.mounts.iter().any(writes) {
            true => UpdateOrder::StopFirst,
            false => UpdateOrder::StartFirst,
        };
        self.update.order.unwrap_or(by_nature)
    }

    /// Where an MCP server is found under its port, or would be if it had one.
    #[must_use]
    pub fn endpoint(&self) -> Option<&str> {
        match self.kind {
            ServerKind::Mcp(transport) => {
                Some(self.endpoint_path.as_deref().unwrap_or(transport.default_endpoint()))
            }
            ServerKind::Tool => None,
        }
    }

    /// Its replicas.
    pub fn places(&self) -> impl Iterator<Item = ReplicaId> + '_ {
        (0..self.count()).map(|replica| ReplicaId::new(self.instance.clone(), replica))
    }

    /// How many replicas it has.
    #[must_use]
    pub fn count(&self) -> u32 {
        if self.session.is_own() { self.replicas } else { self.replicas.max(1) }
    }
}

/// When a started server counts as ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadinessSpec {
    /// A tool without a port is ready after it has run this long.
    pub settle: Duration,
    /// Not ready after this long: it is stopped, which counts as a crash.
    pub start_timeout: Duration,
}

impl Default for ReadinessSpec {
    fn default() -> Self {
        Self { settle: Duration::from_secs(1), start_timeout: Duration::from_secs(60) }
    }
}
