//! `cargo xtask openapi`: writes the contract that the API crate produces to `docs/openapi.json`. A test compares
//! the two, so this is run after every change of a route or a wire type.

use crate::{process, workspace};
use anyhow::{Context, Result};
use std::process::Command;
use std::time::Duration;

const BUILD: Duration = Duration::from_secs(20 * 60);

pub(crate) fn run() -> Result<()> {
    let mut example = Command::new(workspace::cargo());
    example.args(["run", "--quiet", "-p", "dtma-api", "--example", "openapi"]).current_dir(workspace::root());
    let document = process::output(BUILD, &mut example)?;
    let path = workspace::root().join("docs/openapi.json");
    std::fs::write(&path, document).with_context(|| format!("cannot write {}", path.display()))?;
    eprintln!("    wrote {}", path.display());
    Ok(())
}
