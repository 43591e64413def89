//! What a client sees while its session goes from one member to another.

use super::*;
use crate::Drained;
use futures_util::StreamExt;

const SECOND: Duration = Duration::from_secs(1);

/// Draining `a`, polled on its own.
fn drain(fleet: &Fleet, within: Duration) -> JoinSet<Drained> {
    let (door, mut draining) = (fleet.door.clone(), JoinSet::new());
    draining.spawn(async move { door.drain(&"a".into(), within).await });
    draining
}

#[tokio::test(start_paused = true)]
async fn a_drained_member_answers_what_is_in_flight_and_the_rest_goes_elsewhere() {
    let (fleet, mut a, mut b) = Fleet::pair().await;
    let client = fleet.client().await;
    let mut calls = JoinSet::new();
    client.begin(&mut calls, call(1));
    let old = a.asked("x").await;
    fleet.door.serve(&["b".into()]);
    let mut draining = drain(&fleet, 9 * SECOND);
    settle().await;
    let mut others = JoinSet::new();
    client.begin(&mut others, call(2));
    answer(&mut b, "b").await;
    assert_eq!(json_of(outcome(&mut others).await)["result"], "b");
    assert!(draining.try_join_next().is_none(), "it waits for the call");
    a.answer(&old, "\"a\"");
    assert_eq!(json_of(outcome(&mut calls).await)["result"], "a");
    assert_eq!(draining.join_next().await.unwrap().unwrap(), Drained { unanswered: 0 });
}

#[tokio::test(start_paused = true)]
async fn a_call_that_outlives_the_drain_is_told_that_it_may_have_executed() {
    let (fleet, mut a, mut b) = Fleet::pair().await;
    let client = fleet.client().await;
    let mut calls = JoinSet::new();
    client.begin(&mut calls, call(1));
    a.asked("x").await;
    fleet.door.serve(&["b".into()]);
    assert_eq!(fleet.door.drain(&"a".into(), SECOND).await, Drained { unanswered: 1 });
    fleet.door.dismiss(&"a".into());
    let error = json_of(outcome(&mut calls).await)["error"].clone();
    assert_eq!(error["data"], json!({"may_have_executed": true}));
    client.begin(&mut calls, call(1));
    answer(&mut b, "b").await;
    assert_eq!(json_of(outcome(&mut calls).await)["result"], "b");
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_has_begun_ends_with_an_error_when_its_member_is_dismissed() {
    let (fleet, mut a, _b) = Fleet::pair().await;
    let client = fleet.client().await;
    let mut calls = JoinSet::new();
    client
        .begin(&mut calls, r#"{"jsonrpc":"2.0","id":1,"method":"x","params":{"_meta":{"progressToken":7}}}"#);
    let id = a.asked("x").await;
    a.say(format!(
        r#"{{"jsonrpc":"2.0","method":"notifications/progress","params":{{"progressToken":{id}}}}}"#
    ));
    let mut stream = messages(outcome(&mut calls).await);
    assert!(next(&mut stream).await.contains("progress"));
    fleet.door.dismiss(&"a".into());
    assert!(next(&mut stream).await.contains(r#""may_have_executed":true"#));
    assert_eq!(stream.next().await, None);
}

#[tokio::test(start_paused = true)]
async fn a_listener_is_ended_and_listens_again_at_the_new_member() {
    let (fleet, a, b) = Fleet::pair().await;
    let client = fleet.client().await;
    let mut listener = client.listen().await;
    a.say(r#"{"jsonrpc":"2.0","method":"notifications/old"}"#);
    assert!(next(&mut listener).await.contains("old"));
    fleet.door.serve(&["b".into()]);
    fleet.door.drain(&"a".into(), SECOND).await;
    assert_eq!(listener.next().await, None);
    let mut listener = client.listen().await;
    b.say(r#"{"jsonrpc":"2.0","method":"notifications/new"}"#);
    assert!(next(&mut listener).await.contains("new"));
}

#[tokio::test(start_paused = true)]
async fn answers_and_cancellations_reach_the_member_they_are_about() {
    let (fleet, mut a, mut b) = Fleet::pair().await;
    let client = fleet.client().await;
    let mut calls = JoinSet::new();
    client.begin(&mut calls, call(1));
    let old = a.asked("x").await;
    a.say(r#"{"jsonrpc":"2.0","id":"q","method":"elicitation/create"}"#);
    let mut stream = messages(outcome(&mut calls).await);
    let question: Value = serde_json::from_str(&next(&mut stream).await).unwrap();
    fleet.door.serve(&["b".into()]);
    let mut draining = drain(&fleet, 9 * SECOND);
    settle().await;
    let answer = json!({"jsonrpc":"2.0","id":question["id"],"result":{}}).to_string();
    assert!(matches!(client.post(answer).await, PostReply::Accepted));
    assert_eq!(a.read().await["id"], "q");
    client.begin(&mut calls, call(2));
    let new = b.asked("x").await;
    assert_ne!(old, new, "ids are given out for all members together");
    let cancel = r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}"#;
    client.post(cancel).await;
    assert_eq!(a.read().await["params"]["requestId"], old);
    assert!(next(&mut stream).await.contains("cancelled"));
    assert_eq!(draining.join_next().await.unwrap().unwrap(), Drained { unanswered: 0 });
    client.post(cancel.replace(":1}", ":2}")).await;
    assert_eq!(b.read().await["params"]["requestId"], new);
}

#[tokio::test(start_paused = true)]
async fn sessions_of_a_dismissed_member_are_kept_until_somebody_serves() {
    let mut fleet = Fleet::new();
    let _a = fleet.member("a").await;
    fleet.door.serve(&["a".into()]);
    let client = fleet.client().await;
    fleet.door.dismiss(&"a".into());
    let mut calls = JoinSet::new();
    client.begin(&mut calls, call(1));
    settle().await;
    let mut b = fleet.member("b").await;
    fleet.door.serve(&["b".into()]);
    answer(&mut b, "b").await;
    assert_eq!(json_of(outcome(&mut calls).await)["result"], "b");
    assert!(matches!(client.post(r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#).await, PostReply::Body(_)));
}

#[tokio::test(start_paused = true)]
async fn a_member_that_serves_again_takes_sessions_again() {
    let (fleet, mut a, _b) = Fleet::pair().await;
    let client = fleet.client().await;
    fleet.door.serve(&["b".into()]);
    fleet.door.drain(&"a".into(), SECOND).await;
    fleet.door.serve(&["a".into()]);
    fleet.door.drain(&"b".into(), SECOND).await;
    let mut calls = JoinSet::new();
    client.begin(&mut calls, call(1));
    answer(&mut a, "a").await;
    assert_eq!(json_of(outcome(&mut calls).await)["result"], "a");
}

#[tokio::test(start_paused = true)]
async fn a_closed_session_is_closed_at_its_former_member_too() {
    let (fleet, mut a, _b) = Fleet::pair().await;
    let client = fleet.client().await;
    let mut calls = JoinSet::new();
    client.begin(&mut calls, call(1));
    a.asked("x").await;
    fleet.door.serve(&["b".into()]);
    let mut draining = drain(&fleet, 9 * SECOND);
    settle().await;
    fleet.door.close_session(&client.id).await.unwrap();
    assert_eq!(json_of(outcome(&mut calls).await)["error"]["code"], -32800);
    assert_eq!(draining.join_next().await.unwrap().unwrap(), Drained { unanswered: 0 });
    assert!(fleet.store.sessions.lock().unwrap().is_empty());
}
