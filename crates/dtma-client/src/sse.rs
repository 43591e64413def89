//! Server-sent events of the daemon: text, cut anywhere.

use dtma_sse::{Event, Events};
use std::collections::VecDeque;

/// An event longer than this is an error of the sender (the gateway's own limit is lower).
const MAX_EVENT: usize = 32 << 20;

/// One event.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SseEvent {
    /// Its `event:`; empty means `message`.
    pub name: String,
    /// Its `data:` lines, joined by newlines.
    pub data: String,
    /// The last `id:` seen, on this event or an earlier one.
    pub id: Option<String>,
}

/// The sender broke the rules.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SseError {
    /// An event that never ends.
    #[error("an event is longer than {MAX_EVENT} bytes")]
    TooLong,
    /// Events are UTF-8.
    #[error("an event is not UTF-8")]
    NotText,
}

/// Takes bytes and gives events.
#[derive(Debug)]
pub struct SseParser {
    events: Events,
    ready: VecDeque<SseEvent>,
}

impl Default for SseParser {
    fn default() -> Self {
        Self { events: Events::new(MAX_EVENT), ready: VecDeque::new() }
    }
}

impl SseParser {
    /// Takes the next piece of the stream.
    ///
    /// # Errors
    /// [`SseError`]; the stream cannot be read any further then.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), SseError> {
        let pushed = self.events.push(bytes);
        while let Some(event) = self.events.pop() {
            self.ready.push_back(text(event)?);
        }
        pushed.map_err(|_| SseError::TooLong)
    }

    /// The next whole event, if there is one.
    pub fn pop(&mut self) -> Option<SseEvent> {
        self.ready.pop_front()
    }
}

fn text(event: Event) -> Result<SseEvent, SseError> {
    let data = String::from_utf8(event.data.into()).map_err(|_| SseError::NotText)?;
    Ok(SseEvent { name: event.name, data, id: event.id.map(|id| id.as_ref().to_owned()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_text_and_those_before_a_mistake_are_not_lost() {
        let mut parser = SseParser::default();
        parser.push("id: 1\nevent: phase\ndata: é\n\ndata: y".as_bytes()).unwrap();
        let event = SseEvent { name: "phase".into(), data: "é".into(), id: Some("1".into()) };
        assert_eq!(parser.pop(), Some(event));
        assert_eq!(parser.push(b"\n\ndata: \xff\n\n"), Err(SseError::NotText));
        assert_eq!(parser.pop().map(|event| event.data), Some("y".into()));
        let long = vec![b'x'; MAX_EVENT + dtma_sse::FIELDS + 1];
        assert_eq!(SseParser::default().push(&long), Err(SseError::TooLong));
    }
}
