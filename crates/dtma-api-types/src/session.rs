//! How the clients of an MCP server share it, as a caller asks for it.

use crate::server_request::words;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

words! {
    /// Who speaks to one process of an MCP server.
    SessionMode {
        /// All clients.
        Shared = "shared",
        /// One session, which has it and its container for itself. For servers that ask their client something
        /// (sampling, elicitation, roots) or remember what one client did.
        PerSession = "per-session",
    }
}

/// One word, or the whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum SessionRequest {
    /// Everything else at its default.
    Mode(SessionMode),
    /// The whole.
    Rules(SessionRules),
}

/// How the clients of an MCP server share it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SessionRules {
    /// Default `shared`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<SessionMode>,
    /// Most sessions with a process of their own at a time (default 16); the next is refused with 503 and `Retry-After`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 256)]
    pub max: Option<u32>,
    /// A session with a process of its own ends after so many seconds without a call or an open stream (default 1800).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 604_800)]
    pub idle_timeout_secs: Option<u64>,
    /// So many processes are kept ready for sessions to come, frozen and beside those that sessions have (default 0, at
    /// most `max`): the next session need not wait for its process to start. Each takes its memory meanwhile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0, maximum = 256)]
    pub spares: Option<u32>,
}
