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
/// it; `event: reset` says that something was lost and everything should be looked at again.
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
            Err(RecvError::Lagged(_)) => Some((Entry::Gap, receiver)),
            Err(RecvError::Closed) => None,
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
        dtma_api_types::EventKind::Removed => "removed",
        dtma_api_types::EventKind::Unknown => "unknown",
    }
}
