//! The event stream.

use crate::app::App;
use crate::journal::{Entry, Journal};
use crate::query::Asked;
use crate::sse;
use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use dtma_api_types::EventView;
use futures_util::stream::{self, Stream, StreamExt};
use http::HeaderMap;
use serde::Deserialize;
use std::sync::Arc;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use utoipa::IntoParams;

/// Which events.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct EventQuery {
    /// Only of this group.
    group_id: Option<String>,
    /// Go on with what happens (default true). When false the answer ends after what the daemon remembers.
    follow: Option<bool>,
}

/// Watch what happens
///
/// Server-sent events, named after their kind. Send the id of the last one seen as `Last-Event-ID` to go on after
/// it; `event: reset` says that something was lost and everything should be looked at again. The stream of a reader
/// that falls too far behind ends; it goes on in the same way.
#[utoipa::path(get, path = "/events", operation_id = "streamEvents", tag = "daemon",
    params(EventQuery, ("Last-Event-ID" = Option<String>, Header, description = "Go on after this event")),
    responses((status = 200, description = "Events until the client leaves", body = EventView,
               content_type = "text/event-stream")))]
pub(crate) async fn stream_events(
    State(app): State<App>,
    Asked(query): Asked<EventQuery>,
    headers: HeaderMap,
) -> Response {
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok());
    let entries = if query.follow.unwrap_or(true) {
        let subscription = app.journal().subscribe(last);
        stream::iter(subscription.missed).chain(live(subscription.live)).left_stream()
    } else {
        stream::iter(app.journal().everything()).right_stream()
    };
    let journal = Arc::clone(app.journal());
    let frames = entries.filter_map(move |entry| {
        let frame = wanted(&entry, query.group_id.as_deref()).then(|| frame(&journal, &entry));
        std::future::ready(frame)
    });
    sse::answer(&app, frames)
}

fn live(receiver: broadcast::Receiver<Entry>) -> impl Stream<Item = Entry> {
    stream::unfold(receiver, |mut receiver| async move {
        match receiver.recv().await {
            Ok(entry) => Some((entry, receiver)),
            // It is cut off, and loses nothing when it comes back with the last id it saw.
            Err(RecvError::Lagged(_) | RecvError::Closed) => None,
        }
    })
}

fn wanted(entry: &Entry, group: Option<&str>) -> bool {
    match entry {
        Entry::Event(event) => group.is_none_or(|group| event.group_id == group),
        Entry::Gap => true,
    }
}

fn frame(journal: &Journal, entry: &Entry) -> Bytes {
    match entry {
        Entry::Event(event) => {
            let data = serde_json::to_vec(event.as_ref()).unwrap_or_default();
            sse::event(name(event), Some(&journal.id(event)), &data)
        }
        Entry::Gap => sse::event("reset", None, b"{}"),
    }
}

fn name(event: &EventView) -> &'static str {
    match event.kind {
        dtma_api_types::EventKind::Phase { .. } => "phase",
        dtma_api_types::EventKind::Group { .. } => "group",
        dtma_api_types::EventKind::Pull { .. } => "pull",
        dtma_api_types::EventKind::Accepted { .. } => "accepted",
        dtma_api_types::EventKind::Finished { .. } => "finished",
        dtma_api_types::EventKind::Contract { .. } => "contract",
        dtma_api_types::EventKind::Removed => "removed",
        dtma_api_types::EventKind::Unknown => "unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dtma_api_types::EventKind;

    /// More than wait for a slow reader, fewer than are kept.
    const MANY: u64 = 3000;

    fn happened(seq: u64) -> EventView {
        EventView {
            seq,
            at: String::new(),
            group_id: "g".into(),
            instance_name: None,
            kind: EventKind::Removed,
        }
    }

    /// Numbers up to the end of the stream, 0 for a gap.
    async fn read(journal: &Journal, last: Option<&str>, meanwhile: impl FnOnce()) -> Vec<u64> {
        let subscription = journal.subscribe(last);
        let entries = stream::iter(subscription.missed).chain(live(subscription.live));
        meanwhile();
        let seq = |entry| match entry {
            Entry::Event(event) => event.seq,
            Entry::Gap => 0,
        };
        let now = stream::unfold(entries.boxed(), |mut entries| async move {
            tokio::select! {
                biased;
                entry = entries.next() => entry.map(|entry| (entry, entries)),
                () = std::future::ready(()) => None,
            }
        });
        now.map(seq).collect().await
    }

    #[tokio::test]
    async fn a_reader_that_is_too_slow_is_cut_off_and_goes_on_where_it_was() {
        let journal = Journal::new();
        (1..=5).for_each(|seq| journal.push(happened(seq)));
        let id = |seq| journal.id(&happened(seq));
        let slow =
            read(&journal, Some(&id(2)), || (6..=MANY).for_each(|seq| journal.push(happened(seq)))).await;
        assert_eq!(slow, [3, 4, 5], "what it had been given, and then the end");
        let again = read(&journal, Some(&id(5)), || {}).await;
        assert_eq!(again, (6..=MANY).collect::<Vec<_>>());
        let quick = read(&journal, Some(&id(MANY)), || journal.push(happened(MANY + 1))).await;
        assert_eq!(quick, [MANY + 1]);
        (MANY + 2..=3 * MANY).for_each(|seq| journal.push(happened(seq)));
        assert_eq!(read(&journal, Some(&id(5)), || {}).await, [0], "too late: it looks at everything again");
    }
}
