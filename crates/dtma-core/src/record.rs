//! What is kept of a group so that any interruption can be finished or undone: the spec, what it was rendered to,
//! and what people asked for. Nothing in here can hold a secret: there is no field for one.

use crate::Timestamp;
use crate::container::ContainerConfig;
use crate::id::{ConfigHash, Generation, GroupId, InstanceName, OperationId, RunKey};
use crate::idempotency::IdempotencyKey;
use crate::spec::GroupSpec;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// The durable desired state of one group.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GroupRecord {
    /// As accepted.
    pub spec: GroupSpec,
    /// Which change of the spec this is.
    pub generation: Generation,
    /// Rendered once, when accepted: a newer daemon with a newer template restarts nothing.
    pub servers: BTreeMap<InstanceName, ServerRecord>,
    /// Run, or be gone.
    pub goal: GroupGoal,
    /// Whether it ever stood as a whole.
    pub rollout: Rollout,
    /// When it was first accepted.
    pub created_at: Timestamp,
    /// When a person last changed it.
    pub updated_at: Timestamp,
}

/// The durable desired state of one server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServerRecord {
    /// What its container is made from.
    pub config: ContainerConfig,
    /// The hash of that.
    pub config_hash: ConfigHash,
    /// The generation that last changed it.
    pub generation: Generation,
    /// Run or stand still.
    pub goal: ServerGoal,
    /// A run that a person wants ended and followed by another. Done as soon as that run is over.
    pub restart: Option<RunKey>,
}

/// What a group is to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GroupGoal {
    /// Stand.
    Run,
    /// Be gone.
    Remove(Removal),
}

/// How a group is removed.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Removal {
    /// Kill instead of stop, all at once.
    pub force: bool,
    /// Instead of each server's own grace.
    pub grace: Option<Duration>,
    /// Remove its volumes too.
    pub volumes: bool,
    /// Engine names of volumes that stay even then: those that stood before a deployment that is undone.
    pub keep: BTreeSet<String>,
}

impl Removal {
    /// This removal after a later wish: what was asked for stays asked for.
    #[must_use]
    pub fn and(self, later: Self) -> Self {
        Self {
            force: self.force || later.force,
            grace: later.grace.or(self.grace),
            volumes: self.volumes || later.volumes,
            keep: if later.volumes { later.keep } else { self.keep },
        }
    }
}

/// Whether a group ever stood as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rollout {
    /// Being deployed for the first time: a refusal by the engine undoes it.
    Deploying {
        /// Engine names of the group's volumes that stood before: undoing leaves them alone.
        volumes_before: BTreeSet<String>,
    },
    /// It stood: refusals are retried.
    Established,
}

/// What a server is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ServerGoal {
    /// Run.
    Run,
    /// Stand still until a person starts it.
    Stop,
}

impl GroupRecord {
    /// True when the end of this run was asked for: it does not count as a crash.
    #[must_use]
    pub fn asked_to_end(&self, instance: &InstanceName, run: &RunKey) -> bool {
        let of_server = self
            .servers
            .get(instance)
            .is_none_or(|server| server.goal == ServerGoal::Stop || server.restart.as_ref() == Some(run));
        of_server || matches!(self.goal, GroupGoal::Remove(_))
    }
}

/// One mutation from its acceptance to its outcome: the intent journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operation {
    /// Its id.
    pub id: OperationId,
    /// What was asked.
    pub kind: OperationKind,
    /// Of which group.
    pub group: GroupId,
    /// Of which server, when of one.
    pub instance: Option<InstanceName>,
    /// Who asked: the name of a token, never the token; `local` for a program that embeds the manager.
    #[serde(default = "local")]
    pub author: String,
    /// By which key the question is known, when it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<IdempotencyKey>,
    /// When it was accepted.
    pub accepted_at: Timestamp,
    /// How it ended, when it did.
    pub outcome: Option<Outcome>,
}

/// Who asks when nobody says who it is.
#[must_use]
pub fn local() -> String {
    "local".to_owned()
}

/// What can be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OperationKind {
    /// Deploy a group.
    Deploy,
    /// Remove a group.
    Remove,
    /// Restart a server.
    Restart,
    /// Start a stopped server.
    Start,
    /// Stop a server.
    Stop,
}

/// How an operation ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// As wanted.
    Done {
        /// When.
        at: Timestamp,
    },
    /// Not.
    Failed {
        /// When.
        at: Timestamp,
        /// Why.
        message: String,
    },
}

/// A client session of the gateway, kept so that it outlives the daemon. Ids and handshake only, no content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GatewaySession {
    /// The `Mcp-Session-Id`.
    pub id: String,
    /// The server it talks to.
    pub instance: InstanceName,
    /// The protocol version agreed with the client.
    pub protocol_version: String,
    /// The client's capabilities as it sent them (raw JSON).
    pub capabilities: String,
    /// When it was opened.
    pub opened_at: Timestamp,
}

/// The handshake done with one run of a server: a re-attached process must not be initialised twice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Handshake {
    /// The process it was done with.
    pub run: RunKey,
    /// The `result` of `initialize`, raw JSON.
    pub result: String,
}
