//! Why a vault cannot be opened, and what to do about it.

use super::disk::ReadError;
use super::format::FormatError;
use std::io;

/// What to do with a vault that is older than it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rollback {
    /// Not open it: what was removed from it, and refresh tokens that are spent, would be back.
    Refuse,
    /// Take it as it is from now on: a person has put a backup there.
    Accept,
}

/// Why a vault cannot be opened. Its files are as they were.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file cannot be read.
    #[error("the vault cannot be read: {0}")]
    Read(#[from] ReadError),
    /// The first writing failed.
    #[error("making the vault {path} failed: {source}")]
    Make {
        /// The file.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// The key is another than the one it was made with.
    #[error(
        "the vault {path} was made with another key or passphrase: give it that one, or move the file away to begin with an empty vault"
    )]
    WrongKey {
        /// The file.
        path: String,
    },
    /// A passphrase was given and bytes are wanted, or the other way round.
    #[error("the vault {path} was made with {wanted}: give it that")]
    WrongKind {
        /// The file.
        path: String,
        /// `a passphrase`, `a key file`.
        wanted: &'static str,
    },
    /// The passphrase cannot be made into a key.
    #[error("no key can be made: {problem}")]
    NoKey {
        /// Why.
        problem: &'static str,
    },
    /// It is something else.
    #[error("{path} is no vault: move it away, or name another file")]
    Foreign {
        /// The file.
        path: String,
    },
    /// A newer DTMA wrote it.
    #[error(
        "the vault {path} is of format {version}, which this version does not know: use the version that wrote it"
    )]
    Newer {
        /// The file.
        path: String,
        /// Its format.
        version: u16,
    },
    /// It is not as it was written.
    #[error("{path} is damaged: {problem}; put a backup in its place")]
    Damaged {
        /// The file.
        path: String,
        /// What is wrong.
        problem: &'static str,
    },
    /// An older one was put in its place, or what remembers that was taken away.
    #[error(
        "the vault {path} is older than it was: {problem}; if a backup was put there on purpose, say that it is to be accepted"
    )]
    RolledBack {
        /// The file.
        path: String,
        /// How that shows.
        problem: String,
    },
}

impl OpenError {
    pub(super) fn of(error: FormatError, path: &str) -> Self {
        let path = path.to_owned();
        match error {
            FormatError::Foreign => Self::Foreign { path },
            FormatError::Version(version) => Self::Newer { path, version },
            FormatError::Damaged(problem) => Self::Damaged { path, problem },
        }
    }
}
