//! Names with `*` for whatever stands there.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Longest pattern, in bytes.
const LONGEST: usize = 256;

/// A name in which `*` stands for any characters, also none. Everything else stands for itself.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Pattern(String);

/// Why a text is no pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub struct PatternError {
    /// What is wrong with it.
    pub problem: &'static str,
}

impl Pattern {
    /// Checks it.
    ///
    /// # Errors
    /// [`PatternError`]: it is empty, too long, or has characters that no name has.
    pub fn new(text: impl Into<String>) -> Result<Self, PatternError> {
        let text = text.into();
        let refuse = |problem| Err(PatternError { problem });
        match text.len() {
            0 => refuse("it is empty; * stands for every name"),
            1..=LONGEST if text.chars().any(char::is_control) => refuse("it has control characters"),
            1..=LONGEST => Ok(Self(text)),
            _ => refuse("it is longer than 256 bytes"),
        }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// True when it is a name and no more.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        !self.0.contains('*')
    }

    /// Whether a name fits. Takes a time that grows with the product of both lengths and no faster.
    #[must_use]
    pub fn fits(&self, name: &str) -> bool {
        let Some((head, rest)) = self.0.split_once('*') else { return self.0 == name };
        let Some(name) = name.strip_prefix(head) else { return false };
        // The first place that fits is as good as any for what stands between two stars.
        let (middle, tail) = rest.rsplit_once('*').unwrap_or(("", rest));
        let Some(mut name) = name.strip_suffix(tail) else { return false };
        for part in middle.split('*').filter(|part| !part.is_empty()) {
            let Some((_, after)) = name.split_once(part) else { return false };
            name = after;
        }
        true
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Pattern {
    type Err = PatternError;
    fn from_str(text: &str) -> Result<Self, PatternError> {
        Self::new(text)
    }
}

impl TryFrom<String> for Pattern {
    type Error = PatternError;
    fn try_from(text: String) -> Result<Self, PatternError> {
        Self::new(text)
    }
}

impl From<Pattern> for String {
    fn from(pattern: Pattern) -> Self {
        pattern.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_star_stands_for_anything_and_nothing() {
        for (pattern, fitting, others) in [
            ("echo", &["echo"][..], &["Echo", "echo2", "", "ech"][..]),
            ("*", &["", "a", "a*b"], &[]),
            ("get_*", &["get_", "get_time"], &["get", "forget_it"]),
            ("*_all", &["_all", "drop_all"], &["all", "drop_all_"]),
            ("a*a", &["aa", "aba"], &["a", "ab"]),
            ("a*b*c", &["abc", "a1b2c", "abbc"], &["acb", "ac"]),
            ("**", &["", "x"], &[]),
            ("*b*", &["b", "abc"], &["ac"]),
            ("a.c", &["a.c"], &["abc"]),
        ] {
            let pattern = Pattern::new(pattern).unwrap();
            assert!(fitting.iter().all(|name| pattern.fits(name)), "{pattern} fits each of {fitting:?}");
            assert!(!others.iter().any(|name| pattern.fits(name)), "{pattern} fits none of {others:?}");
        }
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for bad in ["", "a\nb", &"a".repeat(257)] {
            assert!(Pattern::new(bad).is_err(), "{bad:?}");
        }
    }

    /// The same, said as slowly as possible.
    fn naive(pattern: &[u8], name: &[u8]) -> bool {
        match (pattern.split_first(), name.split_first()) {
            (None, None) => true,
            (Some((b'*', rest)), _) => (0..=name.len()).any(|skipped| naive(rest, &name[skipped..])),
            (Some((a, pattern)), Some((b, name))) => a == b && naive(pattern, name),
            (Some(_), None) | (None, Some(_)) => false,
        }
    }

    proptest! {
        #[test]
        fn it_fits_as_the_definition_says(pattern in "[ab*]{1,8}", name in "[ab]{0,8}") {
            let expected = naive(pattern.as_bytes(), name.as_bytes());
            prop_assert_eq!(Pattern::new(pattern.clone()).unwrap().fits(&name), expected);
        }
    }
}
