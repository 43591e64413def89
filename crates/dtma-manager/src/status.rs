//! What is reported of groups and servers. A status is a snapshot: cheap to clone, never a handle.

use dtma_core::Timestamp;
use dtma_core::history::{Exit, Refusal};
use dtma_core::id::{ContainerId, Generation, GroupId, ImageId, ImageRef, InstanceName, OperationId};
use dtma_core::log::Origin;
use dtma_core::observation::Asker;
use dtma_core::phase::Phase;
use dtma_core::spec::{NetworkMode, Publish, ServerKind};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A group, as it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct GroupStatus {
    /// The group.
    pub group_id: GroupId,
    /// Which change of its spec is applied.
    pub generation: Generation,
    /// All servers taken together.
    pub state: GroupState,
    /// Its servers, in the order of the spec.
    pub servers: Vec<ServerStatus>,
    /// The name of its network, when it has one.
    pub network: Option<String>,
    /// Labels of the spec.
    pub labels: BTreeMap<String, String>,
    /// The operation under way, if any.
    pub operation: Option<OperationId>,
    /// What stands in the way of the group as a whole (the engine is away, …).
    pub trouble: Option<String>,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// When a person last changed it.
    pub updated_at: Timestamp,
}

impl GroupStatus {
    /// The names of failed servers, with the reason.
    #[must_use]
    pub fn failed(&self) -> Vec<String> {
        let failed = self.servers.iter().filter(|server| matches!(server.phase, Phase::Failed { .. }));
        failed.map(|s| format!("{} ({})", s.instance, s.phase.reason().unwrap_or_default())).collect()
    }

    /// The server of that name.
    #[must_use]
    pub fn server(&self, instance: &InstanceName) -> Option<&ServerStatus> {
        self.servers.iter().find(|server| server.instance == *instance)
    }
}

/// All servers of a group taken together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GroupState {
    /// On its way: nothing failed, not everything settled.
    Deploying,
    /// Every server is ready, completed, or stopped by a person.
    Ready,
    /// What changed is being replaced; what stood before serves meanwhile.
    Updating,
    /// Stood once; at least one server is not ready now.
    Degraded,
    /// At least one server is failed.
    Failed,
    /// On its way out.
    Removing,
}

impl GroupState {
    /// One word for tables.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Deploying => "deploying",
            Self::Updating => "updating",
            Self::Ready => "ready",
            Self::Degraded => "degraded",
            Self::Failed => "failed",
            Self::Removing => "removing",
        }
    }
}

/// A server, as it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct ServerStatus {
    /// Its name.
    pub instance: InstanceName,
    /// MCP server or tool.
    pub kind: ServerKind,
    /// The image as wanted.
    pub image: ImageRef,
    /// The image its container is made from.
    pub image_id: Option<ImageId>,
    /// Where it is in its life.
    pub phase: Phase,
    /// What the daemon is doing for it right now (`pulling 12 of 30 MB`).
    pub activity: Option<String>,
    /// The generation that last changed it.
    pub generation: Generation,
    /// Its container.
    pub container: Option<ContainerId>,
    /// That container's name.
    pub container_name: Option<String>,
    /// Its network.
    pub network: NetworkMode,
    /// How often it was started again, by whomever. Never falls.
    pub restarts: u64,
    /// How its last run ended, if one did.
    pub last_exit: Option<Exit>,
    /// How often it ended unasked, other than by reaching its goal. Never falls.
    pub crashes: u64,
    /// The engine's last refusal, when nothing succeeded since.
    pub refusal: Option<Refusal>,
    /// How many replicas it is to have.
    pub wanted_replicas: u32,
    /// Its replicas, by number, what sessions have for themselves, and what is kept ready for more of these.
    pub replicas: Vec<ReplicaStatus>,
    /// What is kept ready for sessions to come; `None`: nothing is to be.
    pub spares: Option<SparesStatus>,
    /// All its containers, by replica and generation: during an update the old beside the new.
    pub containers: Vec<ContainerStatus>,
    /// Forwarded host ports.
    pub publish: Vec<PublishStatus>,
    /// What it said about itself in the handshake; MCP servers only, once it answered.
    pub mcp: Option<Arc<McpSummary>>,
    /// What of its tools is not as approved, in one line.
    pub contract: Option<String>,
}

/// How many processes a server keeps ready for sessions to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SparesStatus {
    /// So many are to be.
    pub wanted: u32,
    /// So many have come up.
    pub ready: u32,
}

/// One replica of a server, as it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct ReplicaStatus {
    /// Which, from 0.
    pub replica: u32,
    /// It is no replica: a session has it for itself, or one that is still to come.
    pub asker: Option<Asker>,
    /// Where it is in its life.
    pub phase: Phase,
    /// The container that serves for it, or will.
    pub container: Option<ContainerId>,
    /// That container's name.
    pub container_name: Option<String>,
    /// The image that container is made from.
    pub image_id: Option<ImageId>,
    /// The generation that made that container.
    pub generation: Option<Generation>,
    /// How often it was started again, by whomever. Never falls.
    pub restarts: u64,
    /// How its last run ended, if one did.
    pub last_exit: Option<Exit>,
    /// When the run before the present one wrote its log, if there was one: from there (or the beginning) to there.
    pub previous_run: Option<(Option<Timestamp>, Timestamp)>,
}

/// One container of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerStatus {
    /// The engine's id.
    pub id: ContainerId,
    /// Which replica and generation it is.
    pub origin: Origin,
    /// Since when its process runs, while it does.
    pub running_since: Option<Timestamp>,
}

/// A forwarded host port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublishStatus {
    /// As wanted.
    pub publish: Publish,
    /// True while the daemon listens there.
    pub listening: bool,
}

/// What an MCP server said about itself.
#[derive(Debug, Clone, PartialEq)]
pub struct McpSummary {
    /// The protocol version agreed on.
    pub protocol_version: String,
    /// `serverInfo.name`.
    pub server_name: String,
    /// `serverInfo.version`.
    pub server_version: String,
    /// Names of the capabilities it declared (`tools`, `resources`, …).
    pub capabilities: Vec<String>,
    /// Its tools: name, and the tool as it sent it (raw JSON).
    pub tools: Vec<(String, String)>,
}
