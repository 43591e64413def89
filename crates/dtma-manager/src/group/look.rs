//! Looking at the engine: everything at once after a gap, one container after an event.

use super::GroupTask;
use dtma_core::id::{ContainerId, InstanceName};
use dtma_core::observation::{ContainerObservation, Observation};
use dtma_core::port::RuntimeError;
use std::net::IpAddr;

impl GroupTask {
    /// Replaces what was seen of the engine; what the daemon itself knows (readiness, what is busy) is kept.
    pub(super) async fn look_at_everything(&mut self) {
        match self.registry.look(self.group_id()).await {
            Ok(seen) => {
                let (readiness, busy) =
                    (std::mem::take(&mut self.seen.readiness), std::mem::take(&mut self.seen.busy));
                self.seen = Observation { readiness, busy, ..seen };
                self.blind = false;
                self.trouble = None;
                self.looked();
            }
            Err(error) => self.went_blind(&error),
        }
    }

    /// Looks at one container again.
    pub(super) async fn look_at(&mut self, id: &ContainerId) {
        match self.registry.backends.runtime.inspect(id).await {
            Ok(seen) => self.saw(seen),
            Err(RuntimeError::NotFound { .. }) => self.lost(id),
            Err(error) => self.went_blind(&error),
        }
    }

    pub(super) fn saw(&mut self, seen: ContainerObservation) {
        if seen.slot.group != *self.group_id() {
            return;
        }
        match self.seen.containers.iter_mut().find(|known| known.id == seen.id) {
            Some(known) if seen.is_older_than(known) => return,
            Some(known) => *known = seen,
            None => self.seen.containers.push(seen),
        }
        self.looked();
    }

    pub(super) fn lost(&mut self, id: &ContainerId) {
        self.seen.containers.retain(|known| known.id != *id);
        self.looked();
    }

    pub(super) fn went_blind(&mut self, error: &RuntimeError) {
        self.blind = true;
        self.trouble_with("the container engine cannot be looked at", error);
    }

    /// Forgets what is known of runs that are over, and points the published ports at what runs.
    fn looked(&mut self) {
        let live: Vec<_> = self.seen.containers.iter().filter(|seen| seen.is_live()).collect();
        let runs: Vec<_> = live.iter().filter_map(|seen| seen.run()).collect();
        self.seen.readiness.retain(|run, _| runs.contains(run));
        for (instance, server) in &self.servers {
            let ip: Option<IpAddr> =
                live.iter().find(|seen| seen.slot.instance == *instance).and_then(|seen| seen.ip);
            server.forwards.iter().for_each(|forward| forward.serve(ip));
        }
    }

    /// The live container of a server.
    pub(super) fn live(&self, instance: &InstanceName) -> Option<&ContainerObservation> {
        self.seen.containers.iter().find(|seen| seen.slot.instance == *instance && seen.is_live())
    }
}
