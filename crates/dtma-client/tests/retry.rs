//! A daemon that was restarted has closed its connections: what can be repeated is, once.
#![allow(clippy::unwrap_used, reason = "a test stops where something is broken")]

use dtma_client::{Client, Error, Mutation};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nOK";

fn head(stream: &mut TcpStream) -> bool {
    let (mut seen, mut byte) = (Vec::new(), [0]);
    while !seen.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => seen.push(byte[0]),
            Ok(_) | Err(_) => return false,
        }
    }
    true
}

/// Answers the first request of the first connection and closes it at the second; the other connections answer
/// `later` requests each.
fn server(later: usize) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&connections);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let answers = if counted.fetch_add(1, Ordering::SeqCst) == 0 { 1 } else { later };
            for _ in 0..answers {
                if head(&mut stream) {
                    stream.write_all(OK).unwrap();
                }
            }
            head(&mut stream);
        }
    });
    (url, connections)
}

#[tokio::test]
async fn a_read_goes_on_over_a_new_connection() {
    let (url, connections) = server(1);
    let client = Client::builder(url).build().unwrap();
    assert_eq!(client.get_health().await.unwrap(), "OK");
    assert_eq!(client.get_health().await.unwrap(), "OK");
    assert_eq!(connections.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn it_is_repeated_once_and_no_more() {
    let (url, connections) = server(0);
    let client = Client::builder(url).build().unwrap();
    client.get_health().await.unwrap();
    assert!(matches!(client.get_health().await, Err(Error::Broken(_))));
    assert_eq!(connections.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_change_that_may_have_arrived_is_not_repeated() {
    let (url, connections) = server(1);
    let client = Client::builder(url).build().unwrap();
    client.get_health().await.unwrap();
    let change = client.restart_server("web", &Mutation::default()).await;
    assert!(matches!(change, Err(Error::Broken(_))), "{change:?}");
    assert_eq!(connections.load(Ordering::SeqCst), 1);
}
