//! `cargo xtask bench`: release builds of the daemon and of the measuring tool, run beside the engine.

use crate::{engine, images, process, workspace};
use anyhow::Result;
use std::process::Command;
use std::time::Duration;

const BUILD: Duration = Duration::from_secs(40 * 60);
const RUN: Duration = Duration::from_secs(60 * 60);

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Given to the measuring tool, for example `--rounds 9 --only call`
    #[arg(last = true)]
    bench: Vec<String>,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let engine = engine::ensure()?;
    images::ensure(&engine)?;
    let mut build = Command::new(workspace::cargo());
    build
        .args(["build", "--release", "-p", "dtma-daemon", "-p", "dtma-bench"])
        .current_dir(workspace::root());
    process::shown("build in release", BUILD, &mut build)?;
    let release = workspace::target_dir()?.join("release");
    let mut bench = engine.beside(&release.join("dtma-bench").to_string_lossy());
    bench.arg("--daemon").arg(release.join("dtma-daemon")).args(&args.bench);
    process::shown("measure", RUN, &mut bench)
}
