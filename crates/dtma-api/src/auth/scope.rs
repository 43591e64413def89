//! What a token may open.

use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

/// What a token may open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Look at everything; change nothing.
    Read,
    /// Deploy, remove, restart, start, stop; includes `read`.
    Deploy,
    /// Manage credentials.
    Credentials,
    /// Everything, the gateway included.
    Admin,
    /// Reach MCP servers through the gateway, and nothing else.
    Gateway,
}

impl Scope {
    /// Every scope.
    pub const ALL: [Self; 5] = [Self::Read, Self::Deploy, Self::Credentials, Self::Admin, Self::Gateway];

    /// The word on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Deploy => "deploy",
            Self::Credentials => "credentials",
            Self::Admin => "admin",
            Self::Gateway => "gateway",
        }
    }

    /// True when holding `self` is enough for what asks for `needed`.
    #[must_use]
    pub fn covers(self, needed: Self) -> bool {
        match self {
            Self::Admin => true,
            Self::Deploy => matches!(needed, Self::Deploy | Self::Read),
            Self::Read | Self::Credentials | Self::Gateway => self == needed,
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The text names no scope.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a scope; there are read, deploy, credentials, admin and gateway")]
pub struct UnknownScope(String);

impl FromStr for Scope {
    type Err = UnknownScope;
    fn from_str(text: &str) -> Result<Self, UnknownScope> {
        Self::ALL
            .into_iter()
            .find(|scope| scope.as_str() == text)
            .ok_or_else(|| UnknownScope(text.to_owned()))
    }
}

/// What a route asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Nothing.
    Open,
    /// A token that covers this scope.
    Needs(Scope),
    /// Without a token less is told; with one it must cover this scope.
    Redacted(Scope),
}

/// True when one of `held` is enough.
pub(crate) fn enough(held: &BTreeSet<Scope>, needed: Scope) -> bool {
    held.iter().any(|scope| scope.covers(needed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_covers_what_is_a_table() {
        let table = [
            (Scope::Read, "read"),
            (Scope::Deploy, "read deploy"),
            (Scope::Credentials, "credentials"),
            (Scope::Admin, "read deploy credentials admin gateway"),
            (Scope::Gateway, "gateway"),
        ];
        for (held, expected) in table {
            let covered: Vec<&str> =
                Scope::ALL.into_iter().filter(|needed| held.covers(*needed)).map(Scope::as_str).collect();
            assert_eq!(covered.join(" "), expected, "{held}");
        }
    }
}
