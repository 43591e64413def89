//! Whose process a client's session with an MCP server speaks to.

use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Most sessions with a process of their own, where nothing else is said.
const MOST: u32 = 16;
/// How long one may be unused, where nothing else is said.
const IDLE: Duration = Duration::from_secs(30 * 60);

/// How an MCP server's clients share it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct SessionSpec {
    /// One process for all of them, or one for each.
    pub mode: SessionMode,
    /// Most sessions with a process of their own at a time; `None`: [`most`](Self::most) says it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<u32>,
    /// After so long without a call or an open stream such a session ends; `None`: [`idle`](Self::idle) says it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idle_timeout: Option<Duration>,
    /// Processes kept ready for sessions to come, beside those of sessions; `None`: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spares: Option<u32>,
}

/// Who speaks to one process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SessionMode {
    /// All clients.
    #[default]
    Shared,
    /// One session.
    PerSession,
}

impl SessionSpec {
    /// True where each session has a process of its own.
    #[must_use]
    pub fn is_own(&self) -> bool {
        self.mode == SessionMode::PerSession
    }

    /// Most sessions with a process of their own at a time.
    #[must_use]
    pub fn most(&self) -> u32 {
        self.max.unwrap_or(MOST)
    }

    /// How long such a session may be unused.
    #[must_use]
    pub fn idle(&self) -> Duration {
        self.idle_timeout.unwrap_or(IDLE)
    }

    /// Processes kept ready for sessions to come.
    #[must_use]
    pub fn spares(&self) -> u32 {
        self.spares.filter(|_| self.is_own()).unwrap_or(0)
    }

    /// Most containers that sessions may have beside the replicas, those kept ready included.
    #[must_use]
    pub fn places(&self) -> u32 {
        if self.is_own() { self.most().saturating_add(self.spares()) } else { 0 }
    }
}

impl SessionMode {
    /// The word on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Shared => "shared",
            Self::PerSession => "per-session",
        }
    }
}
