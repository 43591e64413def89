//! Slow and malformed HTTP on the real accept loop: every connection ends in time, nothing is a 5xx, nothing is taken
//! for a second request, and others are answered meanwhile.

use crate::house::House;
use crate::wire::{Answer, read_answer};
use dtma_api::ServeLimits;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

const HEAD: &str = "Host: localhost\r\nAuthorization: Bearer admin\r\nContent-Type: application/json\r\n";

async fn house() -> House {
    let limits = ServeLimits {
        head: Duration::from_millis(500),
        idle: Duration::from_millis(1000),
        ..ServeLimits::default()
    };
    House::with(limits).await
}

/// Sends the bytes, says no more, and reads until the daemon closes.
async fn say(house: &House, bytes: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(house.address).await.unwrap();
    // The daemon may close before everything is sent: that is one of the things under test.
    let _ = stream.write_all(bytes).await;
    assert_eq!(house.send("GET", "/health", &[], "").await.status, 200, "others are answered meanwhile");
    read_answer(&mut stream).await
}

/// How many answers came on the connection.
fn answers(answer: &Answer) -> usize {
    format!("{}\r\n\r\n{}", answer.head, answer.body).matches("HTTP/1.1 ").count()
}

#[tokio::test]
async fn whoever_says_nothing_or_not_enough_is_let_go() {
    let house = house().await;
    for bytes in [
        &b""[..],
        b"G",
        b"GET /health HTTP/1.1\r\n",
        b"GET /health HTTP/1.1\r\nHost: localhost\r\nX: ",
        b"\r\n\r\n\r\n",
    ] {
        let answer = say(&house, bytes).await;
        assert!(answer.status == 0 || answer.status == 408, "{bytes:?}: {answer:?}");
    }
}

#[tokio::test]
async fn a_body_that_stops_in_its_middle_is_a_408() {
    let house = house().await;
    let request = format!("POST /mcp/validate HTTP/1.1\r\n{HEAD}Content-Length: 100\r\n\r\n{{\"groupId\":");
    let answer = say(&house, request.as_bytes()).await;
    assert_eq!((answer.status, answers(&answer)), (408, 1), "{answer:?}");
}

#[tokio::test]
async fn heads_that_are_none_are_refused() {
    let house = house().await;
    let big = format!("GET /health HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n", "x".repeat(300 << 10));
    let many = format!("GET /health HTTP/1.1\r\nHost: localhost\r\n{}\r\n", "X: y\r\n".repeat(500));
    let long = format!("GET /{} HTTP/1.1\r\nHost: localhost\r\n\r\n", "x".repeat(300 << 10));
    for (bytes, expected) in [
        (big.as_bytes(), &[431][..]),
        (many.as_bytes(), &[431]),
        (long.as_bytes(), &[414, 431]),
        (b"GET /health HTTP/1.1\r\nHost : localhost\r\n\r\n", &[400]),
        (b"GET /health HTTP/1.1\r\n Host: localhost\r\n\r\n", &[400]),
        (b"GET /health HTTP/1.1\r\nHost: localhost\r\nX: a\r\n b\r\n\r\n", &[400]),
        (b"GET /health HTTP/1.1\r\nHost: localhost\r\nX\0: a\r\n\r\n", &[400]),
        (b"GET /health HTTP/9.9\r\nHost: localhost\r\n\r\n", &[400]),
        (b"GET /hea lth HTTP/1.1\r\nHost: localhost\r\n\r\n", &[400]),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", &[400]),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &[0, 400]),
    ] {
        let answer = say(&house, bytes).await;
        let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(60)]).into_owned();
        assert!(expected.contains(&answer.status), "{shown:?}: {answer:?}");
        assert!(answers(&answer) <= 1, "{shown:?}: {answer:?}");
    }
}

#[tokio::test]
async fn no_second_request_is_smuggled_in() {
    let house = house().await;
    let hidden =
        "DELETE /mcp/groups/hidden HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer admin\r\n\r\n";
    for (lines, body) in [
        ("Content-Length: 5\r\nContent-Length: 6", "hello!"),
        ("Content-Length: 5, 6", "hello!"),
        ("Content-Length: +5", "hello"),
        ("Content-Length: -1", ""),
        ("Content-Length: 99999999999999999999999", ""),
        ("Transfer-Encoding: chunked, identity", "0\r\n\r\n"),
        ("Transfer-Encoding: xchunked", "0\r\n\r\n"),
        ("Transfer-Encoding: chunked", "FFFFFFFFFFFFFFFFFFFF\r\nx\r\n0\r\n\r\n"),
        ("Transfer-Encoding: chunked", "-1\r\nx\r\n0\r\n\r\n"),
        ("Transfer-Encoding: chunked", "zz\r\nx\r\n0\r\n\r\n"),
        ("Transfer-Encoding: chunked", "1\r\nxy\r\n0\r\n\r\n"),
    ] {
        let request = format!("POST /mcp/validate HTTP/1.1\r\n{HEAD}{lines}\r\n\r\n{body}{hidden}");
        let answer = say(&house, request.as_bytes()).await;
        assert!((400..500).contains(&answer.status), "{lines:?} {body:?}: {answer:?}");
        assert_eq!(answers(&answer), 1, "{lines:?} {body:?}: {answer:?}");
    }
}

#[tokio::test]
async fn a_length_beside_chunks_does_not_count_and_ends_nothing_early() {
    let house = house().await;
    for lines in
        ["Content-Length: 4\r\nTransfer-Encoding: chunked", "Transfer-Encoding: chunked\r\nContent-Length: 4"]
    {
        let body = "2\r\n{}\r\n0\r\n\r\n";
        let request = format!("POST /mcp/validate HTTP/1.1\r\n{HEAD}{lines}\r\n\r\n{body}");
        let answer = say(&house, request.as_bytes()).await;
        assert_eq!((answer.status, answers(&answer)), (400, 1), "{lines:?}: {answer:?}");
    }
}

#[tokio::test]
async fn what_is_odd_but_allowed_is_answered() {
    let house = house().await;
    let twice = "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(2);
    assert_eq!(answers(&say(&house, twice.as_bytes()).await), 2, "pipelined requests");
    let old = say(&house, b"GET /health HTTP/1.0\r\n\r\n").await;
    assert_eq!(old.status, 200, "{old:?}");
    let absolute = say(&house, b"GET http://localhost/health HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert_eq!(absolute.status, 200, "{absolute:?}");
    for odd in ["OPTIONS * HTTP/1.1", "CONNECT localhost:1 HTTP/1.1", "BREW /health HTTP/1.1"] {
        let answer = say(&house, format!("{odd}\r\nHost: localhost\r\n\r\n").as_bytes()).await;
        assert!((400..500).contains(&answer.status), "{odd}: {answer:?}");
    }
}
