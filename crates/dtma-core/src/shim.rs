//! The shim: DTMA's own first process of a container, which starts the server and carries its streams. Where it is inside,
//! by which name it is told who it is, and what the engine must give it.

use std::fmt;
use std::path::{Path, PathBuf};

/// Everything below is ours inside a container; no request can mount anything there.
pub const ROOT: &str = "/.dtma";
/// Where [`ShimMount::bin_dir`] is inside.
pub const BIN_DIR: &str = "/.dtma/bin";
/// Where [`ShimMount::run_dir`] is inside.
pub const RUN_DIR: &str = "/.dtma/run";
/// The shim itself.
pub const PROGRAM: &str = "/.dtma/bin/dtma-shim";
/// The variable that holds [`ShimMount::nonce`]. The server does not see it.
pub const NONCE_VARIABLE: &str = "DTMA_SHIM";

/// True for [`ROOT`] and what lies below it.
#[must_use]
pub fn owns(path: &str) -> bool {
    Path::new(path).starts_with(ROOT)
}

/// What a container with a shim needs of the host. No configuration can name it: whoever speaks to the shims adds it to
/// the request for one container.
#[derive(Clone, PartialEq, Eq)]
pub struct ShimMount {
    /// The host's directory with the shim's program, to be mounted without writes.
    pub bin_dir: PathBuf,
    /// The host's directory with the socket of this very container, to be mounted without writes.
    pub run_dir: PathBuf,
    /// By which the shim proves that it is the one of this container.
    pub nonce: String,
    /// The server's program and its arguments, resolved: no shell and no image adds anything.
    pub argv: Vec<String>,
}

impl fmt::Debug for ShimMount {
    /// Without the nonce.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { bin_dir, run_dir, nonce: _, argv } = self;
        f.debug_struct("ShimMount")
            .field("bin_dir", bin_dir)
            .field("run_dir", run_dir)
            .field("argv", argv)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_ours_is_known_by_whole_names() {
        for path in [ROOT, BIN_DIR, PROGRAM, "/.dtma//bin", "/.dtma/"] {
            assert!(owns(path), "{path}");
        }
        for path in ["/", "/.dtmax", "/x/.dtma", ".dtma", ""] {
            assert!(!owns(path), "{path}");
        }
    }

    #[test]
    fn a_nonce_is_not_printed() {
        let (bin_dir, run_dir) = (PathBuf::from("/b"), PathBuf::from("/r"));
        let mount = ShimMount { bin_dir, run_dir, nonce: "canary".into(), argv: vec!["it".into()] };
        let text = format!("{mount:?}");
        assert!(text.contains("/b") && !text.contains("canary"), "{text}");
    }
}
