//! WebSocket.

use super::fake::{answer_to, attach, request, until};
use crate::upstream::Protocol;
use futures_util::{SinkExt, StreamExt};
use http::HeaderValue;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::Message as Frame;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};

/// Answers each message; ends by itself when it is told to.
async fn serve(names: bool, tasks: &mut JoinSet<()>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tasks.spawn(async move {
        // A hand that is not shaken is followed by another.
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            #[allow(clippy::result_large_err, reason = "the library's callback has this type")]
            let name = |asked: &Request, mut reply: Response| -> Result<Response, ErrorResponse> {
                assert_eq!(asked.uri().path(), "/ws");
                if names {
                    assert_eq!(asked.headers()["sec-websocket-protocol"], "mcp");
                    reply.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_static("mcp"));
                }
                Ok(reply)
            };
            let Ok(mut socket) = tokio_tungstenite::accept_hdr_async(stream, name).await else { continue };
            while let Some(Ok(frame)) = socket.next().await {
                let Frame::Text(text) = frame else { continue };
                let message: Value = serde_json::from_str(&text).unwrap();
                if message["method"] == "end" {
                    socket.close(None).await.unwrap();
                    return;
                }
                socket.send(Frame::Ping("p".into())).await.unwrap();
                let answer = serde_json::to_string_pretty(&answer_to(&message["id"])).unwrap();
                let frame =
                    if message["method"] == "binary" { Frame::Binary(answer.into()) } else { answer.into() };
                socket.send(frame).await.unwrap();
            }
        }
    });
    port
}

#[tokio::test]
async fn a_frame_is_a_message_and_the_end_of_the_connection_is_the_end() {
    for names in [true, false] {
        let mut tasks = JoinSet::new();
        let port = serve(names, &mut tasks).await;
        let mut talk = attach(Protocol::WebSocket, port, "/ws");
        talk.say_raw(&format!("{}\n{}\n", request(1, "a"), request(2, "binary"))).await;
        assert_eq!(talk.heard().await["id"], 1);
        assert_eq!(talk.heard().await["id"], 2);
        talk.say(&json!({"jsonrpc": "2.0", "method": "end"})).await;
        talk.end().await;
    }
}

#[tokio::test]
async fn when_it_is_dropped_the_server_hears_of_it() {
    let before = tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let (closed, is_closed) = tokio::sync::oneshot::channel();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        // It names no sub-protocol, so the first hand is not shaken by the client.
        drop(tokio_tungstenite::accept_async(stream).await);
        let (stream, _) = listener.accept().await.unwrap();
        let mut socket = tokio_tungstenite::accept_async(stream).await.unwrap();
        let _ = closed.send(socket.next().await);
    });
    let talk = attach(Protocol::WebSocket, port, "/");
    until(|| tokio::runtime::Handle::current().metrics().num_alive_tasks() > before).await;
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    drop(talk);
    assert!(matches!(is_closed.await.unwrap(), Some(Ok(Frame::Close(_)))));
    until(|| tokio::runtime::Handle::current().metrics().num_alive_tasks() <= before).await;
}
