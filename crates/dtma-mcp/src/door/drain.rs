//! Taking a member out of service without any client noticing.

use super::Door;
use super::member::{Member, MemberId};
use crate::SessionId;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// How a drain ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drained {
    /// Calls that the member had still to answer when the time was over, those whose client has left included: the
    /// server works on them all the same.
    pub unanswered: usize,
}

impl Door {
    /// Moves all sessions of a member to serving ones and waits, at most `within`, until the calls that are in
    /// flight there are answered. One that serves is taken out of service first; unknown, or dismissed meanwhile:
    /// nothing is left to do.
    ///
    /// No client notices: sessions keep their ids; a request that comes meanwhile is answered by the old or the new
    /// member; a cancellation or an answer to a question of the old member's still goes there. Only the stream of a
    /// client's GET ends: the client comes back and reaches the new member. Where nobody serves, sessions are kept
    /// and their requests wait. A session that has the member for itself may end by itself within that time, and is
    /// ended then.
    pub async fn drain(&self, member: &MemberId, within: Duration) -> Drained {
        if let Some(lodger) = self.lodger_at(member) {
            return self.see_off(lodger, within).await;
        }
        let leaver = self.table().retire(member);
        let Some(leaver) = leaver else { return Drained { unanswered: 0 } };
        self.changed();
        let unanswered = until_answered(&leaver, within).await;
        if unanswered == 0 {
            self.table().forget_former(&leaver);
        }
        Drained { unanswered }
    }

    fn lodger_at(&self, member: &MemberId) -> Option<(SessionId, Arc<Member>)> {
        let table = self.table();
        let at = table.members.get(member)?;
        Some((table.lodger_of(at)?, Arc::clone(at)))
    }

    async fn see_off(&self, (session, at): (SessionId, Arc<Member>), within: Duration) -> Drained {
        let gone = async {
            let mut changes = self.inner.changes.subscribe();
            while self.table().sessions.contains_key(&session) && changes.changed().await.is_ok() {}
        };
        if tokio::time::timeout(within, gone).await.is_ok() {
            return Drained { unanswered: 0 };
        }
        let unanswered = at.handle.shared().depth.get().calls;
        // One that has just ended is what was wanted.
        let _over = self.end(session).await;
        Drained { unanswered }
    }
}

async fn until_answered(leaver: &Arc<Member>, within: Duration) -> usize {
    let (left, mut seen) = watch::channel(None);
    let answered = async {
        // Both fail only when the owner is gone, and all calls with it.
        let _gone = leaver.handle.leave(left).await;
        let _gone = seen.wait_for(|left| *left == Some(0)).await;
    };
    match tokio::time::timeout(within, answered).await {
        Ok(()) => 0,
        Err(_) => seen.borrow().unwrap_or_default(),
    }
}
