//! Server-sent events: how they are written, kept alive and ended.

use crate::app::App;
use axum::body::Body;
use axum::response::Response;
use bytes::{Bytes, BytesMut};
use futures_util::stream::{self, Stream, StreamExt};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use std::convert::Infallible;
use std::time::Duration;

/// A comment is sent when nothing else was for this long, so that nobody between takes the connection for dead.
pub(crate) const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Sent at once so that the client has the head of the answer, and later to keep the connection alive.
const COMMENT: Bytes = Bytes::from_static(b":\n\n");

/// One event.
pub(crate) fn event(name: &str, id: Option<&str>, data: &[u8]) -> Bytes {
    let mut bytes = BytesMut::with_capacity(data.len() + name.len() + 32);
    if let Some(id) = id {
        bytes.extend_from_slice(b"id: ");
        bytes.extend_from_slice(id.as_bytes());
        bytes.extend_from_slice(b"\n");
    }
    bytes.extend_from_slice(b"event: ");
    bytes.extend_from_slice(name.as_bytes());
    bytes.extend_from_slice(b"\ndata: ");
    bytes.extend_from_slice(data);
    bytes.extend_from_slice(b"\n\n");
    bytes.freeze()
}

/// A stream of events as an answer. It ends with the events, with the client, or with the daemon.
pub(crate) fn answer(app: &App, events: impl Stream<Item = Bytes> + Send + 'static) -> Response {
    let events = stream::iter([COMMENT]).chain(kept_alive(events.boxed()));
    let events = events.take_until(app.closing().clone().cancelled_owned());
    let mut response = Response::new(Body::from_stream(events.map(Ok::<_, Infallible>)));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn kept_alive(events: stream::BoxStream<'static, Bytes>) -> impl Stream<Item = Bytes> {
    stream::unfold(events, |mut events| async move {
        match tokio::time::timeout(KEEP_ALIVE, events.next()).await {
            Ok(Some(event)) => Some((event, events)),
            Ok(None) => None,
            Err(_) => Some((COMMENT, events)),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_written_as_the_rules_say() {
        assert_eq!(event("line", None, b"{}"), "event: line\ndata: {}\n\n");
        assert_eq!(event("phase", Some("a-1"), b"{}"), "id: a-1\nevent: phase\ndata: {}\n\n");
    }

    #[tokio::test(start_paused = true)]
    async fn silence_is_filled_with_comments() {
        let slow = stream::once(async {
            tokio::time::sleep(KEEP_ALIVE * 5 / 2).await;
            Bytes::from_static(b"x")
        });
        let seen: Vec<Bytes> = kept_alive(slow.boxed()).collect().await;
        assert_eq!(seen, [&b":\n\n"[..], b":\n\n", b"x"]);
    }
}
