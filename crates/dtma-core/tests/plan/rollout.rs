//! Updates beside what stands: the order of steps, and when an update has failed.

use crate::group::{group, name};
use crate::one_server::check;
use crate::world::World;
use dtma_core::id::ReplicaId;
use dtma_core::observation::ContainerState;
use dtma_core::plan::{Action, Progress, plan};
use dtma_core::record::{Rollout, Update};
use dtma_core::spec::Condition;
use std::time::Duration;

/// A world in which one server stands and is ready, and a change of its configuration was accepted.
fn updating(stop_first: bool) -> World {
    let mut world = World::new(group(&[(0, Condition::Started)], false));
    world.settle();
    world.apply(&name(0), "newer", 1, stop_first);
    world
}

#[test]
fn the_new_one_is_made_and_proved_beside_the_old_one() {
    let mut world = updating(false);
    check(&mut world, "create", "updating");
    world.step();
    assert_eq!(world.serving(), ["wanted"]);
    check(&mut world, "start", "updating");
    world.step();
    assert_eq!(world.serving(), ["newer"], "the prober of this world is quick");
    check(&mut world, "stop", "ready");
    world.step();
    check(&mut world, "remove", "ready");
    world.step();
    check(&mut world, "rename", "ready");
    world.step();
    assert_eq!(world.pass().progress, Progress::Through);
}

#[test]
fn two_that_write_to_one_volume_never_run_together() {
    let mut world = updating(true);
    for action in ["create", "stop", "start", "remove", "rename"] {
        assert_eq!(world.step().actions.iter().map(Action::word).collect::<Vec<_>>(), [action]);
        assert!(world.live(&name(0)) <= 1);
    }
    assert_eq!(world.pass().progress, Progress::Through);
}

#[test]
fn a_new_one_that_exits_twice_has_failed_and_the_old_one_serves_on() {
    for exits in [1, 2] {
        let mut world = updating(false);
        world.step();
        for _ in 0..exits {
            let index = world.seen.containers.len() - 1;
            world.seen.containers[index].state = ContainerState::Running { started_at: world.now };
            world.tick(Duration::from_secs(1));
            world.exit(index, 3);
            world.note();
        }
        let plan = plan(&world.desired, &world.seen, &world.history, world.now);
        let failed = matches!(&plan.progress, Progress::Failed { reason, .. } if reason.contains("code 3"));
        assert_eq!(failed, exits == 2, "{:?}", plan.progress);
        assert_eq!(world.serving(), ["wanted"]);
    }
}

#[test]
fn an_update_that_is_refused_for_good_or_too_late_has_failed() {
    let mut world = updating(false);
    let now = world.now;
    world.history.of_mut(&ReplicaId::first(&name(0))).refuse("create", "no image".to_owned(), true, now);
    assert!(matches!(&world.pass().progress, Progress::Failed { reason, .. } if reason.contains("no image")));
    let mut world = updating(false);
    world.tick(Duration::from_secs(601));
    assert!(
        matches!(&world.pass().progress, Progress::Failed { instance: None, reason } if reason.contains("600 s"))
    );
}

#[test]
fn what_a_new_spec_does_not_know_goes_last_and_dependents_first() {
    let mut world = World::new(group(
        &[(0, Condition::Started), (1, Condition::Healthy), (0, Condition::Started)],
        false,
    ));
    world.settle();
    let from = world.desired.as_previous();
    for gone in [name(0), name(1)] {
        world.desired.servers.remove(&gone);
        world.desired.spec.servers.retain(|server| server.instance != gone);
    }
    world.desired.servers.get_mut(&name(2)).unwrap().config_hash = "newer".into();
    let since = world.now;
    world.desired.rollout =
        Rollout::Updating(Box::new(Update { from, since, reverting: None, failed: None }));
    let mut stopped = Vec::new();
    for _ in 0..20 {
        for action in world.step().actions {
            if let Action::Stop { member, .. } = action {
                stopped.push(member.replica.to_string());
            }
        }
    }
    assert_eq!(stopped, ["s2", "s1", "s0"], "the changed one is proved, then the others go");
    assert_eq!(world.seen.containers.len(), 1);
}
