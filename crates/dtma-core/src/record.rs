//! What is kept of a group so that any interruption can be finished or undone: the spec, what it was rendered to,
//! and what people asked for. Nothing in here can hold a secret: there is no field for one.

use crate::Timestamp;
use crate::container::{ContainerConfig, Launch};
use crate::hash::shape;
use crate::id::{ConfigHash, Generation, GroupId, InstanceName, OperationId, RunKey};
use crate::idempotency::IdempotencyKey;
use crate::observation::ContainerObservation;
use crate::spec::GroupSpec;
use serde::{Deserialize, Deserializer, Serialize};
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
    /// Runs that a person wants ended and followed by others. Done as soon as each is over.
    #[serde(default, deserialize_with = "runs")]
    pub restart: BTreeSet<RunKey>,
}

impl ServerRecord {
    /// What its process is begun with.
    #[must_use]
    pub fn launch(&self) -> Launch {
        Launch::of(&self.config, &self.config_hash, self.generation)
    }

    /// True for a container made from this configuration, or that runs its process.
    #[must_use]
    pub fn is_of(&self, seen: &ContainerObservation) -> bool {
        seen.config_hash == self.config_hash || (seen.in_doubt && self.fits(seen))
    }

    /// True for a container in which its process can run, whatever runs there now.
    #[must_use]
    pub fn fits(&self, seen: &ContainerObservation) -> bool {
        seen.shape.is_some() && seen.shape == shape(&self.config)
    }
}

/// Reads what earlier versions wrote, too: one run, or none.
fn runs<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeSet<RunKey>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Runs {
        Many(BTreeSet<RunKey>),
        One(Option<RunKey>),
    }
    Ok(match Runs::deserialize(deserializer)? {
        Runs::Many(runs) => runs,
        Runs::One(run) => run.into_iter().collect(),
    })
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

/// How far a group is on its way to its generation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rollout {
    /// Being deployed for the first time: a refusal by the engine undoes it.
    Deploying {
        /// Engine names of the group's volumes that stood before: undoing leaves them alone.
        volumes_before: BTreeSet<String>,
    },
    /// It stood: refusals are retried.
    Established,
    /// What changed is being replaced; what stood before serves meanwhile.
    Updating(Box<Update>),
}

/// An update under way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Update {
    /// What stands until the new generation is proved: the last one that was, or, on the way back, the failed one.
    pub from: Previous,
    /// When it was accepted.
    pub since: Timestamp,
    /// Set on the way back: why the generation that is being left failed.
    pub reverting: Option<String>,
    /// Set when it failed and there is no way back; it is tried on.
    #[serde(default)]
    pub failed: Option<String>,
}

/// A generation as it was rendered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Previous {
    /// Which.
    pub generation: Generation,
    /// As accepted.
    pub spec: GroupSpec,
    /// As rendered.
    pub servers: BTreeMap<InstanceName, ServerRecord>,
    /// It stood as a whole: there is a way back to it.
    pub stood: bool,
}

impl Update {
    /// True when this update replaces, adds or scales the server of that name.
    #[must_use]
    pub fn changes(&self, to: &GroupRecord, instance: &InstanceName) -> bool {
        let now = to.servers.get(instance).map(|server| &server.config_hash);
        let before = self.from.servers.get(instance).map(|server| &server.config_hash);
        let replicas = |spec: &GroupSpec| spec.server(instance).map(|server| server.replicas);
        now != before || replicas(&to.spec) != replicas(&self.from.spec)
    }
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
            .is_none_or(|server| server.goal == ServerGoal::Stop || server.restart.contains(run));
        of_server || matches!(self.goal, GroupGoal::Remove(_))
    }

    /// True for a container that is made from what is wanted now: only its exit completes a server.
    #[must_use]
    pub fn is_wanted(&self, seen: &ContainerObservation) -> bool {
        let server = self.servers.get(&seen.slot.instance);
        server.is_some_and(|server| server.config_hash == seen.config_hash)
    }

    /// The update under way, if any.
    #[must_use]
    pub fn update(&self) -> Option<&Update> {
        match &self.rollout {
            Rollout::Updating(update) => Some(update),
            Rollout::Deploying { .. } | Rollout::Established => None,
        }
    }

    /// What stands now, to go back to.
    #[must_use]
    pub fn as_previous(&self) -> Previous {
        Previous {
            generation: self.generation,
            spec: self.spec.clone(),
            servers: self.servers.clone(),
            stood: matches!(self.rollout, Rollout::Established),
        }
    }
}

/// One accepted generation of a group: what it was, who wanted it, what became of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Revision {
    /// Which. A number that failed may be used again.
    pub generation: Generation,
    /// The spec as accepted.
    pub spec: GroupSpec,
    /// When it was accepted.
    pub at: Timestamp,
    /// Who wanted it: the name of a token, never the token.
    pub author: String,
    /// What for.
    pub cause: Cause,
    /// What became of it.
    pub fate: Fate,
}

/// Why there is a new generation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// The first deployment.
    Deploy,
    /// A new spec.
    Apply,
    /// Another number of replicas.
    Scale {
        /// Of which server.
        instance: InstanceName,
        /// How many.
        replicas: u32,
    },
    /// Back to the spec of an earlier one.
    Rollback {
        /// Which.
        to: Generation,
    },
}

/// What became of a generation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fate {
    /// On its way.
    Rolling,
    /// It stood as a whole.
    Established {
        /// When.
        at: Timestamp,
    },
    /// It failed; where the group reverts by itself, the one before stands again.
    Failed {
        /// When.
        at: Timestamp,
        /// Why.
        reason: String,
    },
    /// A later one took its place before it stood.
    Superseded {
        /// When.
        at: Timestamp,
    },
}

/// What is to be kept together with a group, in the same transaction.
#[derive(Debug, Clone, Copy, Default)]
pub struct Journal<'a> {
    /// The operation that changed it.
    pub operation: Option<&'a Operation>,
    /// Revisions that came about or whose fate changed, by their generation.
    pub revisions: &'a [Revision],
}

impl<'a> From<Option<&'a Operation>> for Journal<'a> {
    fn from(operation: Option<&'a Operation>) -> Self {
        Self { operation, revisions: &[] }
    }
}

impl<'a> From<&'a Operation> for Journal<'a> {
    fn from(operation: &'a Operation) -> Self {
        Self::from(Some(operation))
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
    /// Change a group's spec.
    Apply,
    /// Change a server's number of replicas.
    Scale,
    /// Go back to an earlier generation.
    Rollback,
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
    /// Which lists the server told the client it would hear of when they change (`tools`, …).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub list_changed: Vec<String>,
    /// What the client asked the server to keep in mind.
    #[serde(default, skip_serializing_if = "Wishes::is_none")]
    pub wishes: Wishes,
    /// When it was opened.
    pub opened_at: Timestamp,
}

/// What a client asked a server to keep in mind, said again to its next process.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Wishes {
    /// The least level of the log it wants to hear of (`logging/setLevel`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_level: Option<String>,
    /// URIs of the resources it wants to hear of when they change (`resources/subscribe`).
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub watched: BTreeSet<String>,
}

impl Wishes {
    /// True for a client that asked for nothing.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.log_level.is_none() && self.watched.is_empty()
    }
}

/// The handshake done with one run of a server: a re-attached process must not be initialised twice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Handshake {
    /// The process it was done with.
    pub run: RunKey,
    /// The `result` of `initialize`, raw JSON.
    pub result: String,
}
