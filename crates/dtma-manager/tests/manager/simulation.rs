//! A seeded simulation: random requests, crashes, refusals, lost replies, calls that hang, images that vanish,
//! absences of the engine and restarts of the daemon, under paused time; afterwards everything must stand as wanted. A failing run prints its seed.
use crate::house::{House, SOON, after, configurator, group_id, mcp, name, spec, tool};
use dtma_core::id::{ConfigHash, SlotId, is_provisional};
use dtma_core::port::RuntimeError;
use dtma_core::record::Removal;
use dtma_core::spec::{Condition, GroupSpec, ServerSpec, UpdateOrder};
use dtma_manager::{Expect, GroupState, Wait};
use dtma_testing::fake_runtime::Verb;
use std::collections::BTreeMap;
use std::time::Duration;

const SEEDS: u64 = 300;
const STEPS: usize = 25;
const GROUPS: [&str; 2] = ["g", "h"];
const SERVERS: [&str; 3] = ["a", "b", "c"];
/// Calls that may hang until something else happens. Not those a deployment needs before it is accepted.
const HELD: [Verb; 5] = [Verb::EnsureImage, Verb::Create, Verb::Start, Verb::Stop, Verb::EndProcess];

/// Calls that may fail, or have their effect without an answer.
const FAILING: [Verb; 7] =
    [Verb::Create, Verb::Start, Verb::Stop, Verb::EndProcess, Verb::Remove, Verb::Inspect, Verb::Containers];

/// splitmix64: small, good enough, and the same everywhere.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((x ^ (x >> 31)) % bound as u64) as usize
    }
    fn one_of<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
}

fn servers(group: &str) -> Vec<ServerSpec> {
    let named = |server: &str| format!("{group}{server}");
    let mut first = mcp(&named("a"));
    first.restart.attempts = 100;
    let mut second = after(tool(&named("b")), &named("a"), Condition::Healthy);
    second.restart.attempts = 100;
    let mut third = after(tool(&named("c")), &named("b"), Condition::Started);
    third.restart.attempts = 100;
    vec![first, second, third]
}

/// The group with some of its servers changed, one perhaps gone, one perhaps of an image that is nowhere.
fn changed(group: &str, dice: &mut Dice) -> GroupSpec {
    let mut servers = servers(group);
    for server in &mut servers {
        match dice.below(5) {
            0 | 1 => drop(server.environment.insert("VERSION".to_owned(), dice.below(3).to_string())),
            2 => server.replicas = 1 + dice.below(2) as u32,
            3 if dice.below(4) == 0 => server.image = "nowhere".into(),
            4 => server.update.order = Some(UpdateOrder::StopFirst),
            _ => {}
        }
    }
    if dice.below(4) == 0 {
        servers.pop();
    }
    spec(group, servers)
}

async fn step(house: &mut House, dice: &mut Dice) {
    let group = dice.one_of(&GROUPS);
    let server = format!("{group}{}", dice.one_of(&SERVERS));
    let verb = dice.one_of(&FAILING);
    // What a request answers is not the point here; what becomes of it is.
    match dice.below(26) {
        0 | 1 => drop(house.manager.deploy(spec(group, servers(group)), Wait::No).await),
        2 => drop(house.manager.remove(&group_id(group), Removal::default(), Wait::No).await),
        3 => drop(house.manager.restart(&name(&server), Wait::No).await),
        4 => drop(house.manager.stop(&name(&server), Wait::No).await),
        5 => drop(house.manager.start(&name(&server), Wait::No).await),
        6 if house.engine.container(&server).is_some_and(|seen| seen.is_live()) => {
            house.engine.exit(&server, 1);
        }
        7 => house.engine.lose_reply(verb, 1),
        8 => house.engine.fail(verb, 1, RuntimeError::Broken { call: "call", problem: "500".into() }),
        9 => house.engine.away(true),
        10 => house.engine.away(false),
        11 => house.engine.break_events(),
        12 => {
            // A daemon that ends waits for its calls.
            house.let_go();
            house.restart_daemon().await;
        }
        13 if house.engine.container(&server).is_some() => house.engine.destroy(&server),
        14 => {
            let how = Removal { force: dice.below(2) == 0, volumes: true, ..Removal::default() };
            drop(house.manager.remove(&group_id(group), how, Wait::No).await);
        }
        15 => drop(house.manager.restart_group(&group_id(group), Wait::No).await),
        16 => house.hold(dice.one_of(&HELD)),
        17 => house.let_go(),
        18 => house.engine.remove_image("tool"),
        19 => house.add_images(),
        20 | 21 => {
            let changed = changed(group, dice);
            drop(house.manager.apply(changed, Expect::default(), Wait::No).await);
        }
        22 => {
            let replicas = 1 + dice.below(3) as u32;
            drop(house.manager.scale(&name(&server), replicas, Expect::default(), Wait::No).await);
        }
        23 => drop(house.manager.rollback(&group_id(group), None, Expect::default(), Wait::No).await),
        24 => house.engine.lose_reply(Verb::Rename, 1),
        25 => house.engine.reboot(),
        _ => {}
    }
    tokio::time::sleep(Duration::from_millis(dice.below(3000) as u64)).await;
}

async fn calm(house: &mut House) {
    house.let_go();
    house.add_images();
    house.engine.away(false);
    house.engine.mend_events();
    for group in house.manager.groups() {
        // Where an update to an image that is nowhere took the place of a deployment that had not stood yet, nothing
        // leads back: somebody has to want something else.
        let lost = |server: &ServerSpec| server.image.as_str() == "nowhere";
        if house.manager.spec(&group.group_id).is_some_and(|spec| spec.servers.iter().any(lost)) {
            let name = group.group_id.to_string();
            let wanted = spec(&name, servers(&name));
            drop(house.manager.apply(wanted, Expect::default(), Wait::No).await);
        }
        for server in &group.servers {
            drop(house.manager.start(&server.instance, Wait::No).await);
        }
    }
    tokio::time::sleep(Duration::from_secs(1800)).await;
}

fn check(house: &House, seed: u64) {
    let groups = house.manager.groups();
    let standing: Vec<_> = groups.iter().map(|group| (group.group_id.to_string(), group.state)).collect();
    assert!(groups.iter().all(|group| group.state == GroupState::Ready), "seed {seed}: {groups:#?}");
    let mut slots = BTreeMap::new();
    for container in house.engine.containers() {
        *slots.entry(container.slot.to_string()).or_insert(0) += 1;
        let plain = !is_provisional(&container.name, &container.made_from);
        assert!(plain, "seed {seed}: {} kept its provisional name", container.name);
        let wanted = house.wanted(&container.slot);
        assert_eq!(Some(&container.config_hash), wanted.as_ref(), "seed {seed}: {}", container.name);
    }
    let places: u32 =
        groups.iter().flat_map(|group| &group.servers).map(|server| server.wanted_replicas).sum();
    assert_eq!(slots.len(), places as usize, "seed {seed}: {slots:?} for {standing:?}");
    assert!(slots.values().all(|count| *count == 1), "seed {seed}: {slots:?}");
    // With a shim nobody joins one without asking for it.
    let networks = if house.shims { 0 } else { standing.len() };
    assert_eq!(house.engine.network_count(), networks, "seed {seed}: networks for {standing:?}");
}

impl House {
    /// The hash of what is to run in a place.
    fn wanted(&self, slot: &SlotId) -> Option<ConfigHash> {
        let spec = self.manager.spec(&slot.group)?;
        let rendered = configurator(self.shims).render(&spec, &self.store.state().owner).ok()?;
        Some(rendered.get(&slot.instance)?.hash.clone())
    }
}

async fn run(seed: u64) {
    let mut house = House::with(seed.is_multiple_of(2)).await;
    let mut dice = Dice(seed);
    for _ in 0..STEPS {
        step(&mut house, &mut dice).await;
    }
    calm(&mut house).await;
    check(&house, seed);
    for group in house.manager.groups() {
        house.manager.remove(&group.group_id, Removal::default(), SOON).await.unwrap();
    }
    house.check_nothing_left();
    house.stop_daemon().await;
}

#[test]
fn everything_stands_as_wanted_after_any_disturbance() {
    for seed in 0..SEEDS {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| runtime.block_on(run(seed))));
        if outcome.is_err() {
            panic!("seed {seed} failed, see above");
        }
    }
}
