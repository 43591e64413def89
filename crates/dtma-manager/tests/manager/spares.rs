//! Processes that are kept ready for sessions to come.

use crate::house::{House, SOON, name, spec};
use crate::sessions::{echoed, is_echo, live, opened};
use dtma_core::id::{ContainerId, FIRST_PLACE};
use dtma_core::observation::{Asker, ContainerObservation, ContainerState};
use dtma_core::port::RuntimeError;
use dtma_core::record::Removal;
use dtma_core::spec::{ServerKind, ServerSpec, SessionMode, SessionSpec, Transport};
use dtma_manager::{Expect, SparesStatus};
use dtma_mcp::{Door, PostReply};
use dtma_testing::fake_runtime::Verb;
use serde_json::json;
use std::time::Duration;
use tokio::time::sleep;

const MOMENT: Duration = Duration::from_secs(1);

/// A server for two sessions that keeps so many processes ready, and has no replica.
fn keeping(spares: u32) -> ServerSpec {
    let (mode, max) = (SessionMode::PerSession, Some(2));
    let session = SessionSpec { mode, max, spares: Some(spares), ..SessionSpec::default() };
    let kind = ServerKind::Mcp(Transport::Stdio);
    ServerSpec { session, replicas: 0, ..ServerSpec::new(name("a"), kind, "mcp".into()) }
}

async fn house(spares: u32) -> (House, Door) {
    house_with(spares, false).await
}

async fn house_with(spares: u32, shims: bool) -> (House, Door) {
    let house = House::with(shims).await;
    house.deploy("g", vec![keeping(spares)]).await.unwrap();
    let door = house.manager.mcp(&name("a")).unwrap();
    (house, door)
}

impl House {
    fn frozen(&self) -> Vec<ContainerId> {
        let is_frozen = |seen: &ContainerObservation| matches!(seen.state, ContainerState::Paused { .. });
        self.engine.containers().into_iter().filter(is_frozen).map(|seen| seen.id).collect()
    }

    fn of_sessions(&self) -> Vec<ContainerId> {
        let server = self.server("g", "a");
        let own = server.replicas.iter().filter(|one| one.asker == Some(Asker::Session));
        own.filter_map(|one| one.container.clone()).collect()
    }

    fn spares(&self) -> Option<SparesStatus> {
        self.server("g", "a").spares
    }

    /// So many are frozen, and nothing else is there but what sessions have.
    async fn until_frozen(&self, wanted: usize) -> Vec<ContainerId> {
        for _ in 0..10_000 {
            let (frozen, all) = (self.frozen(), self.engine.containers().len());
            if frozen.len() == wanted && all == wanted + self.of_sessions().len() {
                return frozen;
            }
            sleep(Duration::from_millis(10)).await;
        }
        panic!("{:#?}", self.engine.containers());
    }
}

#[tokio::test(start_paused = true)]
async fn they_are_frozen_until_sessions_come_and_others_follow_them() {
    for shims in [false, true] {
        let (house, door) = house_with(2, shims).await;
        let spares = house.until_frozen(2).await;
        assert_eq!(house.server("g", "a").phase.word(), "on-demand");
        assert_eq!(house.spares(), Some(SparesStatus { wanted: 2, ready: 2 }));
        assert!(house.mcp.received().iter().all(|line| line.contains("\"ping\"")), "nobody greeted them");
        let (one, two) = tokio::join!(opened(&door), opened(&door));
        let mut taken = house.of_sessions();
        taken.sort();
        let mut expected = spares.clone();
        expected.sort();
        assert_eq!(taken, expected, "each session has one of them");
        assert!(is_echo(&echoed(&door, &one).await) && is_echo(&echoed(&door, &two).await));
        let next = house.until_frozen(2).await;
        assert!(next.iter().all(|new| !spares.contains(new)));
        assert_eq!(live(&house), [FIRST_PLACE, FIRST_PLACE + 1, FIRST_PLACE + 2, FIRST_PLACE + 3]);
        // They are no sessions: there may be as many as ever, and no more.
        let hello = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize",
            "params": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "c", "version": "1"}}});
        assert!(matches!(door.post(None, hello.to_string().into()).await, PostReply::Crowded { .. }));
        door.close_session(&one).await.unwrap();
        house.until_frozen(2).await;
        assert!(is_echo(&echoed(&door, &two).await));
        assert_eq!((house.server("g", "a").crashes, house.engine.count(Verb::Unpause)), (0, 2));
        house.remove("g", Removal::default()).await;
        house.check_nothing_left();
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_does_not_wait_for_the_spare_that_follows() {
    let (mut house, door) = house(1).await;
    house.until_frozen(1).await;
    house.hold(Verb::Create);
    let session = opened(&door).await;
    assert!(is_echo(&echoed(&door, &session).await));
    assert_eq!(house.spares(), Some(SparesStatus { wanted: 1, ready: 0 }));
    house.let_go();
    house.until_frozen(1).await;
}

#[tokio::test(start_paused = true)]
async fn one_that_is_still_starting_is_handed_out_and_never_frozen() {
    let (house, door) = house(0).await;
    house.mcp.silence("ping");
    house.manager.apply(spec("g", vec![keeping(1)]), Expect::default(), SOON).await.unwrap();
    sleep(MOMENT).await;
    let starting = house.engine.containers().pop().unwrap();
    assert_eq!(house.spares(), Some(SparesStatus { wanted: 1, ready: 0 }));
    let session = opened(&door).await;
    assert_eq!(house.of_sessions(), [starting.id]);
    sleep(60 * MOMENT).await;
    assert!(is_echo(&echoed(&door, &session).await));
    assert_eq!(house.frozen().len(), 1, "the next one, which had its time");
}

#[tokio::test(start_paused = true)]
async fn one_that_dies_is_started_again() {
    let (house, door) = house(1).await;
    house.until_frozen(1).await;
    house.engine.exit("a", 9);
    sleep(MOMENT).await;
    house.until_frozen(1).await;
    assert_eq!(house.engine.count(Verb::Start), 2);
    let session = opened(&door).await;
    assert!(is_echo(&echoed(&door, &session).await));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_ends_of_a_ping_is_given_time_instead() {
    let (house, door) = house(0).await;
    house.mcp.die_on("ping", 1);
    house.manager.apply(spec("g", vec![keeping(1)]), Expect::default(), SOON).await.unwrap();
    house.until_frozen(1).await;
    assert_eq!(house.engine.count(Verb::Start), 2);
    let session = opened(&door).await;
    assert!(is_echo(&echoed(&door, &session).await));
    house.until_frozen(1).await;
    assert_eq!(house.engine.count(Verb::Start), 3, "the next one was not asked");
}

#[tokio::test(start_paused = true)]
async fn where_the_engine_cannot_freeze_they_stay_awake_and_serve() {
    let (house, door) = house(0).await;
    let problem = "no freezer".to_owned();
    house.engine.fail(Verb::Pause, 1_000_000, RuntimeError::Conflict { call: "pause container", problem });
    house.manager.apply(spec("g", vec![keeping(1)]), Expect::default(), SOON).await.unwrap();
    sleep(600 * MOMENT).await;
    assert_eq!((house.engine.count(Verb::Pause), house.spares().unwrap().ready), (1, 1));
    let spare = house.engine.containers().pop().unwrap().id;
    let session = opened(&door).await;
    assert_eq!(house.of_sessions(), [spare]);
    assert!(is_echo(&echoed(&door, &session).await));
}

#[tokio::test(start_paused = true)]
async fn a_session_that_comes_while_its_spare_is_being_frozen_gets_it() {
    let (mut house, door) = house(0).await;
    house.hold(Verb::Pause);
    house.manager.apply(spec("g", vec![keeping(1)]), Expect::default(), SOON).await.unwrap();
    sleep(MOMENT).await;
    assert_eq!(house.engine.count(Verb::Pause), 1);
    let let_go = async {
        sleep(MOMENT).await;
        house.let_go();
    };
    let (session, ()) = tokio::join!(opened(&door), let_go);
    assert!(is_echo(&echoed(&door, &session).await));
    let own = house.of_sessions();
    assert!(!house.until_frozen(1).await.contains(&own[0]));
}

#[tokio::test(start_paused = true)]
async fn an_update_puts_others_in_their_place() {
    let (house, door) = house(2).await;
    let old = house.until_frozen(2).await;
    let mut newer = keeping(2);
    newer.environment.insert("VERSION".to_owned(), "2".to_owned());
    house.manager.apply(spec("g", vec![newer.clone()]), Expect::default(), SOON).await.unwrap();
    let new = house.until_frozen(2).await;
    assert!(new.iter().all(|id| !old.contains(id)));
    assert!(house.engine.containers().iter().all(|seen| seen.generation.0 == 2));
    let session = opened(&door).await;
    assert!(is_echo(&echoed(&door, &session).await) && new.contains(&house.of_sessions()[0]));
    // Another number of them replaces none.
    let fewer = house.until_frozen(2).await;
    newer.session.spares = Some(1);
    house.manager.apply(spec("g", vec![newer]), Expect::default(), SOON).await.unwrap();
    assert!(fewer.contains(&house.until_frozen(1).await[0]));
}

#[tokio::test(start_paused = true)]
async fn a_daemon_that_begins_clears_them_away_and_makes_others() {
    for shims in [false, true] {
        let (mut house, door) = house_with(1, shims).await;
        let old = house.until_frozen(1).await;
        drop(door);
        house.restart_daemon().await;
        sleep(MOMENT).await;
        assert_ne!(house.until_frozen(1).await, old);
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_stands_still_keeps_none() {
    let (house, door) = house(1).await;
    house.until_frozen(1).await;
    house.manager.stop(&name("a"), SOON).await.unwrap();
    house.until_frozen(0).await;
    house.manager.start(&name("a"), SOON).await.unwrap();
    house.until_frozen(1).await;
    house.manager.restart(&name("a"), SOON).await.unwrap();
    sleep(MOMENT).await;
    house.until_frozen(1).await;
    let session = opened(&door).await;
    assert!(is_echo(&echoed(&door, &session).await));
}
