//! How long ago, in one number and one unit.

use jiff::Timestamp;
use std::time::Duration;

/// The wall clock as read once in `main`, carried on by tokio's.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    wall: Timestamp,
    then: tokio::time::Instant,
}

impl Clock {
    /// A clock that shows `wall` now.
    pub(crate) fn starting_at(wall: Timestamp) -> Self {
        Self { wall, then: tokio::time::Instant::now() }
    }

    /// What it shows.
    pub(crate) fn now(&self) -> Timestamp {
        let passed = jiff::SignedDuration::try_from(self.then.elapsed()).unwrap_or(jiff::SignedDuration::MAX);
        self.wall.checked_add(passed).unwrap_or(Timestamp::MAX)
    }
}

/// For how long something has been so; empty when unknown. Clocks that do not agree give `0s`.
pub(crate) fn since(at: Option<&str>, now: Timestamp) -> String {
    let Some(at) = at.and_then(|at| at.parse::<Timestamp>().ok()) else { return String::new() };
    length(Duration::try_from(now.duration_since(at)).unwrap_or_default())
}

/// How long until then; empty when unknown.
pub(crate) fn until(at: Option<&str>, now: Timestamp) -> String {
    let Some(at) = at.and_then(|at| at.parse::<Timestamp>().ok()) else { return String::new() };
    length(Duration::try_from(at.duration_since(now)).unwrap_or_default())
}

/// A moment to the millisecond, so that moments stand below each other; what is none stays as it is.
pub(crate) fn moment(at: &str) -> String {
    at.parse::<Timestamp>().map_or_else(|_| super::text::line(at), |at| format!("{at:.3}"))
}

/// A length of time in its biggest sensible unit.
pub(crate) fn length(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7_200 => format!("{}m", seconds / 60),
        7_200..172_800 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// A short time, to a tenth of a second.
pub(crate) fn short(time: Duration) -> String {
    if time < Duration::from_secs(60) { format!("{:.1}s", time.as_secs_f64()) } else { length(time) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_number_one_unit() {
        for (seconds, shown) in
            [(0, "0s"), (119, "119s"), (120, "2m"), (7199, "119m"), (7200, "2h"), (172_800, "2d")]
        {
            assert_eq!(length(Duration::from_secs(seconds)), shown);
        }
        assert_eq!(short(Duration::from_millis(1_249)), "1.2s");
    }

    #[test]
    fn moments_are_equally_long() {
        assert_eq!(moment("2026-01-01T00:00:00.89049807Z"), "2026-01-01T00:00:00.890Z");
        assert_eq!(moment("2026-01-01T00:00:00Z"), "2026-01-01T00:00:00.000Z");
        assert_eq!(moment("soon"), "soon");
    }

    #[test]
    fn what_is_unknown_or_in_the_future_is_no_trouble() {
        let now: Timestamp = "2026-01-01T00:01:00Z".parse().unwrap();
        assert_eq!(since(Some("2026-01-01T00:00:00Z"), now), "60s");
        assert_eq!(since(Some("2027-01-01T00:00:00Z"), now), "0s");
        assert_eq!(since(Some("soon"), now), "");
        assert_eq!(since(None, now), "");
        assert_eq!(until(Some("2026-01-01T00:01:05Z"), now), "5s");
    }
}
