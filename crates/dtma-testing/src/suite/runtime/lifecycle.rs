//! Containers: made, started, stopped, removed, seen.

use super::{NO_GRACE, Room, RuntimeHarness, SHORT, Script, assert_not_found};
use crate::sample;
use dtma_core::id::{ContainerId, NetworkId, SlotId};
use dtma_core::observation::{ContainerObservation, ContainerState};
use dtma_core::port::runtime::{LogQuery, RuntimeError, Scope};
use futures_util::future::join_all;
use std::time::Duration;

/// Product, version and address, for people.
pub async fn the_engine_says_who_it_is(harness: impl RuntimeHarness) {
    let info = harness.runtime().info().await.expect("info");
    let version: Vec<u32> = info.api_version.split('.').map(|part| part.parse().unwrap_or(0)).collect();
    assert!(version >= vec![1, 41], "{info:?}");
    assert!(!info.product.is_empty() && info.endpoint.contains("://"), "{info:?}");
}

/// Created, running, exited, gone; and every state shows the same identity.
pub async fn a_container_lives_and_dies(harness: impl RuntimeHarness) {
    let room = Room::enter(&harness).await;
    let request = room.request("a", Script::Idle);
    let id = room.runtime.create(&request).await.expect("create");
    let created = room.runtime.inspect(&id).await.expect("inspect");
    let expected = ContainerObservation {
        id: id.clone(),
        name: request.name.clone(),
        slot: request.slot.clone(),
        generation: request.generation,
        config_hash: request.config_hash.clone(),
        made_from: request.config_hash.clone(),
        shape: None,
        in_doubt: false,
        image_id: request.image.id.clone(),
        state: ContainerState::Created,
        joined: None,
        shim: false,
    };
    assert_eq!(created, expected);

    room.runtime.start(&id, &sample::launch()).await.expect("start");
    let running = room.runtime.inspect(&id).await.expect("inspect");
    assert!(matches!(running.state, ContainerState::Running { .. }), "{running:?}");
    assert_eq!(room.seen().await, vec![running.clone()]);

    room.runtime.stop(&id, SHORT).await.expect("stop");
    let state = room.state(&id).await;
    let run = running.run().expect("it runs");
    assert!(
        matches!(state, ContainerState::Exited { started_at, oom: false, .. } if started_at == run.started_at),
        "the run that ended is the run that began: {state:?} after {running:?}"
    );
    room.runtime.remove(&id).await.expect("remove");
    assert_not_found(room.runtime.inspect(&id).await);
    room.leave().await;
}

/// It is the same container before and after, whatever of it is kept meanwhile.
pub async fn a_process_is_ended_to_be_started_again(harness: impl RuntimeHarness) {
    let room = Room::enter(&harness).await;
    let id = room.run("a", Script::Idle).await;
    let first = room.runtime.inspect(&id).await.expect("inspect").run().expect("it runs");
    room.runtime.end_process(&id, SHORT).await.expect("end_process");
    let state = room.state(&id).await;
    let ended = |started| started == first.started_at;
    assert!(
        matches!(state, ContainerState::Exited { started_at, oom: false, .. } if ended(started_at)),
        "{state:?}"
    );
    room.runtime.end_process(&id, SHORT).await.expect("nothing is left to end");
    room.runtime.start(&id, &sample::launch()).await.expect("start");
    let second = room.runtime.inspect(&id).await.expect("inspect").run().expect("it runs");
    assert!(second.started_at > first.started_at, "{second:?} after {first:?}");
    room.runtime.remove(&id).await.expect("remove");
    assert_not_found(room.runtime.end_process(&id, SHORT).await);
    room.leave().await;
}

/// Restart budgets count runs.
pub async fn a_container_can_be_started_again_and_that_is_another_run(harness: impl RuntimeHarness) {
    let room = Room::enter(&harness).await;
    let id = room.create("a", Script::Succeed).await;
    let mut runs = Vec::new();
    for _ in 0..3 {
        room.runtime.start(&id, &sample::launch()).await.expect("start");
        room.exited(&id).await;
        runs.push(room.runtime.inspect(&id).await.expect("inspect").run().expect("it ran").started_at);
    }
    assert!(runs.is_sorted_by(|earlier, later| earlier < later), "{runs:?}");
    room.leave().await;
}

/// The clock is the engine's.
pub async fn exit_code_and_times_are_seen(harness: impl RuntimeHarness) {
    let room = Room::enter(&harness).await;
    let id = room.run("a", Script::FailLoudly).await;
    let state = room.exited(&id).await;
    let ContainerState::Exited { started_at, finished_at, code, oom } = state else { panic!("{state:?}") };
    assert_eq!((code, oom), (3, false));
    // Docker notes the start after the fact: a process that ends at once seems to take no time.
    assert!(started_at <= finished_at, "{state:?}");
    room.leave().await;
}

/// How a create whose reply was lost is found out.
pub async fn a_taken_name_is_said_to_be_taken(harness: impl RuntimeHarness) {
    let room = Room::enter(&harness).await;
    let request = room.request("a", Script::Idle);
    room.runtime.create(&request).await.expect("create");
    let again = room.runtime.create(&request).await;
    assert_eq!(again, Err(RuntimeError::NameTaken { name: request.name }));
    room.leave().await;
}

/// With every call that names a thing.
pub async fn what_does_not_exist_is_not_found(harness: impl RuntimeHarness) {
    let room = Room::enter(&harness).await;
    let nobody = ContainerId::from("0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef");
    let runtime = &room.runtime;
    assert_not_found(runtime.inspect(&nobody).await);
    assert_not_found(runtime.start(&nobody, &sample::launch()).await);
    assert_not_found(runtime.stop(&nobody, NO_GRACE).await);
    assert_not_found(runtime.kill(&nobody).await);
    assert_not_found(runtime.pause(&nobody).await);
    assert_not_found(runtime.unpause(&nobody).await);
    assert_not_found(runtime.rename(&nobody, "somebody").await);
    assert_not_found(runtime.remove(&nobody).await);
    assert_not_found(runtime.attach(&nobody).await.map(drop));
    assert_not_found(runtime.logs(&nobody, &LogQuery::default()).await.map(drop));
    assert_not_found(runtime.remove_network(&NetworkId::from(nobody.as_str())).await);
    assert_not_found(runtime.remove_volume(&room.volume("nobody").name).await);
    room.leave().await;
}

/// A repeated step after a lost reply is no error.
pub async fn start_of_a_running_and_stop_of_a_stopped_container_are_fine(harness: impl RuntimeHarness) {
    let room = Room::enter(&harness).await;
    let id = room.create("a", Script::Idle).await;
    room.runtime.stop(&id, NO_GRACE).await.expect("stop of what never ran");
    room.runtime.start(&id, &sample::launch()).await.expect("start");
    let before = room.state(&id).await;
    room.runtime.start(&id, &sample::launch()).await.expect("start again");
    assert_eq!(room.state(&id).await, before, "it is the same run");
    for _ in 0..2 {
        room.runtime.kill(&id).await.expect("kill");
        room.exited(&id).await;
        room.runtime.stop(&id, NO_GRACE).await.expect("stop");
        room.runtime.kill(&id).await.expect("kill of what is dead");
    }
    room.leave().await;
}

/// Frozen, thawed, frozen again; and whoever ends it does not ask which. A repeated step is no error.
pub async fn a_container_is_paused_and_goes_on_as_the_same_run(harness: impl RuntimeHarness) {
    let room = Room::enter(&harness).await;
    let id = room.create("a", Script::Idle).await;
    let still = room.runtime.pause(&id).await;
    assert!(matches!(still, Err(RuntimeError::Conflict { .. })), "{still:?}");
    room.runtime.unpause(&id).await.expect("nothing is frozen");
    room.runtime.start(&id, &sample::launch()).await.expect("start");
    let ContainerState::Running { started_at } = room.state(&id).await else { panic!("it does not run") };
    for _ in 0..2 {
        for _ in 0..2 {
            room.runtime.pause(&id).await.expect("pause");
            assert_eq!(room.state(&id).await, ContainerState::Paused { started_at });
        }
        for _ in 0..2 {
            room.runtime.unpause(&id).await.expect("unpause");
            assert_eq!(room.state(&id).await, ContainerState::Running { started_at });
        }
    }
    room.leave().await;
}

/// Nobody hears a signal who is frozen.
pub async fn a_paused_container_is_ended_in_every_way(harness: impl RuntimeHarness) {
    let room = Room::enter(&harness).await;
    let id = room.run("a", Script::Idle).await;
    // It must have reached its `trap` before it can be ended by anything but force.
    tokio::time::sleep(Duration::from_millis(300)).await;
    room.runtime.pause(&id).await.expect("pause");
    room.runtime.stop(&id, SHORT).await.expect("stop");
    let state = room.state(&id).await;
    assert!(matches!(state, ContainerState::Exited { code, .. } if code != 137), "not by force: {state:?}");
    for end_process in [true, false] {
        room.runtime.start(&id, &sample::launch()).await.expect("start");
        room.runtime.pause(&id).await.expect("pause");
        match end_process {
            true => room.runtime.end_process(&id, SHORT).await.expect("end_process"),
            false => room.runtime.kill(&id).await.expect("kill"),
        }
        room.exited(&id).await;
    }
    room.runtime.start(&id, &sample::launch()).await.expect("start");
    room.runtime.pause(&id).await.expect("pause");
    room.runtime.remove(&id).await.expect("remove");
    assert_not_found(room.runtime.unpause(&id).await);
    room.leave().await;
}

/// And `stop` returns only then.
pub async fn a_process_that_ignores_the_signal_is_killed_after_its_grace(harness: impl RuntimeHarness) {
    let room = Room::enter(&harness).await;
    let id = room.run("a", Script::Stubborn).await;
    // It must have reached its `trap` before it can ignore anything.
    tokio::time::sleep(Duration::from_millis(300)).await;
    room.runtime.stop(&id, Duration::from_secs(1)).await.expect("stop");
    let state = room.state(&id).await;
    assert!(matches!(state, ContainerState::Exited { code: 137, .. }), "{state:?}");
    room.leave().await;
}

/// How a new container takes the place of an old one. Its run goes on, and its old name is free.
pub async fn a_running_container_can_be_renamed(harness: impl RuntimeHarness) {
    let room = Room::enter(&harness).await;
    let request = room.request("a", Script::Idle);
    let id = room.run("a", Script::Idle).await;
    let before = room.runtime.inspect(&id).await.expect("inspect");
    let aside = format!("{}-aside", request.name);
    for _ in 0..2 {
        room.runtime.rename(&id, &aside).await.expect("rename");
    }
    let second = room.runtime.create(&request).await.expect("its name is free");
    let taken = Err(RuntimeError::NameTaken { name: request.name.clone() });
    assert_eq!(room.runtime.rename(&id, &request.name).await, taken);
    room.runtime.remove(&second).await.expect("remove");
    room.runtime.rename(&id, &request.name).await.expect("rename back");
    assert_eq!(room.runtime.inspect(&id).await, Ok(before));
    room.leave().await;
}

/// Removal does not ask.
pub async fn a_running_container_is_removed_by_force(harness: impl RuntimeHarness) {
    let room = Room::enter(&harness).await;
    let id = room.run("a", Script::Stubborn).await;
    room.runtime.remove(&id).await.expect("remove");
    assert_not_found(room.runtime.remove(&id).await);
    room.leave().await;
}

/// A group starts as fast as the engine allows.
pub async fn ten_containers_are_made_at_once(harness: impl RuntimeHarness) {
    let room = Room::enter(&harness).await;
    let names: Vec<String> = (0..10).map(|number| format!("a{number}")).collect();
    join_all(names.iter().map(|name| room.run(name, Script::Idle))).await;
    let mut seen: Vec<_> = room.seen().await.into_iter().map(|c| c.slot.instance.to_string()).collect();
    seen.sort();
    assert_eq!(seen, names);
    room.leave().await;
}

/// Another group's and another installation's containers are not ours.
pub async fn only_the_asked_scope_is_seen(harness: impl RuntimeHarness) {
    let room = Room::enter(&harness).await;
    let mine = room.create("a", Script::Idle).await;
    let other_slot = SlotId { group: sample::group("other"), instance: sample::instance("b"), replica: 0 };
    let config = room.request("b", Script::Idle).config;
    let request = sample::create_container(&room.owner, &other_slot, config, &room.image);
    let theirs = room.runtime.create(&request).await.expect("create");
    let ids = |seen: Vec<ContainerObservation>| {
        let mut ids: Vec<_> = seen.into_iter().map(|container| container.id).collect();
        ids.sort();
        ids
    };
    assert_eq!(ids(room.seen().await), vec![mine.clone()]);
    let all = Scope { owner: room.owner.clone(), group: None };
    let mut both = vec![mine, theirs];
    both.sort();
    assert_eq!(ids(room.runtime.containers(&all).await.expect("containers")), both);
    let stranger = Scope { owner: "ffffffff-0000-4000-8000-000000000000".into(), group: None };
    assert_eq!(room.runtime.containers(&stranger).await, Ok(vec![]));
    room.leave().await;
}

/// An image can carry our labels; only together with the right name do they prove anything.
pub async fn a_container_of_a_forged_name_is_not_seen(harness: impl RuntimeHarness) {
    let room = Room::enter(&harness).await;
    let mut request = room.request("a", Script::Idle);
    request.name = format!("{}-forged", request.name);
    let id = room.runtime.create(&request).await.expect("create");
    assert_eq!(room.seen().await, vec![]);
    assert_not_found(room.runtime.inspect(&id).await);
    room.runtime.remove(&id).await.expect("remove");
    room.leave().await;
}
