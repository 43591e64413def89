//! What a server said for people: the newest of it, for whoever asks later.

use crate::MAX_DATA;
use std::collections::VecDeque;

/// What one record costs besides its bytes.
const RECORD_COST: usize = 48;
/// Pieces that come within this many microseconds of each other become one record.
const TOGETHER: u64 = 5_000;

/// The newest records, up to a number of bytes. Pushing never waits: the oldest make room.
#[derive(Debug)]
pub struct LogRing {
    records: VecDeque<Record>,
    cost: usize,
    capacity: usize,
    /// The sequence number of the oldest record that is there.
    first: u64,
    /// That of the next record to be sent.
    next: u64,
}

/// A piece of what was said, cut anywhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Which run said it.
    pub run: u32,
    /// Microseconds since 1970.
    pub at: u64,
    /// On its standard error.
    pub stderr: bool,
    /// At most [`MAX_DATA`].
    pub bytes: Vec<u8>,
}

impl LogRing {
    /// An empty ring for so many bytes.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self { records: VecDeque::new(), cost: 0, capacity, first: 0, next: 0 }
    }

    /// The sequence number of the oldest record that is there (or of the next one that will be).
    #[must_use]
    pub fn first(&self) -> u64 {
        self.first
    }

    /// The sequence number that the next record will have.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.first + self.records.len() as u64
    }

    /// The sequence number of the next record to be sent.
    #[must_use]
    pub fn next(&self) -> u64 {
        self.next
    }

    /// True when all records were sent.
    #[must_use]
    pub fn is_sent(&self) -> bool {
        self.next == self.end()
    }

    /// Remembers it, and forgets the oldest where there is no room.
    pub fn push(&mut self, record: Record) {
        let Record { run, at, stderr, bytes } = record;
        for piece in bytes.chunks(MAX_DATA) {
            if !self.extend_last(run, at, stderr, piece) {
                self.cost += RECORD_COST + piece.len();
                self.records.push_back(Record { run, at, stderr, bytes: piece.to_vec() });
            }
            self.make_room();
        }
    }

    /// Small pieces that follow each other closely are put together, unless the last was sent already.
    fn extend_last(&mut self, run: u32, at: u64, stderr: bool, piece: &[u8]) -> bool {
        let unsent = self.next < self.end();
        let Some(last) = self.records.back_mut().filter(|_| unsent) else { return false };
        let same = last.run == run && last.stderr == stderr && at.abs_diff(last.at) < TOGETHER;
        if !same || last.bytes.len() + piece.len() > MAX_DATA {
            return false;
        }
        last.bytes.extend_from_slice(piece);
        self.cost += piece.len();
        true
    }

    fn make_room(&mut self) {
        while self.cost > self.capacity
            && let Some(oldest) = self.records.pop_front()
        {
            self.cost -= RECORD_COST + oldest.bytes.len();
            self.first += 1;
        }
        self.next = self.next.max(self.first);
    }

    /// The next record to be sent and its sequence number.
    #[must_use]
    pub fn next_record(&self) -> Option<(u64, &Record)> {
        let index = usize::try_from(self.next - self.first).ok()?;
        self.records.get(index).map(|record| (self.next, record))
    }

    /// That record is on its way. It is kept, for whoever asks later.
    pub fn sent(&mut self) {
        self.next = (self.next + 1).min(self.end());
    }

    /// Somebody is there who has heard everything before `from`.
    pub fn resume(&mut self, from: u64) {
        self.next = from.clamp(self.first, self.end());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(at: u64, text: &str) -> Record {
        Record { run: 1, at, stderr: true, bytes: text.as_bytes().to_vec() }
    }

    fn told(ring: &mut LogRing) -> Vec<(u64, String)> {
        std::iter::from_fn(|| {
            let (sequence, record) = ring.next_record()?;
            let told = (sequence, String::from_utf8(record.bytes.clone()).unwrap());
            ring.sent();
            Some(told)
        })
        .collect()
    }

    #[test]
    fn the_newest_stay_and_are_told_again_to_whoever_asks() {
        let mut ring = LogRing::new(3 * (RECORD_COST + 4));
        for second in 0..5 {
            ring.push(record(second * 1_000_000, &format!("no {second}")));
        }
        let newest = [(2, "no 2".to_owned()), (3, "no 3".to_owned()), (4, "no 4".to_owned())];
        assert_eq!(told(&mut ring), newest);
        assert_eq!(told(&mut ring), []);
        ring.resume(3);
        assert_eq!(told(&mut ring), newest[1..]);
        ring.resume(0);
        assert_eq!(told(&mut ring), newest);
    }

    #[test]
    fn crumbs_become_one_record_until_it_is_sent() {
        let mut ring = LogRing::new(1000);
        ring.push(record(0, "a"));
        ring.push(record(1, "b"));
        assert_eq!(told(&mut ring), [(0, "ab".to_owned())]);
        ring.push(record(2, "c"));
        assert_eq!(told(&mut ring), [(1, "c".to_owned())]);
    }
}
