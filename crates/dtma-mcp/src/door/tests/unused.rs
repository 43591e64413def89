//! Sessions that nobody uses.

use super::*;
use crate::{SessionError, UNUSED_INTERVALS};

const LOOKS: usize = UNUSED_INTERVALS as usize;

impl Fleet {
    async fn look(&self, times: usize) -> usize {
        let mut ended = 0;
        for _ in 0..times {
            ended += self.door.end_unused().await;
        }
        ended
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_that_nobody_uses_ends_and_nothing_of_it_is_left() {
    let (fleet, mut a, _b) = Fleet::pair().await;
    let (gone, there) = (fleet.client().await, fleet.client().await);
    assert_eq!(fleet.look(LOOKS).await, 0, "it is not that long ago");
    assert!(matches!(there.post(call(1).replace("\"x\"", "\"ping\"")).await, PostReply::Body(_)));
    assert_eq!((fleet.look(1).await, fleet.door.expired(), fleet.door.sessions()), (1, 1, 1));
    assert!(matches!(gone.post(call(1)).await, PostReply::UnknownSession));
    assert_eq!(fleet.door.session(&gone.id).await.err(), Some(SessionError::Unknown));
    let kept: Vec<String> = fleet.store.sessions.lock().unwrap().iter().map(|kept| kept.id.clone()).collect();
    assert_eq!(kept, [there.id.as_str()]);
    assert_eq!(fleet.load("a") + fleet.load("b"), 1);
    assert!(!a.has_more().await, "no server hears of it");
    assert_eq!(fleet.look(LOOKS - 1).await, 0);
    assert_eq!(fleet.look(1).await, 1);
}

#[tokio::test(start_paused = true)]
async fn an_open_stream_and_a_call_in_flight_keep_a_session() {
    let mut fleet = Fleet::new();
    let mut process = fleet.member("a").await;
    fleet.door.serve(&["a".into()]);
    let (listens, calls) = (fleet.client().await, fleet.client().await);
    let stream = listens.listen().await;
    let mut pending = JoinSet::new();
    calls.begin(&mut pending, call(1));
    let id = process.asked("x").await;
    assert_eq!(fleet.look(5 * LOOKS).await, 0);
    drop(stream);
    process.answer(&id, "1");
    outcome(&mut pending).await;
    assert_eq!(fleet.look(LOOKS).await, 0, "from when the stream and the call were seen last");
    assert_eq!(fleet.look(1).await, 2);
}

#[tokio::test(start_paused = true)]
async fn one_of_an_earlier_daemon_has_as_long_as_a_new_one() {
    let (fleet, _a, _b) = Fleet::pair().await;
    drop(fleet.client().await);
    let next = Fleet::new();
    next.door.restore(fleet.store.sessions.lock().unwrap().clone());
    assert_eq!((next.look(LOOKS).await, next.door.sessions()), (0, 1), "also while nobody serves");
    assert_eq!((next.look(1).await, next.door.sessions()), (1, 0));
}
