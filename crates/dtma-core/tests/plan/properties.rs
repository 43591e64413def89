//! What holds whatever happens.

use crate::faults::{edges, fault};
use crate::group::{group, name};
use crate::world::World;
use dtma_core::id::ReplicaId;
use dtma_core::phase::Phase;
use dtma_core::record::{GroupGoal, Removal, ServerGoal};
use dtma_core::spec::ServerSpec;
use proptest::prelude::*;
use std::collections::BTreeMap;

fn ends_well(phase: &Phase) -> bool {
    matches!(phase, Phase::Ready { .. } | Phase::Completed { .. })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn it_converges_after_any_faults_and_is_idempotent_there(
        edges in edges(), networked: bool, shims: bool, faults in proptest::collection::vec(fault(), 0..40),
    ) {
        let record = group(&edges, networked);
        let mut world = if shims { World::with_shims(record) } else { World::new(record) };
        for fault in &faults {
            world.suffer(fault);
        }
        for index in 0..edges.len() {
            world.person(&name(index), ServerGoal::Run, false);
        }
        let last = world.settle();
        prop_assert!(last.phases.values().all(ends_well), "{:?}", last.phases);
        let places: Vec<_> = world.desired.spec.servers.iter().flat_map(ServerSpec::places).collect();
        // What is done is not made again when its container goes with its network.
        let done = |replica: &&ReplicaId| {
            world.history.of(replica).completed() && world.seen.at(replica).next().is_none()
        };
        let needed = places.len() - places.iter().filter(done).count();
        prop_assert_eq!(world.seen.containers.len(), needed, "one container for each replica");
        for seen in &world.seen.containers {
            let wanted = &world.desired.servers[&seen.slot.instance].config_hash;
            prop_assert!(seen.config_hash == *wanted && seen.name == "plain" && places.contains(&seen.replica()));
        }
        prop_assert_eq!(world.pass(), last);
    }

    #[test]
    fn removal_leaves_nothing_after_any_faults(
        edges in edges(), networked: bool, force: bool, volumes: bool,
        faults in proptest::collection::vec(fault(), 0..30),
    ) {
        let mut world = World::with_shims(group(&edges, networked));
        world.seen.volumes = ["kept".to_owned(), "gone".to_owned()].into();
        let (before, after) = faults.split_at(faults.len() / 2);
        for fault in before {
            world.suffer(fault);
        }
        let how = Removal { force, grace: None, volumes, keep: ["kept".to_owned()].into() };
        world.desired.goal = GroupGoal::Remove(how);
        for fault in after {
            world.suffer(fault);
        }
        let last = world.settle();
        prop_assert!(last.gone && world.seen.containers.is_empty() && world.seen.networks.is_empty());
        prop_assert_eq!(world.seen.volumes.contains("gone"), !volumes);
        prop_assert!(world.seen.volumes.contains("kept"));
    }

    #[test]
    fn restart_counts_never_fall(edges in edges(), faults in proptest::collection::vec(fault(), 0..40)) {
        let mut world = World::with_shims(group(&edges, false));
        let mut last = BTreeMap::new();
        for fault in &faults {
            world.suffer(fault);
            for (replica, history) in &world.history.servers {
                let before = last.insert(replica.clone(), history.restarts()).unwrap_or(0);
                prop_assert!(history.restarts() >= before);
            }
        }
    }
}
