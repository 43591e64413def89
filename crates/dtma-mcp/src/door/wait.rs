//! Waiting for a member that can do what is wanted.

use super::Door;
use super::table::Table;
use crate::ServerState;
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
        mut look: impl FnMut(&mut Table) -> Option<T>,
    ) -> Result<T, Unserved> {
        loop {
            // Before the look, so that no change after it is missed.
            let (mut changes, states) = (self.inner.changes.subscribe(), self.states());
            let found = {
                let mut table = self.table();
                look(&mut table)
                    .map_or_else(|| hopeless(&table).map_or(Ok(None), Err), |found| Ok(Some(found)))
            };
            if let Some(found) = found? {
                return Ok(found);
            }
            self.inner.rest.need();
            tokio::select! {
                // Dropped, all three: whatever is waited for is looked at again from the beginning.
                _ = changes.changed() => {}
                () = any_changed(states) => {}
                () = tokio::time::sleep_until(deadline) => return Err(self.not_up()),
            }
        }
    }

    /// Waits until a member answers. `false`: none did in time, or none will.
    pub(crate) async fn ready_within(&self, patience: Duration) -> bool {
        self.until(Instant::now() + patience, |table: &mut Table| table.turn().map(drop)).await.is_ok()
    }

    /// Why nobody serves now.
    pub(super) fn not_up(&self) -> Unserved {
        Unserved::NotUp(self.table().state().why_not_ready().to_owned())
    }

    /// The states of those that serve, as seen now.
    fn states(&self) -> Vec<watch::Receiver<ServerState>> {
        let table = self.table();
        let there = table.serving.iter().filter(|member| !member.handle.is_closed());
        let seen = there.map(|member| {
            let mut state = member.handle.state();
            state.mark_unchanged();
            state
        });
        seen.collect()
    }
}

/// A server whose every process failed its handshake answers nobody until the manager does something.
fn hopeless(table: &Table) -> Option<Unserved> {
    if table.is_over() {
        return Some(Unserved::Closed);
    }
    match table.state() {
        ServerState::Failed { reason, .. } => Some(Unserved::NotUp(reason.to_string())),
        ServerState::Down { .. }
        | ServerState::Connecting { .. }
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
