//! Grants in a world where everything fails, in paused time: none is lost, and nobody is asked too often.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod kept;
mod world;

use dtma_credentials::refresh::{GrantHandle, GrantTask, Health, Strategy, Unavailable, grant};
use futures_util::future::join_all;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use world::World;

/// A grant's task with its owner.
struct Running {
    handle: GrantHandle,
    tasks: JoinSet<()>,
    stop: CancellationToken,
}

impl Running {
    fn start(world: &Arc<World>, strategy: Strategy) -> Self {
        Self::of(grant(world.parts(strategy)))
    }

    fn of((handle, task): (GrantHandle, GrantTask)) -> Self {
        let (mut tasks, stop) = (JoinSet::new(), CancellationToken::new());
        tasks.spawn(task.run(stop.clone()));
        Self { handle, tasks, stop }
    }

    /// As `kill -9` does it.
    async fn kill(mut self) {
        self.tasks.shutdown().await;
    }

    async fn drain(mut self) {
        self.stop.cancel();
        while let Some(ended) = self.tasks.join_next().await {
            ended.unwrap();
        }
    }
}

/// Uses the token for a while, as servers do.
async fn use_for(world: &World, handle: &GrantHandle, uses: u64) {
    for _ in 0..uses {
        sleep(Duration::from_secs(world.dice.below(400))).await;
        let answer = match (handle.access().await, world.dice.below(20)) {
            (Ok(access), 0) => handle.rejected(access.generation).await,
            (answer, _) => answer,
        };
        match answer {
            Ok(access) => assert!(world.takes(&access.token), "a token that upstream does not know"),
            Err(Unavailable::Later { .. }) => {}
            Err(other) => panic!("{other}"),
        }
    }
}

/// Lives of one grant, each ended by a kill or a drain, with outages and leaps of the clock between.
async fn lives(seed: u64, refreshes: u64) -> (u64, u64) {
    let world = World::new(seed);
    let strategies = [Strategy::OnExpiry, Strategy::OnDemand, Strategy::Periodic(Duration::from_secs(120))];
    let strategy = strategies[usize::try_from(seed % 3).unwrap()];
    let began = Instant::now();
    while world.refreshed.load(Ordering::SeqCst) < refreshes {
        let running = Running::start(&world, strategy);
        world.down.store(world.dice.below(10) == 0, Ordering::SeqCst);
        use_for(&world, &running.handle, world.dice.below(4)).await;
        world.down.store(false, Ordering::SeqCst);
        use_for(&world, &running.handle, world.dice.below(30)).await;
        if world.dice.below(4) == 0 {
            world.leap.fetch_add(world.dice.below(100_000), Ordering::SeqCst);
            use_for(&world, &running.handle, 3).await;
        }
        if world.dice.below(2) == 0 {
            running.kill().await;
        } else {
            running.drain().await;
        }
        assert!(!world.revoked(), "seed {seed}: the grant is lost");
    }
    healed(&world, strategy, seed).await;
    bounded(&world, began.elapsed(), seed);
    (world.refreshed.load(Ordering::SeqCst), world.asked.load(Ordering::SeqCst))
}

async fn healed(world: &Arc<World>, strategy: Strategy, seed: u64) {
    world.healed.store(true, Ordering::SeqCst);
    let running = Running::start(world, strategy);
    let access = running.handle.refresh().await.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    assert!(world.takes(&access.token), "seed {seed}");
    assert_eq!(running.handle.view().borrow().health, Health::Valid, "seed {seed}");
    running.drain().await;
    assert!(!world.revoked(), "seed {seed}");
}

/// Each refresh that was heard of takes few questions, however much goes wrong.
fn bounded(world: &World, passed: Duration, seed: u64) {
    let count = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::SeqCst);
    let (asked, kept, refreshed) = (count(&world.asked), count(&world.kept), count(&world.refreshed));
    assert!(asked <= 3 * refreshed, "seed {seed}: {asked} questions for {refreshed} refreshes");
    assert!(kept <= 8 * refreshed, "seed {seed}: {kept} calls of the vault for {refreshed} refreshes");
    assert!(asked <= 8 + passed.as_secs() / 10, "seed {seed}: {asked} in {passed:?}");
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_refreshes_under_random_faults_lose_no_grant() {
    let tallies = join_all((1..=50).map(|seed| lives(seed, 200))).await;
    let refreshed: u64 = tallies.iter().map(|(refreshed, _)| refreshed).sum();
    assert!(refreshed >= 10_000, "{tallies:?}");
}

#[tokio::test(start_paused = true)]
async fn a_hundred_that_ask_at_once_share_one_refresh() {
    let world = World::new(4);
    world.healed.store(true, Ordering::SeqCst);
    let running = Running::start(&world, Strategy::OnDemand);
    let answers = join_all((0..100).map(|_| running.handle.access())).await;
    let first = running.handle.view().borrow().generation;
    assert!(answers.iter().all(|answer| answer.as_ref().is_ok_and(|access| access.generation == first)));
    assert_eq!(world.asked.load(Ordering::SeqCst), 1);
    let again = join_all((0..100).map(|_| running.handle.rejected(first))).await;
    assert!(again.iter().all(|answer| answer.as_ref().is_ok_and(|access| access.generation == first + 1)));
    assert_eq!(world.asked.load(Ordering::SeqCst), 2);
    running.drain().await;
}

#[tokio::test(start_paused = true)]
async fn who_stops_waiting_loses_nothing() {
    let world = World::new(5);
    world.healed.store(true, Ordering::SeqCst);
    let running = Running::start(&world, Strategy::OnDemand);
    assert!(
        timeout(Duration::from_millis(1), running.handle.access()).await.is_err(),
        "too soon for an answer"
    );
    running.handle.access().await.unwrap();
    assert_eq!(world.asked.load(Ordering::SeqCst), 1);
    running.drain().await;
}

#[tokio::test(start_paused = true)]
async fn after_ten_minutes_without_anybody_it_is_well_again_within_half_a_minute() {
    for seed in 1..40 {
        let world = World::new(seed);
        world.healed.store(true, Ordering::SeqCst);
        let running = Running::start(&world, Strategy::OnExpiry);
        running.handle.access().await.unwrap();
        sleep(Duration::from_secs(world.dice.below(3000))).await;
        world.down.store(true, Ordering::SeqCst);
        let before = world.asked.load(Ordering::SeqCst);
        sleep(Duration::from_secs(600)).await;
        let asked = world.asked.load(Ordering::SeqCst) - before;
        assert!(asked <= 30, "seed {seed}: {asked} questions to nobody");
        world.down.store(false, Ordering::SeqCst);
        sleep(Duration::from_secs(30)).await;
        running.handle.access().await.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        assert_eq!(running.handle.view().borrow().health, Health::Valid, "seed {seed}");
        running.drain().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_drain_brings_what_is_under_way_into_the_vault() {
    for seed in 1..40 {
        let world = World::new(seed);
        world.healed.store(true, Ordering::SeqCst);
        let running = Running::start(&world, Strategy::OnExpiry);
        sleep(Duration::from_millis(world.dice.below(9000))).await;
        running.drain().await;
        let next = Running::start(&world, Strategy::OnDemand);
        next.handle.refresh().await.unwrap();
        assert!(!world.revoked(), "seed {seed}");
        next.drain().await;
    }
}
