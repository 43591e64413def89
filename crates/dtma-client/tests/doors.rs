//! What is asked of the daemon about doors, and what its answers become.
#![allow(clippy::unwrap_used, reason = "a test stops where something is broken")]

use dtma_client::{Client, Error};
use futures_util::StreamExt;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread::JoinHandle;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Everything up to the empty line, and of a body what came with it.
fn head(stream: &mut TcpStream) -> String {
    let (mut seen, mut piece) = (Vec::new(), [0; 4096]);
    while !seen.windows(4).any(|end| end == b"\r\n\r\n") {
        let count = stream.read(&mut piece).unwrap();
        assert_ne!(count, 0, "it ended: {}", String::from_utf8_lossy(&seen));
        seen.extend_from_slice(&piece[..count]);
    }
    String::from_utf8(seen).unwrap()
}

/// Answers one request, echoes what comes after it, and says what was asked.
fn daemon(answer: String) -> (Client, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = Client::builder(format!("http://{}", listener.local_addr().unwrap())).build().unwrap();
    let asked = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let asked = head(&mut stream);
        stream.write_all(answer.as_bytes()).unwrap();
        if answer.starts_with("HTTP/1.1 101") {
            let mut said = [0; 5];
            stream.read_exact(&mut said).unwrap();
            stream.write_all(&said).unwrap();
        }
        asked
    });
    (client, asked)
}

fn with_body(status: &str, kind: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n\r\n{body}")
}

#[tokio::test]
async fn documents_are_given_as_they_are() {
    let card = with_body("200 OK", "application/mcp-server-card+json", "{\"name\": \"time\"}");
    let (client, asked) = daemon(card);
    assert_eq!(client.get_server_card("ti me").await.unwrap()["name"], "time");
    assert!(asked.join().unwrap().starts_with("GET /gateway/servers/ti%20me/mcp/server-card HTTP/1.1\r\n"));
    let (client, asked) = daemon(with_body("200 OK", "application/json", "{}"));
    client.get_door_protection("time", "ws").await.unwrap();
    let path = "GET /.well-known/oauth-protected-resource/gateway/servers/time/ws ";
    assert!(asked.join().unwrap().starts_with(path));
    let (client, _asked) = daemon(with_body("200 OK", "application/json", "no JSON"));
    assert!(matches!(client.get_catalogue().await, Err(Error::Unexpected { status: 200, .. })));
}

#[tokio::test]
async fn a_session_is_a_stream_and_what_is_posted_to_it() {
    let (client, asked) =
        daemon(with_body("200 OK", "text/event-stream", "event: endpoint\ndata: /there\n\n"));
    let mut events = client.gateway_sse("time").await.unwrap();
    let first = events.next().await.unwrap().unwrap();
    assert_eq!((first.name.as_str(), first.data.as_str()), ("endpoint", "/there"));
    assert!(asked.join().unwrap().contains("accept: text/event-stream\r\n"));
    let (client, asked) = daemon("HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n".to_owned());
    client.gateway_messages("time", "a/b", "{}".into()).await.unwrap();
    let asked = asked.join().unwrap();
    assert!(asked.starts_with("POST /gateway/servers/time/messages?sessionId=a%2Fb "), "{asked}");
    assert!(asked.contains("content-type: application/json\r\n"), "{asked}");
}

#[tokio::test]
async fn a_socket_is_the_callers_after_the_handshake_and_a_refusal_is_an_error() {
    let switching = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
    let (client, asked) = daemon(switching.to_owned());
    let mut socket = client.gateway_ws("time", "dGhlIHNhbXBsZSBub25jZQ==").await.unwrap();
    socket.write_all(b"hello").await.unwrap();
    let mut back = [0; 5];
    socket.read_exact(&mut back).await.unwrap();
    assert_eq!(&back, b"hello");
    let asked = asked.join().unwrap();
    assert!(asked.starts_with("GET /gateway/servers/time/ws "), "{asked}");
    assert!(asked.contains("sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n"), "{asked}");
    for answer in
        [with_body("404 Not Found", "application/json", "{}"), with_body("200 OK", "text/plain", "")]
    {
        let (client, _asked) = daemon(answer.clone());
        let refused = client.gateway_ws("time", "").await.unwrap_err();
        assert!(matches!(refused, Error::Refused(_)), "{answer}: {refused:?}");
    }
}
