//! What the manager promises of changes: new beside old, numbers that only rise, and the way back.

use crate::house::{House, SOON, after, group_id, mcp, name, spec, tool};
use dtma_core::id::Generation;
use dtma_core::record::Fate;
use dtma_core::spec::{Condition, ServerSpec, UpdateOrder};
use dtma_manager::{Applied, Expect, GroupState, ManagerError, Wait};
use dtma_testing::fake_runtime::{Process, Verb};
use std::collections::BTreeSet;
use std::time::Duration;

fn version(mut server: ServerSpec, version: &str) -> ServerSpec {
    server.environment.insert("VERSION".to_owned(), version.to_owned());
    server
}

impl House {
    async fn apply(&self, servers: Vec<ServerSpec>) -> Result<Applied, ManagerError> {
        self.manager.apply(spec("g", servers), Expect::default(), SOON).await
    }

    fn generation(&self) -> u64 {
        self.manager.group(&group_id("g")).unwrap().generation.0
    }

    async fn fates(&self) -> Vec<(u64, &'static str)> {
        let revisions = self.manager.revisions(&group_id("g")).await.unwrap();
        let word = |fate: &Fate| match fate {
            Fate::Rolling => "rolling",
            Fate::Established { .. } => "established",
            Fate::Failed { .. } => "failed",
            Fate::Superseded { .. } => "superseded",
        };
        revisions.iter().map(|revision| (revision.generation.0, word(&revision.fate))).collect()
    }

    /// Every container by its name, and whether it runs.
    fn names(&self) -> BTreeSet<(String, bool)> {
        self.engine.containers().into_iter().map(|seen| (seen.name.clone(), seen.is_live())).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn only_what_changed_is_replaced_and_it_gets_the_plain_name() {
    let house = House::new().await;
    house.deploy("g", vec![tool("a"), tool("b")]).await.unwrap();
    let (a, b) = (house.server("g", "a"), house.server("g", "b"));
    let applied = house.apply(vec![version(tool("a"), "2"), tool("b")]).await.unwrap();
    assert!(applied.deployed.changed && !applied.created);
    let changed: Vec<_> = applied.changes.iter().map(|change| change.instance.as_str()).collect();
    assert_eq!(changed, ["a"]);
    let (new_a, new_b) = (house.server("g", "a"), house.server("g", "b"));
    assert_ne!(a.container, new_a.container);
    assert_eq!(a.container_name, new_a.container_name);
    assert_eq!((b.container, b.generation), (new_b.container, new_b.generation));
    assert_eq!((new_a.generation, new_a.restarts), (Generation(2), 0), "an update is no restart");
    assert_eq!(house.names().len(), 2);
    assert_eq!(house.fates().await, [(1, "established"), (2, "established")]);
    assert_eq!(house.manager.group(&group_id("g")).unwrap().state, GroupState::Ready);
}

#[tokio::test(start_paused = true)]
async fn the_old_one_runs_until_the_new_one_is_ready() {
    let mut house = House::new().await;
    house.deploy("g", vec![mcp("a")]).await.unwrap();
    let old = house.server("g", "a").container;
    house.mcp.silence("initialize");
    let spec = spec("g", vec![version(mcp("a"), "2")]);
    house.manager.apply(spec, Expect::default(), Wait::No).await.unwrap();
    house.until("g", "a", "updating").await;
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert_eq!(house.names().iter().filter(|(_, live)| *live).count(), 2);
    assert_eq!(house.server("g", "a").container, old, "the one that serves is shown");
    let door = house.manager.mcp(&name("a")).unwrap();
    assert!(door.ping(Duration::from_secs(1)).await.is_ok());
    house.restart_daemon().await;
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert_eq!(house.server("g", "a").phase.word(), "updating", "a restart of the daemon changes nothing");
    house.mcp.behave();
    house.until("g", "a", "ready").await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(house.names().len(), 1);
    assert_ne!(house.server("g", "a").container, old);
}

#[tokio::test(start_paused = true)]
async fn an_image_that_is_nowhere_never_takes_the_old_one_down() {
    let house = House::new().await;
    house.deploy("g", vec![tool("a")]).await.unwrap();
    let (old, before) = (house.server("g", "a"), house.names());
    let error = house.apply(vec![ServerSpec { image: "nowhere".into(), ..tool("a") }]).await.unwrap_err();
    let ManagerError::UpdateFailed { generation, reason, back_to, .. } = error else { panic!("{error}") };
    assert_eq!((generation, back_to), (Generation(2), Some(Generation(1))));
    assert!(reason.contains("nowhere"), "{reason}");
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(house.names(), before);
    let now = house.server("g", "a");
    assert_eq!((now.container, now.phase), (old.container, old.phase), "not even restarted");
    assert_eq!((house.generation(), house.fates().await), (1, vec![(1, "established"), (2, "failed")]));
    assert_eq!(house.engine.count(Verb::Stop) + house.engine.count(Verb::EndProcess), 0);
    house.apply(vec![version(tool("a"), "2")]).await.unwrap();
    assert_eq!(house.generation(), 3, "a number that failed is not given again by itself");
}

#[tokio::test(start_paused = true)]
async fn a_new_one_that_crashes_is_taken_back() {
    let house = House::new().await;
    house.engine.add_image_running("crash", |_| async { 7 });
    house.deploy("g", vec![tool("a")]).await.unwrap();
    let old = house.server("g", "a").container;
    let error = house.apply(vec![ServerSpec { image: "crash".into(), ..tool("a") }]).await.unwrap_err();
    assert!(error.to_string().contains("exited with code 7"), "{error}");
    assert_eq!(house.server("g", "a").container, old);
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(house.names().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn who_was_told_to_end_is_given_nothing_more_when_it_is_wanted_again() {
    let mut house = House::new().await;
    house.engine.add_image_running("crash", |_| async { 7 });
    let b = after(tool("b"), "a", Condition::Healthy);
    house.deploy("g", vec![mcp("a"), b.clone()]).await.unwrap();
    let old = house.server("g", "a");
    house.hold(Verb::Stop);
    let half = vec![version(mcp("a"), "2"), ServerSpec { image: "crash".into(), ..b }];
    house.manager.apply(spec("g", half), Expect::default(), Wait::No).await.unwrap();
    while house.fates().await != [(1, "established"), (2, "failed")] {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let serving = house.server("g", "a");
    assert_ne!(
        serving.container, old.container,
        "the new one serves until the old one has been started anew"
    );
    house.let_go();
    house.until("g", "a", "ready").await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    let now = house.server("g", "a");
    assert_eq!((now.container, now.restarts), (old.container, 1));
    assert_eq!(house.names().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn without_auto_revert_the_new_one_is_tried_on_and_a_later_change_mends_it() {
    let house = House::new().await;
    house.deploy("g", vec![tool("a")]).await.unwrap();
    let mut bad = spec("g", vec![ServerSpec { image: "nowhere".into(), ..tool("a") }]);
    bad.options.auto_revert = false;
    let error = house.manager.apply(bad, Expect::default(), SOON).await.unwrap_err();
    assert!(matches!(error, ManagerError::UpdateFailed { back_to: None, .. }), "{error}");
    assert_eq!(house.server("g", "a").phase.word(), "updating");
    assert_eq!(house.names().iter().filter(|(_, live)| *live).count(), 1, "the old one serves");
    house.apply(vec![version(tool("a"), "3")]).await.unwrap();
    assert_eq!(house.server("g", "a").phase.word(), "ready");
    assert_eq!(house.names().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn two_that_share_a_volume_take_turns_and_the_old_one_comes_back() {
    let house = House::new().await;
    house.engine.add_image_running("crash", |_| async { 7 });
    let stop_first = |mut server: ServerSpec| {
        server.update.order = Some(UpdateOrder::StopFirst);
        server
    };
    house.deploy("g", vec![stop_first(tool("a"))]).await.unwrap();
    let old = house.server("g", "a").container;
    house.apply(vec![stop_first(ServerSpec { image: "crash".into(), ..tool("a") })]).await.unwrap_err();
    let now = house.server("g", "a");
    assert_eq!((now.phase.word(), now.container), ("ready", old));
    house.apply(vec![stop_first(version(tool("a"), "2"))]).await.unwrap();
    assert_eq!(house.names().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn servers_come_and_go_with_a_spec() {
    let house = House::new().await;
    house.deploy("g", vec![mcp("a"), after(tool("b"), "a", Condition::Healthy)]).await.unwrap();
    house.apply(vec![tool("c"), after(mcp("d"), "c", Condition::Started)]).await.unwrap();
    let group = house.manager.group(&group_id("g")).unwrap();
    let names: Vec<_> = group.servers.iter().map(|server| server.instance.as_str()).collect();
    assert_eq!((names, house.names().len()), (vec!["c", "d"], 2));
    assert!(house.manager.mcp(&name("a")).is_none() && house.manager.mcp(&name("d")).is_some());
    house.deploy("h", vec![tool("a")]).await.unwrap();
    let taken = house.apply(vec![tool("a")]).await.unwrap_err();
    assert!(matches!(taken, ManagerError::InstanceTaken { .. }), "{taken}");
    assert_eq!(house.generation(), 2);
}

#[tokio::test(start_paused = true)]
async fn generations_only_rise_and_what_the_caller_saw_must_hold() {
    let house = House::new().await;
    let apply = async |to: &str, generation: Option<u64>, seen: Option<u64>| {
        let expect = Expect { generation: generation.map(Generation), seen: seen.map(Generation) };
        let applied = house.manager.apply(spec("g", vec![version(tool("a"), to)]), expect, SOON).await;
        applied.map(|applied| (applied.deployed.changed, applied.deployed.status.generation.0))
    };
    assert_eq!(apply("1", Some(5), None).await.unwrap(), (true, 5));
    assert_eq!(apply("1", Some(5), None).await.unwrap(), (false, 5), "the same again is nothing new");
    assert!(matches!(apply("2", Some(5), None).await, Err(ManagerError::GenerationTaken { .. })));
    assert!(matches!(apply("2", Some(4), None).await, Err(ManagerError::Outdated { .. })));
    assert!(matches!(apply("2", None, Some(4)).await, Err(ManagerError::Stale { present: Generation(5) })));
    assert_eq!(apply("2", None, Some(5)).await.unwrap(), (true, 6));
    assert_eq!(apply("2", None, None).await.unwrap(), (false, 6));
    assert_eq!(apply("2", Some(9), None).await.unwrap(), (true, 9), "the same spec under a higher number");
    assert!(matches!(
        house
            .manager
            .apply(spec("x", vec![tool("x")]), Expect { seen: Some(Generation(1)), generation: None }, SOON)
            .await,
        Err(ManagerError::NoSuchGroup(_))
    ));
}

#[tokio::test(start_paused = true)]
async fn replicas_are_added_and_taken_away() {
    let house = House::new().await;
    house.deploy("g", vec![mcp("a"), tool("b")]).await.unwrap();
    let first = house.server("g", "a").container;
    let scaled = house.manager.scale(&name("a"), 3, Expect::default(), SOON).await.unwrap();
    assert_eq!(scaled.changes[0].kind.as_str(), "scale");
    let server = house.server("g", "a");
    assert_eq!((server.wanted_replicas, server.replicas.len()), (3, 3));
    assert!(server.replicas.iter().all(|replica| replica.phase.word() == "ready"), "{server:?}");
    assert_eq!(server.replicas[0].container, first, "what stood stays");
    house.engine.destroy("a");
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(house.names().iter().filter(|(_, live)| *live).count(), 4);
    house.manager.scale(&name("a"), 1, Expect::default(), SOON).await.unwrap();
    assert_eq!(house.names().len(), 2);
    assert_eq!(house.server("g", "a").container, first);
    assert!(house.manager.scale(&name("a"), 0, Expect::default(), SOON).await.is_err());
    assert!(house.manager.scale(&name("nobody"), 2, Expect::default(), SOON).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn an_earlier_generation_is_brought_back_as_a_new_one() {
    let house = House::new().await;
    for to in ["1", "2", "3"] {
        house.apply(vec![version(tool("a"), to)]).await.unwrap();
    }
    let spec = |generation: u64| async move { generation };
    let back = house.manager.rollback(&group_id("g"), None, Expect::default(), SOON).await.unwrap();
    assert_eq!(back.deployed.status.generation.0, spec(4).await);
    let version = |house: &House| {
        let spec = house.manager.spec(&group_id("g")).unwrap();
        spec.servers[0].environment["VERSION"].clone()
    };
    assert_eq!(version(&house), "2");
    house.manager.rollback(&group_id("g"), Some(Generation(1)), Expect::default(), SOON).await.unwrap();
    assert_eq!((version(&house), house.generation()), ("1".to_owned(), 5));
    let unknown = house.manager.rollback(&group_id("g"), Some(Generation(77)), Expect::default(), SOON).await;
    assert!(matches!(unknown, Err(ManagerError::NoSuchGeneration { .. })));
}

#[tokio::test(start_paused = true)]
async fn a_later_change_takes_the_place_of_one_that_is_on_its_way() {
    let house = House::new().await;
    house.deploy("g", vec![mcp("a")]).await.unwrap();
    house.mcp.silence("initialize");
    let first = house.apply(vec![version(mcp("a"), "2")]);
    let second = async {
        house.until("g", "a", "updating").await;
        house.mcp.behave();
        house.apply(vec![version(mcp("a"), "3")]).await
    };
    let (first, second) = tokio::join!(first, second);
    assert!(matches!(first, Err(ManagerError::ChangeSuperseded(_))), "{first:?}");
    assert_eq!(second.unwrap().deployed.status.generation, Generation(3));
    assert_eq!(house.fates().await, [(1, "established"), (2, "superseded"), (3, "established")]);
    assert_eq!(house.names().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_stopped_server_stays_stopped_through_a_change() {
    let house = House::new().await;
    house.deploy("g", vec![tool("a")]).await.unwrap();
    house.manager.stop(&name("a"), SOON).await.unwrap();
    house.apply(vec![version(tool("a"), "2")]).await.unwrap();
    assert_eq!(house.server("g", "a").phase.word(), "stopped");
    house.manager.start(&name("a"), SOON).await.unwrap();
    assert_eq!((house.server("g", "a").phase.word(), house.names().len()), ("ready", 1));
}

#[tokio::test(start_paused = true)]
async fn what_is_asked_without_consequences_has_none() {
    let house = House::new().await;
    house.deploy("g", vec![tool("a")]).await.unwrap();
    let preview =
        house.manager.preview(&spec("g", vec![version(tool("a"), "2")]), Expect::default()).unwrap();
    let field = &preview.changes[0].fields[0];
    assert_eq!((preview.changes[0].kind.as_str(), field.path.as_str()), ("replace", "/environment/VERSION"));
    assert!(preview.validation.violations.is_empty());
    assert!(
        house.manager.preview(&spec("g", vec![tool("a")]), Expect::default()).unwrap().changes.is_empty()
    );
    assert_eq!(house.generation(), 1);
}

/// Sixty-four callers change one group against each other: what they are told is one story, in one order.
#[tokio::test(start_paused = true)]
async fn callers_in_conflict_see_one_history() {
    let house = House::new().await;
    house.deploy("g", vec![version(tool("a"), "start")]).await.unwrap();
    let caller = async |number: usize| {
        loop {
            let seen = house.manager.group(&group_id("g")).unwrap().generation;
            let expect = Expect { generation: None, seen: Some(seen) };
            let wanted = spec("g", vec![version(tool("a"), &number.to_string())]);
            match house.manager.apply(wanted, expect, Wait::No).await {
                Ok(applied) => return (seen, applied.deployed.status.generation, number),
                Err(ManagerError::Stale { present }) => assert!(present > seen, "nobody is told of the past"),
                Err(other) => panic!("{other}"),
            }
        }
    };
    let mut done = futures_util::future::join_all((0..64).map(caller)).await;
    done.sort();
    // Each change was made to exactly the generation that its caller had seen, and each number was given once.
    let revisions = house.manager.revisions(&group_id("g")).await.unwrap();
    for (seen, _, number) in &done {
        let made = revisions.iter().find(|revision| revision.generation.0 == seen.0 + 1).unwrap();
        assert_eq!(made.spec.servers[0].environment["VERSION"], number.to_string());
    }
    let seen: BTreeSet<_> = done.iter().map(|(seen, _, _)| *seen).collect();
    assert_eq!((seen.len(), house.generation()), (64, 65));
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert_eq!(house.manager.group(&group_id("g")).unwrap().state, GroupState::Ready);
    assert_eq!(house.names().len(), 1);
    assert_eq!(house.fates().await.last(), Some(&(65, "established")));
}

#[tokio::test(start_paused = true)]
async fn a_bad_change_on_the_way_back_still_leads_back() {
    let house = House::new().await;
    house.engine.add_image_running("crash", |_| async { 7 });
    house.deploy("g", vec![tool("a")]).await.unwrap();
    let old = house.server("g", "a").container;
    let bad = |image: &str| spec("g", vec![ServerSpec { image: image.into(), ..tool("a") }]);
    house.manager.apply(bad("nowhere"), Expect::default(), Wait::No).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    house.manager.apply(bad("crash"), Expect::default(), SOON).await.unwrap_err();
    tokio::time::sleep(Duration::from_secs(30)).await;
    let now = house.server("g", "a");
    assert_eq!((now.phase.word(), now.container, house.generation()), ("ready", old, 1));
    assert_eq!(house.manager.group(&group_id("g")).unwrap().trouble, None);
}

/// A server that is to be alone with what it writes.
fn alone(mut server: ServerSpec) -> ServerSpec {
    server.update.order = Some(UpdateOrder::StopFirst);
    server
}

#[tokio::test(start_paused = true)]
async fn another_environment_is_begun_in_the_container_that_is_there() {
    let mut house = House::with(true).await;
    house.deploy("g", vec![alone(mcp("a")), alone(tool("b"))]).await.unwrap();
    let (a, b) = (house.server("g", "a"), house.server("g", "b"));
    let door = house.manager.mcp(&name("a")).unwrap();
    let applied =
        house.apply(vec![alone(version(mcp("a"), "2")), alone(version(tool("b"), "2"))]).await.unwrap();
    assert!(applied.changes.iter().all(|change| change.kind.as_str() == "restart"), "{:?}", applied.changes);
    for (server, before) in [("a", &a), ("b", &b)] {
        let now = house.server("g", server);
        assert_eq!((&now.container, now.generation), (&before.container, Generation(2)));
        assert_eq!((now.phase.word(), now.restarts), ("ready", 0), "an update is no restart");
    }
    assert_eq!((house.engine.count(Verb::Create), house.engine.count(Verb::Remove)), (2, 0));
    assert_eq!((house.engine.count(Verb::EndProcess), house.engine.count(Verb::Stop)), (2, 0));
    assert!(door.ping(Duration::from_secs(1)).await.is_ok(), "its clients keep their door");
    house.restart_daemon().await;
    house.until("g", "a", "ready").await;
    assert_eq!((house.engine.count(Verb::Create), house.server("g", "a").container), (2, a.container));
}

#[tokio::test(start_paused = true)]
async fn other_limits_are_another_container_and_so_is_what_may_stand_beside() {
    let house = House::with(true).await;
    house.deploy("g", vec![alone(tool("a")), tool("b")]).await.unwrap();
    let mut larger = alone(tool("a"));
    larger.resources.memory = Some(1 << 27);
    let applied = house.apply(vec![larger, version(tool("b"), "2")]).await.unwrap();
    assert!(applied.changes.iter().all(|change| change.kind.as_str() == "replace"), "{:?}", applied.changes);
    assert_eq!((house.engine.count(Verb::Create), house.names().len()), (4, 2));
}

#[tokio::test(start_paused = true)]
async fn an_environment_that_is_no_good_makes_room_in_the_same_container() {
    let house = House::with(true).await;
    house.engine.add_image_running("picky", |process: Process| async move {
        if process.container.config.environment.get("VERSION").is_some_and(|version| version == "bad") {
            return 3;
        }
        process.terminated.cancelled().await;
        143
    });
    let picky = || alone(ServerSpec { image: "picky".into(), ..tool("a") });
    house.deploy("g", vec![version(picky(), "good")]).await.unwrap();
    let before = house.server("g", "a").container;
    let error = house.apply(vec![version(picky(), "bad")]).await.unwrap_err();
    assert!(error.to_string().contains("exited with code 3"), "{error}");
    let now = house.until("g", "a", "ready").await;
    assert_eq!((now.container, now.generation), (before, Generation(1)));
    assert_eq!((house.engine.count(Verb::Create), house.generation()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_container_that_was_given_another_environment_is_used_again_after_a_reboot() {
    let mut house = House::with(true).await;
    house.deploy("g", vec![alone(tool("a"))]).await.unwrap();
    house.apply(vec![alone(version(tool("a"), "2"))]).await.unwrap();
    let before = house.server("g", "a").container;
    house.stop_daemon().await;
    house.engine.reboot();
    house.start_daemon().await;
    let now = house.until("g", "a", "ready").await;
    assert_eq!((now.container, house.engine.count(Verb::Create)), (before, 1));
    let seen = house.engine.container("a").unwrap();
    assert_ne!(seen.config_hash, seen.made_from);
}
