//! The rest of a server that nobody uses. Its owner agrees to it or not: it alone knows at one moment that nothing is
//! under way, and from that moment on passes nothing on until it is told that the process goes on.
//!
//! What counts as use: every message of a client's that is passed on and every message of the server's but those that
//! answer the house, calls in flight, questions to clients, and resources that a client who listens watches.

use super::handle::ServerHandle;
use super::owner::{Owner, Relisting};
use super::state::ServerState;
use crate::server::command::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::Instant;

/// When somebody last used a server.
pub(crate) struct Use {
    begun: Instant,
    /// Microseconds since then.
    last: AtomicU64,
}

impl Use {
    pub(super) fn new() -> Self {
        Self { begun: Instant::now(), last: AtomicU64::new(0) }
    }

    /// Somebody uses it now.
    pub(super) fn note(&self) {
        let now = u64::try_from(self.begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.last.store(now, Ordering::Relaxed);
    }

    fn last(&self) -> Instant {
        self.begun + Duration::from_micros(self.last.load(Ordering::Relaxed))
    }
}

impl Owner {
    pub(super) fn rest(&mut self, unused_since: Instant) -> bool {
        let Some(ready) = self.state.borrow().ready().cloned() else { return false };
        let idle = self.shared.used.last() <= unused_since && !self.is_in_use();
        if idle {
            self.state.send_replace(ServerState::Resting(ready));
        }
        idle
    }

    fn is_in_use(&mut self) -> bool {
        let unread = self.link.as_ref().is_some_and(|link| link.queued() > 0);
        // A question is about a call.
        let at_work = self.calls.len() > 0 || unread || self.relisting != Relisting::No;
        at_work || self.is_draining() || self.sessions.all().any(|session| session.watches())
    }

    pub(super) fn go_on(&mut self) {
        let resting = match &*self.state.borrow() {
            ServerState::Resting(ready) => Some(ready.clone()),
            _ => None,
        };
        if let Some(ready) = resting {
            self.shared.used.note();
            self.state.send_replace(ServerState::Ready(ready));
            // Sessions may have come and gone meanwhile.
            self.tell_wishes();
        }
    }
}

impl ServerHandle {
    /// Puts the server to rest, if nobody has used it since then and nobody uses it now: from then on calls wait, and
    /// whoever asked may freeze the process or end it. `false`: it is in use, or does not answer.
    pub(crate) async fn rest(&self, unused_since: Instant) -> bool {
        self.ask(|reply| Command::Rest { unused_since, reply }).await.unwrap_or(false)
    }

    /// The process goes on, if it rested: calls are passed on again. Nothing happens where the owner is gone.
    pub async fn go_on(&self) {
        let _gone = self.order(Command::GoOn).await;
    }

    /// When somebody last used the server, as far as that leaves a trace; what is under way does only at its end.
    pub(crate) fn last_use(&self) -> Instant {
        self.shared().used.last()
    }

    /// Whether it was put to rest and not told yet to go on.
    #[must_use]
    pub fn rests(&self) -> bool {
        matches!(*self.state().borrow(), ServerState::Resting(_))
    }
}
