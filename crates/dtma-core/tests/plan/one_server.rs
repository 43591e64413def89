//! One server on its own: starts, restarts and their budget.

use crate::group::{group, name};
use crate::world::World;
use dtma_core::id::ReplicaId;
use dtma_core::observation::{ContainerState, Readiness};
use dtma_core::plan::{Action, plan};
use dtma_core::record::ServerGoal;
use dtma_core::restart::RestartPolicy;
use dtma_core::spec::Condition;
use std::time::Duration;

/// One server whose container shows `state`; what is planned and which phase it is in, as text.
#[track_caller]
pub(crate) fn check(world: &mut World, action: &str, phase: &str) {
    let plan = plan(&world.desired, &world.seen, &world.history, world.now);
    let actions: Vec<_> = plan.actions.iter().map(Action::word).collect();
    assert_eq!((actions.join(","), plan.phases[&name(0)].word()), (action.to_owned(), phase));
}

fn one() -> World {
    let mut world = World::new(group(&[(0, Condition::Started)], false));
    world.create(&ReplicaId::first(&name(0)), &"wanted".into());
    world
}

#[test]
fn a_late_start_is_ended_and_counts() {
    let mut world = one();
    world.seen.containers[0].state = ContainerState::Running { started_at: world.now };
    let run = world.seen.containers[0].run().unwrap();
    check(&mut world, "", "starting");
    let not_ready = Readiness::NotReady { asked_since: world.now, reason: "silence".to_owned() };
    world.seen.readiness.insert(run, not_ready);
    check(&mut world, "", "starting");
    world.tick(Duration::from_secs(60));
    check(&mut world, "stop", "stopping");
    world.exit(0, 143);
    world.note();
    assert_eq!(world.history.of(&ReplicaId::first(&name(0))).counted().len(), 1);
}

#[test]
fn an_adopted_run_that_has_not_been_asked_yet_is_never_late() {
    let mut world = one();
    world.seen.containers[0].state = ContainerState::Running { started_at: world.now };
    world.tick(Duration::from_secs(100_000));
    check(&mut world, "", "starting");
}

#[test]
fn a_person_restarts_a_running_server_once() {
    let mut world = one();
    world.seen.containers[0].state = ContainerState::Running { started_at: world.now };
    world.note();
    world.person(&name(0), ServerGoal::Run, true);
    check(&mut world, "stop", "stopping");
    world.tick(Duration::from_secs(1));
    world.exit(0, 143);
    world.note();
    assert!(
        world.history.of(&ReplicaId::first(&name(0))).counted().is_empty(),
        "a person's restart is not counted"
    );
    check(&mut world, "start", "starting");
    world.seen.containers[0].state = ContainerState::Running { started_at: world.now };
    check(&mut world, "", "starting");
}

#[test]
fn a_server_that_used_up_its_budget_stays_failed_until_a_person_starts_it() {
    let mut world = one();
    world.desired.spec.servers[0].restart = RestartPolicy { attempts: 0, ..RestartPolicy::default() };
    world.seen.containers[0].state = ContainerState::Running { started_at: world.now };
    world.tick(Duration::from_secs(1));
    world.exit(0, 1);
    world.note();
    check(&mut world, "", "failed");
    world.tick(Duration::from_secs(1_000_000));
    check(&mut world, "", "failed");
    world.person(&name(0), ServerGoal::Run, false);
    check(&mut world, "start", "starting");
}

#[test]
fn independent_servers_are_planned_together() {
    let mut world = World::new(group(&[(0, Condition::Started); 5], false));
    assert_eq!(world.pass().actions.len(), 5);
}

#[test]
fn what_is_busy_is_left_alone() {
    let mut world = one();
    world.seen.busy.insert(dtma_core::observation::Subject::Member(world.seen.containers[0].member()));
    check(&mut world, "", "starting");
}
