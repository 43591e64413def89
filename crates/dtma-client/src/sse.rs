//! Server-sent events as they come off the wire (the WHATWG rules): bytes in, cut anywhere; whole events out.

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
#[derive(Debug, Default)]
pub struct SseParser {
    line: Vec<u8>,
    after_cr: bool,
    started: bool,
    name: String,
    data: String,
    has_data: bool,
    id: Option<String>,
    ready: VecDeque<SseEvent>,
}

impl SseParser {
    /// Takes the next piece of the stream.
    ///
    /// # Errors
    /// [`SseError`]; the stream cannot be read any further then.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), SseError> {
        for &byte in bytes {
            let after_cr = std::mem::replace(&mut self.after_cr, byte == b'\r');
            match byte {
                b'\n' if after_cr => {}
                b'\n' | b'\r' => self.end_line()?,
                other => self.line.push(other),
            }
        }
        if self.line.len() + self.data.len() > MAX_EVENT { Err(SseError::TooLong) } else { Ok(()) }
    }

    /// The next whole event, if there is one.
    pub fn pop(&mut self) -> Option<SseEvent> {
        self.ready.pop_front()
    }

    fn end_line(&mut self) -> Result<(), SseError> {
        let line = std::mem::take(&mut self.line);
        let mut line = std::str::from_utf8(&line).map_err(|_| SseError::NotText)?;
        if !std::mem::replace(&mut self.started, true) {
            line = line.strip_prefix('\u{feff}').unwrap_or(line);
        }
        if line.is_empty() {
            self.end_event();
        } else {
            let (field, value) = line.split_once(':').unwrap_or((line, ""));
            self.field(field, value.strip_prefix(' ').unwrap_or(value));
        }
        Ok(())
    }

    /// A line without a field name is a comment; fields that are not known are ignored.
    fn field(&mut self, field: &str, value: &str) {
        match field {
            "event" => value.clone_into(&mut self.name),
            "data" => {
                if std::mem::replace(&mut self.has_data, true) {
                    self.data.push('\n');
                }
                self.data.push_str(value);
            }
            "id" if !value.contains('\0') => self.id = Some(value.to_owned()),
            _ => {}
        }
    }

    fn end_event(&mut self) {
        let name = std::mem::take(&mut self.name);
        let data = std::mem::take(&mut self.data);
        if std::mem::take(&mut self.has_data) {
            self.ready.push_back(SseEvent { name, data, id: self.id.clone() });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &str = "\u{feff}: hello\r\nid: 1\nevent: phase\ndata: {\"a\":\ndata:1}\n\nevent: lost\n\n\
                          retry: 5\rdata\rdata: x\r\rdata: never ended";

    fn expected() -> Vec<SseEvent> {
        let event =
            |name: &str, data: &str| SseEvent { name: name.into(), data: data.into(), id: Some("1".into()) };
        vec![event("phase", "{\"a\":\n1}"), event("", "\nx")]
    }

    #[test]
    fn a_stream_means_the_same_however_it_is_cut() {
        for size in 1..STREAM.len() {
            let mut parser = SseParser::default();
            STREAM.as_bytes().chunks(size).for_each(|chunk| parser.push(chunk).unwrap());
            let events: Vec<_> = std::iter::from_fn(|| parser.pop()).collect();
            assert_eq!(events, expected(), "cut every {size} bytes");
        }
    }

    #[test]
    fn what_is_not_text_or_never_ends_is_refused() {
        assert_eq!(SseParser::default().push(b"data: \xff\n"), Err(SseError::NotText));
        assert_eq!(SseParser::default().push(&vec![b'x'; MAX_EVENT + 1]), Err(SseError::TooLong));
    }
}
