//! `cargo xtask package`: the Debian package, with the completions and man pages that the program itself writes.

mod document;
mod machine;
mod prove;

use crate::{apt, process, workspace};
use anyhow::{Context, Result, bail};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// What makes the package.
const CARGO_DEB: &str = "3.8.0";
const MINUTES: Duration = Duration::from_secs(60 * 60);
const DEV: &str = "dev";
/// A release is not to become larger, in bytes, without anybody noticing.
const LARGEST: u64 = 10_000_000;
/// What the shells call a script of `dtma`.
const SHELLS: [(&str, &str); 3] = [("bash", "dtma"), ("zsh", "_dtma"), ("fish", "dtma.fish")];

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Cargo's profile; `dev` is quick to build and slow to run
    #[arg(long, default_value = "release")]
    profile: String,
    /// Install it on a machine with systemd, made for this, and run there every command of docs/operating.md
    #[arg(long)]
    test: bool,
    /// Where no such machine can be booted, say so and leave it at that
    #[arg(skip)]
    where_it_works: bool,
}

impl Args {
    /// What CI does: with the programs that its tests run. Those start them as systemd does and have the units verified
    /// (`tests/tests/service.rs`, `tests/tests/operating.rs`), which is all there is where systemd cannot be booted.
    pub(crate) fn for_ci() -> Self {
        Self { profile: DEV.to_owned(), test: true, where_it_works: true }
    }
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let deb = process::timed("make the Debian package", || make(&args.profile))?;
    let size = fs::metadata(&deb)?.len();
    println!("{} {size} bytes", deb.display());
    if args.profile == "release" && size > LARGEST {
        bail!("a release is to have at most {LARGEST} bytes");
    }
    if !args.test {
        return Ok(());
    }
    match prove::machine() {
        Ok(machine) => prove::prove(&machine, &deb),
        Err(error) if args.where_it_works => {
            eprintln!(
                "    no machine with systemd can be booted here, so the package is not installed: {error:#}"
            );
            Ok(())
        }
        Err(error) => Err(error),
    }
}

fn make(profile: &str) -> Result<PathBuf> {
    programs()?;
    let tool = cargo_deb()?;
    let output = output_dir(profile)?;
    process::shown("build both programs", MINUTES, cargo(workspace::cargo())?.args(build(profile)))?;
    write_extras(&output)?;
    pack(&tool, &output, profile)
}

/// For tests all programs are built at once: features are then chosen as the tests choose them, and nothing is built
/// twice.
fn build(profile: &str) -> Vec<&str> {
    let what =
        if profile == DEV { &["--workspace", "--bins"][..] } else { &["-p", "dtma-daemon", "-p", "dtma"] };
    [&["build", "--profile", profile], what].concat()
}

/// What cargo-deb calls: it finds out which libraries the programs need, and strips them.
fn programs() -> Result<()> {
    for (program, package) in [("dpkg-shlibdeps", "dpkg-dev"), ("strip", "binutils")] {
        if workspace::find_program(program).is_none() {
            process::timed(&format!("install Debian's {package}"), || apt::install(&[package]))?;
        }
    }
    Ok(())
}

/// Built without optimisation, so that it is there in a third of the time; its compressors are optimised all the same.
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
    let man = dir.join("man");
    fs::create_dir_all(&man)?;
    let program = output.join("dtma");
    let daemon = output.join("dtma-daemon");
    for (shell, name) in SHELLS {
        let script = process::output(MINUTES, Command::new(&program).args(["completion", shell]))?;
        fs::write(dir.join(name), script)?;
    }
    for program in [program, daemon] {
        process::output(MINUTES, Command::new(program).args(["man", "--dir"]).arg(&man))?;
    }
    // cargo-deb leaves alone what lies in a target directory. -n: no time in it, so that it is the same each time.
    process::output(MINUTES, Command::new("gzip").args(["-9n", "--recursive"]).arg(man)).map(drop)
}

fn pack(tool: &Path, output: &Path, profile: &str) -> Result<PathBuf> {
    let deb = output.join("package/dtma.deb");
    // What an earlier run left would be shown as this one's.
    File::create(&deb).with_context(|| format!("cannot write {}", deb.display()))?;
    let mut command = cargo(tool)?;
    // Without symbols also where cargo keeps them: they are nine tenths of a program and take minutes to compress.
    command.args(["--no-build", "--strip", "--fast", "-p", "dtma-daemon", "--profile", profile, "--output"]);
    command.arg(&deb).env("CARGO", workspace::cargo());
    process::quiet("pack the Debian package", MINUTES, &mut command)?;
    if profile != DEV {
        process::timed("compress it well", || rebuilt(&deb, &deb, &["-Zxz", "-z9"], |_| Ok(())))?;
    }
    Ok(deb)
}

/// Unpacks `deb`, has it changed, and packs it with these options of dpkg-deb as `to`.
///
/// Its xz at 9 finds what both programs have in common, which cargo-deb's levels do not: 8.4 MB instead of 10.2.
fn rebuilt(deb: &Path, to: &Path, options: &[&str], change: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let tree = deb.with_extension("tree");
    if tree.exists() {
        fs::remove_dir_all(&tree)?;
    }
    process::output(MINUTES, Command::new("dpkg-deb").arg("--raw-extract").args([deb, &tree]))?;
    change(&tree)?;
    let mut build = Command::new("dpkg-deb");
    build.arg("--root-owner-group").args(options).arg("--build").args([&tree, to]);
    process::output(MINUTES, &mut build)?;
    Ok(fs::remove_dir_all(tree)?)
}
