//! `cargo xtask package`: the Debian package, with the completions and man pages that the program itself writes.

use crate::{process, workspace};
use anyhow::{Context, Result};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// What makes the package.
const CARGO_DEB: &str = "3.8.0";
const MINUTES: Duration = Duration::from_secs(60 * 60);
/// What the shells call a script of `dtma`.
const SHELLS: [(&str, &str); 3] = [("bash", "dtma"), ("zsh", "_dtma"), ("fish", "dtma.fish")];

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Cargo's profile; `dev` is quick to build and slow to run
    #[arg(long, default_value = "release")]
    profile: String,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let tool = cargo_deb()?;
    let output = output_dir(&args.profile)?;
    let build = ["build", "--profile", &args.profile, "-p", "dtma-daemon", "-p", "dtma"];
    process::shown("build both programs", MINUTES, cargo(workspace::cargo())?.args(build))?;
    write_extras(&output)?;
    let deb = pack(&tool, &output, &args.profile)?;
    println!("{} {} bytes", deb.display(), fs::metadata(&deb)?.len());
    Ok(())
}

/// Built without optimisation, so that it is there in a third of the time: what takes long is left to the machine's xz.
fn cargo_deb() -> Result<PathBuf> {
    let dir = workspace::made_once(&format!("cargo-deb-{CARGO_DEB}"), |dir| {
        let mut command = Command::new(workspace::cargo());
        command
            .args(["install", "cargo-deb", "--version", CARGO_DEB, "--locked", "--debug", "--root"])
            .arg(dir);
        process::quiet("install cargo-deb", MINUTES, command.env_remove("CARGO_TARGET_DIR").current_dir("/"))
    })?;
    Ok(dir.join("bin/cargo-deb"))
}

fn cargo(program: impl AsRef<std::ffi::OsStr>) -> Result<Command> {
    let mut command = Command::new(program);
    command.current_dir(workspace::root()).env("CARGO_TARGET_DIR", workspace::target_dir()?);
    Ok(command)
}

fn output_dir(profile: &str) -> Result<PathBuf> {
    let name = if profile == "dev" { "debug" } else { profile };
    Ok(workspace::target_dir()?.join(name))
}

/// Completions and man pages, where the package's metadata looks for them.
fn write_extras(output: &Path) -> Result<()> {
    let dir = output.join("package");
    if dir.exists() {
        fs::remove_dir_all(&dir)?;
    }
    fs::create_dir_all(dir.join("man"))?;
    let program = output.join("dtma");
    for (shell, name) in SHELLS {
        let script = process::output(MINUTES, Command::new(&program).args(["completion", shell]))?;
        fs::write(dir.join(name), script)?;
    }
    process::output(MINUTES, Command::new(&program).args(["man", "--dir"]).arg(dir.join("man"))).map(drop)
}

fn pack(tool: &Path, output: &Path, profile: &str) -> Result<PathBuf> {
    let deb = output.join("package/dtma.deb");
    // What an earlier run left would be shown as this one's.
    File::create(&deb).with_context(|| format!("cannot write {}", deb.display()))?;
    let mut command = cargo(tool)?;
    command
        .args(["--no-build", "--no-strip", "--compress-system", "-p", "dtma-daemon"])
        .args(["--profile", profile, "--output"])
        .arg(&deb);
    process::quiet("pack the Debian package", MINUTES, command.env("CARGO", workspace::cargo()))?;
    Ok(deb)
}
