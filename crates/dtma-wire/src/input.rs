//! The receiving end of a server's input. It tells whole lines from half ones, so that a daemon that dies in the
//! middle of a message leaves no half of it in the server.

use crate::{INPUT_WINDOW, WireError};
use std::collections::VecDeque;

/// Input that was received and not written to the server yet. Offsets count from the run's first byte.
#[derive(Debug, Default)]
pub struct Input {
    pending: VecDeque<u8>,
    written: u64,
    /// Bytes of `pending` up to its last newline.
    whole: usize,
    /// A part of a line was written to the server, and the rest is to follow.
    torn: bool,
    /// It was said that nothing more comes.
    ended: bool,
}

impl Input {
    /// Takes in the next piece.
    ///
    /// # Errors
    /// It does not begin where the last one ended, goes beyond [`limit`](Self::limit), or comes after the end.
    pub fn accept(&mut self, offset: u64, bytes: &[u8]) -> Result<(), WireError> {
        self.expect(offset)?;
        let end = offset + bytes.len() as u64;
        if end > self.limit() {
            return Err(WireError::Window { limit: self.limit(), found: end });
        }
        let before = self.pending.len();
        self.pending.extend(bytes);
        if let Some(newline) = bytes.iter().rposition(|byte| *byte == b'\n') {
            self.whole = before + newline + 1;
        }
        Ok(())
    }

    /// Nothing comes after this. It may be said again, by whoever does not know whether it was heard.
    ///
    /// # Errors
    /// There is a gap before it, or it was said of another place.
    pub fn end(&mut self, offset: u64) -> Result<(), WireError> {
        if !(self.ended && offset == self.received()) {
            self.expect(offset)?;
        }
        self.ended = true;
        Ok(())
    }

    /// True when it was said that nothing more comes.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    fn expect(&self, offset: u64) -> Result<(), WireError> {
        let expected = self.received();
        match !self.ended && offset == expected {
            true => Ok(()),
            false => Err(WireError::Offset { expected, found: offset }),
        }
    }

    /// Everything before this was received.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.written + self.pending.len() as u64
    }

    /// What is to be written to the server now: whole lines, and a part of one only when there is no other way (it is
    /// longer than the window, was begun already, or nothing follows it).
    #[must_use]
    pub fn to_write(&self) -> &[u8] {
        let (front, _) = self.pending.as_slices();
        let now = match self.ended || (self.whole == 0 && self.needs_parts()) {
            true => self.pending.len(),
            false => self.whole,
        };
        &front[..front.len().min(now)]
    }

    fn needs_parts(&self) -> bool {
        self.torn || self.pending.len() >= INPUT_WINDOW
    }

    /// The server took so many bytes of that.
    pub fn wrote(&mut self, count: usize) {
        let last = self.pending.drain(..count.min(self.pending.len())).next_back();
        self.written += count as u64;
        self.whole = self.whole.saturating_sub(count);
        if let Some(last) = last {
            self.torn = last != b'\n';
        }
        if self.pending.is_empty() && self.pending.capacity() > crate::MAX_DATA {
            self.pending = VecDeque::new();
        }
    }

    /// The server reads no more: whatever comes is thrown away.
    pub fn discard(&mut self) {
        self.wrote(self.pending.len());
    }

    /// True when everything was written and nothing more comes.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.ended && self.pending.is_empty()
    }

    /// The daemon went away: a line that it did not finish is forgotten, unless the server has read of it already.
    pub fn lost_sender(&mut self) {
        if !self.keeps_tail() {
            self.pending.truncate(self.whole);
        }
    }

    /// True when the unfinished line at the end is the one that the server has read of.
    fn keeps_tail(&self) -> bool {
        self.ended || (self.torn && self.whole == 0)
    }

    /// Everything before this is kept whatever happens to the daemon, so the daemon need not keep it.
    #[must_use]
    pub fn accepted(&self) -> u64 {
        match self.keeps_tail() {
            true => self.received(),
            false => self.written + self.whole as u64,
        }
    }

    /// How far it may be sent: [`INPUT_WINDOW`] beyond what the server has taken.
    #[must_use]
    pub fn limit(&self) -> u64 {
        self.written + INPUT_WINDOW as u64
    }

    /// True when the server has read a part of a line of which the rest may never come.
    #[must_use]
    pub fn is_torn(&self) -> bool {
        self.torn && self.whole == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_a_line_waits_and_is_forgotten_with_its_sender() {
        let mut input = Input::default();
        input.accept(0, b"one\ntw").unwrap();
        assert_eq!(input.to_write(), b"one\n");
        input.wrote(4);
        assert_eq!((input.to_write(), input.accepted()), (&b""[..], 4));
        input.lost_sender();
        assert_eq!(input.accept(6, b"o\n"), Err(WireError::Offset { expected: 4, found: 6 }));
        input.accept(4, b"two\n").unwrap();
        assert_eq!(input.to_write(), b"two\n");
    }

    #[test]
    fn a_line_longer_than_the_window_passes_in_parts_and_may_be_torn() {
        let mut input = Input::default();
        let long = vec![b'x'; INPUT_WINDOW];
        input.accept(0, &long).unwrap();
        assert!(matches!(input.accept(long.len() as u64, b"x"), Err(WireError::Window { .. })));
        let part = input.to_write().len();
        assert!(part > 0);
        input.wrote(part);
        input.accept(long.len() as u64, b"y").unwrap();
        assert!(input.is_torn());
        input.lost_sender();
        assert_eq!(input.accepted(), long.len() as u64 + 1, "what the server waits for is kept");
        input.accept(input.accepted(), b"\nz").unwrap();
        while !input.to_write().is_empty() {
            input.wrote(input.to_write().len());
        }
        assert!(!input.is_torn());
        assert_eq!(input.accepted(), long.len() as u64 + 2);
    }

    #[test]
    fn the_end_needs_no_newline() {
        let mut input = Input::default();
        input.accept(0, b"bye").unwrap();
        input.end(3).unwrap();
        assert_eq!(input.to_write(), b"bye");
        input.wrote(3);
        assert!(input.is_over() && input.has_ended());
        assert!(input.accept(3, b"x").is_err());
        input.end(3).unwrap();
        assert!(input.end(4).is_err());
    }
}
