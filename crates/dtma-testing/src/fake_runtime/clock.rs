//! The engine's clock: a fixed start plus tokio's elapsed time, so that paused time pauses it.

use dtma_core::Timestamp;
use std::time::Duration;
use tokio::time::Instant;

/// 2026-01-01T00:00:00Z.
const EPOCH_SECOND: i64 = 1_767_225_600;

#[derive(Debug)]
pub(super) struct Clock {
    born: Instant,
    /// Every reading that must differ from all others adds one.
    nudge: Duration,
}

impl Clock {
    pub(super) fn new() -> Self {
        Self { born: Instant::now(), nudge: Duration::ZERO }
    }

    /// The time without letting any pass.
    pub(super) fn peek(&self) -> Timestamp {
        moment(self.born.elapsed() + self.nudge)
    }

    /// Never the same time twice: two runs of a container must differ by it.
    pub(super) fn tick(&mut self) -> Timestamp {
        self.nudge += Duration::from_nanos(1);
        self.peek()
    }
}

fn moment(since_start: Duration) -> Timestamp {
    let start = Timestamp::from_second(EPOCH_SECOND).expect("within range");
    start.checked_add(since_start).expect("no test lasts that long")
}
