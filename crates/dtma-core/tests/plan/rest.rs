//! What nobody needs is put to rest, left alone, and woken.

use crate::faults::{edges, fault};
use crate::group::{group, name};
use crate::one_server::check;
use crate::world::World;
use dtma_core::id::{InstanceName, ReplicaId};
use dtma_core::observation::{ContainerObservation, ContainerState};
use dtma_core::phase::Phase;
use dtma_core::record::{GroupGoal, Removal, ServerGoal};
use dtma_core::rest::Depth;
use dtma_core::spec::Condition;
use proptest::prelude::*;

const DEPTHS: [Depth; 2] = [Depth::Paused, Depth::Stopped];

impl World {
    /// What the daemon does when nobody needs a server any more: never during an update.
    pub(crate) fn rest(&mut self, instance: &InstanceName, depth: Depth) {
        let now = self.now;
        let steady = self.desired.update().is_none() && self.desired.goal == GroupGoal::Run;
        let wanted = self.desired.servers[instance].goal == ServerGoal::Run;
        let live = |seen: &&ContainerObservation| {
            seen.slot.instance == *instance && seen.is_live() && !seen.in_doubt
        };
        for seen in self.seen.containers.iter().filter(|_| steady && wanted).filter(live) {
            if let Some(run) = seen.run().filter(|_| self.desired.is_wanted(seen)) {
                self.history.of_mut(&seen.replica()).put_to_rest(run, depth, now);
            }
        }
    }

    pub(crate) fn wake(&mut self, instance: &InstanceName) {
        for (_, history) in self.history.servers.iter_mut().filter(|(id, _)| id.instance == *instance) {
            history.wake();
        }
    }

    fn wake_all(&mut self) {
        for history in self.history.servers.values_mut() {
            history.wake();
        }
    }
}

/// One server that is ready.
fn one() -> World {
    let mut world = World::new(group(&[(0, Condition::Started)], false));
    world.settle();
    world
}

fn restarts(world: &World) -> (u64, usize) {
    (world.history.restarts(&name(0)), world.history.of(&ReplicaId::first(&name(0))).counted().len())
}

#[test]
fn it_is_frozen_and_goes_on_as_the_same_run() {
    let mut world = one();
    let run = world.seen.containers[0].run();
    world.rest(&name(0), Depth::Paused);
    check(&mut world, "pause", "idle");
    world.settle();
    check(&mut world, "", "idle");
    world.wake(&name(0));
    check(&mut world, "unpause", "starting");
    let last = world.settle();
    assert!(matches!(&last.phases[&name(0)], Phase::Ready { run: now, .. } if Some(now) == run.as_ref()));
    assert_eq!((restarts(&world), &world.history.of(&ReplicaId::first(&name(0))).rest), ((0, 0), &None));
}

#[test]
fn it_is_ended_and_started_again_which_is_no_restart() {
    let mut world = one();
    for depths in [&DEPTHS[..], &DEPTHS[1..]] {
        for depth in depths {
            world.rest(&name(0), *depth);
            world.settle();
            check(&mut world, "", "idle");
        }
        assert!(matches!(world.seen.containers[0].state, ContainerState::Exited { .. }));
        world.wake(&name(0));
        check(&mut world, "start", "starting");
        world.settle();
        check(&mut world, "", "ready");
        assert_eq!(restarts(&world), (0, 0));
    }
    world.exit(0, 1);
    world.settle();
    assert_eq!(restarts(&world), (1, 1), "a crash after that is one");
}

#[test]
fn one_that_is_needed_again_while_it_is_ended_was_not_ended_by_a_crash() {
    let mut world = one();
    world.rest(&name(0), Depth::Stopped);
    check(&mut world, "stop", "idle");
    world.wake(&name(0));
    // The engine had been asked already.
    world.exit(0, 143);
    world.settle();
    assert_eq!(restarts(&world), (0, 0));
}

#[test]
fn what_somebody_else_froze_is_let_be_and_what_dies_at_rest_waits_for_its_next_call() {
    let mut world = one();
    let ContainerState::Running { started_at } = world.seen.containers[0].state else { panic!("it runs") };
    world.seen.containers[0].state = ContainerState::Paused { started_at };
    check(&mut world, "", "starting");
    world.seen.containers[0].state = ContainerState::Running { started_at };
    world.rest(&name(0), Depth::Paused);
    world.settle();
    world.exit(0, 137);
    world.note();
    check(&mut world, "", "idle");
    world.wake(&name(0));
    world.settle();
    assert_eq!(restarts(&world), (1, 1));
}

#[test]
fn a_frozen_one_whose_shim_is_not_heard_is_no_other_run() {
    let mut world = World::with_shims(group(&[(0, Condition::Started)], false));
    world.settle();
    world.rest(&name(0), Depth::Paused);
    world.settle();
    let known = world.seen.containers[0].clone();
    // The engine's name of the run, where the shim's is not heard.
    let started_at = dtma_core::Timestamp::UNIX_EPOCH;
    world.seen.containers[0].state = ContainerState::Paused { started_at };
    world.seen.containers[0].in_doubt = true;
    world.note();
    check(&mut world, "", "idle");
    world.rest_deeper();
    check(&mut world, "stop", "idle");
    world.wake(&name(0));
    check(&mut world, "unpause", "starting");
    world.seen.containers[0] = known;
    world.settle();
    assert_eq!((restarts(&world), world.history.of(&ReplicaId::first(&name(0))).runs), ((0, 0), 1));
}

impl World {
    fn rest_deeper(&mut self) {
        let (replica, now) = (ReplicaId::first(&name(0)), self.now);
        let run = self.history.of(&replica).rest.clone().unwrap().run;
        self.history.of_mut(&replica).put_to_rest(run, Depth::Stopped, now);
    }
}

#[test]
fn a_person_and_an_update_wake_it_and_a_removal_does_not_mind() {
    for depth in DEPTHS {
        let mut world = one();
        world.rest(&name(0), depth);
        world.settle();
        world.person(&name(0), ServerGoal::Run, true);
        world.settle();
        check(&mut world, "", "ready");

        world.rest(&name(0), depth);
        world.settle();
        world.apply(&name(0), "other", 2, false);
        let last = world.settle();
        assert!(matches!(&last.phases[&name(0)], Phase::Ready { .. }), "{:?}", last.phases);

        world.rest(&name(0), depth);
        world.settle();
        world.person(&name(0), ServerGoal::Stop, false);
        world.settle();
        check(&mut world, "", "stopped");

        world.person(&name(0), ServerGoal::Run, false);
        world.settle();
        world.rest(&name(0), depth);
        world.settle();
        world.desired.goal = GroupGoal::Remove(Removal::default());
        assert!(world.settle().gone && world.seen.containers.is_empty());
    }
}

#[test]
fn while_it_is_updated_what_stood_serves_and_its_successor_is_proved() {
    let mut world = one();
    world.rest(&name(0), Depth::Paused);
    world.settle();
    world.apply(&name(0), "other", 1, false);
    let words = |world: &mut World| {
        let actions = world.pass().actions;
        actions.iter().map(dtma_core::plan::Action::word).collect::<Vec<_>>()
    };
    assert_eq!(words(&mut world), ["create", "unpause"]);
    assert_eq!(world.serving(), ["wanted"]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// Whatever happened before: once all is well, rest begins nothing, counts nothing and is undone without a trace.
    #[test]
    fn rest_leaves_no_trace(
        edges in edges(), shims: bool, faults in proptest::collection::vec(fault(), 0..25),
        deep in proptest::collection::vec(any::<bool>(), 6), twice: bool,
    ) {
        let record = group(&edges, false);
        let mut world = if shims { World::with_shims(record) } else { World::new(record) };
        faults.iter().for_each(|fault| world.suffer(fault));
        for index in 0..edges.len() {
            world.person(&name(index), ServerGoal::Run, false);
        }
        world.settle();
        world.wake_all();
        let before = world.settle();
        let counted: Vec<_> = world.history.servers.values().map(|of| (of.restarts(), of.crashes)).collect();
        for _ in 0..=usize::from(twice) {
            for (index, stop) in (0..edges.len()).zip(&deep) {
                world.rest(&name(index), DEPTHS[usize::from(*stop)]);
            }
            let resting = world.settle();
            for (instance, phase) in &resting.phases {
                prop_assert!(matches!(phase, Phase::Idle { .. } | Phase::Completed { .. }), "{instance} {phase:?}");
            }
            let runs = |seen: &ContainerObservation| matches!(seen.state, ContainerState::Running { .. });
            prop_assert!(!world.seen.containers.iter().any(runs));
        }
        world.wake_all();
        let after = world.settle();
        let words = |plan: &dtma_core::plan::Plan| plan.phases.values().map(Phase::word).collect::<Vec<_>>();
        prop_assert_eq!(words(&after), words(&before));
        let now: Vec<_> = world.history.servers.values().map(|of| (of.restarts(), of.crashes)).collect();
        prop_assert_eq!(now, counted);
    }
}
