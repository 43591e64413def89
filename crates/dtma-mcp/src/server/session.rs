//! The id of a client session.

use std::fmt;
use uuid::Uuid;

/// The `Mcp-Session-Id`: 122 random bits as 32 hex digits. A secret of the client's in effect: whoever knows it and
/// passes the door's authentication speaks as that client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SessionId(Uuid);

impl SessionId {
    /// A new one.
    #[must_use]
    pub fn random() -> Self {
        Self(Uuid::new_v4())
    }

    /// Reads what a client sent. Nothing that we did not make up can pass, so `None` means "unknown session".
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let looks_like_ours = text.len() == 32;
        looks_like_ours.then(|| Uuid::try_parse(text).ok().map(Self)).flatten()
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.simple().fmt(f)
    }
}
