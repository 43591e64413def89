//! Another process in the container that is there.

use crate::faults::Fault;
use crate::group::{group, name};
use crate::world::World;
use dtma_core::id::ReplicaId;
use dtma_core::observation::ContainerState;
use dtma_core::phase::Phase;
use dtma_core::plan::{Action, Plan, Progress, StopReason, plan};
use dtma_core::record::ServerGoal;
use dtma_core::spec::Condition;
use std::time::Duration;

/// One server with a shim stands and is ready, and a change of its configuration was accepted.
fn renewing(stop_first: bool, config: &str) -> World {
    let mut world = World::with_shims(group(&[(0, Condition::Started)], false));
    world.settle();
    world.apply(&name(0), config, 1, stop_first);
    world
}

fn words(plan: &Plan) -> Vec<&'static str> {
    plan.actions.iter().map(Action::word).collect()
}

#[test]
fn another_environment_is_a_restart_in_place_where_nothing_serves_beside() {
    let mut world = renewing(true, "newer");
    let first = world.step();
    assert!(matches!(first.actions[..], [Action::Stop { reason: StopReason::Renewed { .. }, .. }]));
    assert!(matches!(first.phases[&name(0)], Phase::Updating { serving: Some(_), .. }));
    let begun = world.step();
    assert!(matches!(begun.actions[..], [Action::Start { instead_of: Some(_), .. }]), "{begun:?}");
    assert_eq!(world.pass().progress, Progress::Through);
    assert_eq!((world.made, world.serving()), (1, vec!["newer".to_owned()]));
    world.settle();
    assert_eq!(world.history.of(&ReplicaId::first(&name(0))).restarts(), 0, "an update is no restart");
}

#[test]
fn another_shape_or_another_order_is_a_replacement() {
    for mut world in [renewing(true, "newer2"), renewing(false, "newer")] {
        assert_eq!(words(&world.step()), ["create"]);
        world.settle();
        assert_eq!((world.made, world.seen.containers.len()), (2, 1));
    }
}

#[test]
fn a_process_that_ends_twice_in_its_container_makes_room_for_the_one_before() {
    let mut world = renewing(true, "newer");
    world.step();
    world.step();
    for exits in [1, 2] {
        world.seen.containers[0].state = ContainerState::Running { started_at: world.now };
        world.tick(Duration::from_secs(1));
        world.exit(0, 3);
        world.note();
        let plan = plan(&world.desired, &world.seen, &world.history, world.now);
        let failed = matches!(&plan.progress, Progress::Failed { reason, .. } if reason.contains("code 3"));
        assert_eq!(failed, exits == 2, "{:?}", plan.progress);
    }
    world.settle();
    assert_eq!((world.made, world.serving()), (1, vec!["wanted".to_owned()]));
}

#[test]
fn the_old_process_runs_until_what_the_new_one_depends_on_holds() {
    let mut world = World::with_shims(group(&[(0, Condition::Healthy), (1, Condition::Healthy)], false));
    world.settle();
    world.apply(&name(1), "newer", 1, true);
    world.person(&name(0), ServerGoal::Stop, false);
    world.step();
    for _ in 0..3 {
        assert_eq!((words(&world.step()), world.live(&name(1))), (vec![], 1));
    }
    world.person(&name(0), ServerGoal::Run, false);
    world.settle();
    assert_eq!(world.made, 2, "one container for each");
}

#[test]
fn nothing_is_begun_in_a_container_while_its_last_process_is_being_ended() {
    let mut world = renewing(true, "newer");
    let old = world.seen.containers[0].member();
    world.step();
    world.seen.busy.insert(dtma_core::observation::Subject::Member(old));
    assert_eq!(words(&world.pass()), Vec::<&str>::new());
    world.seen.busy.clear();
    assert_eq!(words(&world.pass()), ["start"]);
    let both: Vec<_> = world.pass().actions[0].subjects().collect();
    assert_eq!(both.len(), 2, "{both:?}");
}

#[test]
fn a_container_that_was_given_another_process_is_known_again_after_a_reboot_and_while_its_shim_is_silent() {
    let mut world = renewing(true, "newer");
    world.settle();
    world.suffer(&Fault::Deaf);
    assert_eq!((world.live(&name(0)), world.made), (1, 1), "it was left alone");
    world.suffer(&Fault::Reboot);
    world.settle();
    assert_eq!((world.made, world.serving()), (1, vec!["newer".to_owned()]));
}
