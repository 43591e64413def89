//! The setting of the runtime directory: what belongs to running containers and is gone after a boot.

use super::Sources;
use std::path::{Path, PathBuf};

pub(crate) const RUNTIME_DIR: &str = "/run/dtma";
/// What systemd made because of `RuntimeDirectory=`; several are separated by colons.
const VARIABLE: &str = "RUNTIME_DIRECTORY";

impl Sources<'_> {
    pub(super) fn runtime_dir(&mut self, said: Option<PathBuf>, state_dir: &Path) -> PathBuf {
        let dir = said.or_else(|| of_systemd().map(|(_, dir)| dir.into()));
        let dir = dir.unwrap_or_else(|| RUNTIME_DIR.into());
        if !dir.is_absolute() {
            let problem = format!("{} is no absolute path, and the engine needs one", dir.display());
            self.report("runtime_dir", problem);
        }
        if state_dir.starts_with(&dir) {
            let (state, dir) = (state_dir.display(), dir.display());
            let problem =
                format!("the state directory {state} lies in {dir}, of which nothing survives a boot");
            self.report("runtime_dir", problem);
        }
        dir
    }
}

/// What systemd says, and the variable in which it says so.
pub(crate) fn of_systemd() -> Option<(&'static str, String)> {
    #[expect(clippy::disallowed_methods, reason = "systemd passes the directory it made in this variable")]
    let dirs = std::env::var(VARIABLE).ok()?;
    first(&dirs).map(|dir| (VARIABLE, dir.to_owned()))
}

fn first(dirs: &str) -> Option<&str> {
    dirs.split(':').find(|dir| !dir.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_several_directories_the_first_is_taken() {
        assert_eq!(first("/run/dtma:/run/other"), Some("/run/dtma"));
        assert_eq!(first(""), None);
    }
}
