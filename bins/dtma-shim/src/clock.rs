//! The one place where clocks are read.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// For deadlines.
#[expect(clippy::disallowed_methods, reason = "there is no runtime here whose time could be paused")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// For people: microseconds since 1970.
#[expect(clippy::disallowed_methods, reason = "the one reader of the wall clock")]
pub(crate) fn wall() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}
