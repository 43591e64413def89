//! `cargo xtask package --test`: the package is installed on a machine that booted systemd, lives through what a package
//! lives through, and then everything that `docs/operating.md` says is done there.

use super::document;
use super::machine::Machine;
use crate::{engine, images, process};
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

const LIFE: &str = include_str!("life.sh");
const MINUTES: Duration = Duration::from_secs(10 * 60);
const IMAGES: &[&str] = &["dtma/mcp-server-time:dev"];

/// One with what the commands need.
pub(super) fn machine() -> Result<Machine> {
    let engine = engine::ensure()?;
    images::ensure(&engine)?;
    Machine::boot(&engine, IMAGES)
}

pub(super) fn prove(machine: &Machine, deb: &Path) -> Result<()> {
    let newer = newer(deb)?;
    machine.put(&engine::docker_cli()?, "/usr/local/bin/docker", "755")?;
    lay(machine, deb, &newer)?;
    run(machine, "the package on a machine with systemd", LIFE)?;
    lay(machine, deb, &newer)?;
    let said = run(machine, "docs/operating.md on a machine with systemd", &document::script()?)?;
    let unsaid: Vec<_> = document::SAID.iter().filter(|words| !said.contains(**words)).collect();
    if !unsaid.is_empty() {
        bail!("every command of docs/operating.md succeeded, but none said {unsaid:?}");
    }
    println!("package: installed, lived and went; docs/operating.md: every command succeeded");
    Ok(())
}

fn lay(machine: &Machine, deb: &Path, newer: &Path) -> Result<()> {
    machine.put(deb, "/root/dtma.deb", "644")?;
    machine.put(newer, "/root/newer.deb", "644")
}

fn run(machine: &Machine, label: &str, script: &str) -> Result<String> {
    process::kept(label, MINUTES, machine.command("bash")?.args(["-c", script]))
}

/// The same with a higher version, so that installing it is an upgrade.
fn newer(deb: &Path) -> Result<PathBuf> {
    let newer = deb.with_file_name("newer.deb");
    super::rebuilt(deb, &newer, &["-Znone"], |tree| {
        let control = tree.join("DEBIAN/control");
        let text = fs::read_to_string(&control)?;
        let version = text.lines().find(|line| line.starts_with("Version: ")).context("it has no version")?;
        Ok(fs::write(&control, text.replacen(version, &format!("{version}+newer"), 1))?)
    })?;
    Ok(newer)
}
