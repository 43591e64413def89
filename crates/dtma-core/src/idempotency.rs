//! The key by which a caller names a question, so that asking twice has one effect.

use crate::Timestamp;
use crate::id::OperationId;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How long a key is remembered.
pub const REMEMBERED: Duration = Duration::from_secs(24 * 3600);

/// Longest key, in characters.
pub const MAX_KEY: usize = 255;

/// A caller's name for one question, and what the question was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdempotencyKey {
    /// As the caller wrote it.
    pub key: String,
    /// Hash of method, path and body: the same key with another one is another question.
    pub digest: String,
}

/// Why a key was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an idempotency key is 1 to 255 visible ASCII characters without spaces")]
pub struct KeyError;

impl IdempotencyKey {
    /// Checks the rule: 1 to 255 visible ASCII characters.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn new(key: impl Into<String>, digest: impl Into<String>) -> Result<Self, KeyError> {
        let key = key.into();
        let sound = (1..=MAX_KEY).contains(&key.len()) && key.bytes().all(|b| b.is_ascii_graphic());
        if sound { Ok(Self { key, digest: digest.into() }) } else { Err(KeyError) }
    }

    /// The key of one of several operations that a single question needs. No caller can write such a key, because
    /// a space stands in it.
    #[must_use]
    pub fn part(&self, name: &str) -> Self {
        Self { key: format!("{} {name}", self.key), digest: self.digest.clone() }
    }
}

/// The finished answer to a question with a key, kept so that the same question gets it again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptAnswer {
    /// Who asked: keys of different callers are different keys.
    pub author: String,
    /// By which key, and what.
    pub key: IdempotencyKey,
    /// The operation that came of it.
    pub operation: OperationId,
    /// The status that the door chose.
    pub status: u16,
    /// What was said, JSON.
    pub body: String,
    /// When.
    pub at: Timestamp,
}

/// True when what was said at `then` is remembered at `now`.
#[must_use]
pub fn is_remembered(then: Timestamp, now: Timestamp) -> bool {
    now.duration_since(then) < jiff::SignedDuration::try_from(REMEMBERED).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_visible_ascii_of_bounded_length() {
        for good in ["a", "7f3e-1", "~!\"", &"k".repeat(255)] {
            assert!(IdempotencyKey::new(good, "d").is_ok(), "{good}");
        }
        for bad in ["", " ", "a b", "a\n", "a\u{7f}", "é", &"k".repeat(256)] {
            assert_eq!(IdempotencyKey::new(bad, "d"), Err(KeyError), "{bad:?}");
        }
    }

    #[test]
    fn a_key_is_remembered_for_a_day() {
        let then = Timestamp::UNIX_EPOCH;
        let after = |seconds| then + jiff::SignedDuration::from_secs(seconds);
        assert!(is_remembered(then, then) && is_remembered(then, after(86_399)));
        assert!(!is_remembered(then, after(86_400)));
        assert!(is_remembered(after(5), then), "a clock that was set back forgets nothing");
    }

    #[test]
    fn parts_of_a_question_have_keys_that_nobody_can_send() {
        let key = IdempotencyKey::new("k", "d").unwrap();
        assert_ne!(key.part("a"), key.part("b"));
        assert!(IdempotencyKey::new(key.part("a").key, "d").is_err());
    }
}
