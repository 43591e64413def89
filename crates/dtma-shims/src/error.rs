//! Why shims cannot be used at all, told at the daemon's start.

use std::path::PathBuf;

/// The places for shims could not be made ready.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A directory for sockets, the program or its key.
    #[error("cannot use {} for shims", path.display())]
    Directory {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The program lies where nothing may be executed.
    #[error("{} is mounted noexec, and the shim has to run from there", path.display())]
    NoExec {
        /// Where it lies.
        path: PathBuf,
    },
}
