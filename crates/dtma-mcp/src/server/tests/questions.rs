//! What the server asks of clients and tells them.

use super::harness::*;
use crate::{Attachment, Limits, PostReply};
use bytes::Bytes;
use futures_util::{FutureExt, StreamExt};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

const CALL: &str = r#"{"jsonrpc":"2.0","id":1,"method":"x"}"#;
const SAMPLE: &str = r#"{"jsonrpc":"2.0","id":"s1","method":"sampling/createMessage","params":{"_meta":{"progressToken":"st"},"n":1.0}}"#;

fn decoded(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_question_goes_to_the_only_caller_and_its_answer_back() {
    let (house, mut process) = House::ready().await;
    let (a, b) = (house.client(json!({"sampling":{}})).await, house.client(json!({"sampling":{}})).await);
    let mut calls = JoinSet::new();
    a.begin(&mut calls, CALL);
    let call = process.asked("x").await;
    process.say(SAMPLE);
    let mut stream = messages(outcome(&mut calls).await);
    let question = next(&mut stream).await;
    let id = decoded(&question)["id"].clone();
    assert_eq!(question, SAMPLE.replace("\"s1\"", &id.to_string()).replace("\"st\"", &id.to_string()));
    let answer = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"r":1.0}}}}"#);
    let progress =
        format!(r#"{{"jsonrpc":"2.0","method":"notifications/progress","params":{{"progressToken":{id}}}}}"#);
    for message in [&progress, &answer] {
        let forged = message.replace("2.0", r#"2.0","forged":"yes"#);
        assert!(matches!(b.post(forged).await, PostReply::Accepted), "taken and ignored");
    }
    a.post(progress).await;
    let passed = process.read().await;
    assert_eq!((&passed["params"]["progressToken"], &passed["forged"]), (&json!("st"), &Value::Null));
    assert!(matches!(a.post(&answer).await, PostReply::Accepted));
    assert_eq!(process.line().await, r#"{"jsonrpc":"2.0","id":"s1","result":{"r":1.0}}"#);
    assert!(matches!(a.post(&answer).await, PostReply::Accepted), "a second answer is ignored");
    process.answer(&call, "1");
    assert_eq!(next(&mut stream).await, r#"{"jsonrpc":"2.0","id":1,"result":1}"#);
    assert_eq!(stream.next().await, None);
}

#[tokio::test(start_paused = true)]
async fn with_several_callers_or_none_the_server_is_told_so() {
    let (house, mut process) = House::ready().await;
    let (a, b) = (house.client(json!({"sampling":{}})).await, house.client(json!({"sampling":{}})).await);
    process.say(SAMPLE);
    let refused = process.read().await;
    assert_eq!((&refused["id"], &refused["error"]["code"]), (&json!("s1"), &json!(-32603)));
    let mut calls = JoinSet::new();
    a.begin(&mut calls, CALL);
    process.asked("x").await;
    b.begin(&mut calls, CALL);
    process.asked("x").await;
    process.say(SAMPLE);
    let refused = process.read().await;
    assert_eq!((&refused["id"], &refused["error"]["code"]), (&json!("s1"), &json!(-32603)));
}

#[tokio::test(start_paused = true)]
async fn what_a_call_of_the_house_causes_is_not_asked_of_a_client() {
    let (house, mut process) = House::ready().await;
    let client = house.client(json!({"sampling":{}})).await;
    let mut calls = JoinSet::new();
    client.begin(&mut calls, CALL);
    process.asked("x").await;
    let (door, mut of_house) = (house.door.clone(), JoinSet::new());
    of_house.spawn(async move { door.call("tools/call", None, Duration::from_secs(1)).await });
    let call = process.asked("tools/call").await;
    process.say(SAMPLE);
    assert_eq!(process.read().await["error"]["code"], -32603);
    process.answer(&call, "1");
    of_house.join_next().await.unwrap().unwrap().unwrap();
    process.say(SAMPLE);
    assert!(next(&mut messages(outcome(&mut calls).await)).await.contains("sampling"));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_cannot_is_not_asked() {
    let (house, mut process) = House::ready().await;
    let client = house.client(json!({"elicitation":{}})).await;
    let mut calls = JoinSet::new();
    client.begin(&mut calls, CALL);
    let call = process.asked("x").await;
    process.say(SAMPLE);
    assert_eq!(process.read().await["error"]["code"], -32601);
    process.say(r#"{"jsonrpc":"2.0","id":2,"method":"elicitation/create"}"#);
    process.say(r#"{"jsonrpc":"2.0","id":3,"method":"future/question"}"#);
    process.answer(&call, "1");
    let all: Vec<_> =
        messages(outcome(&mut calls).await).map(|message| decoded(&text(message))).collect().await;
    let methods: Vec<_> = all.iter().map(|message| message["method"].as_str()).collect();
    assert_eq!(methods, [Some("elicitation/create"), Some("future/question"), None]);
}

#[tokio::test(start_paused = true)]
async fn a_ping_of_the_servers_is_answered_here() {
    let (_house, mut process) = House::ready().await;
    process.say(r#"{"jsonrpc":"2.0","id":"p","method":"ping"}"#);
    assert_eq!(process.line().await, r#"{"jsonrpc":"2.0","id":"p","result":{}}"#);
}

#[tokio::test(start_paused = true)]
async fn a_withdrawn_question_is_withdrawn_from_its_client() {
    let (house, mut process) = House::ready().await;
    let client = house.client(json!({"sampling":{}})).await;
    let mut calls = JoinSet::new();
    client.begin(&mut calls, CALL);
    process.asked("x").await;
    process.say(SAMPLE);
    process.say(r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"s1"}}"#);
    let mut stream = messages(outcome(&mut calls).await);
    let id = decoded(&next(&mut stream).await)["id"].clone();
    assert_eq!(decoded(&next(&mut stream).await)["params"]["requestId"], id);
}

#[tokio::test(start_paused = true)]
async fn a_question_to_a_session_that_closes_is_answered_with_an_error() {
    let (house, mut process) = House::ready().await;
    let client = house.client(json!({"sampling":{}})).await;
    let mut calls = JoinSet::new();
    client.begin(&mut calls, CALL);
    let call = process.asked("x").await;
    process.say(SAMPLE);
    let mut stream = messages(outcome(&mut calls).await);
    next(&mut stream).await;
    house.door.close_session(&client.id).await.unwrap();
    assert_eq!(process.read().await["params"]["requestId"], call);
    let refused = process.read().await;
    assert_eq!((&refused["id"], &refused["error"]["code"]), (&json!("s1"), &json!(-32603)));
    assert_eq!(decoded(&next(&mut stream).await)["error"]["code"], -32800);
    assert_eq!(stream.next().await, None);
}

#[tokio::test(start_paused = true)]
async fn what_concerns_all_goes_to_the_open_streams_of_all() {
    let (house, mut process) = House::ready().await;
    let listening = house.client(json!({})).await;
    let calling = house.client(json!({})).await;
    let _silent = house.client(json!({})).await;
    let mut listener = listening.listen().await;
    let mut calls = JoinSet::new();
    calling.begin(&mut calls, CALL);
    let call = process.asked("x").await;
    let message =
        r#"{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":1.0}}"#;
    process.say(message);
    assert_eq!(next(&mut listener).await, message);
    process.answer(&call, "1");
    let all: Vec<_> = messages(outcome(&mut calls).await).map(text).collect().await;
    assert_eq!(all, [message, r#"{"jsonrpc":"2.0","id":1,"result":1}"#]);
}

#[tokio::test(start_paused = true)]
async fn a_second_listener_replaces_the_first() {
    let (house, process) = House::ready().await;
    let client = house.client(json!({})).await;
    let mut first = client.listen().await;
    let mut second = client.listen().await;
    assert_eq!(first.next().await, None);
    process.say(r#"{"jsonrpc":"2.0","method":"notifications/a"}"#);
    assert!(next(&mut second).await.contains("notifications/a"));
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_misses_notifications_and_stalls_nobody() {
    let limits = Limits { stream: 4, ..Limits::default() };
    let mut house = House::with(limits, Arc::default());
    let mut process = house.start(1).await;
    let (slow, quick) = (house.client(json!({})).await, house.client(json!({})).await);
    let mut slow_listener = slow.listen().await;
    let mut calls = JoinSet::new();
    slow.begin(&mut calls, r#"{"jsonrpc":"2.0","id":1,"method":"x","params":{"_meta":{"progressToken":1}}}"#);
    let slow_call = process.asked("x").await;
    let mut of_quick = JoinSet::new();
    for round in 0..100 {
        process.say(r#"{"jsonrpc":"2.0","method":"notifications/message"}"#);
        process.say(format!(
            r#"{{"jsonrpc":"2.0","method":"notifications/progress","params":{{"progressToken":{slow_call}}}}}"#
        ));
        quick.begin(&mut of_quick, format!(r#"{{"jsonrpc":"2.0","id":{round},"method":"y"}}"#));
        let call = process.asked("y").await;
        process.answer(&call, "1");
        outcome(&mut of_quick).await;
    }
    process.say(r#"{"jsonrpc":"2.0","id":5,"method":"future/question"}"#);
    assert_eq!(process.read().await["error"]["code"], -32603, "a question that cannot be put is answered");
    process.answer(&slow_call, "\"kept for it\"");
    let all: Vec<_> = messages(outcome(&mut calls).await).map(text).collect().await;
    assert_eq!(all.len(), 5, "four of a hundred, and the answer");
    assert!(all[4].contains("kept for it"));
    house.door.ping(Duration::ZERO).await.unwrap_err();
    let mut heard = 0;
    while slow_listener.next().now_or_never().flatten().is_some() {
        heard += 1;
    }
    assert_eq!(heard, 4);
}

/// A house whose server and clients speak a version in which streams may begin with an id alone.
async fn newest() -> (House, Process) {
    let house = House::new();
    let mut process = house.attach(1, Attachment::Fresh).await;
    process.greet_as(&GREETING.replace("2025-06-18", "2025-11-25"), "[]").await;
    house.until_ready().await;
    (house, process)
}

#[tokio::test(start_paused = true)]
async fn a_client_that_comes_back_hears_what_it_missed_and_nothing_twice() {
    let (house, mut process) = newest().await;
    let client = house.client(json!({})).await;
    let news = |number: u32| format!(r#"{{"jsonrpc":"2.0","method":"notifications/x","params":[{number}]}}"#);
    let mut events = client.door.listen_after(&client.id, None).await.unwrap();
    let primer = events.next().await.unwrap();
    assert_eq!(primer.text, "", "where it stands");
    process.say(news(1));
    let one = events.next().await.unwrap();
    assert_eq!(one.text, news(1));
    drop(events);
    process.say(news(2));
    let mut calls = JoinSet::new();
    client.begin(&mut calls, CALL);
    let call = process.asked("x").await;
    process.say(news(3));
    let mut stream = messages(outcome(&mut calls).await);
    assert_eq!(next(&mut stream).await, news(3), "on the stream of its call");
    process.answer(&call, "1");
    process.say(news(4));
    assert_eq!(next(&mut stream).await, r#"{"jsonrpc":"2.0","id":1,"result":1}"#);
    for (after, missed) in [(one.id, vec![news(2), news(4)]), (primer.id, (1..=4).map(news).collect())] {
        let events = client.door.listen_after(&client.id, after).await.unwrap();
        let texts: Vec<_> = events.skip(1).take(missed.len()).map(|event| event.text).collect().await;
        assert_eq!(texts, missed);
    }
}

/// A former life of the daemon has seen to what comes again: nothing of it is done twice.
#[tokio::test(start_paused = true)]
async fn what_comes_again_is_for_those_alone_who_ask_for_it() {
    let (house, mut process) = newest().await;
    let client = house.client(json!({"sampling":{}})).await;
    let mut calls = JoinSet::new();
    client.begin(&mut calls, CALL);
    process.asked("x").await;
    let news = r#"{"jsonrpc":"2.0","method":"notifications/x"}"#;
    process.say_again(10, &format!("a banner\n{SAMPLE}\n{news}\n"));
    assert!(!process.has_more().await, "the question is not put again");
    let mut listener = client.listen().await;
    assert_eq!(listener.next().now_or_never(), None, "nor is anybody told anything");
    let place = |place: usize| crate::EventId::parse(&format!("c1.0:{place}"));
    let (banner, end) = (10 + "a banner\n".len(), SAMPLE.len() + 1 + news.len() + 1);
    let mut events = client.door.listen_after(&client.id, place(banner)).await.unwrap();
    events.next().await.unwrap();
    let again = events.next().await.unwrap();
    assert_eq!((again.text, again.id), (Bytes::from(news), place(banner + end)));
}

/// A client may be back before what it missed is.
#[tokio::test(start_paused = true)]
async fn what_comes_again_after_a_client_came_back_is_told_it() {
    let (house, process) = newest().await;
    let client = house.client(json!({})).await;
    let news = |number: u32| format!(r#"{{"jsonrpc":"2.0","method":"notifications/x","params":[{number}]}}"#);
    let length = news(1).len() + 1;
    let heard = crate::EventId::parse(&format!("c1.0:{length}"));
    let mut events = client.door.listen_after(&client.id, heard).await.unwrap();
    events.next().await.unwrap();
    process.say_again(0, &format!("{}\n{}\n", news(1), news(2)));
    process.say_at(2 * length as u64, &format!("{}\n", news(3)));
    for number in 2..=3 {
        assert_eq!(events.next().await.unwrap().text, news(number));
    }
}

/// What was passed on and not acknowledged comes as something new.
#[tokio::test(start_paused = true)]
async fn what_a_client_says_it_has_heard_is_not_told_again() {
    let (house, process) = newest().await;
    let client = house.client(json!({})).await;
    let news = |number: u32| format!(r#"{{"jsonrpc":"2.0","method":"notifications/x","params":[{number}]}}"#);
    let heard = crate::EventId::parse(&format!("c1.0:{}", 2 * (news(1).len() + 1)));
    let mut events = client.door.listen_after(&client.id, heard).await.unwrap();
    events.next().await.unwrap();
    process.say_at(0, &format!("{}\n{}\n{}\n{}\n", news(1), news(2), news(3), news(4)));
    for number in 3..=4 {
        assert_eq!(events.next().await.unwrap().text, news(number));
    }
}
