//! When an MCP server that nobody needs is put to rest.

use crate::rest::Depth;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How long a server goes unused before it rests, and before it rests deeper. By default it never does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct IdleSpec {
    /// Unused for so long, its processes are frozen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pause_after: Option<Duration>,
    /// Unused for so long, they are ended. Not less than `pause_after`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_after: Option<Duration>,
}

impl IdleSpec {
    /// True for a server that never rests.
    #[must_use]
    pub fn is_never(&self) -> bool {
        *self == Self::default()
    }

    /// How deep a server rests that is unused for so long; `None`: not at all.
    #[must_use]
    pub fn depth(&self, unused: Duration) -> Option<Depth> {
        let over = |after: Option<Duration>| after.is_some_and(|after| unused >= after);
        match (over(self.stop_after), over(self.pause_after)) {
            (true, _) => Some(Depth::Stopped),
            (false, true) => Some(Depth::Paused),
            (false, false) => None,
        }
    }

    /// How long a server that is unused for so long must go on being unused until it rests deeper; `None`: it will not.
    #[must_use]
    pub fn next(&self, unused: Duration) -> Option<Duration> {
        let left = |after: Option<Duration>| after?.checked_sub(unused).filter(|left| !left.is_zero());
        [left(self.pause_after), left(self.stop_after)].into_iter().flatten().min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rest_grows_deeper_with_time() {
        let seconds = Duration::from_secs;
        let spec = |pause: Option<u64>, stop: Option<u64>| IdleSpec {
            pause_after: pause.map(seconds),
            stop_after: stop.map(seconds),
        };
        let (paused, stopped) = (Some(Depth::Paused), Some(Depth::Stopped));
        for (idle, unused, depth, next) in [
            (spec(None, None), 1000, None, None),
            (spec(Some(5), Some(9)), 0, None, Some(5)),
            (spec(Some(5), Some(9)), 4, None, Some(1)),
            (spec(Some(5), Some(9)), 5, paused, Some(4)),
            (spec(Some(5), Some(9)), 9, stopped, None),
            (spec(Some(5), None), 100, paused, None),
            (spec(None, Some(9)), 8, None, Some(1)),
            (spec(Some(5), Some(5)), 4, None, Some(1)),
            (spec(Some(5), Some(5)), 5, stopped, None),
        ] {
            let unused = seconds(unused);
            assert_eq!(
                (idle.depth(unused), idle.next(unused)),
                (depth, next.map(seconds)),
                "{idle:?} {unused:?}"
            );
        }
        assert!(spec(None, None).is_never() && !spec(None, Some(1)).is_never());
    }
}
