//! Connections: which agent may reach which servers and tools, until when, how often. What follows from several of one
//! agent is decided here; who is asking and how often they asked already is found out elsewhere.

mod access;
mod pattern;

pub use access::{Access, Governed, Part, Reach};
pub use pattern::{Pattern, PatternError};

use crate::Timestamp;
use crate::id::{ConnectionId, GroupId, InstanceName};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Longest name of a token, in characters.
pub const MAX_AGENT: usize = 64;

/// An agent, by the token it shows.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Agent {
    /// Whoever shows a token of this name: it stays the same when the token is rotated.
    Named(String),
    /// Whoever shows the token of this digest, whatever its name.
    Digest(TokenDigest),
}

impl fmt::Display for Agent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named(name) => write!(f, "name:{name}"),
            Self::Digest(digest) => write!(f, "sha256:{digest}"),
        }
    }
}

/// SHA-256 of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TokenDigest(pub [u8; 32]);

/// The text is no digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a SHA-256 is 64 hex digits")]
pub struct DigestError;

impl fmt::Display for TokenDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for TokenDigest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        let digits = text.strip_prefix("sha256:").unwrap_or(text);
        if digits.len() != 64 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(DigestError);
        }
        let mut bytes = [0; 32];
        for (index, byte) in bytes.iter_mut().enumerate() {
            let digits = digits.get(index * 2..index * 2 + 2).ok_or(DigestError)?;
            *byte = u8::from_str_radix(digits, 16).map_err(|_| DigestError)?;
        }
        Ok(Self(bytes))
    }
}

impl TryFrom<String> for TokenDigest {
    type Error = DigestError;
    fn try_from(text: String) -> Result<Self, DigestError> {
        text.parse()
    }
}

impl From<TokenDigest> for String {
    fn from(digest: TokenDigest) -> Self {
        digest.to_string()
    }
}

/// Servers, and which of their tools.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// Which servers.
    pub servers: Servers,
    /// The tools that may be listed and called; `None`: all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tools: Option<Vec<Pattern>>,
}

/// Which servers a grant is about, whether they are there or not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Servers {
    /// Those whose names fit.
    Named(Pattern),
    /// Those of a group, whichever these are at the time.
    Group(GroupId),
}

impl Grant {
    /// Whether it is about that server.
    #[must_use]
    pub fn covers(&self, instance: &InstanceName, group: Option<&GroupId>) -> bool {
        match &self.servers {
            Servers::Named(pattern) => pattern.fits(instance.as_str()),
            Servers::Group(of) => group == Some(of),
        }
    }

    /// Whether a tool of such a server may be used.
    #[must_use]
    pub fn allows(&self, tool: &str) -> bool {
        self.tools.as_ref().is_none_or(|tools| tools.iter().any(|pattern| pattern.fits(tool)))
    }
}

/// How often an agent may call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallRate {
    /// Calls in a minute, in the long run.
    pub per_minute: u32,
    /// Calls at once, after a rest.
    pub burst: u32,
}

/// What is granted to an agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// To whom.
    pub agent: Agent,
    /// What.
    pub grants: Vec<Grant>,
    /// From then on it grants nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// How often; `None`: as often as anybody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<CallRate>,
}

/// An agent's connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connection {
    /// Its id, chosen by whoever made it.
    pub id: ConnectionId,
    /// What it grants.
    pub terms: Terms,
    /// Counts its changes, from 1.
    pub revision: u64,
    /// Who changed it last: the name of a token.
    pub author: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was changed last.
    pub updated_at: Timestamp,
}

impl Connection {
    /// True when its time is over.
    #[must_use]
    pub fn has_expired(&self, now: Timestamp) -> bool {
        self.terms.expires_at.is_some_and(|at| at <= now)
    }

    /// True when it grants something of that server.
    #[must_use]
    pub fn covers(&self, instance: &InstanceName, group: Option<&GroupId>) -> bool {
        self.terms.grants.iter().any(|grant| grant.covers(instance, group))
    }

    /// True when it grants that tool of that server.
    #[must_use]
    pub fn allows(&self, instance: &InstanceName, group: Option<&GroupId>, tool: &str) -> bool {
        let mut grants = self.terms.grants.iter();
        grants.any(|grant| grant.covers(instance, group) && grant.allows(tool))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_read_with_its_prefix_and_without() {
        let digits = "00ff".repeat(16);
        let digest: TokenDigest = digits.parse().unwrap();
        assert_eq!(format!("sha256:{digits}").to_uppercase().parse::<TokenDigest>(), Err(DigestError));
        assert_eq!(format!("sha256:{}", digits.to_uppercase()).parse(), Ok(digest));
        assert_eq!((digest.to_string(), digest.0[1]), (digits.clone(), 255));
        for bad in ["", "00", &digits[1..], &digits.replace('f', "g"), &"é".repeat(32)] {
            assert_eq!(bad.parse::<TokenDigest>(), Err(DigestError), "{bad}");
        }
    }
}
