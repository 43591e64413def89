//! How long things may be asked to take.

use std::time::Duration;

pub(crate) use dtma_api_types::duration::parse;

/// The longest that anything is asked to take: a day.
pub(crate) const LONGEST: Duration = Duration::from_secs(24 * 3600);
