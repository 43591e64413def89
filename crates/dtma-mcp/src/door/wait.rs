//! Waiting for a member that can do what is wanted.

use super::Door;
use super::table::Table;
use crate::{ServerState, SessionId};
use futures_util::future;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// Why nobody serves.
#[derive(Debug)]
pub(crate) enum Unserved {
    /// Nobody did in time, or nobody will; the reason in a person's words.
    NotUp(String),
    /// The server was removed or the daemon is ending.
    Closed,
}

impl Door {
    /// Looks until something is found, the deadline passes, or it is clear that nothing will be found.
    pub(super) async fn until<T>(
        &self,
        deadline: Instant,
        look: impl FnMut(&mut Table) -> Option<T>,
    ) -> Result<T, Unserved> {
        self.until_for(None, deadline, look).await
    }

    /// The same for a session, which may have a process of its own.
    pub(super) async fn until_for<T>(
        &self,
        session: Option<SessionId>,
        deadline: Instant,
        mut look: impl FnMut(&mut Table) -> Option<T>,
    ) -> Result<T, Unserved> {
        loop {
            // Before the look, so that no change after it is missed.
            let (mut changes, states) = (self.inner.changes.subscribe(), self.states(session));
            let found = {
                let mut table = self.table();
                let hopeless = |table: &Table| hopeless(table, session).map_or(Ok(None), Err);
                look(&mut table).map_or_else(|| hopeless(&table), |found| Ok(Some(found)))
            };
            if let Some(found) = found? {
                return Ok(found);
            }
            self.inner.rest.need();
            tokio::select! {
                // Dropped, all three: whatever is waited for is looked at again from the beginning.
                _ = changes.changed() => {}
                () = any_changed(states) => {}
                () = tokio::time::sleep_until(deadline) => return Err(self.not_up_for(session)),
            }
        }
    }

    /// Waits until a member answers. `false`: none did in time, or none will.
    pub(crate) async fn ready_within(&self, patience: Duration) -> bool {
        if self.serves_sessions_only() {
            // A process comes with the session.
            return true;
        }
        self.until(Instant::now() + patience, |table: &mut Table| table.turn().map(drop)).await.is_ok()
    }

    /// Why nobody serves now.
    pub(super) fn not_up(&self) -> Unserved {
        self.not_up_for(None)
    }

    fn not_up_for(&self, session: Option<SessionId>) -> Unserved {
        let state = Table::best_state(&self.table().hoped_for(session));
        Unserved::NotUp(state.why_not_ready().to_owned())
    }

    /// The states of those that may come to answer, as seen now.
    fn states(&self, session: Option<SessionId>) -> Vec<watch::Receiver<ServerState>> {
        let there = self.table().hoped_for(session);
        let seen = there.iter().filter(|member| !member.handle.is_closed()).map(|member| {
            let mut state = member.handle.state();
            state.mark_unchanged();
            state
        });
        seen.collect()
    }
}

/// A server whose every process failed its handshake answers nobody until the manager does something.
fn hopeless(table: &Table, session: Option<SessionId>) -> Option<Unserved> {
    let there = table.hoped_for(session);
    if table.are_over(&there) {
        return Some(Unserved::Closed);
    }
    match Table::best_state(&there) {
        ServerState::Failed { reason, .. } => Some(Unserved::NotUp(reason.to_string())),
        ServerState::Down { .. }
        | ServerState::Connecting { .. }
        | ServerState::Expecting { .. }
        | ServerState::Resting(_)
        | ServerState::Ready(_) => None,
    }
}

async fn any_changed(states: Vec<watch::Receiver<ServerState>>) {
    if states.is_empty() {
        return future::pending().await;
    }
    let changes = states.into_iter().map(|mut state| Box::pin(async move { drop(state.changed().await) }));
    future::select_all(changes).await;
}
