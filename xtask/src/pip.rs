//! pip: PyPI packages into a directory, for the machine itself or for an image's Python.
//!
//! Only wheels are taken: nothing is compiled, and no package's code runs while it is installed.

use crate::{apt, process, workspace};
use anyhow::Result;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const MINUTES: Duration = Duration::from_secs(10 * 60);

/// MCP's official Python SDK, which knows 2026-07-28 and the versions before.
const SDK: &str = "2.3.0";

/// The directory of MCP's official Python SDK, installed into the work directory when absent.
pub(crate) fn sdk() -> Result<PathBuf> {
    let package = format!("mcp=={SDK}");
    workspace::made_once(&format!("sdk-python-{SDK}"), |dir| install_whole(&package, dir))
}

/// Installs one package, without what it depends on, for this machine.
pub(crate) fn install_alone(package: &str, target: &Path) -> Result<()> {
    install(package, target, &["--no-deps"])
}

/// Installs one package with what it depends on, for this machine.
pub(crate) fn install_whole(package: &str, target: &Path) -> Result<()> {
    install(package, target, &[])
}

/// Installs a package for another Python than the one that runs pip, given as `3.11`.
pub(crate) fn install_for(python: &str, package: &str, target: &Path) -> Result<()> {
    let machine = std::env::consts::ARCH;
    let eras = ["manylinux_2_28", "manylinux_2_17", "manylinux2014"];
    let platforms: Vec<String> = eras.iter().map(|era| format!("--platform={era}_{machine}")).collect();
    let mut args = vec!["--implementation=cp", "--python-version", python];
    args.extend(platforms.iter().map(String::as_str));
    install(package, target, &args)
}

fn install(package: &str, target: &Path, args: &[&str]) -> Result<()> {
    if !process::succeeds(MINUTES, pip().arg("--version")) {
        apt::install(&["python3", "python3-pip"])?;
    }
    let mut command = pip();
    command.args(["install", "--quiet", "--no-compile", "--only-binary=:all:"]).args(args);
    // The directory is ours alone, so that root installs into it harms nothing.
    command.arg("--root-user-action=ignore").arg("--target").arg(target).arg(package);
    process::quiet(&format!("pip install {package}"), MINUTES, &mut command)
}

fn pip() -> Command {
    let mut command = Command::new("python3");
    command.args(["-m", "pip", "--disable-pip-version-check", "--no-input"]);
    command
}
