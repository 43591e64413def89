//! The last lines that a server wrote and that are no protocol, in memory only: its container has no log of its
//! own, because a log on disk would hold every message in clear.
//!
//! Bounded in lines and bytes: the oldest line goes first. A follower that is slower than the ring turns misses
//! the lines in between.

use dtma_core::Timestamp;
use dtma_core::port::runtime::{LogLine, LogQuery, OutputStream};
use futures_util::stream::{self, BoxStream, StreamExt};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// Longest line kept; what is more is cut off.
pub(crate) const MAX_LINE: usize = 16 << 10;

/// What a line costs beside its text.
const OVERHEAD: usize = size_of::<LogLine>();

/// Lines read at a time, so that a long log neither blocks the writer nor is copied whole.
const BATCH: usize = 256;

/// Makes a ring of at most so many lines and bytes.
pub(crate) fn ring(max_lines: usize, max_bytes: usize) -> (LogWriter, LogReader) {
    let kept = Arc::new(Mutex::new(Kept { lines: VecDeque::new(), first: 0, bytes: 0 }));
    let (end, seen) = watch::channel(0);
    (LogWriter { kept: kept.clone(), end, max_lines, max_bytes }, LogReader { kept, seen })
}

/// The writing side; followers end when it is dropped.
pub(crate) struct LogWriter {
    kept: Arc<Mutex<Kept>>,
    end: watch::Sender<u64>,
    max_lines: usize,
    max_bytes: usize,
}

/// The reading side.
#[derive(Clone)]
pub(crate) struct LogReader {
    kept: Arc<Mutex<Kept>>,
    seen: watch::Receiver<u64>,
}

struct Kept {
    lines: VecDeque<LogLine>,
    /// The number of the oldest line kept; numbers are never used again.
    first: u64,
    bytes: usize,
}

impl LogWriter {
    /// Keeps a line. Bytes that are not UTF-8 are replaced.
    pub(crate) fn push(&self, at: Timestamp, stream: OutputStream, text: &[u8]) {
        let mut kept = lock(&self.kept);
        kept.push(LogLine { at, stream, text: shown(text) });
        while kept.lines.len() > self.max_lines.max(1) || kept.bytes > self.max_bytes {
            kept.drop_oldest();
        }
        let end = kept.end();
        drop(kept);
        self.end.send_replace(end);
    }
}

impl LogReader {
    /// The lines of `query`. Following goes on until the writer is dropped, or past a line that is not before
    /// `until`.
    pub(crate) fn query(&self, query: &LogQuery) -> BoxStream<'static, LogLine> {
        let start = lock(&self.kept).start(query);
        let reading = Reading { reader: self.clone(), query: query.clone(), next: start };
        stream::unfold(reading, Reading::batch).flat_map(stream::iter).boxed()
    }
}

struct Reading {
    reader: LogReader,
    query: LogQuery,
    next: u64,
}

impl Reading {
    /// The next lines, or `None` at the end.
    async fn batch(mut self) -> Option<(Vec<LogLine>, Self)> {
        loop {
            // Marked as seen before looking, so that a line written in between wakes us again.
            self.reader.seen.borrow_and_update();
            let (lines, past_end) = self.take();
            if past_end {
                self.query.follow = false;
                self.next = u64::MAX;
            }
            if !lines.is_empty() {
                return Some((lines, self));
            }
            if !self.query.follow || self.reader.seen.changed().await.is_err() {
                return None;
            }
        }
    }

    fn take(&mut self) -> (Vec<LogLine>, bool) {
        let kept = lock(&self.reader.kept);
        let from = self.next.max(kept.first);
        let skip = usize::try_from(from - kept.first).unwrap_or(usize::MAX);
        let batch: Vec<LogLine> = kept.lines.iter().skip(skip).take(BATCH).cloned().collect();
        self.next = from + batch.len() as u64;
        let past_end = batch.iter().any(|line| self.query.until.is_some_and(|until| line.at >= until));
        (batch.into_iter().filter(|line| matches(line, &self.query)).collect(), past_end)
    }
}

impl Kept {
    fn push(&mut self, line: LogLine) {
        self.bytes += line.text.len() + OVERHEAD;
        self.lines.push_back(line);
    }

    fn drop_oldest(&mut self) {
        let Some(line) = self.lines.pop_front() else { return };
        self.bytes -= line.text.len() + OVERHEAD;
        self.first += 1;
    }

    fn end(&self) -> u64 {
        self.first + self.lines.len() as u64
    }

    /// The number of the first line to show.
    fn start(&self, query: &LogQuery) -> u64 {
        let Some(tail) = query.tail else { return self.first };
        let wanted = self.lines.iter().enumerate().rev().filter(|(_, line)| matches(line, query)).take(tail);
        let first_wanted = wanted.last().map_or(self.lines.len(), |(index, _)| index);
        self.first + first_wanted as u64
    }
}

fn matches(line: &LogLine, query: &LogQuery) -> bool {
    query.since.is_none_or(|since| line.at >= since) && query.until.is_none_or(|until| line.at < until)
}

fn shown(text: &[u8]) -> String {
    let text = text.strip_suffix(b"\r").unwrap_or(text);
    match text.get(..MAX_LINE) {
        None => String::from_utf8_lossy(text).into_owned(),
        Some(head) => format!("{} [{} bytes more]", String::from_utf8_lossy(head), text.len() - MAX_LINE),
    }
}

/// A panic elsewhere cannot have left the lines half changed in a way that matters to a log.
fn lock(kept: &Mutex<Kept>) -> MutexGuard<'_, Kept> {
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
