//! What may never be done: each action is held against the world before it is done.

use crate::world::World;
use dtma_core::graph::Graph;
use dtma_core::id::{ContainerId, InstanceName, Member, is_provisional};
use dtma_core::observation::{Asker, ContainerObservation};
use dtma_core::plan::{Action, StopReason};
use dtma_core::spec::{Condition, NetworkMode, UpdateOrder};

impl World {
    pub(crate) fn check(&self, action: &Action) {
        match action {
            Action::Start { member, container, instead_of } => {
                self.check_vessel(member, container, instead_of.as_ref());
                let of_session = self.seen.asker_of(&member.replica) != Some(Asker::Spare);
                assert!(!(of_session && self.rests(container)), "{member} is started at rest");
                let networked = self.desired.servers.values().any(|s| s.config.network == NetworkMode::Group);
                assert!(
                    !networked || !self.stranded.contains(container.as_str()),
                    "started without its network"
                );
                let mut others = self.members(member).filter(|seen| seen.id != *container);
                assert!(!others.any(ContainerObservation::is_live), "a second live container for {member}");
                let standing = self.desired.servers.get(&member.replica.instance);
                if standing.is_some_and(|record| record.config_hash == member.config) {
                    self.check_dependencies(&member.replica.instance);
                }
            }
            Action::Create { member } => {
                assert_eq!(self.members(member).count(), 0, "a second container for {member}");
            }
            Action::Stop { member, reason: StopReason::Replaced { .. }, .. } => self.check_successor(member),
            Action::Stop { member, container, reason: StopReason::Renewed { .. }, .. } => {
                self.check_renewed(member, container);
            }
            Action::Stop { member, reason: StopReason::Removal, .. } => {
                let instance = &member.replica.instance;
                let graph = Graph::unchecked(&self.desired.spec.servers);
                let needed = graph.dependents(instance).any(|dependent| self.live(dependent) > 0);
                assert!(!needed, "{instance} is stopped before its dependents");
            }
            Action::RemoveVolume { .. } => {
                assert!(self.seen.containers.is_empty(), "removed under the feet of a container");
            }
            Action::RemoveNetwork { id } => {
                let joins = |seen: &ContainerObservation| {
                    let record = self.desired.servers.get(&seen.slot.instance);
                    record.is_none_or(|record| record.config.network.as_str() == id.as_str())
                };
                let needed = self.seen.containers.iter().any(joins);
                assert!(!needed, "removed under the feet of a container");
            }
            Action::Rename { container, .. } => {
                let seen = &self.seen.containers[self.find(container)];
                assert!(is_provisional(&seen.name, &seen.made_from), "{}", seen.name);
                assert_eq!(self.seen.at(&seen.replica()).count(), 1, "the name is taken");
            }
            Action::Pause { container, .. } | Action::Stop { container, reason: StopReason::Rest, .. } => {
                assert!(self.rests(container), "it is needed");
            }
            Action::Unpause { container, .. } => assert!(!self.rests(container), "nobody needs it"),
            Action::EnsureNetwork { .. } | Action::Stop { .. } | Action::Remove { .. } => {}
        }
    }

    /// Whether a container rests that nobody has woken, nor an update.
    pub(crate) fn rests(&self, container: &ContainerId) -> bool {
        let seen = &self.seen.containers[self.find(container)];
        let rest = self.history.of(&seen.replica()).rest_in(container);
        let changes = |update: &dtma_core::record::Update| update.changes(&self.desired, &seen.slot.instance);
        rest.is_some_and(|rest| !rest.woken) && !self.desired.update().is_some_and(changes)
    }

    /// What serves is ended only when what follows it is ready, or is about to be started in its place.
    fn check_successor(&self, member: &Member) {
        let instance = &member.replica.instance;
        let (Some(spec), Some(record)) =
            (self.desired.spec.server(instance), self.desired.servers.get(instance))
        else {
            return;
        };
        if member.replica.replica >= spec.replicas {
            return;
        }
        let next = Member { replica: member.replica.clone(), config: record.config_hash.clone() };
        let mut next = self.members(&next);
        let completed = self.history.of(&member.replica).completed();
        match spec.update_order() {
            UpdateOrder::StartFirst => {
                assert!(completed || next.any(|seen| self.seen.is_ready(seen)), "{member} has no successor");
            }
            UpdateOrder::StopFirst => {
                let mut empty = self.seen.at(&member.replica).filter(|seen| !seen.is_live());
                let follows = next.next().is_some() || empty.any(|seen| record.fits(seen));
                assert!(completed || follows, "{member} has no successor");
            }
        }
    }

    /// A process is begun in the container of its own configuration, or in one of its shape in which nothing runs.
    fn check_vessel(&self, member: &Member, container: &ContainerId, instead_of: Option<&Member>) {
        let seen = &self.seen.containers[self.find(container)];
        assert_eq!(instead_of, Some(&seen.member()).filter(|before| *before != member));
        if instead_of.is_some() {
            let fits = self.record_of(&member.replica, &member.config).fits(seen);
            assert!(fits && !seen.is_live(), "{member} is begun in what runs {}", seen.member());
        }
    }

    /// What serves is ended for another process in its container only where nothing is to serve beside it.
    fn check_renewed(&self, member: &Member, container: &ContainerId) {
        let seen = &self.seen.containers[self.find(container)];
        let record = &self.desired.servers[&member.replica.instance];
        let spec = self.desired.spec.server(&member.replica.instance).unwrap();
        let alone = spec.update_order() == UpdateOrder::StopFirst || seen.made_from == record.config_hash;
        assert!(alone && record.fits(seen) && seen.config_hash != record.config_hash, "{member} makes room");
    }

    fn check_dependencies(&self, instance: &InstanceName) {
        for wanted in &self.desired.spec.server(instance).unwrap().depends_on {
            let completed = self.history.completed(&wanted.instance);
            let holds = match wanted.condition {
                Condition::Completed => completed,
                Condition::Started | Condition::Healthy => completed || self.live(&wanted.instance) > 0,
            };
            assert!(holds, "{instance} starts before {} is {}", wanted.instance, wanted.condition.as_str());
        }
    }
}
