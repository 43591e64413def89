//! Accepting a new group: every reason to refuse is looked for before anything is made, and nothing is begun before
//! the wish is durable.

use super::{Entry, Registry};
use crate::error::ManagerError;
use crate::forward::Forward;
use crate::group::{Order, Seed};
use crate::handle::{Asking, Validation};
use dtma_core::history::GroupHistory;
use dtma_core::id::{Generation, GroupId, InstanceName, OperationId, OwnerId, SlotId, container_name};
use dtma_core::observation::Observation;
use dtma_core::port::RuntimeError;
use dtma_core::port::runtime::Scope;
use dtma_core::record::{
    Cause, Fate, GroupGoal, GroupRecord, Journal, Operation, OperationKind, Revision, Rollout, ServerGoal,
    ServerRecord,
};
use dtma_core::spec::{GroupSpec, Publish, ServerSpec};
use dtma_core::violation::Violation;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Names and ports held for a group until it is live; given back when dropped before.
pub(super) struct Reservation {
    registry: Arc<Registry>,
    group: GroupId,
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let mut groups = self.registry.groups();
        if matches!(groups.get(&self.group), Some(Entry::Reserved(_))) {
            groups.remove(&self.group);
        }
    }
}

impl Registry {
    /// Opens a port of the host.
    pub(crate) fn forward(&self, host_port: u16) -> Result<Forward, ManagerError> {
        Forward::open(&self.backends.runtime, self.settings.publish_address, host_port)
    }

    /// Opens an adopted group's ports again; one that somebody took meanwhile is reported and tried again later.
    pub(super) fn reopen(&self, record: &GroupRecord) -> BTreeMap<InstanceName, Vec<Forward>> {
        let mut open: BTreeMap<InstanceName, Vec<Forward>> = BTreeMap::new();
        let before = record.update().map(|update| &update.from.spec);
        let mut ports = BTreeSet::new();
        for server in std::iter::once(&record.spec).chain(before).flat_map(|spec| &spec.servers) {
            for publish in server.publish.iter().filter(|publish| ports.insert(publish.host_port)) {
                match self.forward(publish.host_port) {
                    Ok(forward) => open.entry(server.instance.clone()).or_default().push(forward),
                    Err(error) => tracing::error!(instance = %server.instance, %error, "cannot publish"),
                }
            }
        }
        open
    }

    /// Accepts a new group and starts its task.
    pub(super) async fn admit(
        self: &Arc<Self>,
        spec: GroupSpec,
        generation: Generation,
        asking: &Asking,
        order: impl FnOnce(Operation) -> Order,
    ) -> Result<OperationId, ManagerError> {
        let rendered =
            self.backends.configurator.render(&spec, &self.owner).map_err(ManagerError::Invalid)?;
        let reservation = self.reserve(&spec)?;
        let wanted: Vec<Publish> = spec.servers.iter().flat_map(|server| server.publish.clone()).collect();
        let forwards =
            wanted.iter().map(|publish| self.forward(publish.host_port)).collect::<Result<_, _>>()?;
        let seen = self.look(&spec.group_id).await?;
        let group = spec.group_id.clone();
        let operation = self.operation(OperationKind::Deploy, &group, None, asking);
        let record = self.record(spec, rendered, generation, &seen);
        let seed = Seed {
            history: GroupHistory::default(),
            interrupted: Vec::new(),
            sessions: Vec::new(),
            handshakes: Vec::new(),
            forwards: by_server(&record.spec, forwards),
            seen,
            order: Some(order(operation.clone())),
            record,
        };
        // In a task of its own: a caller that hangs up now must not leave a durable group that nobody owns.
        let settled = self.tasks.spawn(Arc::clone(self).settle(reservation, seed, operation));
        settled.await.unwrap_or_else(|_| Err(self.lost(&group)))
    }

    /// Makes a new group durable and starts its task.
    async fn settle(
        self: Arc<Self>,
        reservation: Reservation,
        seed: Seed,
        operation: Operation,
    ) -> Result<OperationId, ManagerError> {
        let revision = Revision {
            generation: seed.record.generation,
            spec: seed.record.spec.clone(),
            at: seed.record.created_at,
            author: operation.author.clone(),
            cause: Cause::Deploy,
            fate: Fate::Rolling,
        };
        let journal = Journal { operation: Some(&operation), revisions: &[revision] };
        self.backends.store.put_group(&seed.record, journal).await?;
        self.spawn(seed);
        drop(reservation);
        Ok(operation.id)
    }

    pub(super) fn operation(
        &self,
        kind: OperationKind,
        group: &GroupId,
        instance: Option<&InstanceName>,
        asking: &Asking,
    ) -> Operation {
        Operation {
            id: asking.operation.clone(),
            kind,
            group: group.clone(),
            instance: instance.cloned(),
            author: asking.author.clone(),
            key: asking.key.clone(),
            accepted_at: (self.backends.wall)(),
            outcome: None,
        }
    }

    fn record(
        &self,
        spec: GroupSpec,
        rendered: BTreeMap<InstanceName, dtma_config::Rendered>,
        generation: Generation,
        seen: &Observation,
    ) -> GroupRecord {
        let now = (self.backends.wall)();
        let server = |(instance, rendered): (InstanceName, dtma_config::Rendered)| {
            let (config, config_hash) = (rendered.config, rendered.hash);
            (
                instance,
                ServerRecord {
                    config,
                    config_hash,
                    generation,
                    goal: ServerGoal::Run,
                    restart: BTreeSet::new(),
                },
            )
        };
        GroupRecord {
            servers: rendered.into_iter().map(server).collect(),
            spec,
            generation,
            goal: GroupGoal::Run,
            rollout: Rollout::Deploying { volumes_before: seen.volumes.clone() },
            created_at: now,
            updated_at: now,
        }
    }

    /// What the engine has of a group. Also the proof that the engine is there before a wish is accepted.
    pub(crate) async fn look(&self, group: &GroupId) -> Result<Observation, RuntimeError> {
        let runtime = &self.backends.runtime;
        let scope = Scope { owner: self.owner.clone(), group: Some(group.clone()) };
        let (containers, networks, volumes) = futures_util::future::try_join3(
            runtime.containers(&scope),
            runtime.networks(&scope),
            runtime.volumes(&scope),
        )
        .await?;
        let volumes = volumes.into_iter().map(|volume| volume.name).collect();
        Ok(Observation { containers, networks, volumes, ..Observation::default() })
    }

    /// Takes the names and ports of another spec for a group that stands, until [`publish`](Self::publish).
    pub(crate) fn claim(&self, spec: &GroupSpec) -> Result<(), ManagerError> {
        let mut groups = self.groups();
        if let Some(conflict) = conflicts(&self.owner, &groups, spec).into_iter().next() {
            return Err(conflict.error);
        }
        if let Some(Entry::Live(live)) = groups.get_mut(&spec.group_id) {
            live.claimed = Some(Arc::new(spec.clone()));
        }
        Ok(())
    }

    fn reserve(self: &Arc<Self>, spec: &GroupSpec) -> Result<Reservation, ManagerError> {
        let mut groups = self.groups();
        if groups.contains_key(&spec.group_id) {
            return Err(ManagerError::Busy(spec.group_id.clone()));
        }
        if let Some(conflict) = conflicts(&self.owner, &groups, spec).into_iter().next() {
            return Err(conflict.error);
        }
        groups.insert(spec.group_id.clone(), Entry::Reserved(spec.clone()));
        Ok(Reservation { registry: Arc::clone(self), group: spec.group_id.clone() })
    }

    pub(crate) fn validate(&self, spec: &GroupSpec) -> Validation {
        let configurator = &self.backends.configurator;
        let mut violations = configurator.validate(spec);
        let conflicts = conflicts(&self.owner, &self.groups(), spec);
        violations.extend(conflicts.into_iter().map(Conflict::into_violation));
        let effective = match violations.is_empty() {
            true => configurator.render(spec, &self.owner).unwrap_or_default(),
            false => BTreeMap::new(),
        };
        Validation { violations, warnings: configurator.warnings(spec), effective }
    }
}

/// Something another group holds already.
struct Conflict {
    pointer: String,
    rule: &'static str,
    error: ManagerError,
}

impl Conflict {
    fn into_violation(self) -> Violation {
        Violation::new(self.pointer, self.rule, self.error.to_string())
    }
}

/// Every name and port of `spec` that another group holds.
fn conflicts(owner: &OwnerId, groups: &BTreeMap<GroupId, Entry>, spec: &GroupSpec) -> Vec<Conflict> {
    let others =
        || groups.iter().filter(|(id, _)| **id != spec.group_id).flat_map(|(_, entry)| entry.specs());
    let mut found = Vec::new();
    for (index, server) in spec.servers.iter().enumerate() {
        for other in others() {
            for theirs in &other.servers {
                found.extend(conflict(owner, (index, spec, server), (other, theirs)));
            }
        }
    }
    found
}

fn conflict(
    owner: &OwnerId,
    (index, spec, server): (usize, &GroupSpec, &ServerSpec),
    (other, theirs): (&GroupSpec, &ServerSpec),
) -> Vec<Conflict> {
    let mut found = Vec::new();
    let instance = server.instance.clone();
    let name_pointer = format!("/servers/{index}/instanceName");
    if theirs.instance == instance {
        let error = ManagerError::InstanceTaken { instance, group: other.group_id.clone() };
        found.push(Conflict { pointer: name_pointer, rule: "taken.instance", error });
    } else if name_of(owner, spec, server) == name_of(owner, other, theirs) {
        let error = ManagerError::ContainerNameTaken { instance, other: theirs.instance.clone() };
        found.push(Conflict { pointer: name_pointer, rule: "taken.container-name", error });
    }
    for (port, publish) in server.publish.iter().enumerate() {
        if theirs.publish.iter().any(|taken| taken.host_port == publish.host_port) {
            let problem = format!("server {} of group {} has it", theirs.instance, other.group_id);
            let error = ManagerError::PortTaken { port: publish.host_port, problem };
            let pointer = format!("/servers/{index}/publish/{port}/hostPort");
            found.push(Conflict { pointer, rule: "taken.port", error });
        }
    }
    found
}

/// Two pairs of names can join to the same container name (`a-b` + `c`, `a` + `b-c`).
fn name_of(owner: &OwnerId, group: &GroupSpec, server: &ServerSpec) -> String {
    let (group, instance) = (group.group_id.clone(), server.instance.clone());
    container_name(owner, &SlotId { group, instance, replica: 0 })
}

fn by_server(spec: &GroupSpec, forwards: Vec<Forward>) -> BTreeMap<InstanceName, Vec<Forward>> {
    let mut forwards = forwards.into_iter();
    let take = |server: &ServerSpec| {
        (server.instance.clone(), forwards.by_ref().take(server.publish.len()).collect())
    };
    spec.servers.iter().map(take).collect()
}
