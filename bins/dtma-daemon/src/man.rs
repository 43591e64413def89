//! `dtma-daemon man`: a manual page for the program and one for each command, from what it can be told.

use crate::cli::Cli;
use anyhow::{Context, Result};
use clap::CommandFactory;
use std::path::Path;

/// Writes the pages into `dir`.
///
/// # Errors
/// They cannot be written there.
pub(crate) fn write(dir: &Path) -> Result<()> {
    let written = std::fs::create_dir_all(dir).and_then(|()| clap_mangen::generate_to(Cli::command(), dir));
    written.with_context(|| format!("the pages cannot be written to {}", dir.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_a_page_for_the_program_and_for_each_command() {
        let dir = tempfile::tempdir().unwrap();
        write(&dir.path().join("man1")).unwrap();
        let page = |name: &str| std::fs::read_to_string(dir.path().join("man1").join(name)).unwrap();
        let program = page("dtma-daemon.1");
        for words in ["state\\-dir", "DTMA_STATE_DIR", "dtma\\-daemon\\-token(1)", "Exit codes"] {
            assert!(program.contains(words), "{words} is not in {program}");
        }
        assert!(page("dtma-daemon-token-rotate.1").contains("overlap"));
    }
}
