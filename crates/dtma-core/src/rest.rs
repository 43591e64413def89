//! Rest: what a server is put to that nobody needs for a while. It is remembered with the history before the engine is
//! asked for it, so that the next daemon takes what it finds frozen or ended for what it is.

use crate::Timestamp;
use crate::id::RunKey;
use serde::{Deserialize, Serialize};

/// How deep a server rests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Depth {
    /// Its processes are frozen: they keep their memory and connections.
    Paused,
    /// They are ended; the container stays.
    Stopped,
}

impl Depth {
    /// `paused` or `stopped`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Paused => "paused",
            Self::Stopped => "stopped",
        }
    }
}

/// A replica that was put to rest. Forgotten when its process runs again, or another one in the same container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rest {
    /// Its process. What counts is the container: of one that is frozen nobody hears which process is in it.
    pub run: RunKey,
    /// How deep.
    pub depth: Depth,
    /// Since when.
    pub since: Timestamp,
    /// Somebody needs it: it is to go on, or to be started again.
    #[serde(default)]
    pub woken: bool,
}
