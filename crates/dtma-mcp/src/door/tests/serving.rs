//! Who serves: balance, waiting, logs.

use super::*;
use crate::{CallError, ServerState, SessionError};
use dtma_core::port::runtime::LogQuery;
use futures_util::StreamExt;

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_while_its_session_is_opened_leaves_nothing() {
    let mut fleet = Fleet::with(Limits { sessions: 1, ..Limits::default() });
    let mut process = fleet.member("a").await;
    fleet.door.serve(&["a".into()]);
    let first = fleet.client().await;
    let mut opening = Box::pin(fleet.door.post(None, hello().into()));
    assert!(futures_util::poll!(&mut opening).is_pending());
    settle().await;
    drop(opening);
    settle().await;
    assert_eq!(fleet.door.sessions(), 0, "the first has made way, and nobody knows of the second");
    settle().await;
    assert!(matches!(first.post(call(1)).await, PostReply::UnknownSession));
    let third = fleet.client().await;
    let mut calls = JoinSet::new();
    third.begin(&mut calls, call(2));
    answer(&mut process, "a").await;
    assert_eq!(json_of(outcome(&mut calls).await)["result"], "a");
    assert_eq!((fleet.door.sessions(), fleet.load("a")), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn sessions_are_balanced_and_stay_where_they_are() {
    let (fleet, mut a, mut b) = Fleet::pair().await;
    let mut clients = Vec::new();
    for _ in 0..10 {
        clients.push(fleet.client().await);
    }
    assert_eq!((fleet.load("a"), fleet.load("b")), (5, 5));
    let mut calls = JoinSet::new();
    for _ in 0..3 {
        clients[0].begin(&mut calls, call(1));
        answer(&mut a, "a").await;
        assert_eq!(json_of(outcome(&mut calls).await)["result"], "a");
        clients[1].begin(&mut calls, call(1));
        answer(&mut b, "b").await;
        assert_eq!(json_of(outcome(&mut calls).await)["result"], "b");
    }
    fleet.door.close_session(&clients[0].id).await.unwrap();
    assert_eq!((fleet.load("a"), fleet.load("b")), (4, 5));
}

#[tokio::test(start_paused = true)]
async fn a_session_that_ends_with_its_connection_is_never_stored() {
    let (fleet, mut a, _b) = Fleet::pair().await;
    let PostReply::Opened { session, .. } = fleet.door.passing().post(None, hello().into()).await else {
        panic!("no session");
    };
    assert_eq!((fleet.store.sessions.lock().unwrap().len(), fleet.door.sessions()), (0, 1));
    let client = Client { door: fleet.door.passing(), id: session.to_string() };
    let mut calls = JoinSet::new();
    client.begin(&mut calls, call(1));
    answer(&mut a, "a").await;
    assert_eq!(json_of(outcome(&mut calls).await)["result"], "a");
    let lasting = fleet.client().await;
    assert_eq!((fleet.store.sessions.lock().unwrap().len(), fleet.door.sessions()), (1, 2));
    client.door.close_session(&client.id).await.unwrap();
    assert_eq!((fleet.store.sessions.lock().unwrap().len(), fleet.door.sessions()), (1, 1));
    fleet.door.close_session(&lasting.id).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_houses_own_calls_go_to_the_member_with_the_fewest() {
    let (fleet, mut a, mut b) = Fleet::pair().await;
    let mut calls = JoinSet::new();
    for _ in 0..2 {
        let door = fleet.door.clone();
        calls.spawn(async move { door.call("x", None, Duration::from_secs(9)).await });
        settle().await;
    }
    answer(&mut a, "a").await;
    answer(&mut b, "b").await;
    let mut answers: Vec<_> = calls.join_all().await.into_iter().map(Result::unwrap).collect();
    answers.sort();
    assert_eq!(answers, [&br#""a""#[..], br#""b""#]);
}

#[tokio::test(start_paused = true)]
async fn a_member_that_is_being_proved_serves_nobody() {
    let mut fleet = Fleet::new();
    let mut a = fleet.member("a").await;
    assert!(!fleet.door.is_ready() && matches!(fleet.door.state(), ServerState::Down { .. }));
    assert!(matches!(fleet.door.ping(Duration::from_secs(1)).await, Err(CallError::NotReady { .. })));
    let mut opened = JoinSet::new();
    let door = fleet.door.clone();
    opened.spawn(async move { door.post(None, hello().into()).await });
    settle().await;
    assert!(!a.has_more().await && opened.try_join_next().is_none());
    fleet.door.serve(&["a".into(), "nobody".into()]);
    assert!(matches!(outcome(&mut opened).await, PostReply::Opened { .. }));
    assert!(fleet.door.is_ready());
}

#[tokio::test(start_paused = true)]
async fn a_name_is_taken_until_its_member_is_dismissed() {
    let mut fleet = Fleet::new();
    fleet.admit("a");
    assert!(fleet.door.admit("a".into(), origin("a")).is_err());
    fleet.door.dismiss(&"a".into());
    fleet.admit("a");
    fleet.door.dismiss(&"nobody".into());
}

#[tokio::test(start_paused = true)]
async fn restored_sessions_wait_for_whoever_comes_to_serve() {
    let (fleet, old_a, old_b) = Fleet::pair().await;
    let clients = [fleet.client().await, fleet.client().await];
    let kept = fleet.store.sessions.lock().unwrap().clone();
    drop((fleet, old_a, old_b));

    let mut fleet = Fleet::new();
    fleet.door.restore(kept);
    let clients = clients.map(|client| Client { door: fleet.door.clone(), id: client.id });
    assert_eq!(fleet.door.session(&clients[0].id).await.unwrap().protocol_version, "2025-06-18");
    let mut calls = JoinSet::new();
    clients.iter().for_each(|client| client.begin(&mut calls, call(1)));
    settle().await;
    let (mut a, mut b) = (fleet.member("a").await, fleet.member("b").await);
    assert!(calls.try_join_next().is_none());
    fleet.door.serve(&["a".into(), "b".into()]);
    answer(&mut a, "a").await;
    answer(&mut b, "b").await;
    let mut answers = [json_of(outcome(&mut calls).await), json_of(outcome(&mut calls).await)]
        .map(|answer| answer["result"].as_str().unwrap().to_owned());
    answers.sort();
    assert_eq!(answers, ["a", "b"], "they are spread");
    assert_eq!(fleet.door.session(&"0".repeat(32)).await, Err(SessionError::Unknown));
}

#[tokio::test(start_paused = true)]
async fn sessions_of_a_crashed_member_go_on_with_another() {
    let (fleet, a, mut b) = Fleet::pair().await;
    let client = fleet.client().await;
    let mut listener = client.listen().await;
    drop(a);
    settle().await;
    let mut calls = JoinSet::new();
    client.begin(&mut calls, call(1));
    answer(&mut b, "b").await;
    assert_eq!(json_of(outcome(&mut calls).await)["result"], "b");
    assert_eq!(listener.next().await, None, "its client comes back and reaches the other");
    let _listener = client.listen().await;
    assert_eq!((fleet.load("a"), fleet.load("b")), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn when_all_are_down_a_call_waits_for_the_first_that_returns() {
    let (mut fleet, a, b) = Fleet::pair().await;
    let client = fleet.client().await;
    drop((a, b));
    settle().await;
    let mut calls = JoinSet::new();
    client.begin(&mut calls, call(1));
    settle().await;
    let handle = fleet.door.member(&"b".into()).unwrap();
    let mut b = fleet.start(&handle).await;
    answer(&mut b, "b").await;
    assert_eq!(json_of(outcome(&mut calls).await)["result"], "b");
    drop(b);
    settle().await;
    let before = tokio::time::Instant::now();
    assert_eq!(json_of(client.post(call(2)).await)["error"]["data"], json!({"may_have_executed": false}));
    assert_eq!(before.elapsed().as_secs(), 30);
}

#[tokio::test(start_paused = true)]
async fn the_bound_of_sessions_holds_over_many_updates() {
    let mut fleet = Fleet::with(Limits { sessions: 3, ..Limits::default() });
    for round in 0..10 {
        let (name, former) = (format!("m{round}"), format!("m{}", round.max(1) - 1));
        let _process = fleet.member(&name).await;
        fleet.door.serve(&[name.as_str().into()]);
        if round > 0 {
            fleet.door.drain(&former.as_str().into(), Duration::from_secs(1)).await;
            fleet.door.dismiss(&former.as_str().into());
        }
        for _ in 0..5 {
            fleet.client().await;
        }
        settle().await;
        let known = fleet.door.table().sessions.len();
        let kept = fleet.store.sessions.lock().unwrap().len();
        assert!(known <= 2 * 3 && kept == known, "round {round}: {known} known, {kept} kept");
    }
}

#[tokio::test(start_paused = true)]
async fn logs_are_those_of_all_members_and_following_takes_in_new_ones() {
    let (mut fleet, a, b) = Fleet::pair().await;
    (1..=3).for_each(|n| a.cry(&format!("a{n}")));
    (1..=3).for_each(|n| b.cry(&format!("b{n}")));
    settle().await;
    let query = |tail, follow| LogQuery { tail, follow, ..LogQuery::default() };
    let texts = |door: &Door, tail| {
        door.logs(&query(tail, false), None).map(|told| told.line.text).collect::<Vec<_>>()
    };
    assert_eq!(texts(&fleet.door, None).await, ["a1", "a2", "a3", "b1", "b2", "b3"]);
    assert_eq!(texts(&fleet.door, Some(4)).await, ["a3", "b1", "b2", "b3"]);
    let mut following = fleet.door.logs(&query(Some(1), true), None);
    assert_eq!(following.next().await.unwrap().line.text, "b3");
    fleet.door.dismiss(&"a".into());
    let c = fleet.member("c").await;
    c.cry("c1");
    assert_eq!(following.next().await.unwrap().line.text, "c1");
    b.cry("b4");
    assert_eq!(following.next().await.unwrap().line.text, "b4");
    assert!(texts(&fleet.door, None).await.contains(&"a1".to_owned()), "why the old one went is still known");
    fleet.door.close();
    assert!(following.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_line_tells_who_wrote_it_and_one_replica_is_read_alone() {
    let (mut fleet, a, b) = Fleet::pair().await;
    a.cry("of a");
    b.cry("of b");
    settle().await;
    let told = |door: &Door, replica| {
        let lines = door.logs(&LogQuery::default(), replica);
        lines.map(|told| (told.origin.replica, told.line.text)).collect::<Vec<_>>()
    };
    assert_eq!(told(&fleet.door, None).await, [(0, "of a".to_owned()), (1, "of b".to_owned())]);
    assert_eq!(told(&fleet.door, Some(1)).await, [(1, "of b".to_owned())]);
    assert_eq!(told(&fleet.door, Some(2)).await, []);
    let mut second = fleet.door.logs(&LogQuery { follow: true, ..LogQuery::default() }, Some(2));
    let c = fleet.member("c").await;
    a.cry("not asked for");
    c.cry("of c");
    let line = second.next().await.unwrap();
    assert_eq!((line.origin, line.line.text.as_str()), (origin("c"), "of c"));
    fleet.door.dismiss(&"b".into());
    assert_eq!(told(&fleet.door, Some(1)).await, [(1, "of b".to_owned())], "who went is still told apart");
}
