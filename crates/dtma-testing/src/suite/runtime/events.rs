//! Events: what happens, in order, and after a break.

use super::{Room, RuntimeHarness, Script, within};
use dtma_core::port::runtime::{ContainerChange, EngineEvent};
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use std::time::Duration;
use tokio::time::timeout;

type Events = BoxStream<'static, EngineEvent>;

async fn next_event(events: &mut Events) -> EngineEvent {
    within("an event", events.next()).await.expect("events never end")
}

async fn listen(room: &Room) -> Events {
    let mut events = room.runtime.events(&room.owner);
    assert_eq!(next_event(&mut events).await, EngineEvent::Resync);
    events
}

/// What happened before it is found by looking, what happens after it is told.
pub async fn events_begin_with_a_resync(harness: impl RuntimeHarness) {
    let room = Room::enter(&harness).await;
    let mut events = listen(&room).await;
    let id = room.run("a", Script::Idle).await;
    let started = EngineEvent::Container { id, group: room.group.clone(), change: ContainerChange::Started };
    assert_eq!(next_event(&mut events).await, started);
    room.leave().await;
}

/// Once each.
pub async fn events_tell_a_life_in_order(harness: impl RuntimeHarness) {
    let room = Room::enter(&harness).await;
    let mut events = listen(&room).await;
    let id = room.run("a", Script::FailLoudly).await;
    room.exited(&id).await;
    room.runtime.remove(&id).await.expect("remove");
    for change in [ContainerChange::Started, ContainerChange::Died, ContainerChange::Destroyed] {
        let expected = EngineEvent::Container { id: id.clone(), group: room.group.clone(), change };
        assert_eq!(next_event(&mut events).await, expected);
    }
    room.leave().await;
}

/// A crash is answered at once, not at the next look.
pub async fn events_tell_an_exit_within_a_second(harness: impl RuntimeHarness) {
    let room = Room::enter(&harness).await;
    let id = room.run("a", Script::Idle).await;
    let mut events = listen(&room).await;
    room.runtime.kill(&id).await.expect("kill");
    let died = EngineEvent::Container { id, group: room.group.clone(), change: ContainerChange::Died };
    let heard = timeout(Duration::from_secs(1), events.next()).await;
    assert_eq!(heard.expect("an event within a second"), Some(died));
    room.leave().await;
}

/// So that nobody misses what happened in between.
pub async fn events_resume_after_a_break_and_say_so(harness: impl RuntimeHarness) {
    let room = Room::enter(&harness).await;
    let mut events = listen(&room).await;
    let started = |id| {
        let (group, change) = (room.group.clone(), ContainerChange::Started);
        EngineEvent::Container { id, group, change }
    };
    // An event heard proves that there is a connection to break.
    let before = room.run("before", Script::Idle).await;
    assert_eq!(next_event(&mut events).await, started(before));
    harness.break_connections().await;
    assert_eq!(next_event(&mut events).await, EngineEvent::Resync);
    let after = room.run("after", Script::Idle).await;
    loop {
        match next_event(&mut events).await {
            // A second look does no harm.
            EngineEvent::Resync => {}
            event @ EngineEvent::Container { .. } => break assert_eq!(event, started(after)),
        }
    }
    room.leave().await;
}

/// Another installation on the same engine is none of our business.
pub async fn events_of_others_are_not_told(harness: impl RuntimeHarness) {
    let room = Room::enter(&harness).await;
    let mut strangers = room.runtime.events(&"ffffffff-0000-4000-8000-000000000000".into());
    assert_eq!(next_event(&mut strangers).await, EngineEvent::Resync);
    let mut events = listen(&room).await;
    let id = room.run("a", Script::Succeed).await;
    let is_death = |event: &EngineEvent| matches!(event, EngineEvent::Container { id: of, change: ContainerChange::Died, .. } if *of == id);
    while !is_death(&next_event(&mut events).await) {}
    let overheard = timeout(Duration::from_millis(100), strangers.next()).await;
    assert!(overheard.is_err(), "{overheard:?}");
    room.leave().await;
}
