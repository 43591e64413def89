//! The ids under which a server and its clients know the messages that are passed between them.

use std::sync::atomic::{AtomicU64, Ordering};
use uuid::Uuid;

/// Gives out ids, none twice. They begin small, because not every server keeps large numbers exact, and stay
/// within the 53 bits that every JSON decoder keeps.
pub(crate) struct Ids {
    next: AtomicU64,
}

/// Ids of one epoch; at a thousand calls a second, a quarter of an hour's. Running over into the next epoch is
/// harmless: only an answer still awaited by a former daemon could be mistaken.
const EPOCH: u64 = 1 << 20;

impl Ids {
    pub(crate) fn new() -> Self {
        Self { next: AtomicU64::new(1) }
    }

    pub(crate) fn next(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// Leaves the ids behind that a former daemon may have used: a process that is adopted may still answer those.
    pub(crate) fn leap(&self) {
        let (_, random) = Uuid::new_v4().as_u64_pair();
        let epoch = 1 + random % EPOCH;
        self.next.fetch_max(epoch * EPOCH, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_only_grow_and_stay_exact_in_every_decoder() {
        let ids = Ids::new();
        assert_eq!((ids.next(), ids.next()), (1, 2));
        ids.leap();
        let first = ids.next();
        ids.leap();
        assert!(first >= EPOCH && ids.next() > first && ids.next() < 1 << 53);
    }
}
