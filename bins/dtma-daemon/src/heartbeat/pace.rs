//! When the next report is due. Pure: time and chance are arguments.

use std::time::Duration;
use tokio::time::Instant;

/// Between two reports when nothing happens, give or take [`JITTER`].
const INTERVAL: Duration = Duration::from_secs(60);
/// The share by which an interval is shorter or longer at most.
const JITTER: f64 = 0.15;
/// Changes that follow each other so closely are told together.
const COALESCE: Duration = Duration::from_millis(200);
/// After the first failure; doubled with each further one.
const FIRST_RETRY: Duration = Duration::from_secs(2);
const LONGEST_RETRY: Duration = Duration::from_secs(300);
/// A backend may ask for more patience than ours, but not for ever.
const LONGEST_WISH: Duration = Duration::from_secs(3600);
/// Reports because of changes: so many in a row, and in the long run one in [`CHANGE_PERIOD`]. A server that restarts
/// all the time must not become the backend's problem.
const CHANGE_BURST: u32 = 30;
const CHANGE_PERIOD: Duration = Duration::from_secs(2);

/// What became of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Done,
    Failed { retry_after: Option<Duration> },
}

/// The times of reports.
#[derive(Debug)]
pub(super) struct Pace {
    due: Instant,
    /// The next report is due because of a change.
    hurried: bool,
    failures: u32,
    /// When all reports because of changes would have been sent, had they been spread evenly.
    even: Instant,
}

impl Pace {
    /// The first report is due at once.
    pub(super) fn new(now: Instant) -> Self {
        Self { due: now, hurried: false, failures: 0, even: now }
    }

    pub(super) fn due(&self) -> Instant {
        self.due
    }

    /// Something changed. While the backend fails the next attempt will tell it, and is not hurried.
    pub(super) fn changed(&mut self, now: Instant) {
        let soon = (now + COALESCE).max(self.allowed(now));
        if self.failures == 0 && soon < self.due {
            (self.due, self.hurried) = (soon, true);
        }
    }

    fn allowed(&self, now: Instant) -> Instant {
        self.even.checked_sub(CHANGE_PERIOD * (CHANGE_BURST - 1)).unwrap_or(now)
    }

    /// A report was sent. `dice` is a number from 0 to 1.
    pub(super) fn sent(&mut self, now: Instant, outcome: Outcome, dice: f64) {
        if std::mem::take(&mut self.hurried) {
            self.even = self.even.max(now) + CHANGE_PERIOD;
        }
        let around = |time: Duration| time.mul_f64(1.0 - JITTER + 2.0 * JITTER * dice);
        let wait = match outcome {
            Outcome::Done => {
                self.failures = 0;
                around(INTERVAL)
            }
            Outcome::Failed { retry_after } => {
                let wished = retry_after.unwrap_or_default().min(LONGEST_WISH);
                let ours = around(retry(self.failures));
                self.failures = self.failures.saturating_add(1);
                ours.max(wished.mul_f64(1.0 + JITTER * dice))
            }
        };
        self.due = now + wait;
    }
}

fn retry(failures: u32) -> Duration {
    let factor = 1_u32.checked_shl(failures).unwrap_or(u32::MAX);
    FIRST_RETRY.saturating_mul(factor).min(LONGEST_RETRY)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAILED: Outcome = Outcome::Failed { retry_after: None };
    const MIDDLE: f64 = 0.5;

    fn seconds(pace: &Pace, now: Instant) -> f64 {
        pace.due().saturating_duration_since(now).as_secs_f64()
    }

    #[test]
    fn the_first_is_due_at_once_and_the_next_after_a_minute_more_or_less() {
        let now = Instant::now();
        let mut pace = Pace::new(now);
        assert_eq!(pace.due(), now);
        for (dice, expected) in [(0.0, 51.0), (0.5, 60.0), (1.0, 69.0)] {
            pace.sent(now, Outcome::Done, dice);
            assert!((seconds(&pace, now) - expected).abs() < 0.01, "{pace:?}");
        }
    }

    #[test]
    fn failures_make_it_wait_twice_as_long_each_time_and_five_minutes_at_most() {
        let now = Instant::now();
        let mut pace = Pace::new(now);
        for expected in [2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 300.0, 300.0] {
            pace.sent(now, FAILED, MIDDLE);
            assert!((seconds(&pace, now) - expected).abs() < 0.01, "{expected}: {pace:?}");
        }
        (0..100).for_each(|_| pace.sent(now, FAILED, MIDDLE));
        assert!((seconds(&pace, now) - 300.0).abs() < 0.01);
        pace.sent(now, Outcome::Done, MIDDLE);
        pace.sent(now, FAILED, MIDDLE);
        assert!((seconds(&pace, now) - 2.0).abs() < 0.01, "one success and all is forgotten");
    }

    #[test]
    fn what_the_backend_wishes_holds_when_it_is_longer_and_an_hour_at_most() {
        let now = Instant::now();
        for (wish, least, most) in [(0, 1.7, 2.3), (30, 30.0, 34.5), (1_000_000, 3600.0, 4140.0)] {
            for dice in [0.0, 1.0] {
                let mut pace = Pace::new(now);
                pace.sent(now, Outcome::Failed { retry_after: Some(Duration::from_secs(wish)) }, dice);
                let wait = seconds(&pace, now);
                assert!((least - 0.01..=most + 0.01).contains(&wait), "{wish}: {wait}");
            }
        }
    }

    #[test]
    fn changes_are_told_at_once_and_together_but_not_to_a_backend_that_fails() {
        let now = Instant::now();
        let mut pace = Pace::new(now);
        pace.sent(now, Outcome::Done, MIDDLE);
        pace.changed(now);
        pace.changed(now + Duration::from_millis(150));
        assert_eq!(pace.due(), now + COALESCE);
        pace.sent(now, FAILED, MIDDLE);
        let due = pace.due();
        pace.changed(now);
        assert_eq!(pace.due(), due);
    }

    #[test]
    fn endless_changes_are_told_twice_a_second_at_first_and_every_other_second_for_ever() {
        let start = Instant::now();
        let (mut pace, mut now, mut sent) = (Pace::new(start), start, 0);
        while now < start + Duration::from_secs(600) {
            now += Duration::from_millis(100);
            pace.changed(now);
            if pace.due() <= now {
                pace.sent(now, Outcome::Done, MIDDLE);
                sent += 1;
            }
        }
        assert!((300..=340).contains(&sent), "{sent} in ten minutes");
    }
}
