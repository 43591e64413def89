//! Server-sent events as they come off the wire (the WHATWG rules): bytes in, cut anywhere; whole events out.
//!
//! Data stays bytes: what it is, is the business of who asked for it. Opening a stream again, with the [`Trail`] of the
//! last one, is left to callers, too.

use bytes::Bytes;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// Room for the fields of an event besides its data, in bytes.
pub const FIELDS: usize = 64 << 10;

/// One event that has a field `data`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Event {
    /// Its `event:`; empty means `message`.
    pub name: String,
    /// Its `data:` lines, joined by newlines; empty in an event that only says where the stream is.
    pub data: Bytes,
    /// The last `id:` seen, on this event or an earlier one.
    pub id: Option<Arc<str>>,
}

impl Event {
    /// True when it brings a message, and not something by another name or nothing at all.
    #[must_use]
    pub fn is_message(&self) -> bool {
        matches!(self.name.as_str(), "" | "message") && !self.data.is_empty()
    }
}

/// An event never ends.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an event is longer than {limit} bytes")]
pub struct TooLong {
    /// How long one may be, its other fields included.
    pub limit: usize,
}

/// Where a stream can be taken up again.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Trail {
    /// The last `id:` of a whole event.
    pub last_id: Option<Arc<str>>,
    /// How long to wait before.
    pub retry: Option<Duration>,
}

/// Takes bytes and gives events.
#[derive(Debug)]
pub struct Events {
    limit: usize,
    line: Vec<u8>,
    after_cr: bool,
    started: bool,
    name: String,
    id: Option<Arc<str>>,
    data: Vec<u8>,
    has_data: bool,
    ready: VecDeque<Event>,
    /// Where the stream can be taken up again.
    pub trail: Trail,
}

impl Events {
    /// Events of at most so many bytes of data.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self {
            limit: limit.saturating_add(FIELDS),
            line: Vec::new(),
            after_cr: false,
            started: false,
            name: String::new(),
            id: None,
            data: Vec::new(),
            has_data: false,
            ready: VecDeque::new(),
            trail: Trail::default(),
        }
    }

    /// Takes the next piece of the stream.
    ///
    /// # Errors
    /// [`TooLong`]; the stream cannot be read any further then. What was whole before can still be taken.
    pub fn push(&mut self, mut rest: &[u8]) -> Result<(), TooLong> {
        while let Some(at) = memchr::memchr2(b'\n', b'\r', rest) {
            let (head, tail) = rest.split_at(at);
            let after_cr = std::mem::replace(&mut self.after_cr, tail.starts_with(b"\r"));
            let second_half = after_cr && head.is_empty() && tail.starts_with(b"\n");
            if !second_half {
                self.keep(head)?;
                self.end_line();
            }
            rest = tail.get(1..).unwrap_or_default();
        }
        self.after_cr &= rest.is_empty();
        self.keep(rest)
    }

    /// The next whole event, if there is one.
    pub fn pop(&mut self) -> Option<Event> {
        self.ready.pop_front()
    }

    fn keep(&mut self, piece: &[u8]) -> Result<(), TooLong> {
        if self.line.len() + self.data.len() + piece.len() > self.limit {
            return Err(TooLong { limit: self.limit });
        }
        self.line.extend_from_slice(piece);
        Ok(())
    }

    fn end_line(&mut self) {
        let line = std::mem::take(&mut self.line);
        let bom: &[u8] = if std::mem::replace(&mut self.started, true) { b"" } else { b"\xef\xbb\xbf" };
        let line = line.strip_prefix(bom).unwrap_or(&line);
        if line.is_empty() {
            return self.end_event();
        }
        let at = memchr::memchr(b':', line).unwrap_or(line.len());
        let (field, value) = line.split_at(at);
        let value = value.strip_prefix(b":").unwrap_or(value);
        self.field(field, value.strip_prefix(b" ").unwrap_or(value));
    }

    /// A line without a field name is a comment; fields that are not known are ignored.
    fn field(&mut self, field: &[u8], value: &[u8]) {
        let text = || String::from_utf8_lossy(value);
        match field {
            b"event" => self.name = text().into_owned(),
            b"data" => {
                if std::mem::replace(&mut self.has_data, true) {
                    self.data.push(b'\n');
                }
                self.data.extend_from_slice(value);
            }
            b"id" if !value.contains(&0) => self.id = Some(text().as_ref().into()),
            b"retry" if value.iter().all(u8::is_ascii_digit) => {
                let millis = text().parse().ok();
                self.trail.retry = millis.map(Duration::from_millis).or(self.trail.retry);
            }
            _ => {}
        }
    }

    fn end_event(&mut self) {
        let name = std::mem::take(&mut self.name);
        let data = std::mem::take(&mut self.data);
        let id = self.id.clone().filter(|id| !id.is_empty());
        if self.id.is_some() {
            self.trail.last_id.clone_from(&id);
        }
        if std::mem::take(&mut self.has_data) {
            self.ready.push_back(Event { name, data: data.into(), id });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &[u8] =
        b"\xef\xbb\xbf: hello\r\nid: 1\nevent: phase\ndata: {\"a\":\ndata:1}\n\nevent: lost\n\n\
                            retry: 5\rdata\rdata: x\r\rid: 7\ndata: \n\nid: 8\ndata: never ended";

    #[test]
    fn a_stream_means_the_same_however_it_is_cut() {
        let event = |name: &str, data: &'static str, id: &str| Event {
            name: name.into(),
            data: data.into(),
            id: Some(id.into()),
        };
        let expected = [event("phase", "{\"a\":\n1}", "1"), event("", "\nx", "1"), event("", "", "7")];
        for size in 1..STREAM.len() {
            let mut events = Events::new(100);
            STREAM.chunks(size).for_each(|chunk| events.push(chunk).unwrap());
            let found: Vec<_> = std::iter::from_fn(|| events.pop()).collect();
            assert_eq!(found, expected, "cut every {size} bytes");
            let trail = Trail { last_id: Some("7".into()), retry: Some(Duration::from_millis(5)) };
            assert_eq!(events.trail, trail, "cut every {size} bytes");
        }
        assert_eq!(expected.map(|event| event.is_message()), [false, true, false]);
    }

    #[test]
    fn an_event_that_never_ends_is_refused_and_many_short_ones_are_not() {
        let mut events = Events::new(0);
        for _ in 0..100 {
            events.push(&[b"data: ", &[b'x'; 1024][..], b"\n\n"].concat()).unwrap();
        }
        assert_eq!(std::iter::from_fn(|| events.pop()).count(), 100);
        assert_eq!(events.push(&[b'x'; FIELDS + 1]), Err(TooLong { limit: FIELDS }));
    }

    #[test]
    fn only_digits_are_a_time_to_wait() {
        for (said, retry) in [("10", Some(10)), ("+5", None), ("1s", None), ("", None), ("-1", None)] {
            let mut events = Events::new(0);
            events.push(format!("retry: {said}\n\n").as_bytes()).unwrap();
            assert_eq!(events.trail.retry, retry.map(Duration::from_millis), "{said}");
        }
    }
}
