//! What the manager promises, over an engine and a store that behave, under paused time.
use crate::house::{House, SOON, after, group_id, mcp, name, spec, tool};
use dtma_core::id::VolumeName;
use dtma_core::observation::ContainerObservation;
use dtma_core::port::RuntimeError;
use dtma_core::record::Removal;
use dtma_core::spec::{Condition, Mount, MountSource, Publish};
use dtma_manager::{EventKind, GroupState, ManagerError, Wait};
use dtma_testing::fake_runtime::{Process, Verb};
use std::time::Duration;

fn away() -> RuntimeError {
    RuntimeError::EngineAway { endpoint: "unix:///e".into(), problem: "gone".into() }
}

fn missing(image: &str) -> RuntimeError {
    RuntimeError::ImageMissing { image: image.into(), problem: "not there".into() }
}

/// When the call came for this server's container, among those of its kind.
fn position(house: &House, verb: Verb, instance: &str) -> usize {
    let calls: Vec<_> = house.engine.calls().into_iter().filter(|call| call.verb == verb).collect();
    let of_instance = format!("-{instance}-0");
    calls.iter().position(|call| call.subject.ends_with(&of_instance)).unwrap_or_else(|| panic!("{calls:?}"))
}

#[tokio::test(start_paused = true)]
async fn a_group_is_deployed_and_stands() {
    let house = House::new().await;
    let deployed = house.deploy("g", vec![tool("a"), mcp("b")]).await.unwrap();
    assert_eq!(deployed.status.state, GroupState::Ready);
    let server = house.server("g", "b");
    let summary = server.mcp.expect("the handshake was answered");
    assert!(summary.tools.iter().any(|(tool, _)| tool == "echo"), "{:?}", summary.tools);
    assert_eq!(house.engine.containers().len(), 2);
}

/// Not when its process runs.
#[tokio::test(start_paused = true)]
async fn a_tool_is_ready_when_its_port_takes_connections() {
    let house = House::new().await;
    let minute = Duration::from_secs(60);
    house.engine.add_image_running("late", move |process: Process| async move {
        tokio::time::sleep(minute).await;
        let _listener = process.ports.listen(8080);
        process.terminated.cancelled().await;
        0
    });
    let mut late = tool("a");
    (late.image, late.port) = ("late".into(), Some(8080));
    late.readiness.start_timeout = 2 * minute;
    let began = house.engine.now();
    let deployed = house.deploy("g", vec![late]).await.unwrap();
    assert_eq!(deployed.status.state, GroupState::Ready);
    let took = house.engine.now().duration_since(began).unsigned_abs();
    assert!(took >= minute && took < minute + Duration::from_secs(1), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn servers_start_after_what_they_depend_on() {
    let house = House::new().await;
    let servers =
        vec![after(tool("c"), "b", Condition::Healthy), after(mcp("b"), "a", Condition::Started), tool("a")];
    house.deploy("g", servers).await.unwrap();
    let started = |instance| position(&house, Verb::Start, instance);
    assert!(started("a") < started("b") && started("b") < started("c"));
}

#[tokio::test(start_paused = true)]
async fn a_missing_image_undoes_the_deployment_and_names_the_server() {
    let house = House::new().await;
    let mut broken = tool("broken");
    broken.image = "nowhere".into();
    broken.mounts = vec![volume("new")];
    let error = house.deploy("g", vec![tool("a"), broken]).await.unwrap_err();
    let ManagerError::Refused { instance, source: RuntimeError::ImageMissing { .. }, .. } = error else {
        panic!("{error:?}")
    };
    assert_eq!(instance, name("broken"));
    house.check_nothing_left();
    assert!(house.engine.volume_names().is_empty());
    assert!(house.manager.groups().is_empty() && house.store.state().groups.is_empty());
    house.deploy("g", vec![tool("a")]).await.expect("the name is free again");
}

fn volume(volume: &str) -> Mount {
    let source = MountSource::Volume(VolumeName::new(volume).unwrap());
    Mount { target: "/data".into(), source, read_only: false }
}

#[tokio::test(start_paused = true)]
async fn undoing_leaves_volumes_that_stood_before() {
    let house = House::new().await;
    let with_volume = |image: &str| {
        let mut server = tool("a");
        (server.image, server.mounts) = (image.into(), vec![volume("data")]);
        server
    };
    house.deploy("g", vec![with_volume("tool")]).await.unwrap();
    house.remove("g", Removal::default()).await;
    assert_eq!(house.engine.volume_names().len(), 1, "volumes are kept on removal");
    house.engine.fail(Verb::Create, 1, RuntimeError::Refused { call: "create", problem: "no".into() });
    house.deploy("g", vec![with_volume("tool")]).await.unwrap_err();
    house.check_nothing_left();
    assert_eq!(house.engine.volume_names().len(), 1, "data of an earlier deployment");
    house.deploy("g", vec![with_volume("tool")]).await.unwrap();
    house.remove("g", Removal { volumes: true, ..Removal::default() }).await;
    assert!(house.engine.volume_names().is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_same_spec_again_changes_nothing_and_another_is_refused() {
    let house = House::new().await;
    house.deploy("g", vec![tool("a")]).await.unwrap();
    house.engine.clear_calls();
    assert!(!house.deploy("g", vec![tool("a")]).await.unwrap().changed);
    assert_eq!(house.engine.count(Verb::Create) + house.engine.count(Verb::Start), 0);
    let error = house.deploy("g", vec![tool("b")]).await.unwrap_err();
    assert!(
        matches!(&error, ManagerError::GroupChanged(_)) && error.to_string().contains("dtma down"),
        "{error}"
    );
}

#[tokio::test(start_paused = true)]
async fn names_and_ports_of_another_group_are_taken() {
    let house = House::new().await;
    house.deploy("g", vec![tool("a")]).await.unwrap();
    let error = house.deploy("h", vec![tool("a")]).await.unwrap_err();
    assert!(matches!(error, ManagerError::InstanceTaken { .. }), "{error}");
    let stranger = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut publishing = tool("p");
    publishing.port = Some(80);
    publishing.publish =
        vec![Publish { host_port: stranger.local_addr().unwrap().port(), container_port: 80 }];
    let error = house.deploy("h", vec![publishing]).await.unwrap_err();
    assert!(matches!(error, ManagerError::PortTaken { .. }), "{error}");
    assert_eq!(house.engine.containers().len(), 1);
    assert_eq!(house.manager.groups().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_crash_is_answered_by_a_restart_of_the_same_container() {
    let house = House::new().await;
    house.deploy("g", vec![tool("a")]).await.unwrap();
    let before = house.server("g", "a");
    house.engine.exit("a", 3);
    house.until("g", "a", "starting").await;
    let after = house.until("g", "a", "ready").await;
    assert_eq!((after.container, after.restarts), (before.container, 1));
    assert_eq!(after.last_exit.unwrap().code, 3);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_keeps_crashing_fails_and_a_person_revives_it() {
    let house = House::new().await;
    house.deploy("g", vec![tool("a")]).await.unwrap();
    for _ in 0..6 {
        house.until("g", "a", "ready").await;
        house.engine.exit("a", 1);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let failed = house.until("g", "a", "failed").await;
    assert_eq!(failed.restarts, 5);
    assert_eq!(house.manager.group(&group_id("g")).unwrap().state, GroupState::Failed);
    let deployed = house.manager.restart(&name("a"), SOON).await.unwrap();
    assert_eq!(deployed.status.state, GroupState::Ready);
    assert_eq!(house.server("g", "a").restarts, 6);
}

#[tokio::test(start_paused = true)]
async fn a_persons_restart_is_not_counted_as_a_crash() {
    let house = House::new().await;
    house.deploy("g", vec![mcp("a")]).await.unwrap();
    for _ in 0..10 {
        house.manager.restart(&name("a"), SOON).await.unwrap();
    }
    let server = house.server("g", "a");
    assert_eq!((server.phase.word(), server.restarts), ("ready", 10));
}

#[tokio::test(start_paused = true)]
async fn a_stopped_server_stays_stopped_over_a_restart_of_the_daemon() {
    let mut house = House::new().await;
    house.deploy("g", vec![tool("a"), tool("b")]).await.unwrap();
    house.manager.stop(&name("a"), SOON).await.unwrap();
    house.manager.stop(&name("a"), SOON).await.expect("stopping a stopped server is fine");
    house.restart_daemon().await;
    house.until("g", "b", "ready").await;
    assert_eq!(house.until("g", "a", "stopped").await.restarts, 0);
    house.manager.start(&name("a"), SOON).await.unwrap();
    house.manager.start(&name("a"), SOON).await.expect("starting a running server is fine");
    assert_eq!(house.server("g", "a").restarts, 1);
}

#[tokio::test(start_paused = true)]
async fn a_groups_restart_leaves_alone_what_a_person_stopped() {
    let house = House::new().await;
    house.deploy("g", vec![tool("a"), tool("b")]).await.unwrap();
    house.manager.stop(&name("a"), SOON).await.unwrap();
    house.manager.restart_group(&group_id("g"), SOON).await.unwrap();
    assert_eq!((house.server("g", "a").phase.word(), house.server("g", "a").restarts), ("stopped", 0));
    assert_eq!((house.server("g", "b").phase.word(), house.server("g", "b").restarts), ("ready", 1));
}

#[tokio::test(start_paused = true)]
async fn a_run_once_server_completes_and_is_not_run_again() {
    let mut house = House::new().await;
    let servers = vec![tool("once"), after(tool("main"), "once", Condition::Completed)];
    let deploying = house.manager.deploy(spec("g", servers), Wait::No).await.unwrap();
    assert!(deploying.changed);
    house.until("g", "main", "waiting").await;
    house.engine.exit("once", 0);
    house.until("g", "main", "ready").await;
    assert_eq!(house.until("g", "once", "completed").await.restarts, 0);
    house.restart_daemon().await;
    house.until("g", "main", "ready").await;
    assert_eq!(house.until("g", "once", "completed").await.restarts, 0);
}

#[tokio::test(start_paused = true)]
async fn removal_stops_in_reverse_and_forgets() {
    let house = House::new().await;
    house.deploy("g", vec![tool("a"), after(tool("b"), "a", Condition::Started)]).await.unwrap();
    house.remove("g", Removal::default()).await;
    house.check_nothing_left();
    assert!(position(&house, Verb::Stop, "b") < position(&house, Verb::Stop, "a"));
    assert!(house.store.state().groups.is_empty());
    let gone = house.manager.remove(&group_id("g"), Removal::default(), SOON).await.unwrap_err();
    assert!(matches!(gone, ManagerError::NoSuchGroup(_)));
}

/// Nothing but its process goes, by the call that may keep the rest.
#[tokio::test(start_paused = true)]
async fn a_restart_ends_the_process_and_keeps_the_container() {
    let house = House::new().await;
    house.deploy("g", vec![tool("a"), mcp("b")]).await.unwrap();
    let before = house.engine.containers();
    for server in ["a", "b"] {
        house.manager.restart(&name(server), SOON).await.unwrap();
    }
    let after = house.engine.containers();
    let ids = |seen: &[ContainerObservation]| seen.iter().map(|seen| seen.id.clone()).collect::<Vec<_>>();
    assert_eq!(ids(&before), ids(&after));
    assert!(before.iter().zip(&after).all(|(before, after)| before.run() != after.run()), "{after:?}");
    assert_eq!((house.engine.count(Verb::EndProcess), house.engine.count(Verb::Stop)), (2, 0));
    house.manager.stop(&name("a"), SOON).await.unwrap();
    assert_eq!((house.engine.count(Verb::EndProcess), house.engine.count(Verb::Stop)), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn a_restarted_daemon_adopts_what_runs_and_touches_nothing() {
    let mut house = House::new().await;
    house.deploy("g", vec![tool("a"), mcp("b")]).await.unwrap();
    let before = house.engine.containers();
    house.engine.clear_calls();
    house.restart_daemon().await;
    let server = house.until("g", "b", "ready").await;
    house.until("g", "a", "ready").await;
    assert_eq!(house.engine.containers(), before);
    assert_eq!(server.restarts, 0);
    for verb in [Verb::Create, Verb::Start, Verb::Stop, Verb::EndProcess, Verb::Remove] {
        assert_eq!(house.engine.count(verb), 0, "{verb:?}");
    }
    let initialised = house.mcp.received().iter().filter(|line| line.contains("\"initialize\"")).count();
    assert_eq!(initialised, 1, "a running process is not initialised twice");
}

#[tokio::test(start_paused = true)]
async fn an_adopted_server_that_is_busy_is_left_alone_and_asked_again() {
    let mut house = House::new().await;
    house.deploy("g", vec![mcp("a")]).await.unwrap();
    house.mcp.silence("ping");
    house.engine.clear_calls();
    house.restart_daemon().await;
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(house.engine.count(Verb::Stop) + house.engine.count(Verb::EndProcess), 0);
    assert_eq!(house.server("g", "a").phase.word(), "starting");
    house.mcp.behave();
    assert_eq!(house.until("g", "a", "ready").await.restarts, 0);
}

#[tokio::test(start_paused = true)]
async fn a_crash_while_the_daemon_was_away_is_found_and_counted() {
    let mut house = House::new().await;
    house.deploy("g", vec![tool("a")]).await.unwrap();
    house.stop_daemon().await;
    house.engine.exit("a", 9);
    house.start_daemon().await;
    let server = house.until("g", "a", "ready").await;
    assert_eq!((server.restarts, server.last_exit.unwrap().code), (1, 9));
}

#[tokio::test(start_paused = true)]
async fn what_no_group_claims_is_swept() {
    let mut house = House::new().await;
    house.deploy("g", vec![tool("a")]).await.unwrap();
    house.stop_daemon().await;
    let store = house.store.reopen();
    dtma_core::port::StateStore::remove_group(&store, &group_id("g"), None).await.unwrap();
    house.start_daemon().await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    house.check_nothing_left();
}

#[tokio::test(start_paused = true)]
async fn a_lost_reply_makes_no_second_container() {
    let house = House::new().await;
    for verb in [Verb::Create, Verb::Start] {
        house.engine.lose_reply(verb, 1);
    }
    house.deploy("g", vec![tool("a"), mcp("b")]).await.unwrap();
    assert_eq!(house.engine.containers().len(), 2);
    house.engine.lose_reply(Verb::Stop, 1);
    house.engine.lose_reply(Verb::Remove, 1);
    house.remove("g", Removal::default()).await;
    house.check_nothing_left();
}

#[tokio::test(start_paused = true)]
async fn an_absent_engine_refuses_a_deployment_and_nothing_is_kept() {
    let house = House::new().await;
    house.engine.away(true);
    let error = house.deploy("g", vec![tool("a")]).await.unwrap_err();
    assert!(matches!(error, ManagerError::Engine(RuntimeError::EngineAway { .. })), "{error}");
    assert!(house.store.state().groups.is_empty());
    house.engine.away(false);
    house.deploy("g", vec![tool("a")]).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_goes_away_and_comes_back_restarts_nothing() {
    let house = House::new().await;
    house.deploy("g", vec![tool("a"), mcp("b")]).await.unwrap();
    house.engine.away(true);
    house.engine.cut_attachments();
    tokio::time::sleep(Duration::from_secs(90)).await;
    assert!(house.manager.group(&group_id("g")).unwrap().trouble.is_some());
    house.engine.away(false);
    house.engine.clear_calls();
    tokio::time::sleep(Duration::from_secs(90)).await;
    let status = house.manager.group(&group_id("g")).unwrap();
    assert_eq!((status.state, status.trouble.clone()), (GroupState::Ready, None));
    for verb in [Verb::Start, Verb::Stop, Verb::EndProcess] {
        assert_eq!(house.engine.count(verb), 0, "{verb:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_transient_failure_is_retried_and_does_not_undo() {
    let house = House::new().await;
    house.engine.fail(Verb::Create, 2, RuntimeError::Broken { call: "create", problem: "500".into() });
    house.engine.fail(Verb::Start, 2, away());
    let deployed = house.deploy("g", vec![tool("a")]).await.unwrap();
    assert_eq!(deployed.status.state, GroupState::Ready);
}

#[tokio::test(start_paused = true)]
async fn once_established_a_refusal_is_retried_for_ever() {
    let house = House::new().await;
    house.deploy("g", vec![tool("a")]).await.unwrap();
    house.engine.fail(Verb::EnsureImage, 3, missing("tool"));
    house.engine.destroy("a");
    house.until("g", "a", "backoff").await;
    house.until("g", "a", "ready").await;
}

#[tokio::test(start_paused = true)]
async fn a_server_that_never_answers_is_ended_in_time_and_fails() {
    let house = House::new().await;
    house.mcp.silence("initialize");
    let mut mute = mcp("mute");
    mute.readiness.start_timeout = Duration::from_secs(5);
    mute.restart.attempts = 1;
    let error = house.deploy("g", vec![mute]).await.unwrap_err();
    assert!(matches!(error, ManagerError::ServersFailed(_)), "{error}");
    assert_eq!(house.server("g", "mute").restarts, 1);
    assert_eq!(
        house.manager.group(&group_id("g")).unwrap().state,
        GroupState::Failed,
        "it stays to be looked at"
    );
}

#[tokio::test(start_paused = true)]
async fn a_waiter_that_gives_up_leaves_the_work_going_on() {
    let house = House::new().await;
    house.engine.delay(Verb::Create, Duration::from_secs(30));
    let wait = Wait::Until(Duration::from_secs(1));
    let error = house.manager.deploy(spec("g", vec![tool("a")]), wait).await.unwrap_err();
    assert!(matches!(error, ManagerError::Deadline { .. }), "{error}");
    house.until("g", "a", "ready").await;
}

#[tokio::test(start_paused = true)]
async fn events_are_numbered_without_gaps_and_tell_every_phase() {
    let house = House::new().await;
    let mut events = house.manager.events();
    house.deploy("g", vec![tool("a")]).await.unwrap();
    house.remove("g", Removal::default()).await;
    let mut told = Vec::new();
    let mut last = 0;
    while let Ok(event) = events.try_recv() {
        assert_eq!(event.seq, last + 1);
        last = event.seq;
        told.push(match event.kind {
            EventKind::Phase(phase) => phase.word(),
            other => other.word(),
        });
    }
    for word in ["creating", "starting", "ready", "removing", "finished", "removed"] {
        assert!(told.contains(&word), "{word} is missing in {told:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_deployment_costs_few_engine_calls() {
    let house = House::new().await;
    house.deploy("warm", vec![tool("w")]).await.unwrap();
    tokio::time::sleep(Duration::from_millis(10)).await;
    house.engine.clear_calls();
    house.deploy("g", vec![mcp("a")]).await.unwrap();
    let calls = house.engine.calls();
    let changing = [Verb::EnsureImage, Verb::Create, Verb::Attach, Verb::Start];
    for verb in changing {
        assert_eq!(house.engine.count(verb), 1, "{verb:?} in {calls:?}");
    }
    assert!(calls.len() <= 12, "{} calls: {calls:?}", calls.len());
}
