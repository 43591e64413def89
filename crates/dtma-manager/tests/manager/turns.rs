//! The start queue: on a machine that does not keep up four come up at the same moment, see `house::start`.
use crate::house::{House, SOON, group_id, name, spec, tool};
use dtma_core::record::Removal;
use dtma_core::spec::ServerSpec;
use dtma_manager::{GroupState, Wait};
use dtma_testing::fake_runtime::Process;
use std::time::Duration;

const AT_ONCE: usize = 4;

/// Answers after this long.
fn slow(house: &House, image: &str, after: Duration) {
    house.engine.add_image_running(image, move |process: Process| async move {
        tokio::time::sleep(after).await;
        let _listener = process.ports.listen(8080);
        process.terminated.cancelled().await;
        0
    });
}

fn servers(image: &str, prefix: &str, count: usize) -> Vec<ServerSpec> {
    let server = |number: usize| {
        let mut server = tool(&format!("{prefix}{number}"));
        (server.image, server.port) = (image.into(), Some(8080));
        server.readiness.start_timeout = Duration::from_secs(600);
        server
    };
    (0..count).map(server).collect()
}

#[tokio::test(start_paused = true)]
async fn no_more_come_up_at_once_than_the_machine_can_take() {
    let house = House::new().await;
    slow(&house, "slow", Duration::from_secs(5));
    let watched = async {
        let mut most = (0, 0);
        loop {
            let (under_way, waiting) = house.manager.starts();
            most = (under_way.max(most.0), waiting.max(most.1));
            let up =
                house.manager.group(&group_id("b")).is_some_and(|group| group.state == GroupState::Ready);
            if up && house.manager.starts() == (0, 0) {
                return most;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let began = house.engine.now();
    // The queue is one for all groups.
    let (one, other, most) = tokio::join!(
        house.deploy("a", servers("slow", "a", 6)),
        house.deploy("b", servers("slow", "b", 6)),
        watched
    );
    assert_eq!(one.unwrap().status.state, GroupState::Ready);
    assert_eq!(other.unwrap().status.state, GroupState::Ready);
    assert_eq!(most, (AT_ONCE, 12 - AT_ONCE));
    // Three times four.
    let took = house.engine.now().duration_since(began).unsigned_abs();
    assert!(took >= Duration::from_secs(15) && took < Duration::from_secs(17), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn one_that_does_not_answer_holds_up_nobody_for_long() {
    let house = House::new().await;
    slow(&house, "never", Duration::from_secs(100_000));
    slow(&house, "quick", Duration::from_millis(10));
    let _ = house.manager.deploy(spec("stuck", servers("never", "n", AT_ONCE)), Wait::No).await.unwrap();
    house.until("stuck", "n3", "starting").await;
    let began = house.engine.now();
    let deployed = house.deploy("g", servers("quick", "q", 1)).await.unwrap();
    assert_eq!(deployed.status.state, GroupState::Ready);
    let took = house.engine.now().duration_since(began).unsigned_abs();
    assert!(took > Duration::from_secs(5) && took < Duration::from_secs(12), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn who_waits_says_so_and_may_be_removed() {
    let house = House::new().await;
    slow(&house, "never", Duration::from_secs(100_000));
    let _ = house.manager.deploy(spec("stuck", servers("never", "n", AT_ONCE)), Wait::No).await.unwrap();
    house.until("stuck", "n3", "starting").await;
    let _ = house.manager.deploy(spec("g", servers("never", "w", 1)), Wait::No).await.unwrap();
    while house.manager.starts() != (AT_ONCE, 1) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let activity = house.server("g", "w0").activity.unwrap_or_default();
    assert!(activity.contains("waiting for its turn"), "{activity}");
    let began = house.engine.now();
    let how = Removal { force: true, ..Removal::default() };
    house.manager.remove(&group_id("g"), how, SOON).await.unwrap();
    let took = house.engine.now().duration_since(began).unsigned_abs();
    assert!(took < Duration::from_secs(1), "{took:?}");
    assert_eq!(house.manager.starts(), (AT_ONCE, 0));
    assert!(house.manager.group_of(&name("w0")).is_none());
}
