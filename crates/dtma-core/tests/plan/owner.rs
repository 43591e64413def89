//! What the owner of a group does beside acting: it accepts changes and orders, and judges updates.

use crate::world::World;
use dtma_core::id::InstanceName;
use dtma_core::observation::ContainerObservation;
use dtma_core::plan::{Plan, Progress};
use dtma_core::record::{Rollout, ServerGoal, Update};
use dtma_core::spec::UpdateOrder;

impl World {
    /// What the owner of a group does with an accepted change. Configurations are of one shape but for the last.
    pub(crate) fn apply(&mut self, instance: &InstanceName, config: &str, replicas: u32, stop_first: bool) {
        let from = match &self.desired.rollout {
            Rollout::Updating(update) => update.from.clone(),
            Rollout::Established | Rollout::Deploying { .. } => self.desired.as_previous(),
        };
        let (now, once) = (self.now, self.once(instance));
        let record = self.desired.servers.get_mut(instance).unwrap();
        if record.config_hash.as_str() != config {
            self.history.reset(instance, now);
        }
        record.config_hash = config.into();
        record.config.environment.insert("VERSION".to_owned(), config.to_owned());
        record.config.limits.memory = if config.ends_with('2') { 2 } else { 1 };
        let spec = self.desired.spec.servers.iter_mut().find(|server| server.instance == *instance).unwrap();
        spec.replicas = if once { 1 } else { replicas };
        spec.update.order = stop_first.then_some(UpdateOrder::StopFirst);
        self.desired.rollout =
            Rollout::Updating(Box::new(Update { from, since: now, reverting: None, failed: None }));
    }

    /// What the owner of a group does with what a plan says of an update: then it plans anew.
    pub(crate) fn decide(&mut self) -> Plan {
        let plan = self.pass();
        match &plan.progress {
            Progress::Steady | Progress::Rolling => return plan,
            Progress::Through => self.desired.rollout = Rollout::Established,
            Progress::Failed { .. } => self.revert(),
        }
        self.pass()
    }

    pub(crate) fn revert(&mut self) {
        let Rollout::Updating(update) = self.desired.rollout.clone() else { return };
        if update.reverting.is_some() {
            return;
        }
        let (from, now) = (self.desired.as_previous(), self.now);
        let names: Vec<_> = self.desired.servers.keys().cloned().collect();
        names.iter().for_each(|name| self.history.reset(name, now));
        let goals: Vec<_> =
            names.iter().map(|name| (name.clone(), self.desired.servers[name].goal)).collect();
        (self.desired.spec, self.desired.servers) = (update.from.spec, update.from.servers);
        for (name, goal) in goals {
            self.desired.servers.get_mut(&name).unwrap().goal = goal;
        }
        let reverting = Some("it failed".to_owned());
        self.desired.rollout =
            Rollout::Updating(Box::new(Update { from, since: now, reverting, failed: None }));
    }

    pub(crate) fn person(&mut self, instance: &InstanceName, goal: ServerGoal, restart: bool) {
        let run = self.seen.of(instance).find(|seen| seen.is_live()).and_then(ContainerObservation::run);
        let (now, record) = (self.now, self.desired.servers.get_mut(instance).unwrap());
        record.goal = goal;
        if restart {
            record.restart = run.into_iter().collect();
        }
        if goal == ServerGoal::Run {
            self.history.reset(instance, now);
        }
    }
}
