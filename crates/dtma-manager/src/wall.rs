//! The wall clock: the one place in the libraries that reads it. Everything else is handed a [`Wall`], so that a
//! test decides what time it is.

use dtma_core::Timestamp;
use std::sync::Arc;

/// Tells the time.
pub type Wall = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// The system's clock.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the one reader of the wall clock")]
pub fn system() -> Wall {
    Arc::new(Timestamp::now)
}
