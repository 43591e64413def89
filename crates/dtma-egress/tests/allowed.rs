//! What is allowed gets through, byte for byte, and is counted.
#![allow(clippy::unwrap_used, reason = "a broken test should stop where it broke")]

mod support;

use dtma_egress::How;
use support::{Habit, Origin, Stage, read_all};
use tokio::io::AsyncWriteExt;
use tokio::task::JoinSet;

const OK: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-Mine: a\r\nProxy-Authenticate: Basic\r\n\r\nhello";

async fn stage(origin: &Origin) -> Stage {
    let stage = Stage::new(&[format!("*.example.org:{}", origin.port())]).await;
    stage.names.say("api.example.org", &[&["127.0.0.1"]]);
    stage
}

#[tokio::test]
async fn a_tunnel_carries_both_ways_and_each_way_ends_for_itself() {
    let origin = Origin::new(Habit::Echo).await;
    let stage = stage(&origin).await;
    let (mut client, head) = stage.tunnel(&format!("API.example.org.:{}", origin.port())).await;
    assert!(head.starts_with("HTTP/1.1 200") && !head.to_lowercase().contains("content-length"), "{head}");
    client.write_all(b"GET / not for the proxy").await.unwrap();
    client.shutdown().await.unwrap();
    assert_eq!(read_all(&mut client).await, b"GET / not for the proxybye");
    let end = stage.ear.end().await;
    assert_eq!((end.sent, end.received, &end.how), (23, 26, &How::Closed));
    assert_eq!((end.trip, end.address), (1, Some(origin.address)));
    assert_eq!(end.target, format!("api.example.org:{}", origin.port()));
    assert_eq!(stage.ear.verdicts(), [format!("allowed {} [127.0.0.1]", end.target)]);
}

#[tokio::test]
async fn what_a_client_says_before_it_was_answered_is_not_lost() {
    let origin = Origin::new(Habit::Echo).await;
    let stage = stage(&origin).await;
    let target = format!("api.example.org:{}", origin.port());
    let mut client = stage.connect().await;
    let eager = format!("CONNECT {target} HTTP/1.1\r\n\r\nearly");
    client.write_all(eager.as_bytes()).await.unwrap();
    assert!(support::read_head(&mut client).await.starts_with("HTTP/1.1 200"));
    client.shutdown().await.unwrap();
    assert_eq!(read_all(&mut client).await, b"earlybye");
}

#[tokio::test]
async fn a_plain_request_is_asked_again_without_what_is_between_client_and_proxy() {
    let origin = Origin::new(Habit::Answer(OK)).await;
    let stage = stage(&origin).await;
    let port = origin.port();
    let answer = stage
        .ask(format!(
            "POST http://API.example.org:{port}/a/b?c=d HTTP/1.1\r\nHost: evil.example\r\n\
             Proxy-Authorization: Basic c2VjcmV0\r\nProxy-Connection: keep-alive\r\nTE: trailers\r\n\
             Connection: close, X-Hop\r\nX-Hop: 1\r\nAuthorization: Bearer kept\r\nContent-Length: 4\r\n\r\nbody"
        ))
        .await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\nhello"), "{answer}");
    assert!(answer.contains("X-Mine: a") && !answer.contains("Proxy-Authenticate"), "{answer}");
    let heard = origin.heard_first();
    assert!(heard.starts_with("post /a/b?c=d http/1.1\r\n") && heard.ends_with("\r\n\r\nbody"), "{heard}");
    for kept in [
        &format!("host: api.example.org:{port}\r\n"),
        "authorization: bearer kept",
        "connection: close",
        "via: 1.1 dtma",
    ] {
        assert_eq!(heard.matches(kept).count(), 1, "{kept} in {heard}");
    }
    for gone in ["evil", "proxy-", "x-hop", "te:", "c2vj"] {
        assert!(!heard.contains(gone), "{gone} in {heard}");
    }
    let end = stage.ear.end().await;
    assert_eq!((end.sent, end.received), (heard.len() as u64, OK.len() as u64));
    assert_eq!(end.how, How::Closed);
}

#[tokio::test]
async fn a_body_of_unknown_length_passes_in_chunks() {
    let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    let origin = Origin::new(Habit::Answer(chunked)).await;
    let stage = stage(&origin).await;
    let answer = stage
        .ask(format!(
            "POST http://api.example.org:{}/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
             Transfer-Encoding: chunked\r\n\r\n4\r\nwiki\r\n0\r\n\r\n",
            origin.port()
        ))
        .await;
    assert!(answer.contains("3\r\nabc\r\n0\r\n"), "{answer}");
    assert!(origin.heard_first().ends_with("4\r\nwiki\r\n0\r\n\r\n"), "{}", origin.heard_first());
}

#[tokio::test]
async fn one_client_connection_serves_many_requests_each_judged() {
    let (a, b) = (Origin::new(Habit::Answer(OK)).await, Origin::new(Habit::Answer(OK)).await);
    let stage = Stage::new(&[format!("a.example:{}", a.port()), format!("b.example:{}", b.port())]).await;
    stage.names.say("a.example", &[&["127.0.0.1"]]);
    stage.names.say("b.example", &[&["127.0.0.1"]]);
    let get = |host: &str, port: u16, end: &str| {
        format!("GET http://{host}:{port}/ HTTP/1.1\r\nHost: x\r\n{end}\r\n")
    };
    let pipeline = [
        get("a.example", a.port(), ""),
        get("b.example", b.port(), ""),
        get("b.example", a.port(), ""),
        get("a.example", a.port(), "Connection: close\r\n"),
    ];
    let answers = stage.ask(pipeline.concat()).await;
    assert_eq!(
        (answers.matches("200 OK").count(), answers.matches("403 Forbidden").count()),
        (3, 1),
        "{answers}"
    );
    assert_eq!((a.connections(), b.connections()), (2, 1));
    let ends = stage.ear.ends(3).await;
    assert!(ends.iter().all(|end| end.how == How::Closed), "{ends:?}");
    assert_eq!(ends.iter().map(|end| end.trip).collect::<Vec<_>>(), [1, 2, 4]);
}

#[tokio::test]
async fn an_address_that_does_not_answer_does_not_hide_the_one_that_does() {
    let origin = Origin::new(Habit::Answer(OK)).await;
    let stage = stage(&origin).await;
    // Nobody listens at the first two.
    stage.names.say("api.example.org", &[&["127.0.0.9", "127.0.0.8", "127.0.0.1"]]);
    let answer = stage.get(&format!("http://api.example.org:{}/", origin.port())).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert_eq!(stage.ear.end().await.address, Some(origin.address));
}

#[tokio::test]
async fn an_address_in_a_request_needs_no_resolver() {
    let origin = Origin::new(Habit::Answer(OK)).await;
    let stage = Stage::new(&[format!("127.0.0.1:{}", origin.port())]).await;
    for host in ["127.0.0.1", "[::ffff:127.0.0.1]"] {
        let answer = stage.get(&format!("http://{host}:{}/", origin.port())).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    assert!(stage.names.asked.lock().unwrap().is_empty());
}

/// More than all buffers on the way hold, so that each side has to wait for the other.
#[tokio::test]
async fn megabytes_pass_and_are_counted_exactly() {
    const MIB: usize = 1 << 20;
    let origin = Origin::new(Habit::Echo).await;
    let stage = stage(&origin).await;
    let (client, _) = stage.tunnel(&format!("api.example.org:{}", origin.port())).await;
    let sent: Vec<u8> = (0..8 * MIB).map(|index| (index % 251) as u8).collect();
    let (mut from, mut to) = client.into_split();
    let mut writing = JoinSet::new();
    let copy = sent.clone();
    writing.spawn(async move { to.write_all(&copy).await.unwrap() });
    let mut back = Vec::new();
    writing.spawn(async move {
        tokio::io::AsyncReadExt::read_to_end(&mut from, &mut back).await.unwrap();
        assert!(back.strip_suffix(b"bye").unwrap() == sent);
    });
    while let Some(done) = writing.join_next().await {
        done.unwrap();
    }
    let end = stage.ear.end().await;
    assert_eq!((end.sent, end.received), (8 * MIB as u64, 8 * MIB as u64 + 3));
}

#[tokio::test]
async fn many_clients_at_once_get_their_own_bytes() {
    let origin = Origin::new(Habit::Echo).await;
    let stage = stage(&origin).await;
    let target = format!("api.example.org:{}", origin.port());
    let mut clients = JoinSet::new();
    for number in 0..100 {
        let (mut client, _) = stage.tunnel(&target).await;
        clients.spawn(async move {
            let words = format!("client {number} ").repeat(1000);
            client.write_all(words.as_bytes()).await.unwrap();
            client.shutdown().await.unwrap();
            assert!(read_all(&mut client).await == (words + "bye").into_bytes(), "client {number}");
        });
    }
    while let Some(done) = clients.join_next().await {
        done.unwrap();
    }
    let ends = stage.ear.ends(100).await;
    assert!(ends.iter().all(|end| end.received == end.sent + 3 && end.how == How::Closed));
}
