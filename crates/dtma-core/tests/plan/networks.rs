//! Networks are there for those who join them.

use crate::group::{group, name};
use crate::world::World;
use dtma_core::spec::{Condition, NetworkMode};

#[test]
fn a_network_that_nobody_joins_any_more_goes() {
    let mut world = World::new(group(&[(0, Condition::Started)], true));
    world.settle();
    assert_eq!(world.seen.networks.len(), 1);
    world.apply(&name(0), "newer", 1, false);
    world.desired.servers.get_mut(&name(0)).unwrap().config.network = NetworkMode::None;
    world.settle();
    assert!(world.seen.networks.is_empty() && world.live(&name(0)) == 1);
}

#[test]
fn each_network_is_there_for_those_who_join_it() {
    let mut world = World::new(group(&[(0, Condition::Started), (0, Condition::Started)], true));
    world.desired.servers.get_mut(&name(1)).unwrap().config.network = NetworkMode::Open;
    world.settle();
    let modes = |world: &World| world.seen.networks.iter().map(|network| network.mode).collect::<Vec<_>>();
    assert_eq!(modes(&world), NetworkMode::JOINED);
    world.apply(&name(1), "newer", 1, false);
    world.desired.servers.get_mut(&name(1)).unwrap().config.network = NetworkMode::None;
    world.settle();
    assert_eq!(modes(&world), [NetworkMode::Group]);
    assert_eq!((world.live(&name(0)), world.live(&name(1))), (1, 1));
}
