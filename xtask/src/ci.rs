//! `cargo xtask ci`: everything that must hold before a change is merged, cheapest first.
//!
//! The cheap checks all run, so that one round shows all they find; the tests run only when they pass.

use crate::{package, process, test, tidy, workspace};
use anyhow::{Result, bail};
use std::process::Command;
use std::time::Duration;

const BUILD: Duration = Duration::from_secs(40 * 60);

pub(crate) fn run() -> Result<()> {
    let checks = [
        formatting(),
        clippy(),
        clippy_with_opentelemetry(),
        process::timed("tidy", tidy::run),
        documentation(),
        dependencies(),
    ];
    let failures: Vec<String> =
        checks.into_iter().filter_map(|check| check.err().map(|e| e.to_string())).collect();
    if !failures.is_empty() {
        bail!("the tests were not run, for before them failed: {}", failures.join("; "));
    }
    // Before the tests: what it leaves of the machine's cgroups they would notice.
    process::timed("cargo xtask package --test", || package::run(&package::Args::for_ci()))?;
    process::timed("cargo xtask test", || test::run(&test::Args::default()))
}

fn formatting() -> Result<()> {
    cargo("formatting", &["fmt", "--all", "--check"])
}

fn clippy() -> Result<()> {
    cargo("clippy", &["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"])
}

/// What is not built otherwise; the rest is known from the round before.
fn clippy_with_opentelemetry() -> Result<()> {
    let all = ["clippy", "--workspace", "--all-targets", "--features", "dtma-daemon/otel"];
    cargo("clippy of the daemon with OpenTelemetry", &[&all[..], &["--", "-D", "warnings"]].concat())
}

fn documentation() -> Result<()> {
    let mut command = Command::new("cargo");
    command.args(["doc", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-Dwarnings");
    process::shown("documentation", BUILD, command.current_dir(workspace::root()))
}

/// Not part of Rust's own tools: checked where somebody has installed it.
fn dependencies() -> Result<()> {
    if workspace::find_program("cargo-deny").is_none() {
        eprintln!("    cargo-deny is not installed: licences and bans of dependencies are not checked here");
        return Ok(());
    }
    cargo("dependencies", &["deny", "check", "bans", "licenses", "sources"])
}

fn cargo(label: &str, args: &[&str]) -> Result<()> {
    process::shown(label, BUILD, Command::new("cargo").args(args).current_dir(workspace::root()))
}
