//! What a server offers, asked for in full: every page of every list it declares, each element as it was sent.
//!
//! [`ServerHandle::discover`] asks once; a [`Follower`] asks again when that is due. Neither keeps anything nor lets
//! anybody wait for it: that is the manager's, which keeps what was heard last and serves it.

mod follow;
mod listing;
#[cfg(test)]
mod tests;

pub use follow::{Follower, News};

use crate::{CallError, Closed, ServerHandle};
use dtma_core::catalogue::{Items, Offers};
use dtma_core::id::RunKey;
use listing::{List, PROMPTS, RESOURCES, TEMPLATES, TOOLS};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

/// How much of a server's lists is read. What is beyond is left out, and [`Items::cut`] says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Pages of one list.
    pub pages: usize,
    /// Elements of one list.
    pub items: usize,
    /// Bytes of one list.
    pub bytes: usize,
    /// How long all of it may take; a server that takes longer is asked again later.
    pub within: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { pages: 100, items: 2000, bytes: 4 << 20, within: Duration::from_secs(30) }
    }
}

/// What was heard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The process that was asked.
    pub run: RunKey,
    /// What it offers.
    pub offers: Offers,
    /// For how long that is good, where the server says so (`ttlMs`): the shortest of its lists.
    pub good_for: Option<Duration>,
    /// How often it had said that one of its lists changed when it was asked.
    pub lists: u64,
}

/// Why a server could not be asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DiscoverError {
    /// A list could not be read.
    #[error("{method} failed: {problem}")]
    Call {
        /// Which list.
        method: &'static str,
        /// Why.
        problem: CallError,
    },
    /// A list was answered with something else.
    #[error("{method} was answered without a list of {member}")]
    Malformed {
        /// Which list.
        method: &'static str,
        /// What should have been there.
        member: &'static str,
    },
    /// There is no process that answers, or another one than at the beginning.
    #[error("the server is not ready: {0}")]
    NotReady(String),
    /// The owner is gone.
    #[error(transparent)]
    Closed(#[from] Closed),
}

impl ServerHandle {
    /// Asks a server that is ready for everything it offers. Does not wait for one that is not.
    ///
    /// # Errors
    /// [`DiscoverError`]; then nothing of what was heard is given.
    pub async fn discover(&self, bounds: &Bounds) -> Result<Found, DiscoverError> {
        let ready = match &*self.state().borrow() {
            state if state.ready().is_none() => {
                return Err(DiscoverError::NotReady(state.why_not_ready().to_owned()));
            }
            state => state.ready().cloned(),
        };
        let Some(ready) = ready else { return Err(Closed.into()) };
        let (deadline, mut good_for) = (Instant::now() + bounds.within, None);
        let lists = *self.lists_changed().borrow();
        let mut read = async |list: &List, declared: &str| {
            if !ready.greeting.can(declared) {
                return Ok(Items::default());
            }
            let pages = timeout_at(deadline, listing::read(self, list, bounds)).await;
            let late = || DiscoverError::Call {
                method: list.method,
                problem: CallError::Timeout { after: bounds.within },
            };
            let listed = pages.unwrap_or_else(|_| Err(late()))?;
            good_for = [good_for, listed.good_for].into_iter().flatten().min();
            Ok::<_, DiscoverError>(listed.items)
        };
        let offers = Offers {
            greeting: String::from_utf8_lossy(&ready.greeting.raw).into_owned(),
            tools: read(&TOOLS, "tools").await?,
            prompts: read(&PROMPTS, "prompts").await?,
            resources: read(&RESOURCES, "resources").await?,
            templates: read(&TEMPLATES, "resources").await?,
        };
        match self.state().borrow().run() == Some(&ready.run) {
            true => Ok(Found { run: ready.run.clone(), offers, good_for, lists }),
            false => Err(DiscoverError::NotReady("its process has just changed".to_owned())),
        }
    }

    /// Counts how often the server said that one of its lists changed.
    #[must_use]
    pub fn lists_changed(&self) -> watch::Receiver<u64> {
        self.shared().lists_changed.subscribe()
    }
}
