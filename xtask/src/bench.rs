//! `cargo xtask bench`: release builds of the daemon and of the measuring tool, run beside the engine.

use crate::engine::Engine;
use crate::{engine, images, node, peers, process, workspace};
use anyhow::Result;
use std::process::Command;
use std::time::Duration;

const BUILD: Duration = Duration::from_secs(60 * 60);
const RUN: Duration = Duration::from_secs(60 * 60);
/// Ours and others', each with up to 64 clients: the slowest of them decides.
const GATEWAY_RUN: Duration = Duration::from_secs(4 * 60 * 60);

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Given to the measuring tool, for example `--rounds 9 --only deploy`
    #[arg(last = true)]
    bench: Vec<String>,
    #[command(subcommand)]
    alone: Option<Alone>,
}

#[derive(clap::Subcommand)]
enum Alone {
    /// A tool call on every way to the same stdio server: raw, through each door of ours, through what others have
    Gateway(GatewayArgs),
}

#[derive(clap::Args)]
struct GatewayArgs {
    /// Interleaved rounds
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Tool calls of each way and number of clients in a round
    #[arg(long, default_value_t = 2000)]
    calls: usize,
    /// A first look: one round, few calls, less patience
    #[arg(long)]
    quick: bool,
    /// Only the ways whose name contains this
    #[arg(long)]
    way: Option<String>,
    /// Only the servers whose name contains this: null, everything
    #[arg(long)]
    server: Option<String>,
    /// Debug builds, to try the measurement itself: what it says of ours means nothing then
    #[arg(long)]
    debug: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let engine = engine::ensure()?;
    images::ensure(&engine)?;
    match &args.alone {
        Some(Alone::Gateway(gateway)) => self::gateway(&engine, gateway),
        None => {
            let mut bench = built(&engine, &["dtma-daemon", "dtma-bench"], false)?;
            process::shown("measure", RUN, bench.args(&args.bench))
        }
    }
}

/// The measuring tool beside the engine, and the daemon that it is to measure.
fn built(engine: &Engine, packages: &[&str], debug: bool) -> Result<Command> {
    let mut build = Command::new(workspace::cargo());
    build.arg("build").current_dir(workspace::root());
    build.args(packages.iter().flat_map(|package| ["-p", package]));
    if !debug {
        build.arg("--release");
    }
    process::shown(if debug { "build" } else { "build in release" }, BUILD, &mut build)?;
    let programs = workspace::target_dir()?.join(if debug { "debug" } else { "release" });
    let mut bench = engine.beside(&programs.join("dtma-bench").to_string_lossy());
    bench.arg("--daemon").arg(programs.join("dtma-daemon"));
    Ok(bench)
}

fn gateway(engine: &Engine, args: &GatewayArgs) -> Result<()> {
    let (node, everything) = (node::node22()?, peers::everything()?);
    let mut bench = built(engine, &["dtma-daemon", "dtma", "dtma-bench"], args.debug)?;
    bench.args(["--rounds", &args.rounds.to_string(), "--calls", &args.calls.to_string(), "gateway"]);
    let programs = workspace::target_dir()?.join(if args.debug { "debug" } else { "release" });
    bench.arg("--cli").arg(programs.join("dtma")).arg("--node").arg(node);
    bench.arg("--everything").arg(everything);
    for (name, installed) in peers::all() {
        match installed {
            Ok(path) => bench.arg("--peer").arg(format!("{name}={}", path.display())),
            // One that cannot be had is told in its row.
            Err(error) => bench.arg("--absent").arg(format!("{name}=not installed: {error:#}")),
        };
    }
    if args.quick {
        bench.arg("--quick");
    }
    for (option, value) in [("--way", &args.way), ("--server", &args.server)] {
        if let Some(value) = value {
            bench.args([option, value]);
        }
    }
    process::shown("measure the ways to a server", GATEWAY_RUN, &mut bench)
}
