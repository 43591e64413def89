//! What is promised when things go wrong at the same moment: orders that cross each other, an engine or a store that
//! is away or slow, kills between two steps.
use crate::house::{House, SOON, after, group_id, mcp, name, spec, tool};
use dtma_core::id::ReplicaId;
use dtma_core::id::VolumeName;
use dtma_core::port::RuntimeError;
use dtma_core::port::store::{DamagedRecord, StoreError};
use dtma_core::record::{Outcome, Removal};
use dtma_core::spec::{Condition, Mount, MountSource, Publish, ServerSpec};
use dtma_manager::{EventKind, ManagerError, Wait};
use dtma_testing::fake_runtime::Verb;
use std::net::TcpListener;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn broken() -> RuntimeError {
    RuntimeError::Broken { call: "call", problem: "500".into() }
}

fn refused() -> RuntimeError {
    RuntimeError::Refused { call: "call", problem: "no".into() }
}

fn with_volume(mut server: ServerSpec) -> ServerSpec {
    let source = MountSource::Volume(VolumeName::new("data").unwrap());
    server.mounts = vec![Mount { target: "/data".into(), source, read_only: false }];
    server
}

fn publishing(instance: &str, host_port: u16) -> ServerSpec {
    let mut server = tool(instance);
    server.port = Some(80);
    server.publish = vec![Publish { host_port, container_port: 80 }];
    server
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[tokio::test(start_paused = true)]
async fn an_exit_is_not_answered_before_it_is_durable_however_long_the_store_fails() {
    let house = House::new().await;
    house.deploy("g", vec![tool("a")]).await.unwrap();
    tokio::time::sleep(SECOND).await;
    house.engine.clear_calls();
    house.store.fail(5, &StoreError::Io { operation: "commit", problem: "full".into() });
    house.engine.exit("a", 1);
    tokio::time::sleep(Duration::from_millis(3500)).await;
    assert_eq!(house.engine.count(Verb::Start), 0);
    let trouble = house.manager.group(&group_id("g")).unwrap().trouble.clone();
    assert!(trouble.is_some(), "a person sees why nothing happens");
    house.until("g", "a", "ready").await;
    assert_eq!(house.store.state().histories[0].1.of(&ReplicaId::first(&name("a"))).exits.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_start_that_succeeds_and_shows_nothing_is_tried_again_with_pauses() {
    let house = House::new().await;
    house.engine.start_nothing(5);
    house.deploy("g", vec![tool("a"), mcp("b")]).await.unwrap();
    assert_eq!(house.engine.count(Verb::Start), 7);
    // And of one that ran before, which shows its last run only.
    house.engine.clear_calls();
    house.engine.start_nothing(1000);
    house.engine.exit("a", 1);
    tokio::time::sleep(seconds(60)).await;
    let tries = house.engine.count(Verb::Start);
    assert!((5..=10).contains(&tries), "{tries} tries in a minute");
    house.engine.start_nothing(0);
    let server = house.until("g", "a", "ready").await;
    assert_eq!(server.restarts, 1);
}

#[tokio::test(start_paused = true)]
async fn restart_counts_do_not_fall_at_a_kill_while_something_else_takes_long() {
    let house = House::new().await;
    house.deploy("g", vec![tool("a"), tool("b")]).await.unwrap();
    tokio::time::sleep(SECOND).await;
    let endless = house.engine.hold(Verb::Stop);
    house.manager.stop(&name("b"), Wait::No).await.unwrap();
    for _ in 0..2 {
        house.engine.destroy("a");
        tokio::time::sleep(seconds(5)).await;
    }
    assert_eq!(house.until("g", "a", "ready").await.restarts, 2);
    // The run that goes on is seen again by the next daemon, those before it are not.
    assert_eq!(house.store.state().histories[0].1.of(&ReplicaId::first(&name("a"))).runs, 2);
    drop(endless);
}

#[tokio::test(start_paused = true)]
async fn orders_to_a_group_that_was_never_seen_are_answered_when_they_are_true() {
    let mut house = House::new().await;
    house.deploy("g", vec![tool("a"), tool("b")]).await.unwrap();
    tokio::time::sleep(SECOND).await;
    house.stop_daemon().await;
    house.engine.away(true);
    house.start_daemon().await;
    let wait = Wait::Until(seconds(20));
    let (a, b) = (name("a"), name("b"));
    let (stopped, restarted) = tokio::join!(house.manager.stop(&a, wait), house.manager.restart(&b, wait));
    assert!(matches!(stopped, Err(ManagerError::Deadline { .. })), "{stopped:?}");
    assert!(matches!(restarted, Err(ManagerError::Deadline { .. })), "{restarted:?}");
    house.engine.away(false);
    house.until("g", "a", "stopped").await;
    tokio::time::sleep(seconds(10)).await;
    assert_eq!(house.until("g", "b", "ready").await.restarts, 1);
}

#[tokio::test(start_paused = true)]
async fn orders_are_accepted_while_the_engine_hangs() {
    let house = House::new().await;
    house.deploy("g", vec![tool("a"), tool("b")]).await.unwrap();
    house.engine.delay(Verb::Containers, seconds(60));
    house.engine.delay(Verb::Inspect, seconds(60));
    tokio::time::sleep(seconds(31)).await;
    let accepted = async {
        for server in ["a", "b"] {
            house.manager.stop(&name(server), Wait::No).await.unwrap();
        }
    };
    tokio::time::timeout(SECOND, accepted).await.expect("accepting needs no engine");
}

#[tokio::test(start_paused = true)]
async fn a_start_that_is_overtaken_by_a_stop_is_told_so() {
    let house = House::new().await;
    house.mcp.silence("initialize");
    house.manager.deploy(spec("g", vec![mcp("a")]), Wait::No).await.unwrap();
    house.until("g", "a", "starting").await;
    let manager = house.manager.clone();
    let (a, wait) = (name("a"), Wait::Until(seconds(600)));
    let stop = async {
        tokio::time::sleep(SECOND).await;
        house.manager.stop(&a, SOON).await
    };
    let (started, stopped) = tokio::join!(manager.restart(&a, wait), stop);
    assert!(matches!(started, Err(ManagerError::Superseded(_))), "{started:?}");
    stopped.unwrap();
    assert_eq!(house.manager.group(&group_id("g")).unwrap().operation, None);
}

#[tokio::test(start_paused = true)]
async fn a_start_during_a_stop_is_answered_by_a_new_process_and_counts_no_crash() {
    let house = House::new().await;
    house.engine.add_image_running("stubborn", |process: dtma_testing::fake_runtime::Process| async move {
        process.terminated.cancelled().await;
        tokio::time::sleep(seconds(5)).await;
        0
    });
    let mut stubborn = tool("a");
    stubborn.image = "stubborn".into();
    stubborn.restart.attempts = 0;
    house.deploy("g", vec![stubborn]).await.unwrap();
    house.manager.stop(&name("a"), Wait::No).await.unwrap();
    tokio::time::sleep(SECOND).await;
    let deployed = house.manager.start(&name("a"), SOON).await.unwrap();
    let server = deployed.status.server(&name("a")).unwrap().clone();
    assert_eq!((server.phase.word(), server.restarts), ("ready", 1));
}

#[tokio::test(start_paused = true)]
async fn a_stop_during_a_start_is_answered_when_nothing_runs() {
    let house = House::new().await;
    house.engine.delay(Verb::Start, seconds(5));
    house.manager.deploy(spec("g", vec![tool("a")]), Wait::No).await.unwrap();
    tokio::time::sleep(SECOND).await;
    house.manager.stop(&name("a"), SOON).await.unwrap();
    tokio::time::sleep(seconds(10)).await;
    assert_eq!(house.engine.count(Verb::Stop), 1, "the start was let finish, then undone");
    assert!(!house.engine.container("a").unwrap().is_live());
    house.engine.delay(Verb::Start, Duration::ZERO);
    house.engine.delay(Verb::Stop, seconds(5));
    house.manager.start(&name("a"), SOON).await.unwrap();
    house.manager.stop(&name("a"), SOON).await.unwrap();
    assert!(!house.engine.container("a").unwrap().is_live(), "answered too early");
}

#[tokio::test(start_paused = true)]
async fn stopping_a_server_whose_start_is_under_way_waits_for_its_end() {
    let house = House::new().await;
    house.deploy("g", vec![tool("a")]).await.unwrap();
    house.manager.stop(&name("a"), SOON).await.unwrap();
    house.engine.delay(Verb::Start, seconds(5));
    house.manager.start(&name("a"), Wait::No).await.unwrap();
    tokio::time::sleep(SECOND).await;
    let before = house.engine.now();
    house.manager.stop(&name("a"), SOON).await.unwrap();
    assert!(house.engine.now().duration_since(before).as_secs() >= 3, "answered while the start went on");
}

#[tokio::test(start_paused = true)]
async fn a_paused_server_can_be_restarted() {
    let house = House::new().await;
    house.deploy("g", vec![tool("a")]).await.unwrap();
    house.engine.pause("a");
    house.until("g", "a", "starting").await;
    house.manager.restart(&name("a"), SOON).await.unwrap();
    assert_eq!(house.server("g", "a").restarts, 1);
}

#[tokio::test(start_paused = true)]
async fn a_second_removal_takes_nothing_back_of_the_first() {
    let house = House::new().await;
    house.deploy("g", vec![with_volume(tool("a"))]).await.unwrap();
    house.engine.delay(Verb::Stop, seconds(5));
    let volumes = Removal { volumes: true, ..Removal::default() };
    house.manager.remove(&group_id("g"), volumes, Wait::No).await.unwrap();
    house.remove("g", Removal::default()).await;
    assert!(house.engine.volume_names().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_removal_during_an_undo_leaves_no_volume_behind() {
    let house = House::new().await;
    house.engine.delay(Verb::Remove, seconds(5));
    house.engine.fail(Verb::Start, 1, refused());
    house.manager.deploy(spec("g", vec![with_volume(tool("a")), tool("b")]), Wait::No).await.unwrap();
    house.until("g", "a", "removing").await;
    house.remove("g", Removal::default()).await;
    house.check_nothing_left();
    assert!(house.engine.volume_names().is_empty(), "{:?}", house.engine.volume_names());
}

#[tokio::test(start_paused = true)]
async fn an_undo_tells_everybody_who_waits_that_it_failed() {
    let house = House::new().await;
    house.engine.delay(Verb::EnsureImage, seconds(5));
    let mut lost = tool("lost");
    lost.image = "nowhere".into();
    let group = spec("g", vec![tool("a"), lost]);
    house.manager.deploy(group.clone(), Wait::No).await.unwrap();
    let a = name("a");
    let (again, restarted) = tokio::join!(house.manager.deploy(group, SOON), house.manager.restart(&a, SOON));
    assert!(matches!(again, Err(ManagerError::Refused { .. })), "{again:?}");
    assert!(matches!(restarted, Err(ManagerError::BeingRemoved(_))), "{restarted:?}");
    let outcomes: Vec<_> = house.store.state().operations.into_iter().map(|kept| kept.outcome).collect();
    assert!(outcomes.iter().all(|kept| matches!(kept, Some(Outcome::Failed { .. }))), "{outcomes:?}");
}

#[tokio::test(start_paused = true)]
async fn a_port_that_was_taken_at_adoption_is_opened_when_it_is_free_again() {
    let mut house = House::new().await;
    let port = free_port();
    house.deploy("g", vec![publishing("a", port)]).await.unwrap();
    house.stop_daemon().await;
    tokio::task::yield_now().await;
    let stranger = TcpListener::bind(("127.0.0.1", port)).unwrap();
    house.start_daemon().await;
    assert!(!house.until("g", "a", "ready").await.publish[0].listening);
    drop(stranger);
    tokio::time::sleep(seconds(60)).await;
    assert!(house.server("g", "a").publish[0].listening);
}

#[tokio::test(start_paused = true)]
async fn a_removed_groups_ports_are_free_when_the_removal_is_answered() {
    let house = House::new().await;
    let port = free_port();
    for _ in 0..5 {
        house.deploy("g", vec![publishing("a", port)]).await.expect("the port is free");
        house.remove("g", Removal::default()).await;
    }
}

#[tokio::test(start_paused = true)]
async fn slow_pulls_of_one_group_hold_up_no_other() {
    let house = House::new().await;
    house.deploy("h", vec![tool("x")]).await.unwrap();
    let pulls = house.engine.hold(Verb::EnsureImage);
    let many = (0..20).map(|n| tool(&format!("t{n}"))).collect();
    house.manager.deploy(spec("g", many), Wait::No).await.unwrap();
    tokio::time::sleep(SECOND).await;
    house.engine.exit("x", 1);
    tokio::time::sleep(seconds(5)).await;
    assert_eq!(house.server("h", "x").phase.word(), "ready");
    drop(pulls);
}

#[tokio::test(start_paused = true)]
async fn a_removal_does_not_wait_for_a_pull() {
    let house = House::new().await;
    let pull = house.engine.hold(Verb::EnsureImage);
    house.manager.deploy(spec("g", vec![tool("a")]), Wait::No).await.unwrap();
    tokio::time::sleep(SECOND).await;
    house.remove("g", Removal::default()).await;
    house.check_nothing_left();
    drop(pull);
}

#[tokio::test(start_paused = true)]
async fn an_order_that_arrives_as_the_group_vanishes_is_told_that_it_is_gone() {
    let house = House::new().await;
    house.deploy("g", vec![tool("a"), mcp("b")]).await.unwrap();
    house.store.answer_after(Duration::from_millis(50));
    house.manager.remove(&group_id("g"), Removal::default(), Wait::No).await.unwrap();
    let mut answers = Vec::new();
    while house.manager.group(&group_id("g")).is_some() {
        let manager = house.manager.clone();
        answers.push(async move { manager.remove(&group_id("g"), Removal::default(), SOON).await });
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    for answer in futures_util::future::join_all(answers).await {
        assert!(matches!(answer, Ok(_) | Err(ManagerError::NoSuchGroup(_))), "{answer:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_hangs_up_while_a_deployment_is_kept_leaves_a_group_that_is_listed() {
    let house = House::new().await;
    house.store.answer_after(SECOND);
    let hangs_up = house.manager.deploy(spec("g", vec![tool("a")]), SOON);
    tokio::time::timeout(Duration::from_millis(100), hangs_up).await.unwrap_err();
    assert_eq!(house.store.state().groups.len(), 1, "it is durable");
    tokio::time::sleep(seconds(30)).await;
    house.until("g", "a", "ready").await;
}

#[tokio::test(start_paused = true)]
async fn a_new_deployment_is_told_as_accepted_before_anything_else() {
    let house = House::new().await;
    let mut events = house.manager.events();
    let deployed = house.deploy("g", vec![tool("a")]).await.unwrap();
    let EventKind::Accepted { operation, .. } = events.try_recv().unwrap().kind else {
        panic!("not accepted")
    };
    assert_eq!(operation, deployed.operation);
}

#[tokio::test(start_paused = true)]
async fn a_restart_that_could_not_be_kept_does_not_run_a_completed_server_again() {
    let house = House::new().await;
    let servers = vec![tool("once"), after(tool("main"), "once", Condition::Completed)];
    house.manager.deploy(spec("g", servers), Wait::No).await.unwrap();
    house.until("g", "main", "waiting").await;
    house.engine.exit("once", 0);
    house.until("g", "main", "ready").await;
    tokio::time::sleep(SECOND).await;
    house.store.fail_once();
    house.manager.restart(&name("once"), SOON).await.unwrap_err();
    tokio::time::sleep(seconds(60)).await;
    assert_eq!(house.server("g", "once").phase.word(), "completed");
}

#[tokio::test(start_paused = true)]
async fn a_removal_that_gets_stuck_says_why() {
    let house = House::new().await;
    house.deploy("g", vec![tool("a")]).await.unwrap();
    house.engine.fail(Verb::RemoveNetwork, 100, broken());
    house.manager.remove(&group_id("g"), Removal::default(), Wait::No).await.unwrap();
    tokio::time::sleep(seconds(45)).await;
    let trouble =
        house.manager.group(&group_id("g")).unwrap().trouble.clone().expect("a person sees why it lasts");
    assert!(trouble.contains("500"), "{trouble}");
}

#[tokio::test(start_paused = true)]
async fn the_containers_of_a_group_whose_record_is_damaged_are_not_swept() {
    let mut house = House::new().await;
    house.deploy("g", vec![tool("a")]).await.unwrap();
    house.stop_daemon().await;
    let store = house.store.reopen();
    dtma_core::port::StateStore::remove_group(&store, &group_id("g"), None).await.unwrap();
    house.store.damage(DamagedRecord { table: "groups".into(), key: "g".into(), problem: "torn".into() });
    house.start_daemon().await;
    tokio::time::sleep(seconds(90)).await;
    assert_eq!((house.engine.containers().len(), house.engine.network_count()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_has_run_is_never_undone() {
    let house = House::new().await;
    house.mcp.silence("initialize");
    let crashing = after(mcp("b"), "a", Condition::Started);
    house.manager.deploy(spec("g", vec![with_volume(tool("a")), crashing]), Wait::No).await.unwrap();
    house.until("g", "b", "starting").await;
    tokio::time::sleep(seconds(10)).await;
    let full = RuntimeError::OutOfSpace { problem: "no space left on device".into() };
    house.engine.fail(Verb::Start, 1, full);
    house.engine.exit("b", 1);
    tokio::time::sleep(seconds(10)).await;
    assert!(house.manager.group(&group_id("g")).is_some(), "its data is not thrown away");
    assert_eq!(house.engine.volume_names().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_dependency_is_not_stopped_while_its_dependent_is_being_started() {
    let house = House::new().await;
    house.deploy("g", vec![tool("a"), after(tool("b"), "a", Condition::Started)]).await.unwrap();
    house.engine.delay(Verb::Start, seconds(5));
    house.engine.exit("b", 1);
    tokio::time::sleep(SECOND).await;
    house.remove("g", Removal::default()).await;
    let stops: Vec<_> = house.engine.calls().into_iter().filter(|call| call.verb == Verb::Stop).collect();
    assert!(stops[0].subject.ends_with("-b-0"), "{stops:?}");
}

#[tokio::test(start_paused = true)]
async fn a_removal_does_not_wait_for_the_pause_after_a_failure() {
    let house = House::new().await;
    house.deploy("g", vec![tool("a")]).await.unwrap();
    house.engine.fail(Verb::EnsureImage, 100, broken());
    house.engine.destroy("a");
    tokio::time::sleep(seconds(600)).await;
    let before = house.engine.now();
    house.remove("g", Removal::default()).await;
    assert!(house.engine.now().duration_since(before).as_secs() < 2);
}
