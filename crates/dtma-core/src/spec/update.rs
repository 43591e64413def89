//! How an update replaces the containers of a server.

use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How an update replaces the containers of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct UpdateSpec {
    /// `None`: [`UpdateOrder::StopFirst`] for a server that writes to a volume, which two processes would spoil for
    /// each other, [`UpdateOrder::StartFirst`] for every other.
    pub order: Option<UpdateOrder>,
    /// How long what the old container has begun (calls, connections) may take once the new one serves.
    pub drain: Duration,
}

impl Default for UpdateSpec {
    fn default() -> Self {
        Self { order: None, drain: Duration::from_secs(30) }
    }
}

/// Which container of a replica goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UpdateOrder {
    /// The new one is started beside the old one and proved ready before that is stopped: no request is lost.
    StartFirst,
    /// The old one is stopped before the new one is started; calls wait meanwhile.
    StopFirst,
}

impl UpdateOrder {
    /// The word on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::StartFirst => "start-first",
            Self::StopFirst => "stop-first",
        }
    }
}
