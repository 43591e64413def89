//! What vaults answer over HTTP, read by pure functions. No error repeats what was read.

use secrecy::SecretString;
use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer, Error, Visitor};
use std::fmt;

/// Why an answer cannot be understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unreadable {
    /// A proxy or a portal answered in the vault's place.
    #[error("a page for people")]
    Page,
    /// Where JSON ends that is broken or is not what was expected.
    #[error("not the JSON that is expected, at line {line}, column {column}")]
    Json { line: usize, column: usize },
    /// What it has of its own.
    #[error("{0}")]
    Shape(&'static str),
}

/// What `serde_json` says of a mistake may repeat a value; where it stopped does not.
pub(super) fn json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Unreadable> {
    serde_json::from_slice(bytes).map_err(|error| unreadable(bytes, &error))
}

/// The same for what borrows from the answer.
pub(super) fn borrowed<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, Unreadable> {
    serde_json::from_slice(bytes).map_err(|error| unreadable(bytes, &error))
}

fn unreadable(bytes: &[u8], error: &serde_json::Error) -> Unreadable {
    match bytes.trim_ascii_start().first() {
        Some(b'<') => Unreadable::Page,
        _ => Unreadable::Json { line: error.line(), column: error.column() },
    }
}

/// A text, a number or a truth as text; `null` is none.
pub(super) struct Scalar(pub(super) Option<SecretString>);

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyScalar)
    }
}

struct AnyScalar;

impl Visitor<'_> for AnyScalar {
    type Value = Scalar;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text, a number, a truth or nothing")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Scalar, E> {
        Ok(Scalar(Some(text.into())))
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Scalar, E> {
        self.visit_str(&value.to_string())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Scalar, E> {
        self.visit_str(&value.to_string())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Scalar, E> {
        self.visit_str(&value.to_string())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Scalar, E> {
        self.visit_str(&value.to_string())
    }

    fn visit_unit<E: Error>(self) -> Result<Scalar, E> {
        Ok(Scalar(None))
    }
}
