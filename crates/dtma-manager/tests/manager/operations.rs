//! Operations are found again, and a question asked twice under one key has one effect.

use crate::house::{House, SOON, group_id, name, spec, tool};
use dtma_core::id::OperationId;
use dtma_core::idempotency::IdempotencyKey;
use dtma_core::record::{OperationKind, Outcome, Removal};
use dtma_manager::{Asking, ManagerError, OperationFilter, OperationState, Wait};
use dtma_testing::fake_runtime::Verb;
use dtma_testing::sample;
use std::time::Duration;

fn asking(key: &str, digest: &str, wait: Wait) -> Asking {
    Asking { key: Some(IdempotencyKey::new(key, digest).unwrap()), ..Asking::by("ann", wait) }
}

fn state(house: &House, id: &OperationId) -> OperationState {
    OperationState::of(&house.manager.operation(id).unwrap())
}

fn all() -> OperationFilter {
    OperationFilter::default()
}

#[tokio::test(start_paused = true)]
async fn an_operation_is_found_by_the_id_that_was_chosen_for_it_also_after_its_group_and_daemon_are_gone() {
    let mut house = House::new().await;
    let (deploy, remove) = (Asking::by("ann", SOON), Asking::by("bob", SOON));
    let ids = (deploy.operation.clone(), remove.operation.clone());
    house.manager.deploy(spec("g", vec![tool("a")]), deploy).await.unwrap();
    house.manager.remove(&group_id("g"), Removal::default(), remove).await.unwrap();
    house.restart_daemon().await;
    let found = house.manager.operation(&ids.0).unwrap();
    assert_eq!((found.kind, found.author.as_str()), (OperationKind::Deploy, "ann"));
    assert_eq!((state(&house, &ids.0), state(&house, &ids.1)), (OperationState::Done, OperationState::Done));
    let listed: Vec<_> = house.manager.operations(&all(), 10).into_iter().map(|one| one.id).collect();
    assert_eq!(listed, [ids.1, ids.0], "the newest first");
}

#[tokio::test(start_paused = true)]
async fn an_undone_deployment_is_a_failed_operation_that_says_why() {
    let house = House::new().await;
    let mut broken = tool("broken");
    broken.image = "nowhere".into();
    let asking = Asking::by("ann", SOON);
    let id = asking.operation.clone();
    house.manager.deploy(spec("g", vec![broken]), asking).await.unwrap_err();
    let outcome = house.manager.operation(&id).unwrap().outcome;
    assert!(
        matches!(&outcome, Some(Outcome::Failed { message, .. }) if message.contains("nowhere")),
        "{outcome:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn the_same_question_under_the_same_key_has_one_effect() {
    let house = House::new().await;
    house.deploy("g", vec![tool("a")]).await.unwrap();
    let first = house.manager.restart(&name("a"), asking("k", "d", SOON)).await.unwrap();
    let again = house.manager.restart(&name("a"), asking("k", "d", SOON)).await.unwrap();
    assert_eq!(again.operation, first.operation);
    assert_eq!(house.server("g", "a").restarts, 1, "it was restarted once");
    let other = house.manager.restart(&name("a"), asking("k", "other", SOON)).await.unwrap_err();
    assert!(matches!(other, ManagerError::KeyReused(_)), "{other}");
    let bobs = Asking { author: "bob".into(), ..asking("k", "d", SOON) };
    house.manager.restart(&name("a"), bobs).await.unwrap();
    assert_eq!(house.server("g", "a").restarts, 2, "another caller's key is another key");
}

#[tokio::test(start_paused = true)]
async fn whoever_asks_again_while_the_first_is_under_way_waits_for_its_end() {
    let mut house = House::new().await;
    house.hold(Verb::Start);
    let group = || spec("g", vec![tool("a")]);
    let first = house.manager.deploy(group(), asking("k", "d", Wait::No)).await.unwrap();
    let late = house.manager.deploy(group(), asking("k", "d", Wait::Until(Duration::from_secs(1)))).await;
    assert!(matches!(late, Err(ManagerError::Deadline { .. })), "{late:?}");
    house.let_go();
    let again = house.manager.deploy(group(), asking("k", "d", SOON)).await.unwrap();
    assert_eq!(again.operation, first.operation);
    assert_eq!(house.manager.operations(&all(), 10).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_daemon_that_ended_in_between_knows_the_key_and_how_it_went_on() {
    let mut house = House::new().await;
    house.hold(Verb::Start);
    let first = house.manager.deploy(spec("g", vec![tool("a")]), asking("k", "d", Wait::No)).await.unwrap();
    house.let_go();
    house.restart_daemon().await;
    let again = house.manager.deploy(spec("g", vec![tool("a")]), asking("k", "d", SOON)).await.unwrap();
    assert_eq!((again.operation, again.changed), (first.operation, true));

    house.manager.remove(&group_id("g"), Removal::default(), asking("r", "d", SOON)).await.unwrap();
    house.restart_daemon().await;
    let gone =
        house.manager.remove(&group_id("g"), Removal::default(), asking("r", "d", SOON)).await.unwrap();
    assert!(gone.gone, "the group is not there, and the answer is still that it is gone");
}

#[tokio::test(start_paused = true)]
async fn a_question_that_failed_fails_again_with_the_same_words() {
    let mut house = House::new().await;
    let broken = || {
        let mut broken = tool("broken");
        broken.image = "nowhere".into();
        spec("g", vec![broken])
    };
    house.manager.deploy(broken(), asking("k", "d", SOON)).await.unwrap_err();
    house.restart_daemon().await;
    house.engine.add_image("nowhere");
    let again = house.manager.deploy(broken(), asking("k", "d", SOON)).await.unwrap_err();
    assert!(
        matches!(&again, ManagerError::FailedBefore { message, .. } if message.contains("nowhere")),
        "{again}"
    );
    assert!(house.engine.containers().is_empty());
}

#[tokio::test(start_paused = true)]
async fn somebody_who_asks_again_and_again_for_what_does_not_come_is_refused_at_the_bound() {
    let mut house = House::new().await;
    house.hold(Verb::Start);
    house.manager.deploy(spec("g", vec![tool("a")]), Wait::No).await.unwrap();
    let mut accepted = 1;
    let refused = loop {
        match house.manager.restart(&name("a"), Wait::No).await {
            Ok(_) => accepted += 1,
            Err(error) => break error,
        }
        assert!(accepted < 1000, "there is a bound");
    };
    assert!(
        matches!(refused, ManagerError::TooManyOperations { limit, .. } if limit == accepted),
        "{refused}"
    );
    house.let_go();
    house.remove("g", Removal::default()).await;
    let running = OperationFilter { state: Some(OperationState::Running), ..all() };
    assert!(house.manager.operations(&running, 10).is_empty(), "a removal ends them all");
}

#[tokio::test(start_paused = true)]
async fn an_operation_whose_group_is_not_there_any_more_is_ended_at_the_next_start() {
    let mut house = House::new().await;
    house.stop_daemon().await;
    let lost = sample::operation("lost", "nowhere", 1);
    dtma_core::port::StateStore::put_operation(&house.store.reopen(), &lost).await.unwrap();
    house.start_daemon().await;
    for _ in 0..100 {
        if state(&house, &lost.id) == OperationState::Failed {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it is {:?}", state(&house, &lost.id));
}
