//! The decision for a group that is to be gone: dependents before what they depend on, containers before networks,
//! volumes only when asked.

use super::server::stop;
use super::{Action, Context, StopReason};
use crate::id::InstanceName;
use crate::observation::ContainerObservation;
use crate::record::Removal;

impl Context<'_> {
    /// What may be done now to get rid of one server.
    pub(super) fn server_removal(&self, instance: &InstanceName, how: &Removal) -> Option<Action> {
        let container = self.observed.of(instance).max_by_key(|container| container.is_live())?;
        if how.force || !container.is_live() {
            return Some(remove(container));
        }
        if self.is_needed(instance) {
            return None;
        }
        let own = self.desired.servers.get(instance).map(|record| record.config.stop_grace);
        let grace = how.grace.or(own).unwrap_or_else(crate::spec::default_stop_grace);
        Some(stop(container, grace, StopReason::Removal))
    }

    /// True while somebody who depends on it still runs, or may just be starting.
    fn is_needed(&self, instance: &InstanceName) -> bool {
        let live = |dependent: &InstanceName| {
            let mut containers = self.observed.of(dependent);
            containers.any(|container| container.is_live() || self.is_busy(dependent))
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
    Action::Remove { instance: container.slot.instance.clone(), container: container.id.clone() }
}
