//! Places that sessions ask for beside a server's replicas.

use crate::group::{group, name};
use crate::world::World;
use dtma_core::id::ReplicaId;
use dtma_core::observation::{Asker, ContainerObservation, ContainerState, Subject};
use dtma_core::record::ServerGoal;
use dtma_core::spec::{Condition, SessionMode};
use std::collections::BTreeSet;

/// One server, and places asked for.
fn asking(places: &[u32]) -> World {
    let mut world = World::new(group(&[(0, Condition::Started)], false));
    world.desired.spec.servers[0].restart.attempts = 0;
    world.ask(Asker::Session, places);
    world
}

impl World {
    /// These places of the first server are asked for, and no others for the same.
    pub(crate) fn ask(&mut self, asker: Asker, places: &[u32]) {
        let asked = self.seen.asked.entry(name(0)).or_default();
        asked.retain(|_, of| *of != asker);
        asked.extend(places.iter().map(|place| (*place, asker)));
    }
}

pub(crate) fn live(world: &World) -> BTreeSet<u32> {
    let live = world.seen.containers.iter().filter(|seen| seen.is_live());
    live.map(|seen| seen.slot.replica).collect()
}

#[test]
fn each_place_has_a_container_that_serves_nobody_else() {
    let mut world = asking(&[1001, 1007]);
    let plan = world.settle();
    assert_eq!(live(&world), [0, 1001, 1007].into());
    let serving: Vec<_> = plan.serving[&name(0)].iter().collect();
    let own = world.seen.containers.iter().find(|seen| seen.slot.replica == 0).map(|seen| &seen.id);
    assert_eq!(serving, [own.unwrap()]);
    assert_eq!(plan.replicas.len(), 3, "where each is can be told");
}

#[test]
fn what_nobody_asks_for_any_more_goes_and_the_rest_stays() {
    let mut world = asking(&[1001, 1002]);
    drop(world.settle());
    world.ask(Asker::Session, &[1002]);
    drop(world.settle());
    assert_eq!(live(&world), [0, 1002].into());
    assert!(world.seen.at(&ReplicaId::new(name(0), 1001)).next().is_none(), "its container is gone, too");
    // As after a kill of the daemon: the containers are there, and nobody asks.
    world.seen.asked.clear();
    drop(world.settle());
    assert_eq!((live(&world), world.seen.containers.len()), ([0].into(), 1));
}

#[test]
fn a_session_whose_process_fails_is_no_matter_of_its_server() {
    let mut world = asking(&[1001]);
    drop(world.settle());
    let is_its = |seen: &ContainerObservation| seen.slot.replica == 1001;
    let at = world.seen.containers.iter().position(is_its).unwrap();
    world.exit(at, 1);
    let plan = world.pass();
    assert_eq!(plan.replicas[&ReplicaId::new(name(0), 1001)].word(), "failed");
    assert_eq!(plan.phases[&name(0)].word(), "ready");
}

#[test]
fn a_server_that_stands_still_has_no_places() {
    let mut world = asking(&[1001]);
    drop(world.settle());
    world.person(&name(0), ServerGoal::Stop, false);
    drop(world.settle());
    let running = |seen: &&ContainerObservation| matches!(seen.state, ContainerState::Running { .. });
    assert_eq!(world.seen.containers.iter().filter(running).count(), 0);
}

#[test]
fn a_place_of_a_server_that_is_not_there_is_none() {
    let mut world = asking(&[]);
    world.seen.asked.insert("nobody".parse().unwrap(), [(1000, Asker::Session)].into());
    let plan = world.settle();
    assert_eq!((live(&world), plan.replicas.len()), ([0].into(), 1));
}

#[test]
fn an_update_lets_a_session_finish_and_never_replaces_its_process() {
    for stop_first in [false, true] {
        let mut world = asking(&[1001]);
        drop(world.settle());
        world.apply(&name(0), "newer", 1, stop_first);
        let mut ended = Vec::new();
        for _ in 0..20 {
            let plan = world.step();
            for action in plan.actions {
                let Subject::Member(member) = action.subject() else { panic!("{action:?}") };
                if member.replica.is_place() {
                    assert!(member.config == "wanted".into(), "nothing is put in its place: {action:?}");
                    ended.push(action.word());
                    assert_eq!(world.serving(), ["newer"], "what changed was proved before");
                }
            }
            if ended.len() == 2 {
                // Its session is over, and nobody asks any more.
                world.seen.asked.clear();
            }
        }
        assert_eq!(ended, ["stop", "remove"]);
        assert_eq!(live(&world), [0].into());
    }
}

#[test]
fn a_server_that_runs_for_sessions_only_has_no_process_until_one_comes() {
    let mut world = asking(&[]);
    world.desired.spec.servers[0].session.mode = SessionMode::PerSession;
    world.desired.spec.servers[0].replicas = 0;
    let plan = world.settle();
    assert_eq!((live(&world), plan.phases[&name(0)].word()), (BTreeSet::new(), "on-demand"));
    world.ask(Asker::Session, &[1000]);
    let plan = world.settle();
    assert_eq!((live(&world), plan.phases[&name(0)].word()), ([1000].into(), "on-demand"));
    world.person(&name(0), ServerGoal::Stop, false);
    assert_eq!(world.pass().phases[&name(0)].word(), "stopping");
    assert_eq!(world.settle().phases[&name(0)].word(), "stopped");
}
