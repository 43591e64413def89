//! HTTP+SSE.

use super::fake::{Fake, answer_to, event, open_stream, request, status, text, until};
use crate::upstream::Protocol;
use http::Method;
use serde_json::json;
use std::sync::Mutex;
use std::sync::atomic::Ordering;
use tokio::sync::mpsc::UnboundedSender;

/// Answers what is posted at `at` on its stream, whose first event says `endpoint`.
async fn serve(endpoint: &'static str, at: &'static str) -> Fake {
    let stream: Mutex<Option<UnboundedSender<String>>> = Mutex::default();
    Fake::serve(move |seen| {
        let mut stream = stream.lock().unwrap();
        match (&seen.method, seen.called()) {
            (&Method::GET, _) => {
                let (send, reply) = open_stream();
                send.send(format!("event: endpoint\ndata: {endpoint}\n\n")).unwrap();
                *stream = Some(send);
                reply
            }
            (_, "refused") => text(400, "text/plain", "no"),
            (_, "end") => {
                *stream = None;
                status(202)
            }
            _ => {
                assert_eq!(seen.path, at);
                let sent = stream.as_ref().unwrap().send(event(&answer_to(&seen.body["id"])));
                sent.unwrap();
                status(202)
            }
        }
    })
    .await
}

#[tokio::test]
async fn messages_are_posted_where_the_server_says() {
    for (endpoint, at) in [
        ("/messages?sessionId=1", "/messages?sessionId=1"),
        ("http://elsewhere.example/messages?s=2", "/messages?s=2"),
        ("post?s=3", "/a/post?s=3"),
    ] {
        let fake = serve(endpoint, at).await;
        let before = tokio::runtime::Handle::current().metrics().num_alive_tasks();
        let mut talk = fake.attach(Protocol::Sse, "/a/sse");
        talk.say(&request(1, "initialize")).await;
        assert_eq!(talk.heard().await["id"], 1);
        talk.say_raw(&format!("{}\n{}\n", request(2, "a"), request(3, "b"))).await;
        let mut ids = [talk.heard().await["id"].as_u64(), talk.heard().await["id"].as_u64()];
        ids.sort_unstable();
        assert_eq!(ids, [Some(2), Some(3)]);
        drop(talk);
        until(|| fake.connections.load(Ordering::SeqCst) == 0).await;
        until(|| tokio::runtime::Handle::current().metrics().num_alive_tasks() <= before).await;
    }
}

#[tokio::test]
async fn what_is_not_taken_is_answered_and_the_end_of_the_stream_is_the_end() {
    let fake = serve("/m", "/m").await;
    let mut talk = fake.attach(Protocol::Sse, "/sse");
    talk.say(&request(4, "refused")).await;
    let answer = talk.heard().await;
    assert_eq!(answer["id"], 4);
    assert!(answer["error"]["message"].as_str().unwrap().contains("400 Bad Request: no"), "{answer}");
    talk.say(&json!({"jsonrpc": "2.0", "method": "end"})).await;
    assert_eq!(talk.end().await.kind(), std::io::ErrorKind::UnexpectedEof);
}

#[tokio::test]
async fn a_server_without_such_a_stream_says_so() {
    let fake = Fake::serve(|_| status(404)).await;
    let mut talk = fake.attach(Protocol::Sse, "/sse");
    let why = talk.end().await.to_string();
    assert!(why.contains("404") && why.contains("/sse"), "{why}");
}
