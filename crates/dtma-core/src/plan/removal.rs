//! The decision for a group that is to be gone: dependents before what they depend on, containers before networks,
//! volumes only when asked.

use super::server::stop;
use super::{Action, Context, StopReason};
use crate::id::InstanceName;
use crate::observation::ContainerObservation;
use crate::record::Removal;

impl Context<'_> {
    /// What may be done now to get rid of one server.
    pub(super) fn server_removal(&self, instance: &InstanceName, how: &Removal) -> Vec<Action> {
        let needed = !how.force && self.is_needed(instance);
        let own = self.desired.servers.get(instance).map(|record| record.config.stop_grace);
        let grace = how.grace.or(own).unwrap_or_else(crate::spec::default_stop_grace);
        let placed = self.observed.of(instance).filter(|seen| self.has_place(&seen.replica()));
        let action = |container: &ContainerObservation| match container.is_live() && !how.force {
            true if needed => None,
            true => Some(stop(container, grace, StopReason::Removal)),
            false => Some(remove(container)),
        };
        placed.filter_map(action).collect()
    }

    /// True while somebody who depends on it still runs, or may just be starting.
    fn is_needed(&self, instance: &InstanceName) -> bool {
        let live = |dependent: &InstanceName| {
            let mut containers = self.observed.of(dependent);
            containers.any(|container| container.is_live() || self.observed.is_busy(dependent))
        };
        self.graph.dependents(instance).any(live)
    }

    /// What is left once no container is: networks, and volumes when asked.
    pub(super) fn leftovers(&self, how: &Removal) -> Vec<Action> {
        let networks = self.observed.networks.iter().map(|network| network.id.clone());
        let mut actions: Vec<_> = networks.map(|id| Action::RemoveNetwork { id }).collect();
        if how.volumes {
            let unwanted = self.observed.volumes.iter().filter(|name| !how.keep.contains(*name));
            actions.extend(unwanted.map(|name| Action::RemoveVolume { name: name.clone() }));
        }
        actions
    }
}

fn remove(container: &ContainerObservation) -> Action {
    Action::Remove { member: container.member(), container: container.id.clone() }
}
