//! What an image is made for: an operating system, a processor and, where there are several, which kind of it.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Longest part, in bytes; no platform that exists comes near it.
const MAX_PART: usize = 32;

/// `linux/amd64`, `linux/arm/v7`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Platform {
    os: String,
    architecture: String,
    variant: Option<String>,
}

/// Why a text is no platform.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is not a platform: it is written os/architecture or os/architecture/variant, in small letters"
)]
pub struct PlatformError {
    text: String,
}

impl Platform {
    /// Whether this program's machine is of this kind, of whichever variant.
    #[must_use]
    pub fn is_here(&self) -> bool {
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        self.os == std::env::consts::OS && self.architecture == architecture
    }

    /// Whether an image of this kind runs there. An image that names no variant is for all of them, and a platform that
    /// names none takes any.
    #[must_use]
    pub fn takes(&self, os: &str, architecture: &str, variant: &str) -> bool {
        let of_variant = self.variant.as_deref().is_none_or(|wanted| variant.is_empty() || wanted == variant);
        self.os == os && self.architecture == architecture && of_variant
    }
}

impl FromStr for Platform {
    type Err = PlatformError;

    fn from_str(text: &str) -> Result<Self, PlatformError> {
        let parts: Vec<&str> = text.split('/').collect();
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_.-".contains(&byte);
        let sound = |part: &&str| !part.is_empty() && part.len() <= MAX_PART && part.bytes().all(allowed);
        let of = |os: &str, architecture: &str, variant: Option<&str>| Self {
            os: os.to_owned(),
            architecture: architecture.to_owned(),
            variant: variant.map(str::to_owned),
        };
        match parts.as_slice() {
            [os, architecture] if parts.iter().all(sound) => Ok(of(os, architecture, None)),
            [os, architecture, variant] if parts.iter().all(sound) => Ok(of(os, architecture, Some(variant))),
            _ => Err(PlatformError { text: text.chars().take(80).collect() }),
        }
    }
}

impl TryFrom<String> for Platform {
    type Error = PlatformError;

    fn try_from(text: String) -> Result<Self, PlatformError> {
        text.parse()
    }
}

impl From<Platform> for String {
    fn from(platform: Platform) -> Self {
        platform.to_string()
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        self.variant.iter().try_for_each(|variant| write!(f, "/{variant}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_platform_is_two_or_three_words() {
        for text in ["linux/amd64", "linux/arm/v7", "linux/arm64", "wasi/wasm", "windows/amd64"] {
            assert_eq!(text.parse::<Platform>().unwrap().to_string(), text);
        }
        let long = format!("linux/{}", "a".repeat(33));
        for text in [
            "",
            "linux",
            "linux/",
            "/amd64",
            "linux/amd64/",
            "linux/arm/v7/x",
            "Linux/amd64",
            "linux/a b",
            &long,
        ] {
            assert!(text.parse::<Platform>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_machine_is_of_one_kind() {
        let here = |text: &str| text.parse::<Platform>().unwrap().is_here();
        let kinds = ["linux/amd64", "linux/arm64", "linux/riscv64", "windows/amd64", "windows/arm64"];
        assert_eq!(kinds.iter().filter(|kind| here(kind)).count(), 1);
        assert_eq!(here("linux/amd64"), here("linux/amd64/v2"));
    }

    #[test]
    fn a_variant_that_is_not_named_is_any() {
        let takes = |wanted: &str, variant: &str| {
            wanted.parse::<Platform>().unwrap().takes("linux", "arm64", variant)
        };
        assert!(takes("linux/arm64", "") && takes("linux/arm64", "v8") && takes("linux/arm64/v8", "v8"));
        assert!(takes("linux/arm64/v8", "") && !takes("linux/arm64/v9", "v8"));
        assert!(!takes("linux/amd64", "") && !takes("windows/arm64", ""));
    }
}
