//! When a server is asked again: after a new process, when it says that a list changed, when what it said is not good
//! any more, and ever more rarely while it cannot be asked.

use super::{Bounds, Found};
use crate::{ServerHandle, ServerState};
use dtma_core::id::RunKey;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// Servers that change several things say so several times; asking once is enough.
const SETTLE: Duration = Duration::from_millis(250);
/// A server that never stops saying so is asked no more often than this.
const PAUSE: Duration = Duration::from_secs(2);
/// What is good for less is asked for no more often than this.
const SHORTEST_LIFE: Duration = Duration::from_secs(5);
/// The longest pause after failures.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);
/// Nothing is due.
const FAR: Duration = Duration::from_secs(30 * 24 * 3600);

/// What became of one look.
#[derive(Debug, Clone, PartialEq)]
pub enum News {
    /// The server was asked and answered.
    Found(Box<Found>),
    /// It could not be asked; it is asked again.
    Failed(String),
    /// It does not answer any more: what was found is what it offered.
    Down,
}

/// Asks one server again and again. Holds no message back and lets nobody wait.
pub struct Follower {
    server: ServerHandle,
    bounds: Bounds,
    state: watch::Receiver<ServerState>,
    lists: watch::Receiver<u64>,
    /// The process that answers, while one does.
    run: Option<RunKey>,
    asked: Option<Instant>,
    due: Instant,
    failures: u32,
}

impl Follower {
    /// Of a server that was not asked yet.
    #[must_use]
    pub fn new(server: ServerHandle, bounds: Bounds) -> Self {
        let (state, lists) = (server.state(), server.lists_changed());
        let due = Instant::now() + FAR;
        Self { server, bounds, state, lists, run: None, asked: None, due, failures: 0 }
    }

    /// Waits until there is something to tell. `None`: the server's owner is gone, and there will be nothing more.
    pub async fn next(&mut self) -> Option<News> {
        loop {
            if let Some(down) = self.meet() {
                return Some(down);
            }
            // Every arm may be dropped: both channels remember what was not seen, the moment is kept.
            tokio::select! {
                changed = self.state.changed() => changed.ok()?,
                changed = self.lists.changed() => {
                    changed.ok()?;
                    self.put_off();
                }
                () = tokio::time::sleep_until(self.due), if self.may_ask() => return Some(self.ask().await),
            }
        }
    }

    /// What rests is not asked, and has not changed when it goes on.
    fn may_ask(&self) -> bool {
        self.state.borrow().ready().is_some()
    }

    /// Looks which process answers now, or would if it did not rest.
    fn meet(&mut self) -> Option<News> {
        let run = self.state.borrow_and_update().known().map(|ready| ready.run.clone());
        if run == self.run {
            return None;
        }
        let was = std::mem::replace(&mut self.run, run);
        (self.due, self.failures) = (Instant::now(), 0);
        (was.is_some() && self.run.is_none()).then_some(News::Down)
    }

    /// A list changed: soon, but not while the last failure is a warning, and not all the time.
    fn put_off(&mut self) {
        if self.failures == 0 {
            let now = Instant::now();
            let soon = self.asked.map_or(now, |asked| asked + PAUSE).max(now + SETTLE);
            self.due = self.due.min(soon);
        }
    }

    async fn ask(&mut self) -> News {
        // What changes from now on is asked for again.
        self.lists.borrow_and_update();
        let found = self.server.discover(&self.bounds).await;
        let now = Instant::now();
        self.asked = Some(now);
        match found {
            Ok(found) => {
                self.failures = 0;
                self.due = now + found.good_for.map_or(FAR, |life| life.clamp(SHORTEST_LIFE, FAR));
                News::Found(Box::new(found))
            }
            Err(problem) => {
                self.due = now + pause(self.failures);
                self.failures = self.failures.saturating_add(1);
                News::Failed(problem.to_string())
            }
        }
    }
}

/// One second, two, four, … five minutes.
fn pause(failures: u32) -> Duration {
    Duration::from_secs(1 << failures.min(10)).min(LONGEST_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_five_minutes_and_no_further() {
        let seconds: Vec<u64> = [0, 1, 8, 9, u32::MAX].map(|failures| pause(failures).as_secs()).into();
        assert_eq!(seconds, [1, 2, 256, 300, 300]);
    }
}
