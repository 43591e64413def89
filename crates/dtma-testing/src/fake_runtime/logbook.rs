//! The log of one container, as the engine's bounded files keep it.

use super::clock::Clock;
use bytes::BytesMut;
use dtma_core::port::runtime::{LogLine, LogQuery, OutputChunk, OutputStream};
use futures_util::stream::{self, BoxStream};
use futures_util::{FutureExt, StreamExt};
use std::sync::{Arc, Mutex};
use tokio::sync::watch;

/// Lines kept; the oldest are dropped.
const MAX_LINES: usize = 10_000;

#[derive(Debug, Clone)]
pub(super) struct Logbook {
    clock: Arc<Mutex<Clock>>,
    pages: Arc<Mutex<Pages>>,
    /// Changes with every line and with every end of a process.
    news: Arc<watch::Sender<()>>,
}

#[derive(Debug, Default)]
struct Pages {
    lines: Vec<LogLine>,
    /// Lines dropped at the front.
    dropped: usize,
    half_out: BytesMut,
    half_err: BytesMut,
    open: bool,
}

impl Logbook {
    pub(super) fn new(clock: Arc<Mutex<Clock>>) -> Self {
        Self { clock, pages: Arc::default(), news: Arc::new(watch::Sender::new(())) }
    }

    pub(super) fn open(&self) {
        self.pages().open = true;
    }

    /// The process ended: what it wrote of a line is one.
    pub(super) fn close(&self) {
        for stream in [OutputStream::Stdout, OutputStream::Stderr] {
            let rest = self.pages().half(stream).split();
            if !rest.is_empty() {
                self.push(stream, &rest);
            }
        }
        self.pages().open = false;
        self.news.send_replace(());
    }

    pub(super) fn write(&self, chunk: &OutputChunk) {
        self.pages().half(chunk.stream).extend_from_slice(&chunk.bytes);
        loop {
            // A statement of its own: the pages must be free again before the line is pushed.
            let line = self.pages().next_line(chunk.stream);
            let Some(line) = line else { break };
            self.push(chunk.stream, &line);
        }
        self.news.send_replace(());
    }

    fn push(&self, stream: OutputStream, line: &[u8]) {
        let at = self.clock.lock().expect("no panic while the clock is held").tick();
        let text = String::from_utf8_lossy(line).into_owned();
        self.pages().push(LogLine { at, stream, text });
    }

    fn pages(&self) -> std::sync::MutexGuard<'_, Pages> {
        self.pages.lock().expect("no panic while the log is held")
    }

    pub(super) fn reader(&self, query: &LogQuery) -> LogReader {
        let next = self.pages().first_of_tail(query);
        LogReader { news: self.news.subscribe(), book: self.clone(), query: query.clone(), next }
    }
}

impl Pages {
    fn half(&mut self, stream: OutputStream) -> &mut BytesMut {
        match stream {
            OutputStream::Stdout => &mut self.half_out,
            OutputStream::Stderr => &mut self.half_err,
        }
    }

    fn next_line(&mut self, stream: OutputStream) -> Option<BytesMut> {
        let half = self.half(stream);
        let end = half.iter().position(|byte| *byte == b'\n')?;
        let mut line = half.split_to(end + 1);
        line.truncate(end);
        Some(line)
    }

    fn push(&mut self, line: LogLine) {
        if self.lines.len() >= MAX_LINES {
            self.lines.remove(0);
            self.dropped += 1;
        }
        self.lines.push(line);
    }

    fn first_of_tail(&self, query: &LogQuery) -> usize {
        let fitting: Vec<usize> =
            (0..self.lines.len()).filter(|index| fits(query, &self.lines[*index])).collect();
        let skipped = query.tail.map_or(0, |tail| fitting.len().saturating_sub(tail));
        self.dropped + fitting.get(skipped).copied().unwrap_or(self.lines.len())
    }
}

fn fits(query: &LogQuery, line: &LogLine) -> bool {
    query.since.is_none_or(|since| line.at >= since) && query.until.is_none_or(|until| line.at < until)
}

pub(super) struct LogReader {
    book: Logbook,
    query: LogQuery,
    /// Number of the next line, from the first ever written.
    next: usize,
    news: watch::Receiver<()>,
}

impl LogReader {
    pub(super) fn into_stream(self) -> BoxStream<'static, LogLine> {
        stream::unfold(self, |mut reader| async { Some((reader.next().await?, reader)) }.boxed()).boxed()
    }

    async fn next(&mut self) -> Option<LogLine> {
        loop {
            self.news.mark_unchanged();
            let open = self.book.pages().open;
            if let Some(line) = self.read() {
                return Some(line);
            }
            if !(open && self.query.follow) {
                return None;
            }
            self.news.changed().await.ok()?;
        }
    }

    fn read(&mut self) -> Option<LogLine> {
        let pages = self.book.pages();
        loop {
            let line = pages.lines.get(self.next.saturating_sub(pages.dropped))?.clone();
            self.next = self.next.max(pages.dropped) + 1;
            if fits(&self.query, &line) {
                return Some(line);
            }
        }
    }
}
