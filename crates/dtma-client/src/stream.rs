//! Streams of the API: events of the daemon, lines of a log.

use crate::error::Error;
use crate::sse::{SseEvent, SseParser};
use dtma_api_types::{EventView, LogLineView};
use futures_util::stream::{BoxStream, StreamExt, try_unfold};
use http_body_util::BodyExt;
use hyper::body::Incoming;

/// Something on the event stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventMessage {
    /// It happened.
    Happened {
        /// Give it back to resume after it.
        id: Option<String>,
        /// What.
        event: Box<EventView>,
    },
    /// Events were lost (too old, or the daemon was started anew): look at everything again.
    Reset,
}

/// Events until the connection ends.
pub type EventStream = BoxStream<'static, Result<EventMessage, Error>>;

/// Log lines until the connection or the log ends.
pub type LogLines = BoxStream<'static, Result<LogLineView, Error>>;

/// Cuts a body into server-sent events.
pub(crate) fn sse(body: Incoming) -> BoxStream<'static, Result<SseEvent, Error>> {
    let state = (body, SseParser::default());
    try_unfold(state, |(mut body, mut parser)| async move {
        loop {
            if let Some(event) = parser.pop() {
                return Ok(Some((event, (body, parser))));
            }
            let Some(frame) = body.frame().await else { return Ok(None) };
            let frame = frame.map_err(|error| Error::Broken(error.into()))?;
            if let Ok(bytes) = frame.into_data() {
                parser.push(&bytes).map_err(|error| Error::Broken(error.into()))?;
            }
        }
    })
    .boxed()
}

pub(crate) fn events(body: Incoming) -> EventStream {
    sse(body).map(|event| event.and_then(|event| event_message(&event))).boxed()
}

fn event_message(event: &SseEvent) -> Result<EventMessage, Error> {
    if event.name == "reset" {
        return Ok(EventMessage::Reset);
    }
    Ok(EventMessage::Happened { id: event.id.clone(), event: Box::new(decode(event)?) })
}

pub(crate) fn log_lines(body: Incoming) -> LogLines {
    let lines = sse(body).filter_map(|event| async move {
        match event {
            Ok(event) if event.name == "line" => Some(decode(&event)),
            Ok(event) if event.name == "error" => Some(Err(Error::Broken(event.data.into()))),
            Ok(_) => None,
            Err(error) => Some(Err(error)),
        }
    });
    lines.boxed()
}

fn decode<T: serde::de::DeserializeOwned>(event: &SseEvent) -> Result<T, Error> {
    serde_json::from_str(&event.data)
        .map_err(|problem| Error::Unexpected { status: 200, problem: problem.to_string() })
}
