//! A run's output on its way to whoever is attached, and how much of it was taken care of.

use bytes::Bytes;
use dtma_core::port::runtime::{OutputChunk, OutputStream};
use dtma_wire::{LOG_BYTES, OUTPUT_WINDOW, Output};
use std::collections::VecDeque;
use std::task::{Context, Waker};

/// Of standard output nothing is lost: it is bounded by how much the shim may send. Of standard error what whoever is
/// attached does not take in time is dropped beyond [`LOG_BYTES`].
///
/// ```text
///      consumed          taken              received            limit
///  -------+----------------+-------------------+------------------+
///   acknowledged   half a line in          waits here      may come
///   to the shim    the reader's hands
/// ```
///
/// At first all but `consumed` may be before it: what a former daemon acknowledged and comes again.
#[derive(Debug, Default)]
pub(crate) struct Intake {
    queue: VecDeque<OutputChunk>,
    errors: usize,
    /// Where the run's output was acknowledged to.
    consumed: u64,
    /// What is before comes again.
    known: u64,
    /// After the last newline that was taken.
    line: u64,
    taken: u64,
    received: u64,
    /// What was last told to the shim.
    told: (u64, u64),
    /// The output begins within a line, which nobody can use.
    skips: bool,
    /// Nothing more comes.
    ended: bool,
    reader: Option<Waker>,
}

impl Intake {
    /// Output that begins with a line and goes on at `base`.
    pub(crate) fn new(base: u64) -> Self {
        Self::after(&Output { base, acknowledged: base, end: base, torn: false })
    }

    /// Output of which a shim told.
    pub(crate) fn after(output: &Output) -> Self {
        let Output { base, acknowledged: known, torn, .. } = *output;
        let (consumed, line, told) = (known, known, (known, base));
        Self { consumed, known, line, taken: base, received: base, told, skips: torn, ..Self::default() }
    }

    /// From where it is wanted after a lost connection.
    pub(crate) fn received(&self) -> u64 {
        self.received
    }

    /// Up to where the last reader took care of it, when that is not all that came: a new reader has to begin there.
    pub(crate) fn rewind(&self) -> Option<u64> {
        (self.consumed < self.received).then_some(self.consumed)
    }

    /// How far it may be sent.
    pub(crate) fn limit(&self) -> u64 {
        self.taken + OUTPUT_WINDOW as u64
    }

    /// A piece came; false when it does not follow the last one.
    pub(crate) fn output(&mut self, offset: u64, bytes: &[u8]) -> bool {
        if offset != self.received || offset + bytes.len() as u64 > self.limit() {
            return false;
        }
        let border = usize::try_from(self.known.saturating_sub(offset)).unwrap_or(usize::MAX);
        let (again, new) = bytes.split_at(border.min(bytes.len()));
        for (bytes, again) in [(again, true), (new, false)] {
            if !bytes.is_empty() {
                let chunk = OutputChunk::new(OutputStream::Stdout, Bytes::copy_from_slice(bytes));
                self.push(OutputChunk { offset: Some(self.received), again, ..chunk });
                self.received += bytes.len() as u64;
            }
        }
        true
    }

    /// Words for people came.
    pub(crate) fn errors(&mut self, bytes: &[u8]) {
        if self.errors + bytes.len() <= LOG_BYTES {
            self.errors += bytes.len();
            self.push(OutputChunk::new(OutputStream::Stderr, Bytes::copy_from_slice(bytes)));
        }
    }

    fn push(&mut self, chunk: OutputChunk) {
        self.queue.push_back(chunk);
        self.wake();
    }

    /// Nothing more comes; what is here may still be taken.
    pub(crate) fn end(&mut self) {
        self.ended = true;
        self.wake();
    }

    /// Whoever reads has a look.
    pub(crate) fn wake(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }

    /// The next piece, `Some(None)` at the end, `None` when there is nothing yet. Whoever asks has taken care of all
    /// whole lines that it was given before.
    pub(crate) fn take(&mut self, context: &Context<'_>) -> Option<Option<OutputChunk>> {
        self.settle();
        while let Some(chunk) = self.queue.pop_front() {
            if let Some(chunk) = self.taken(chunk) {
                return Some(Some(chunk));
            }
        }
        if self.ended {
            return Some(None);
        }
        self.reader = Some(context.waker().clone());
        None
    }

    /// Whole lines are acknowledged; of a line longer than half the window its parts have to be.
    fn settle(&mut self) {
        self.consumed = self.line;
        if self.taken.saturating_sub(self.consumed) > OUTPUT_WINDOW as u64 / 2 {
            (self.consumed, self.line) = (self.taken, self.taken);
        }
    }

    fn taken(&mut self, chunk: OutputChunk) -> Option<OutputChunk> {
        let length = chunk.bytes.len();
        match chunk.stream {
            OutputStream::Stderr => {
                self.errors -= length;
                Some(chunk)
            }
            OutputStream::Stdout => {
                let newline = chunk.bytes.iter().rposition(|byte| *byte == b'\n');
                if let Some(newline) = newline {
                    self.line = self.line.max(self.taken + newline as u64 + 1);
                }
                self.taken += length as u64;
                self.without_tail(chunk)
            }
        }
    }

    /// Drops what belongs to a line that began before.
    fn without_tail(&mut self, mut chunk: OutputChunk) -> Option<OutputChunk> {
        if !self.skips {
            return Some(chunk);
        }
        let newline = chunk.bytes.iter().position(|byte| *byte == b'\n')?;
        self.skips = false;
        chunk.bytes = chunk.bytes.slice(newline + 1..);
        chunk.offset = chunk.offset.map(|offset| offset + newline as u64 + 1);
        (!chunk.bytes.is_empty()).then_some(chunk)
    }

    /// What the shim is to be told, when it does not know it yet: acknowledged so far, and allowed so far.
    pub(crate) fn news(&mut self) -> Option<(u64, u64)> {
        let news = (self.consumed, self.limit());
        (news != self.told).then(|| {
            self.told = news;
            news
        })
    }

    /// So far the shim may send as it was told just now; whatever it was told before does not hold any more.
    pub(crate) fn told(&mut self, limit: u64) {
        self.told = (self.consumed, limit);
    }

    /// True when the shim might stop soon for want of news.
    pub(crate) fn is_urgent(&self) -> bool {
        self.limit().saturating_sub(self.told.1) >= OUTPUT_WINDOW as u64 / 4
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(intake: &mut Intake) -> Option<Option<String>> {
        let context = Context::from_waker(Waker::noop());
        let taken = intake.take(&context)?;
        Some(taken.map(|chunk| String::from_utf8(chunk.bytes.to_vec()).unwrap()))
    }

    #[test]
    fn only_whole_lines_are_acknowledged_and_only_when_the_reader_comes_back() {
        let mut intake = Intake::new(100);
        assert!(intake.output(100, b"one\ntw"));
        assert_eq!(next(&mut intake), Some(Some("one\ntw".into())));
        assert_eq!(intake.news(), Some((100, 106 + OUTPUT_WINDOW as u64)));
        assert_eq!(next(&mut intake), None);
        assert_eq!(intake.news(), Some((104, 106 + OUTPUT_WINDOW as u64)));
        assert_eq!(intake.news(), None);
        assert_eq!(intake.rewind(), Some(104));
        assert!(!intake.output(107, b"x"), "a gap");
        assert!(intake.output(106, b"o\n"));
        intake.end();
        assert_eq!(next(&mut intake), Some(Some("o\n".into())));
        assert_eq!(next(&mut intake), Some(None));
        assert_eq!(intake.rewind(), None);
    }

    #[test]
    fn a_line_longer_than_the_window_passes() {
        let mut intake = Intake::new(0);
        let piece = vec![b'x'; 64 << 10];
        let mut offset = 0;
        for _ in 0..64 {
            assert!(intake.output(offset, &piece), "at {offset}");
            offset += piece.len() as u64;
            assert!(next(&mut intake).is_some_and(|taken| taken.is_some()));
        }
        assert!(intake.rewind().is_some_and(|from| offset - from <= OUTPUT_WINDOW as u64));
    }

    #[test]
    fn the_rest_of_a_torn_line_is_dropped() {
        let mut intake =
            Intake::after(&Output { base: 10, acknowledged: 10, torn: true, ..Output::default() });
        assert!(intake.output(10, b"rest of it"));
        assert!(intake.output(20, b"\nnext\n"));
        assert_eq!(next(&mut intake), Some(Some("next\n".into())));
    }

    #[test]
    fn what_was_acknowledged_comes_again_and_says_so() {
        let output = Output { base: 10, acknowledged: 20, end: 26, torn: true };
        let mut intake = Intake::after(&output);
        assert!(intake.output(10, b"il\nagain.\nnew\nne"));
        let context = Context::from_waker(Waker::noop());
        let mut next = || match intake.take(&context) {
            Some(Some(chunk)) => (chunk.bytes, chunk.offset, chunk.again),
            other => panic!("{other:?}"),
        };
        assert_eq!(next(), (Bytes::from_static(b"again.\n"), Some(13), true));
        assert_eq!(next(), (Bytes::from_static(b"new\nne"), Some(20), false));
        assert!(intake.take(&context).is_none());
        assert_eq!(intake.news(), Some((24, 26 + OUTPUT_WINDOW as u64)));
    }

    #[test]
    fn nobody_waits_for_a_reader_of_errors() {
        let mut intake = Intake::new(0);
        for _ in 0..1000 {
            intake.errors(&[b'e'; 1000]);
        }
        let mut held = 0;
        while let Some(Some(text)) = next(&mut intake) {
            held += text.len();
        }
        assert!(held <= LOG_BYTES && held > LOG_BYTES / 2, "{held}");
    }
}
