//! Everything ends: slow clients, dead hosts, silent tunnels, and the proxy itself.
#![allow(clippy::unwrap_used, reason = "a broken test should stop where it broke")]

mod support;

use dtma_egress::{How, Limits};
use std::time::Duration;
use support::{Habit, LOOPBACK, Origin, Stage, read_all};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpSocket, TcpStream};

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const SHORT: Duration = Duration::from_millis(150);

async fn stage(origin: &Origin, limits: Limits) -> Stage {
    Stage::with(&[format!("127.0.0.1:{}", origin.port()), "*.example:*".to_owned()], &[LOOPBACK], limits)
        .await
}

#[tokio::test]
async fn a_head_that_does_not_come_closes_the_connection() {
    let origin = Origin::new(Habit::Answer(OK)).await;
    let stage = stage(&origin, Limits { head: SHORT, ..Limits::default() }).await;
    for begun in ["", "GET http://a", "GET http://a/ HTTP/1.1\r\nHost: a\r\nX: "] {
        let mut client = stage.connect().await;
        client.write_all(begun.as_bytes()).await.unwrap();
        let closed = tokio::time::timeout(Duration::from_secs(5), read_all(&mut client)).await;
        assert!(closed.is_ok(), "{begun:?}");
    }
    assert_eq!(origin.connections(), 0);
}

#[tokio::test]
async fn a_head_without_end_is_refused() {
    let origin = Origin::new(Habit::Answer(OK)).await;
    let stage = stage(&origin, Limits::default()).await;
    let long = format!("GET http://127.0.0.1/ HTTP/1.1\r\nX: {}\r\n\r\n", "a".repeat(64 << 10));
    assert!(stage.ask(long).await.starts_with("HTTP/1.1 431"));
    let many = format!("GET http://127.0.0.1/ HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(200));
    assert!(stage.ask(many).await.starts_with("HTTP/1.1 431"));
}

#[tokio::test]
async fn an_answers_head_without_end_is_refused() {
    let endless: &'static [u8] = Box::leak(
        format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "a".repeat(256 << 10)).into_bytes().into_boxed_slice(),
    );
    let origin = Origin::new(Habit::Answer(endless)).await;
    let stage = stage(&origin, Limits::default()).await;
    let answer = stage.get(&format!("http://127.0.0.1:{}/", origin.port())).await;
    assert!(answer.starts_with("HTTP/1.1 502") && answer.len() < 1000, "{}", answer.len());
}

#[tokio::test]
async fn beyond_the_most_connections_one_is_told_so() {
    let origin = Origin::new(Habit::Echo).await;
    let stage = stage(&origin, Limits { connections: 2, ..Limits::default() }).await;
    let target = format!("127.0.0.1:{}", origin.port());
    let (first, _) = stage.tunnel(&target).await;
    let (_second, _) = stage.tunnel(&target).await;
    let answer = stage.get(&format!("http://{target}/")).await;
    assert!(answer.starts_with("HTTP/1.1 503") && answer.ends_with("on this proxy\n"), "{answer}");
    drop(first);
    stage.ear.end().await;
    // The place is free a moment after the end was told.
    while stage.tunnel(&target).await.1.starts_with("HTTP/1.1 503") {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_host_that_refuses_is_502_and_one_that_is_silent_504() {
    let origin = Origin::new(Habit::Answer(OK)).await;
    let stage = stage(&origin, Limits { connect: SHORT, ..Limits::default() }).await;
    stage.names.say("shut.example", &[&["127.0.0.1"]]);
    let shut = stage.get("http://shut.example:1/").await;
    assert!(shut.starts_with("HTTP/1.1 502") && shut.contains("shut.example:1: no connection"), "{shut}");
    let silent = TcpSocket::new_v4().unwrap();
    silent.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let silent = silent.listen(1).unwrap();
    let address = silent.local_addr().unwrap();
    // Whoever comes when the queue is full is not answered.
    let mut queue = Vec::new();
    while let Ok(Ok(stream)) = tokio::time::timeout(SHORT, TcpStream::connect(address)).await {
        queue.push(stream);
    }
    stage.names.say("silent.example", &[&["127.0.0.1"]]);
    let answer = stage.get(&format!("http://silent.example:{}/", address.port())).await;
    assert!(answer.starts_with("HTTP/1.1 504") && answer.contains("no connection within 0.15 s"), "{answer}");
    let ends = stage.ear.ends(2).await;
    assert!(
        ends.iter().all(|end| matches!(end.how, How::Unreachable(_)) && end.address.is_none()),
        "{ends:?}"
    );
}

#[tokio::test]
async fn a_name_nobody_knows_is_502_and_one_that_takes_too_long_504() {
    let origin = Origin::new(Habit::Answer(OK)).await;
    let stage = stage(&origin, Limits { resolve: SHORT, ..Limits::default() }).await;
    let unknown = stage.get("http://unknown.example/").await;
    assert!(
        unknown.starts_with("HTTP/1.1 502") && unknown.contains("could not be looked up: no such name"),
        "{unknown}"
    );
    stage.names.say("empty.example", &[&[]]);
    let empty = stage.get("http://empty.example/").await;
    assert!(
        empty.starts_with("HTTP/1.1 502") && empty.contains("empty.example:80 has no address"),
        "{empty}"
    );
    stage.names.slow(Duration::from_secs(60));
    let slow = stage.get("http://empty.example/").await;
    assert!(slow.starts_with("HTTP/1.1 504") && slow.contains("not looked up in time"), "{slow}");
    assert_eq!(stage.ear.verdicts().len(), 3);
}

#[tokio::test]
async fn a_silent_tunnel_is_ended_and_a_busy_one_is_not() {
    let origin = Origin::new(Habit::Echo).await;
    let stage = stage(&origin, Limits { idle: SHORT, ..Limits::default() }).await;
    let target = format!("127.0.0.1:{}", origin.port());
    let (mut silent, _) = stage.tunnel(&target).await;
    let (mut busy, _) = stage.tunnel(&target).await;
    let chatter = async {
        loop {
            tokio::time::sleep(SHORT / 5).await;
            busy.write_all(b"x").await.unwrap();
        }
    };
    tokio::select! {
        _ = read_all(&mut silent) => {}
        () = chatter => {}
    }
    let end = stage.ear.end().await;
    assert_eq!((end.how, end.trip), (How::Idle, 1));
}

#[tokio::test]
async fn even_a_busy_tunnel_ends_at_last() {
    let origin = Origin::new(Habit::Echo).await;
    let stage = stage(&origin, Limits { total: SHORT, ..Limits::default() }).await;
    let (mut client, _) = stage.tunnel(&format!("127.0.0.1:{}", origin.port())).await;
    while client.write_all(b"x").await.is_ok() {
        tokio::time::sleep(SHORT / 10).await;
    }
    assert_eq!(stage.ear.end().await.how, How::TooLong);
}

#[tokio::test]
async fn a_client_that_leaves_ends_what_it_asked_for() {
    let origin = Origin::new(Habit::Echo).await;
    let stage = stage(&origin, Limits::default()).await;
    let mut client = stage.connect().await;
    let request = format!("GET http://127.0.0.1:{}/ HTTP/1.1\r\nHost: x\r\n\r\n", origin.port());
    client.write_all(request.as_bytes()).await.unwrap();
    while origin.connections() == 0 {
        tokio::task::yield_now().await;
    }
    drop(client);
    stage.ear.end().await;
}

#[tokio::test]
async fn at_the_end_every_connection_is_ended_and_told() {
    let origin = Origin::new(Habit::Echo).await;
    let stage = stage(&origin, Limits::default()).await;
    let (mut client, _) = stage.tunnel(&format!("127.0.0.1:{}", origin.port())).await;
    let (ear, proxy) = (stage.ear.clone(), stage.proxy);
    stage.stopped().await;
    assert_eq!(ear.end().await.how, How::Abandoned);
    read_all(&mut client).await;
    assert!(TcpStream::connect(proxy).await.is_err());
}
