//! Images that nobody needs: removed by the operator's policy, and only those.

use crate::house::{House, SOON, spec, tool};
use dtma_core::image_gc::{DiskUsage, ImageGc};
use dtma_core::port::RuntimeError;
use dtma_core::port::store::DamagedRecord;
use dtma_core::record::Removal;
use dtma_core::spec::ServerSpec;
use dtma_manager::{Expect, Wait};
use dtma_testing::fake_runtime::Verb;
use std::time::Duration;

const OLD: Duration = Duration::from_secs(3600);

const FULL: Option<DiskUsage> = Some(DiskUsage { total: 100, free: 10 });

const POLICY: ImageGc = ImageGc { high: 85, low: 80, min_age: OLD };

/// A house with a full disk whose registry has `far:1` and `far:2`, and an image of its own.
async fn house() -> House {
    let house = House::new().await;
    for image in ["far:1", "far:2"] {
        house.engine.add_image(image);
        house.engine.only_in_registry(image);
    }
    house.engine.add_image("built");
    house.engine.set_disk(FULL);
    house
}

fn tool_of(image: &str) -> ServerSpec {
    ServerSpec { image: image.into(), ..tool("a") }
}

/// Lets the policy hold for so long.
async fn keep(house: &House, time: Duration) {
    let shelf = house.engine.connect();
    let _ = tokio::time::timeout(time, house.manager.keep_images(&shelf, POLICY)).await;
}

/// The images that were told to go so far.
fn removed(house: &House) -> Vec<String> {
    let calls = house.engine.calls().into_iter().filter(|call| call.verb == Verb::RemoveImage);
    calls.map(|call| call.subject.trim_start_matches("sha256:").to_owned()).collect()
}

#[tokio::test(start_paused = true)]
async fn an_image_that_was_fetched_goes_when_its_group_has_been_gone_for_long() {
    let house = house().await;
    house.manager.deploy(spec("g", vec![tool_of("far:1")]), SOON).await.unwrap();
    keep(&house, 3 * OLD).await;
    assert_eq!(removed(&house), [""; 0], "it is in use");
    house.remove("g", Removal::default()).await;
    keep(&house, OLD - Duration::from_secs(600)).await;
    assert_eq!(removed(&house), [""; 0], "it is not old yet");
    keep(&house, 2 * OLD).await;
    assert_eq!(removed(&house), ["far:1"], "what was built here, or never fetched, stays");
}

#[tokio::test(start_paused = true)]
async fn what_a_group_may_go_back_to_stays() {
    let house = house().await;
    house.manager.deploy(spec("g", vec![tool_of("far:1")]), SOON).await.unwrap();
    let next = spec("g", vec![tool_of("far:2")]);
    house.manager.apply(next, Expect::default(), SOON).await.unwrap();
    keep(&house, 3 * OLD).await;
    assert_eq!(removed(&house), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn nothing_goes_while_a_container_is_being_made() {
    let mut house = house().await;
    house.manager.deploy(spec("g", vec![tool_of("far:1")]), SOON).await.unwrap();
    house.remove("g", Removal::default()).await;
    house.hold(Verb::EnsureImage);
    house.manager.deploy(spec("slow", vec![tool("b")]), Wait::No).await.unwrap();
    keep(&house, 2 * OLD).await;
    assert_eq!(removed(&house), [""; 0]);
    house.let_go();
    keep(&house, 2 * OLD).await;
    assert_eq!(removed(&house), ["far:1"]);
}

#[tokio::test(start_paused = true)]
async fn while_there_is_room_or_nobody_knows_whether_nothing_goes() {
    let house = house().await;
    house.manager.deploy(spec("g", vec![tool_of("far:1")]), SOON).await.unwrap();
    house.remove("g", Removal::default()).await;
    for disk in [Some(DiskUsage { total: 100, free: 15 }), None] {
        house.engine.set_disk(disk);
        keep(&house, 3 * OLD).await;
        assert_eq!(removed(&house), [""; 0], "{disk:?}");
    }
    house.engine.set_disk(FULL);
    keep(&house, 3 * OLD).await;
    assert_eq!(removed(&house), ["far:1"]);
}

#[tokio::test(start_paused = true)]
async fn what_the_engine_holds_on_to_stands_in_nobodys_way_and_is_not_tried_at_every_look() {
    let house = house().await;
    for (group, image) in [("g", "far:1"), ("h", "far:2")] {
        house.manager.deploy(spec(group, vec![tool_of(image)]), SOON).await.unwrap();
        house.remove(group, Removal::default()).await;
    }
    let held = RuntimeError::Conflict { call: "remove image", problem: "it has children".into() };
    house.engine.fail_on(Verb::RemoveImage, "far:1", 99, held);
    keep(&house, 3 * OLD - Duration::from_secs(600)).await;
    assert_eq!(removed(&house), ["far:1", "far:2", "far:1"]);
}

#[tokio::test(start_paused = true)]
async fn while_nobody_knows_what_groups_need_nothing_goes() {
    let mut house = house().await;
    house.manager.deploy(spec("g", vec![tool_of("far:1")]), SOON).await.unwrap();
    house.remove("g", Removal::default()).await;
    house.store.damage(DamagedRecord { table: "groups".into(), key: "h".into(), problem: "torn".into() });
    house.restart_daemon().await;
    keep(&house, 3 * OLD).await;
    assert_eq!(removed(&house), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_is_away_is_asked_again_soon() {
    let house = house().await;
    house.manager.deploy(spec("g", vec![tool_of("far:1")]), SOON).await.unwrap();
    house.remove("g", Removal::default()).await;
    let away = RuntimeError::EngineAway { endpoint: "unix:///gone".into(), problem: "gone".into() };
    house.engine.fail(Verb::RemoveImage, 1, away);
    keep(&house, OLD + Duration::from_secs(600)).await;
    assert_eq!(removed(&house), ["far:1", "far:1"]);
}

#[tokio::test(start_paused = true)]
async fn what_went_is_fetched_again_by_the_next_who_needs_it() {
    let house = house().await;
    for removals in 1..=2 {
        house.manager.deploy(spec("g", vec![tool_of("far:1")]), SOON).await.unwrap();
        house.remove("g", Removal::default()).await;
        keep(&house, 3 * OLD).await;
        assert_eq!(removed(&house).len(), removals);
    }
}
