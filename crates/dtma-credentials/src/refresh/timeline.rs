//! One timeline out of two clocks.
//!
//! The monotonic clock stands still while the machine sleeps, the wall clock leaps when somebody sets it. A grant lives on
//! a line that follows the first and takes the leaps *forward* of the second, so it is never younger than it really is:
//! after a suspend what is due is due, a clock set back changes nothing, and one set forward costs an early refresh.

use dtma_core::Timestamp;
use std::time::Duration;

/// The wall clock drifts and is corrected; only more than this is a leap.
const LEAP: Duration = Duration::from_secs(2);
/// Where a line begins: high enough to look back from.
const ORIGIN: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// What both clocks say at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// The monotonic clock, counted from anywhere.
    pub running: Duration,
    /// The wall clock.
    pub wall: Timestamp,
}

#[derive(Debug)]
pub(super) struct Timeline {
    last: Moment,
    at: Duration,
}

impl Timeline {
    pub(super) fn new(now: Moment) -> Self {
        Self { last: now, at: ORIGIN }
    }

    /// Where the line has come to.
    pub(super) fn at(&self) -> Duration {
        self.at
    }

    /// The monotonic clock when it came there.
    pub(super) fn running(&self) -> Duration {
        self.last.running
    }

    /// The wall clock when it came there.
    pub(super) fn wall(&self) -> Timestamp {
        self.last.wall
    }

    pub(super) fn advance(&mut self, now: Moment) {
        let ran = now.running.saturating_sub(self.last.running);
        let passed = elapsed(self.last.wall, now.wall);
        let leapt = passed.saturating_sub(ran) > LEAP;
        self.at = self.at.saturating_add(if leapt { passed } else { ran });
        self.last = now;
    }
}

/// Zero when `to` is before `from`.
pub(super) fn elapsed(from: Timestamp, to: Timestamp) -> Duration {
    Duration::try_from(to.duration_since(from)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(running: u64, wall: i64) -> Moment {
        Moment { running: Duration::from_secs(running), wall: Timestamp::from_second(wall).unwrap() }
    }

    #[track_caller]
    fn check(to: Moment, passed: u64) {
        let mut line = Timeline::new(moment(100, 1_000_000));
        let start = line.at();
        line.advance(to);
        assert_eq!(line.at() - start, Duration::from_secs(passed), "{to:?}");
    }

    #[test]
    fn it_follows_the_monotonic_clock_and_takes_leaps_forward_of_the_other() {
        check(moment(160, 1_000_060), 60);
        check(moment(160, 1_000_061), 60);
        check(moment(160, 1_003_660), 3660);
        check(moment(160, 900_000), 60);
        check(moment(100, 1_000_000), 0);
        check(moment(40, 1_000_000), 0);
    }
}
