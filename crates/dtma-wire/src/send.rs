//! The sending end of a stream that loses nothing: what was not acknowledged can be sent again, and the last of what was.

use crate::{MAX_DATA, WireError};
use std::collections::VecDeque;

/// Bytes on their way to somebody who may go away and come back. Offsets count from the stream's first byte:
///
/// ```text
///        base       acknowledged      next                    end
///   gone  |  history   |  sent, kept   |  to be sent           |   room up to the capacity
/// --------+------------+---------------+-----------+-----------+------------
///                                                limit: how far it may be sent
/// ```
#[derive(Debug)]
pub struct SendBuffer {
    bytes: VecDeque<u8>,
    base: u64,
    acknowledged: u64,
    next: u64,
    limit: u64,
    capacity: usize,
    history: usize,
    /// What is gone ends in the middle of a line.
    torn: bool,
}

impl SendBuffer {
    /// A stream that goes on at `base` and keeps at most `capacity` bytes. Nothing may be sent before
    /// [`resume`](Self::resume).
    #[must_use]
    pub fn new(base: u64, capacity: usize) -> Self {
        Self {
            bytes: VecDeque::new(),
            base,
            acknowledged: base,
            next: base,
            limit: base,
            capacity,
            history: 0,
            torn: false,
        }
    }

    /// Keeps so many bytes beyond the capacity of what was acknowledged, too.
    #[must_use]
    pub fn with_history(self, history: usize) -> Self {
        Self { history, ..self }
    }

    /// Where what is still there begins.
    #[must_use]
    pub fn base(&self) -> u64 {
        self.base
    }

    /// Everything before this was acknowledged.
    #[must_use]
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged
    }

    /// True when what is gone does not end with a newline: whoever begins at the base begins within a line.
    #[must_use]
    pub fn is_torn(&self) -> bool {
        self.torn
    }

    /// How much was ever pushed.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.base + self.bytes.len() as u64
    }

    /// Bytes that may be pushed now.
    #[must_use]
    pub fn room(&self) -> usize {
        self.capacity.saturating_sub((self.end() - self.acknowledged) as usize)
    }

    /// Takes in as much as there is room for, and says how much that is.
    pub fn push(&mut self, bytes: &[u8]) -> usize {
        let taken = bytes.len().min(self.room());
        self.bytes.extend(&bytes[..taken]);
        taken
    }

    /// What is to be sent next and where it begins: never empty, at most [`MAX_DATA`].
    #[must_use]
    pub fn chunk(&self) -> Option<(u64, &[u8])> {
        let skip = (self.next - self.base) as usize;
        let (front, back) = self.bytes.as_slices();
        let waiting = match skip.checked_sub(front.len()) {
            None => &front[skip..],
            Some(skip) => &back[skip..],
        };
        let allowed = usize::try_from(self.limit.saturating_sub(self.next)).unwrap_or(usize::MAX);
        let chunk = &waiting[..waiting.len().min(allowed).min(MAX_DATA)];
        (!chunk.is_empty()).then_some((self.next, chunk))
    }

    /// So many bytes of the [`chunk`](Self::chunk) are on their way.
    pub fn sent(&mut self, count: usize) {
        self.next = (self.next + count as u64).min(self.end());
    }

    /// True when all that was pushed was sent.
    #[must_use]
    pub fn is_sent(&self) -> bool {
        self.next == self.end()
    }

    /// The other side has taken care of everything before `consumed`, and takes more up to `limit`. What it said
    /// before holds on where that was more.
    ///
    /// # Errors
    /// It says that it has what was never sent.
    pub fn window(&mut self, consumed: u64, limit: u64) -> Result<(), WireError> {
        let sent = self.next.max(self.acknowledged);
        if consumed > sent {
            return Err(WireError::Offset { expected: sent, found: consumed });
        }
        self.acknowledged = self.acknowledged.max(consumed);
        // What is being said again is not taken away from under it.
        let done = self.acknowledged.saturating_sub(self.history as u64).min(self.next);
        let gone = done.saturating_sub(self.base);
        if let Some(last) = self.bytes.drain(..gone as usize).next_back() {
            self.torn = last != b'\n';
        }
        self.base += gone;
        self.limit = self.limit.max(limit);
        self.give_back();
        Ok(())
    }

    /// Somebody (perhaps somebody else) is there again and wants everything from `from` on.
    ///
    /// # Errors
    /// That is not there: gone already, or not written yet.
    pub fn resume(&mut self, from: u64, limit: u64) -> Result<(), WireError> {
        if from < self.base || from > self.end() {
            return Err(WireError::Offset { expected: self.base, found: from });
        }
        (self.next, self.limit) = (from, limit);
        Ok(())
    }

    /// The memory of a burst is not kept for ever.
    fn give_back(&mut self) {
        let rests = self.acknowledged == self.end();
        if rests && self.bytes.capacity() > self.history.max(self.bytes.len()) + MAX_DATA {
            self.bytes.shrink_to_fit();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_acknowledged_is_sent_again() {
        let mut buffer = SendBuffer::new(0, 10);
        assert_eq!(buffer.push(b"hello world"), 10);
        assert_eq!(buffer.chunk(), None, "nobody is there");
        buffer.resume(0, 5).unwrap();
        assert_eq!(buffer.chunk(), Some((0, &b"hello"[..])), "no more than allowed");
        buffer.sent(5);
        assert_eq!(buffer.chunk(), None);
        buffer.window(3, 100).unwrap();
        assert_eq!((buffer.room(), buffer.chunk()), (3, Some((5, &b" worl"[..]))));
        buffer.resume(3, 100).unwrap();
        assert_eq!(buffer.chunk().map(|(at, chunk)| (at, chunk[0])), Some((3, b'l')));
    }

    #[test]
    fn the_last_of_what_was_acknowledged_can_be_sent_again() {
        let mut buffer = SendBuffer::new(0, 4).with_history(3);
        assert_eq!(buffer.push(b"ab\ncd"), 4);
        buffer.resume(0, 100).unwrap();
        buffer.sent(4);
        buffer.window(4, 100).unwrap();
        assert_eq!((buffer.base(), buffer.acknowledged(), buffer.room(), buffer.is_torn()), (1, 4, 4, true));
        assert_eq!(buffer.push(b"d\ne"), 3);
        buffer.resume(1, 100).unwrap();
        assert_eq!(buffer.chunk().map(|(at, chunk)| (at, &chunk[..3])), Some((1, &b"b\nc"[..])));
        buffer.window(4, 100).unwrap();
        assert_eq!(buffer.base(), 1, "nothing new was acknowledged");
        buffer.sent(3);
        assert_eq!(buffer.chunk(), Some((4, &b"d\ne"[..])));
        assert!(buffer.window(7, 100).is_err(), "it was not sent yet");
    }

    #[test]
    fn nobody_has_what_was_never_sent() {
        let mut buffer = SendBuffer::new(7, 10);
        buffer.push(b"abc");
        buffer.resume(7, 100).unwrap();
        buffer.sent(2);
        assert_eq!(buffer.window(10, 100), Err(WireError::Offset { expected: 9, found: 10 }));
        assert!(buffer.resume(6, 100).is_err() && buffer.resume(11, 100).is_err());
    }
}
