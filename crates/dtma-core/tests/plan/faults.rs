//! What may go wrong between two passes.

use crate::group::name;
use crate::world::World;
use dtma_core::id::ReplicaId;
use dtma_core::record::ServerGoal;
use dtma_core::rest::Depth;
use dtma_core::spec::Condition;
use proptest::prelude::*;
use std::time::Duration;

/// What the world does between two passes.
#[derive(Debug, Clone)]
pub(crate) enum Fault {
    /// The n-th action of the next plan fails, the others succeed.
    Fail(usize),
    /// Nothing of the next plan is done (the daemon was killed).
    Killed,
    /// Some process exits.
    Exit(usize, i64),
    /// A container nobody wants is there.
    Stranger(usize),
    /// A person restarts, stops or starts a server.
    Restart(usize),
    Stop(usize),
    Start(usize),
    /// Somebody changes a server: its configuration, its replicas, how it is updated.
    Apply(usize, u8, u32, bool),
    /// Somebody prunes what nobody uses just now.
    Prune,
    /// No process survives, and only the engine remembers what containers were made from.
    Reboot,
    /// Of no shim is heard what it runs while one plan is made and done.
    Deaf,
    /// Nobody needs a server; somebody does.
    Rest(usize, Depth),
    Wake(usize),
    /// Time passes.
    Later(u64),
}

pub(crate) fn fault() -> impl Strategy<Value = Fault> {
    prop_oneof![
        (0..6_usize).prop_map(Fault::Fail),
        Just(Fault::Killed),
        (0..6_usize, 0..3_i64).prop_map(|(n, code)| Fault::Exit(n, code)),
        (0..6_usize).prop_map(Fault::Stranger),
        (0..6_usize).prop_map(Fault::Restart),
        (0..6_usize).prop_map(Fault::Stop),
        (0..6_usize).prop_map(Fault::Start),
        (0..6_usize, 0..3_u8, 1..4_u32, any::<bool>())
            .prop_map(|(n, to, replicas, stop)| { Fault::Apply(n, to, replicas, stop) }),
        Just(Fault::Prune),
        Just(Fault::Reboot),
        Just(Fault::Deaf),
        (0..6_usize, any::<bool>())
            .prop_map(|(n, stop)| { Fault::Rest(n, if stop { Depth::Stopped } else { Depth::Paused }) }),
        (0..6_usize).prop_map(Fault::Wake),
        (1..700_u64).prop_map(Fault::Later),
    ]
}

pub(crate) fn edges() -> impl Strategy<Value = Vec<(u8, Condition)>> {
    let condition =
        prop_oneof![Just(Condition::Started), Just(Condition::Healthy), Just(Condition::Completed)];
    proptest::collection::vec((any::<u8>(), condition), 1..6)
}

impl World {
    pub(crate) fn suffer(&mut self, fault: &Fault) {
        let count = self.desired.servers.len();
        match fault {
            Fault::Fail(n) => {
                let plan = self.decide();
                for (index, action) in plan.actions.iter().enumerate() {
                    self.act(action, index == n % plan.actions.len());
                }
            }
            Fault::Killed => drop(self.pass()),
            Fault::Exit(n, code) if !self.seen.containers.is_empty() => {
                let index = n % self.seen.containers.len();
                if self.seen.containers[index].is_live() {
                    self.exit(index, *code);
                }
            }
            Fault::Exit(..) => {}
            Fault::Stranger(n) => self.create(&ReplicaId::first(&name(n % count)), &"older".into()),
            Fault::Apply(n, to, replicas, stop_first) => {
                self.apply(&name(n % count), &format!("wanted{to}"), *replicas, *stop_first);
            }
            Fault::Restart(n) => self.person(&name(n % count), ServerGoal::Run, true),
            Fault::Stop(n) => self.person(&name(n % count), ServerGoal::Stop, false),
            Fault::Start(n) => self.person(&name(n % count), ServerGoal::Run, false),
            Fault::Prune if self.seen.containers.iter().all(|seen| !seen.is_live()) => {
                self.seen.networks.clear();
                self.stranded = self.seen.containers.iter().map(|seen| seen.id.to_string()).collect();
            }
            Fault::Prune => {}
            Fault::Reboot => self.reboot(),
            Fault::Deaf => self.act_unheard(),
            Fault::Rest(n, depth) => self.rest(&name(n % count), *depth),
            Fault::Wake(n) => self.wake(&name(n % count)),
            Fault::Later(seconds) => self.tick(Duration::from_secs(*seconds)),
        }
    }

    fn reboot(&mut self) {
        for index in 0..self.seen.containers.len() {
            self.exit(index, 255);
            let seen = &mut self.seen.containers[index];
            seen.config_hash = seen.made_from.clone();
        }
    }

    fn act_unheard(&mut self) {
        for seen in self.seen.containers.iter_mut().filter(|seen| seen.is_live() && seen.shape.is_some()) {
            (seen.in_doubt, seen.config_hash) = (true, seen.made_from.clone());
        }
        let plan = self.decide();
        plan.actions.iter().for_each(|action| self.act(action, false));
        for seen in self.seen.containers.iter_mut().filter(|seen| seen.in_doubt) {
            seen.in_doubt = false;
            if let Some(begun) = self.begun.get(&seen.id).filter(|_| seen.is_live()) {
                seen.config_hash = begun.clone();
            }
        }
    }
}
