//! What people want of single servers: that they run anew, run, or stand still. Each wish is durable before the next
//! plan sees it, and ends the waiting of those who wanted the opposite.

use super::GroupTask;
use super::orders::Until;
use crate::error::ManagerError;
use dtma_core::history::ServerHistory;
use dtma_core::id::{InstanceName, RunKey};
use dtma_core::record::{Operation, ServerGoal};
use dtma_core::spec::ServerSpec;
use std::collections::{BTreeMap, BTreeSet};

impl GroupTask {
    pub(super) async fn want_restarted(
        &mut self,
        operation: &Operation,
        instances: Vec<InstanceName>,
    ) -> Result<Until, ManagerError> {
        // A whole group's restart leaves alone what a person stopped and what has run to completion.
        let meant = |instance: &InstanceName| operation.instance.is_some() || self.is_to_run(instance);
        let old: BTreeMap<_, _> = instances
            .into_iter()
            .filter(meant)
            .map(|instance| (instance.clone(), self.present_runs(&instance)))
            .collect();
        let before = self.before();
        for (instance, run) in &old {
            self.run_again(instance, run.clone());
        }
        self.keep_or_restore(before, operation).await?;
        for instance in old.keys() {
            self.supersede(instance, |until| matches!(until, Until::Stopped(stopped) if stopped == instance))
                .await;
        }
        Ok(Until::Renewed(old))
    }

    fn is_to_run(&self, instance: &InstanceName) -> bool {
        let goal = self.record.servers.get(instance).map(|server| server.goal);
        goal == Some(ServerGoal::Run) && !self.history.completed(instance)
    }

    /// The processes of a server: as seen, or, before anything could be looked at, as remembered.
    fn present_runs(&self, instance: &InstanceName) -> BTreeSet<RunKey> {
        let seen = self.live_runs(instance);
        if !self.blind || !seen.is_empty() {
            return seen;
        }
        let remembered =
            |history: &ServerHistory| history.last_run.clone().filter(|run| history.exit_of(run).is_none());
        self.history.all_of(instance).filter_map(remembered).collect()
    }

    /// Somebody wants the opposite now: those who wait for what will not come are told, and nothing is put off.
    async fn supersede(&mut self, instance: &InstanceName, over: impl Fn(&Until) -> bool) {
        self.warm_up(|subject| Self::concerns(subject, instance));
        self.finish_all(over, &ManagerError::Superseded(instance.clone())).await;
    }

    fn run_again(&mut self, instance: &InstanceName, runs: BTreeSet<RunKey>) {
        let now = self.now();
        if let Some(server) = self.record.servers.get_mut(instance) {
            server.goal = ServerGoal::Run;
            server.restart = runs;
        }
        self.history.reset(instance, now);
        for replica in self.record.spec.server(instance).into_iter().flat_map(ServerSpec::places) {
            self.history.of_mut(&replica).manual_restarts += 1;
        }
        self.unsaved = true;
    }

    pub(super) async fn want_started(
        &mut self,
        operation: &Operation,
        instance: InstanceName,
    ) -> Result<Until, ManagerError> {
        let (before, present, now) = (self.before(), self.present_runs(&instance), self.now());
        let Some(server) = self.record.servers.get_mut(&instance) else {
            return Err(ManagerError::NoSuchServer(instance));
        };
        // A process that is being stopped ends as it was asked to, and another follows.
        let ending = if server.goal == ServerGoal::Stop { present.clone() } else { BTreeSet::new() };
        server.goal = ServerGoal::Run;
        if !ending.is_empty() {
            server.restart.clone_from(&ending);
        }
        if !ending.is_empty() || present.is_empty() {
            self.history.reset(&instance, now);
            self.unsaved = true;
        }
        self.wake_what_rests(&instance);
        self.keep_or_restore(before, operation).await?;
        self.supersede(&instance, |until| matches!(until, Until::Stopped(stopped) if *stopped == instance))
            .await;
        Ok(Until::Renewed([(instance, ending)].into()))
    }

    pub(super) async fn want_stopped(
        &mut self,
        operation: &Operation,
        instance: InstanceName,
    ) -> Result<Until, ManagerError> {
        let before = self.before();
        if let Some(server) = self.record.servers.get_mut(&instance) {
            server.goal = ServerGoal::Stop;
        }
        self.keep_or_restore(before, operation).await?;
        let renewed = |until: &Until| matches!(until, Until::Renewed(old) if old.contains_key(&instance));
        self.supersede(&instance, renewed).await;
        Ok(Until::Stopped(instance))
    }
}
