//! Telling: the group's status as a snapshot, and an event for every phase that changed.

use super::GroupTask;
use crate::event::EventKind;
use crate::status::{
    ContainerStatus, GroupState, GroupStatus, PublishStatus, ReplicaStatus, ServerStatus, SparesStatus,
};
use dtma_core::id::{InstanceName, Member, ReplicaId};
use dtma_core::log::Origin;
use dtma_core::observation::{Asker, ContainerObservation, Subject};
use dtma_core::phase::Phase;
use dtma_core::plan::Plan;
use dtma_core::record::{GroupGoal, GroupRecord, Rollout, ServerRecord};
use dtma_core::spec::ServerSpec;
use std::sync::{Arc, PoisonError};

/// The status before the first pass.
pub(super) fn initial(record: &GroupRecord) -> GroupStatus {
    let server = |spec: &ServerSpec| {
        let record = record.servers.get(&spec.instance)?;
        Some(bare(spec, record, Phase::Creating))
    };
    GroupStatus {
        group_id: record.spec.group_id.clone(),
        generation: record.generation,
        state: state(record, &[]),
        servers: record.spec.servers.iter().filter_map(server).collect(),
        network: None,
        labels: record.spec.labels.clone(),
        operation: None,
        trouble: None,
        created_at: record.created_at,
        updated_at: record.updated_at,
    }
}

fn bare(spec: &ServerSpec, record: &ServerRecord, phase: Phase) -> ServerStatus {
    ServerStatus {
        instance: spec.instance.clone(),
        kind: spec.kind,
        image: record.config.image.clone(),
        image_id: None,
        phase,
        activity: None,
        generation: record.generation,
        container: None,
        container_name: None,
        network: record.config.network,
        restarts: 0,
        crashes: 0,
        last_exit: None,
        refusal: None,
        wanted_replicas: spec.count(),
        replicas: Vec::new(),
        spares: None,
        containers: Vec::new(),
        publish: Vec::new(),
        mcp: None,
        contract: None,
    }
}

impl GroupTask {
    /// Publishes where everything is, and an event for each change.
    pub(super) fn report(&mut self, plan: &Plan) {
        for (instance, phase) in &plan.phases {
            if self.phases.get(instance) != Some(phase) {
                self.emit(Some(instance), EventKind::Phase(phase.clone()));
            }
        }
        self.phases.clone_from(&plan.phases);
        self.replicas.clone_from(&plan.replicas);
        self.publish();
    }

    /// Lets everybody see where things are now.
    pub(super) fn publish(&self) {
        let status = self.snapshot();
        let before = self.status.borrow().state;
        if before != status.state {
            self.emit(None, EventKind::Group(status.state));
        }
        self.status.send_if_modified(|current| {
            let changed = **current != status;
            if changed {
                *current = Arc::new(status);
            }
            changed
        });
    }

    fn snapshot(&self) -> GroupStatus {
        let servers: Vec<_> =
            self.record.spec.servers.iter().filter_map(|spec| self.server_status(spec)).collect();
        let phases: Vec<_> = servers.iter().map(|server| server.phase.clone()).collect();
        GroupStatus {
            state: state(&self.record, &phases),
            servers,
            network: self.seen.networks.first().map(|network| network.name.clone()),
            operation: self.operation(),
            trouble: self.trouble.clone().or_else(|| self.stuck()).or_else(|| self.failed_generation()),
            ..initial(&self.record)
        }
    }

    /// Why a generation did not come to stand, while that has consequences.
    fn failed_generation(&self) -> Option<String> {
        let update = self.record.update()?;
        let (now, left) = (self.record.generation, update.from.generation);
        match (&update.reverting, &update.failed) {
            (Some(why), _) => {
                Some(format!("generation {left} failed ({why}); going back to generation {now}"))
            }
            (None, Some(why)) => Some(format!("generation {now} failed ({why}) and is tried on")),
            (None, None) => None,
        }
    }

    /// What fails again and again and shows in no server's phase.
    fn stuck(&self) -> Option<String> {
        let removing = matches!(self.record.goal, GroupGoal::Remove(_));
        let mut failures = self.failures.iter();
        let shown = failures.find(|(subject, _)| removing || !matches!(subject, Subject::Member(_)));
        shown.map(|(_, failures)| failures.last.clone())
    }

    fn server_status(&self, spec: &ServerSpec) -> Option<ServerStatus> {
        let record = self.record.servers.get(&spec.instance)?;
        let phase = self.phases.get(&spec.instance)?.clone();
        let server = self.servers.get(&spec.instance)?;
        let container = self.shown(&spec.instance);
        let histories = || self.history.all_of(&spec.instance);
        let activities = self.activities.lock().unwrap_or_else(PoisonError::into_inner);
        Some(ServerStatus {
            image_id: container.map(|seen| seen.image_id.clone()),
            activity: activities.get(&spec.instance).cloned(),
            container: container.map(|seen| seen.id.clone()),
            container_name: container.map(|seen| seen.name.clone()),
            restarts: self.history.restarts(&spec.instance),
            crashes: histories().map(|history| history.crashes).sum(),
            last_exit: histories()
                .filter_map(|history| history.exits.last())
                .max_by_key(|exit| exit.at)
                .cloned(),
            refusal: histories().find_map(|history| history.refusal.clone()),
            replicas: self.all_replicas(spec).filter_map(|replica| self.replica_status(&replica)).collect(),
            spares: self.spares(spec),
            containers: self.containers(&spec.instance),
            publish: spec.publish.iter().map(|wanted| self.published(*wanted)).collect(),
            mcp: server.summary(),
            contract: self.registry.discovery.get(&spec.instance).and_then(|known| known.warning()),
            ..bare(spec, record, phase)
        })
    }

    /// Its replicas, and the places of its sessions.
    fn all_replicas<'a>(&'a self, spec: &'a ServerSpec) -> impl Iterator<Item = ReplicaId> + 'a {
        let of_sessions = |replica: &&ReplicaId| replica.instance == spec.instance && replica.is_place();
        spec.places().chain(self.replicas.keys().filter(of_sessions).cloned())
    }

    /// For whom a place is, or was until just now.
    fn asker(&self, replica: &ReplicaId) -> Option<Asker> {
        let given_back = || replica.is_place().then_some(Asker::Session);
        self.seen.asker_of(replica).or_else(given_back)
    }

    fn replica_status(&self, replica: &ReplicaId) -> Option<ReplicaStatus> {
        let history = self.history.of(replica);
        let container = self.shown_at(replica);
        Some(ReplicaStatus {
            replica: replica.replica,
            asker: self.asker(replica),
            phase: self.replicas.get(replica)?.clone(),
            container: container.map(|seen| seen.id.clone()),
            container_name: container.map(|seen| seen.name.clone()),
            image_id: container.map(|seen| seen.image_id.clone()),
            generation: container.map(|seen| seen.generation),
            restarts: history.restarts(),
            last_exit: history.exits.last().cloned(),
            previous_run: history.previous_run(),
        })
    }

    fn spares(&self, spec: &ServerSpec) -> Option<SparesStatus> {
        let wanted = u32::try_from(self.wanted_spares(&spec.instance)).unwrap_or(u32::MAX);
        let ready = u32::try_from(self.ready_spares(&spec.instance)).unwrap_or(u32::MAX);
        (spec.session.spares() > 0).then_some(SparesStatus { wanted, ready })
    }

    fn containers(&self, instance: &InstanceName) -> Vec<ContainerStatus> {
        let status = |seen: &ContainerObservation| ContainerStatus {
            id: seen.id.clone(),
            origin: Origin { replica: seen.slot.replica, generation: seen.generation },
            running_since: seen.run().filter(|_| seen.is_live()).map(|run| run.started_at),
        };
        let mut containers: Vec<_> = self.seen.of(instance).map(status).collect();
        containers.sort_by_key(|one| (one.origin.replica, one.origin.generation));
        containers
    }

    /// The container a person should see: one that serves, else a live one, else the newest.
    fn shown<'a>(&'a self, instance: &InstanceName) -> Option<&'a ContainerObservation> {
        let of_server: Vec<_> = self.seen.of(instance).collect();
        self.most_telling(of_server)
    }

    fn shown_at<'a>(&'a self, replica: &ReplicaId) -> Option<&'a ContainerObservation> {
        let there = self.seen.of(&replica.instance).filter(|seen| seen.slot.replica == replica.replica);
        self.most_telling(there.collect())
    }

    fn most_telling<'a>(
        &self,
        containers: Vec<&'a ContainerObservation>,
    ) -> Option<&'a ContainerObservation> {
        let serves = |member: Member| {
            let server = self.servers.get(&member.replica.instance);
            server.is_some_and(|server| server.serving.contains(&member))
        };
        let rank = |seen: &&ContainerObservation| {
            (seen.is_live(), serves(seen.member()), seen.run().map(|run| run.started_at))
        };
        containers.into_iter().max_by_key(rank)
    }

    fn published(&self, publish: dtma_core::spec::Publish) -> PublishStatus {
        let listening = self.forwards().any(|forward| forward.port() == publish.host_port);
        PublishStatus { publish, listening }
    }
}

fn state(record: &GroupRecord, phases: &[Phase]) -> GroupState {
    if matches!(record.goal, GroupGoal::Remove(_)) {
        return GroupState::Removing;
    }
    if phases.iter().any(|phase| matches!(phase, Phase::Failed { .. })) {
        return GroupState::Failed;
    }
    let updating = record.update().is_some();
    if !updating && !phases.is_empty() && phases.iter().all(Phase::is_settled) {
        return GroupState::Ready;
    }
    match record.rollout {
        Rollout::Deploying { .. } => GroupState::Deploying,
        Rollout::Established => GroupState::Degraded,
        Rollout::Updating(ref update) if update.failed.is_some() => GroupState::Degraded,
        Rollout::Updating(_) => GroupState::Updating,
    }
}
