//! Looking at the engine: everything at once after a gap, one container after an event.

use super::GroupTask;
use dtma_core::id::{ContainerId, InstanceName, Member, RunKey};
use dtma_core::observation::{ContainerObservation, Observation};
use dtma_core::port::RuntimeError;
use std::collections::BTreeSet;
use std::sync::Arc;

impl GroupTask {
    /// Replaces what was seen of the engine; what the daemon itself knows (readiness, what is busy) is kept.
    pub(super) async fn look_at_everything(&mut self) {
        match self.look_and_listen().await {
            Ok(seen) => {
                let gone =
                    |known: &ContainerObservation| seen.containers.iter().all(|now| now.id != known.id);
                self.owed |= self.unsaved && self.seen.containers.iter().any(gone);
                let Observation { readiness, busy, ending, asked, .. } = std::mem::take(&mut self.seen);
                self.seen = Observation { readiness, busy, ending, asked, ..seen };
                (self.blind, self.next_look) = (false, None);
                self.trouble = None;
                self.looked();
            }
            Err(error) => {
                self.went_blind(&error);
                self.next_look = Some(tokio::time::Instant::now() + super::RETRY);
            }
        }
    }

    /// Looks, and accepts orders meanwhile: an engine that hangs keeps no caller waiting.
    async fn look_and_listen(&mut self) -> Result<Observation, RuntimeError> {
        let (registry, group) = (Arc::clone(&self.registry), self.group_id().clone());
        let mut look = std::pin::pin!(registry.look(&group));
        loop {
            tokio::select! {
                seen = &mut look => return seen,
                // Dropping `recv` loses no order: it stays in the queue.
                Some(order) = self.orders.recv() => self.accept(order).await,
            }
        }
    }

    /// Looks at one container again.
    pub(super) async fn look_at(&mut self, id: &ContainerId) {
        // Everything is about to be looked at anyway.
        if self.blind {
            return;
        }
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
        // A run that was seen and not kept cannot be seen again.
        self.owed |= self.unsaved;
        self.seen.containers.retain(|known| known.id != *id);
        self.looked();
    }

    pub(super) fn went_blind(&mut self, error: &RuntimeError) {
        self.blind = true;
        self.trouble_with("the container engine cannot be looked at", error);
    }

    /// Forgets what is known of runs that are over.
    fn looked(&mut self) {
        let live: Vec<_> = self.seen.containers.iter().filter(|seen| seen.is_live()).collect();
        let runs: Vec<_> = live.iter().filter_map(|seen| seen.run()).collect();
        self.seen.readiness.retain(|run, _| runs.contains(run));
        let known = |run: &RunKey| self.seen.containers.iter().any(|seen| seen.id == run.container);
        self.seen.ending.retain(known);
    }

    /// The live container of a member.
    pub(super) fn live(&self, member: &Member) -> Option<&ContainerObservation> {
        self.seen.containers.iter().find(|seen| seen.is_live() && seen.member() == *member)
    }

    /// What of a server runs now.
    pub(super) fn live_runs(&self, instance: &InstanceName) -> BTreeSet<RunKey> {
        let live = self.seen.of(instance).filter(|seen| seen.is_live());
        live.filter_map(ContainerObservation::run).collect()
    }
}
