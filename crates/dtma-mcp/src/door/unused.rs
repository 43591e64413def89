//! Sessions whose clients are gone for good: nothing was heard of them for so long that nobody will come back.
//!
//! Time is not kept for each session: whoever calls [`Door::end_unused`] does so at equal intervals, and a session that was
//! not used between so many of these *looks* ends. What is open counts as used for as long as it is seen open.

use super::Door;
use crate::SessionId;
use std::sync::atomic::Ordering;

/// So many intervals a session is kept at least without being used, see [`Door::end_unused`].
pub const UNUSED_INTERVALS: u32 = 8;
/// The interval in which it was used last is over with the first of them.
pub(crate) const LOOKS: u64 = UNUSED_INTERVALS as u64 + 1;

impl Door {
    /// To be called at equal intervals. Ends the sessions that were not used for [`UNUSED_INTERVALS`] of them, and one
    /// more at the most: their clients are answered as if there had never been such sessions, and the store forgets them.
    /// An open stream and a call in flight are a use. Says how many ended.
    pub async fn end_unused(&self) -> usize {
        let in_use = self.in_use().await;
        // In two steps: whatever is dropped here must not be dropped under the lock.
        let unused = self.table().take_unused(&in_use, LOOKS);
        let ended = unused.len();
        for (session, mut entry) in unused {
            // Its process goes when it was told that nobody awaits what it does.
            let place = entry.own.take();
            for member in entry.everywhere() {
                // One that is gone knows of no session any more.
                let _gone = member.handle.close_session(session).await;
            }
            drop(place);
            self.forget(session).await;
        }
        if ended > 0 {
            self.changed();
        }
        self.inner.expired.fetch_add(ended as u64, Ordering::Relaxed);
        ended
    }

    /// How many sessions were ended because nobody used them.
    #[must_use]
    pub fn expired(&self) -> u64 {
        self.inner.expired.load(Ordering::Relaxed)
    }

    async fn in_use(&self) -> Vec<SessionId> {
        let members: Vec<_> = self.table().members.values().cloned().collect();
        let mut in_use = Vec::new();
        for member in members {
            // At one that is gone nothing is open.
            in_use.extend(member.handle.in_use().await.unwrap_or_default());
        }
        in_use
    }
}
