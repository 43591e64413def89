//! How long to wait: after failures, and between calls whatever happens. Pure: time and chance are arguments.

use std::time::Duration;

/// What chance takes away leaves 10 s of it at least.
const FIRST: Duration = Duration::from_millis(12_500);
/// Nobody waits longer on our account.
const LONGEST: Duration = Duration::from_secs(300);
/// A side that is away is looked for this often at first, so that its return is noticed within half a minute.
const LOOKED_FOR: Duration = Duration::from_secs(30);
/// So long it is looked for; then it is waited for as for every other failure.
const SEARCH: Duration = Duration::from_secs(900);
/// The other side may ask for more patience than ours, but not for ever.
const LONGEST_WISH: Duration = Duration::from_secs(3600);
/// Calls to one side: so many at once, and in the long run one in [`PERIOD`].
const BURST: u32 = 8;
const PERIOD: Duration = Duration::from_secs(10);

/// Why a provider or a vault did not do what was asked. Its text holds no secret and is shown to people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{said}")]
pub struct Failure {
    /// What follows from it.
    pub kind: FailureKind,
    /// How long the other side wants to be left alone.
    pub retry_after: Option<Duration>,
    /// What happened, in one line.
    pub said: String,
}

/// What follows from a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureKind {
    /// No answer, or none that can be understood: it may have been done or not. Tried again soon.
    Away,
    /// It understood and said no, though not to the grant itself. Tried again ever more rarely.
    Refused,
    /// The grant is not valid (`invalid_grant`).
    Revoked,
}

impl Failure {
    /// A failure after which nobody asked for patience.
    pub fn new(kind: FailureKind, said: impl Into<String>) -> Self {
        Self { kind, retry_after: None, said: said.into() }
    }
}

/// Ten to twenty per cent shorter, so that not all grants of a provider come due at one moment. `dice` is from 0 to 1.
pub(super) fn early(time: Duration, dice: f64) -> Duration {
    time.mul_f64(0.9 - 0.1 * dice.clamp(0.0, 1.0))
}

/// The wait after `failures` in a row.
pub(super) fn patience(failures: u32, dice: f64) -> Duration {
    let factor = 1_u32.checked_shl(failures).unwrap_or(u32::MAX);
    early(FIRST.saturating_mul(factor).min(LONGEST), dice)
}

/// Failures in a row of one side, and when it may be asked again.
#[derive(Debug, Default)]
pub(super) struct Retry {
    failures: u32,
    since: Duration,
    at: Duration,
    /// The other side named the time.
    wished: bool,
    last: Option<Failure>,
}

impl Retry {
    fn failed(&mut self, now: Duration, failure: Failure, dice: f64) {
        if self.failures == 0 {
            self.since = now;
        }
        let mut wait = patience(self.failures, dice);
        if failure.kind == FailureKind::Away && now.saturating_sub(self.since) < SEARCH {
            wait = wait.min(early(LOOKED_FOR, dice));
        }
        let wish = failure.retry_after.unwrap_or_default().min(LONGEST_WISH);
        self.wished = wish > wait;
        self.at = now + wait.max(wish.mul_f64(1.0 + 0.1 * dice.clamp(0.0, 1.0)));
        self.failures = self.failures.saturating_add(1);
        self.last = Some(failure);
    }
}

/// A bound on calls that no sequence of answers and no clock but the monotonic one has a say in.
#[derive(Debug, Default)]
struct Brake {
    /// When all calls so far would have been made, had they been spread evenly.
    even: Duration,
}

impl Brake {
    fn ready(&self) -> Duration {
        self.even.saturating_sub(PERIOD * (BURST - 1))
    }

    fn take(&mut self, running: Duration) {
        self.even = self.even.max(running) + PERIOD;
    }
}

/// The way to one other side.
#[derive(Debug, Default)]
pub(super) struct Line {
    retry: Retry,
    brake: Brake,
}

impl Line {
    /// How long until it may be asked. `now` is on the grant's line, `running` on the monotonic clock.
    pub(super) fn wait(&self, now: Duration, running: Duration) -> Duration {
        self.retry.at.saturating_sub(now).max(self.brake.ready().saturating_sub(running))
    }

    /// Counts a call when it may be made now.
    pub(super) fn take(&mut self, now: Duration, running: Duration) -> bool {
        let open = self.wait(now, running).is_zero();
        if open {
            self.brake.take(running);
        }
        open
    }

    pub(super) fn answered(&mut self) {
        self.retry = Retry::default();
    }

    pub(super) fn failed(&mut self, now: Duration, failure: Failure, dice: f64) {
        self.retry.failed(now, failure, dice);
    }

    /// A person asks: our own patience is not waited for, the other side's wish is.
    pub(super) fn hurry(&mut self, now: Duration) {
        if !self.retry.wished {
            self.retry.at = self.retry.at.min(now);
        }
    }

    pub(super) fn failures(&self) -> u32 {
        self.retry.failures
    }

    pub(super) fn last(&self) -> Option<&Failure> {
        self.retry.last.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(kind: FailureKind, retry_after: Option<u64>, dice: f64, times: usize) -> Vec<u64> {
        let (mut line, mut now) = (Line::default(), Duration::from_secs(1000));
        let failure =
            Failure { kind, retry_after: retry_after.map(Duration::from_secs), said: String::new() };
        let mut wait = || {
            line.failed(now, failure.clone(), dice);
            let wait = line.wait(now, now);
            now += wait;
            wait.as_secs()
        };
        (0..times).map(|_| wait()).collect()
    }

    #[test]
    fn a_refusal_is_followed_by_ten_seconds_first_and_five_minutes_at_most() {
        assert_eq!(seconds(FailureKind::Refused, None, 1.0, 7), [10, 20, 40, 80, 160, 240, 240]);
        assert_eq!(seconds(FailureKind::Refused, None, 0.0, 7), [11, 22, 45, 90, 180, 270, 270]);
    }

    #[test]
    fn whoever_is_away_is_looked_for_twice_a_minute_and_after_a_quarter_of_an_hour_rarely() {
        let waits = seconds(FailureKind::Away, None, 0.0, 40);
        assert_eq!(waits[..4], [11, 22, 27, 27]);
        assert!(
            waits
                .iter()
                .scan(0, |sum, wait| {
                    *sum += wait;
                    Some((*sum, *wait))
                })
                .all(|(sum, wait)| if sum < 900 { wait <= 27 } else { wait <= 270 }),
            "{waits:?}"
        );
        assert_eq!(waits[39], 270);
    }

    #[test]
    fn what_the_other_side_wishes_holds_when_it_is_longer_and_an_hour_at_most() {
        assert_eq!(seconds(FailureKind::Refused, Some(0), 0.0, 1), [11]);
        assert_eq!(seconds(FailureKind::Refused, Some(90), 0.0, 1), [90]);
        assert_eq!(seconds(FailureKind::Away, Some(90), 1.0, 1), [99]);
        assert_eq!(seconds(FailureKind::Refused, Some(u64::MAX), 0.0, 1), [3600]);
    }

    #[test]
    fn a_person_passes_our_patience_but_not_the_other_sides_wish() {
        let now = Duration::from_secs(1000);
        let mut line = Line::default();
        line.failed(now, Failure::new(FailureKind::Refused, "no"), 0.0);
        line.hurry(now);
        assert_eq!(line.wait(now, now), Duration::ZERO);
        let patient =
            Failure { retry_after: Some(Duration::from_secs(60)), ..Failure::new(FailureKind::Refused, "") };
        line.failed(now, patient, 0.0);
        line.hurry(now);
        assert_eq!(line.wait(now, now), Duration::from_secs(60));
    }

    #[test]
    fn calls_come_eight_at_once_and_then_one_in_ten_seconds() {
        let mut line = Line::default();
        let calls = (0..10_000_u64).filter(|tenth| {
            let running = Duration::from_millis(tenth * 100);
            line.take(running, running)
        });
        assert_eq!(calls.count(), 8 + 99);
    }
}
