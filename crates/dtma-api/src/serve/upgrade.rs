//! What a connection does after it spoke HTTP: its own task goes on with it, so that it keeps its seat, is counted, and
//! is waited for at the daemon's end like any other.

use futures_util::future::BoxFuture;
use std::sync::{Arc, Mutex, PoisonError};

/// In the extensions of every request; a handler that answers 101 leaves here what comes then.
#[derive(Clone, Default)]
pub(crate) struct Upgrade(Arc<Mutex<Option<BoxFuture<'static, ()>>>>);

impl Upgrade {
    /// To be done when HTTP is over.
    pub(crate) fn then(&self, work: BoxFuture<'static, ()>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(work);
    }

    pub(super) async fn run(&self) {
        let work = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(work) = work {
            work.await;
        }
    }
}
