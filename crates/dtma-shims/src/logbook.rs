//! What a container said for people, as lines, for whoever asks for its log.

use crate::lines::LineMaker;
use dtma_core::Timestamp;
use dtma_core::port::runtime::{LogLine, LogQuery};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// What one line costs besides its text.
const LINE_COST: usize = 64;

/// The newest lines of one container, up to a number of bytes.
pub(crate) struct Logbook {
    book: Mutex<Book>,
    /// How many lines were ever written; `None` once the book is closed.
    grown: watch::Sender<Option<u64>>,
}

struct Book {
    lines: VecDeque<LogLine>,
    makers: [LineMaker; 2],
    first: u64,
    cost: usize,
    capacity: usize,
}

impl Logbook {
    pub(crate) fn new(capacity: usize) -> Arc<Self> {
        let makers = [LineMaker::default(), LineMaker::default()];
        let book = Book { lines: VecDeque::new(), makers, first: 0, cost: 0, capacity };
        Arc::new(Self { book: Mutex::new(book), grown: watch::Sender::new(Some(0)) })
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes down a piece, cut anywhere.
    pub(crate) fn write(&self, at: Timestamp, stderr: bool, bytes: &[u8]) {
        let mut book = self.book();
        let mut lines = Vec::new();
        book.makers[usize::from(stderr)].push(at, stderr, bytes, &mut lines);
        lines.into_iter().for_each(|line| book.add(line));
        self.tell(&book);
    }

    /// A run is over: what it left without a newline is a line, too.
    pub(crate) fn end_lines(&self) {
        let mut book = self.book();
        let rest: Vec<LogLine> = book.makers.iter_mut().filter_map(LineMaker::rest).collect();
        rest.into_iter().for_each(|line| book.add(line));
        self.tell(&book);
    }

    fn tell(&self, book: &Book) {
        let end = book.end();
        self.grown
            .send_if_modified(|told| told.as_mut().is_some_and(|told| std::mem::replace(told, end) != end));
    }

    /// Takes all lines out, for somebody who keeps them instead.
    pub(crate) fn drain(&self) -> Vec<String> {
        self.end_lines();
        let mut book = self.book();
        book.first = book.end();
        book.cost = 0;
        book.lines.drain(..).map(|line| line.text + "\n").collect()
    }

    /// Nothing is written any more: whoever follows is at the end.
    pub(crate) fn close(&self) {
        self.end_lines();
        self.grown.send_replace(None);
    }

    /// Reads it.
    pub(crate) fn read(self: &Arc<Self>, query: &LogQuery) -> Reader {
        let book = self.book();
        let fits = |line: &LogLine| {
            query.since.is_none_or(|since| line.at >= since)
                && query.until.is_none_or(|until| line.at < until)
        };
        let fitting: Vec<u64> =
            (book.first..).zip(&book.lines).filter(|(_, line)| fits(line)).map(|(place, _)| place).collect();
        let skipped = query.tail.map_or(0, |tail| fitting.len().saturating_sub(tail));
        let next = fitting.get(skipped).copied().unwrap_or_else(|| book.end());
        let stop =
            (!query.follow || query.until.is_some()).then(|| fitting.last().map_or(next, |last| last + 1));
        let grown = self.grown.subscribe();
        Reader { logbook: Arc::clone(self), grown, next, stop, since: query.since, until: query.until }
    }
}

impl Book {
    fn end(&self) -> u64 {
        self.first + self.lines.len() as u64
    }

    fn add(&mut self, line: LogLine) {
        self.cost += LINE_COST + line.text.len();
        self.lines.push_back(line);
        while self.cost > self.capacity
            && let Some(oldest) = self.lines.pop_front()
        {
            self.cost -= LINE_COST + oldest.text.len();
            self.first += 1;
        }
    }

    fn line(&self, place: u64) -> Option<&LogLine> {
        self.lines.get(usize::try_from(place.checked_sub(self.first)?).ok()?)
    }
}

/// Somebody who reads a logbook.
pub(crate) struct Reader {
    logbook: Arc<Logbook>,
    grown: watch::Receiver<Option<u64>>,
    next: u64,
    stop: Option<u64>,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
}

impl Reader {
    /// The next line; `None` at the end. Lines that were forgotten before they were read are passed over.
    pub(crate) async fn next(&mut self) -> Option<LogLine> {
        loop {
            let over = self.grown.borrow_and_update().is_none();
            if let Some(line) = self.at_hand() {
                return Some(line);
            }
            if over || self.stop.is_some() || self.grown.changed().await.is_err() {
                return None;
            }
        }
    }

    fn at_hand(&mut self) -> Option<LogLine> {
        let book = self.logbook.book();
        self.next = self.next.max(book.first);
        while self.stop.is_none_or(|stop| self.next < stop) {
            let line = book.line(self.next)?;
            self.next += 1;
            let late = self.until.is_some_and(|until| line.at >= until);
            if !late && self.since.is_none_or(|since| line.at >= since) {
                return Some(line.clone());
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    async fn texts(book: &Arc<Logbook>, query: &LogQuery) -> Vec<String> {
        let mut reader = book.read(query);
        let mut texts = Vec::new();
        while let Some(line) = reader.next().await {
            texts.push(line.text);
        }
        texts
    }

    fn book() -> Arc<Logbook> {
        let book = Logbook::new(1000);
        for second in 0..4 {
            book.write(at(second), false, format!("line {second}\n").as_bytes());
        }
        book
    }

    #[tokio::test]
    async fn the_wanted_part_is_read() {
        let book = book();
        let tail = LogQuery { tail: Some(2), ..LogQuery::default() };
        assert_eq!(texts(&book, &tail).await, ["line 2", "line 3"]);
        let middle = LogQuery { since: Some(at(1)), until: Some(at(3)), ..LogQuery::default() };
        assert_eq!(texts(&book, &middle).await, ["line 1", "line 2"]);
        let none = LogQuery { tail: Some(0), ..LogQuery::default() };
        assert_eq!(texts(&book, &none).await, Vec::<String>::new());
    }

    #[tokio::test]
    async fn whoever_follows_hears_what_comes_until_the_book_is_closed() {
        let book = book();
        let follow = LogQuery { tail: Some(1), follow: true, ..LogQuery::default() };
        let mut reader = book.read(&follow);
        assert_eq!(reader.next().await.unwrap().text, "line 3");
        book.write(at(9), true, b"half");
        let read = async { (reader.next().await, reader.next().await) };
        let ((line, end), ()) = tokio::join!(read, async { book.close() });
        assert_eq!((line.unwrap().text.as_str(), end), ("half", None));
    }

    #[tokio::test]
    async fn the_oldest_make_room() {
        let book = Logbook::new(3 * (LINE_COST + 6));
        for second in 0..9 {
            book.write(at(second), false, format!("line {second}\n").as_bytes());
        }
        assert_eq!(texts(&book, &LogQuery::default()).await, ["line 6", "line 7", "line 8"]);
    }
}
