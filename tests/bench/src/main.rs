//! `cargo xtask bench`: what DTMA adds, measured beside what it adds to, in one run on one machine.
//!
//! Seven questions: how much longer is a deployment than the same engine calls issued raw; how much longer is a tool call where
//! the server rests; what does the daemon cost when it starts and when it idles; what do many servers cost; what is gained by the
//! shim; what by processes that are kept ready for sessions. `gateway` asks an eighth: how long is a tool call on every way there
//! is, raw, ours and others'. Rounds are interleaved, medians are reported, nothing is asserted.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a measuring tool: it prints and looks at the clock"
)]

mod daemon;
mod deploy;
mod fleet;
mod gateway;
mod idle;
mod memory;
mod raw;
mod report;
mod rest;
mod shim;
mod spare;
mod stdio;
mod takeover;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use daemon::Daemon;
use raw::RawEngine;
use report::Report;
use std::path::PathBuf;

/// Measures DTMA beside the engine it drives.
#[derive(Parser)]
pub(crate) struct Args {
    /// The release build of dtma-daemon
    #[arg(long)]
    daemon: PathBuf,
    /// The engine
    #[arg(long, env = "DOCKER_HOST")]
    docker_host: String,
    /// Interleaved rounds of each comparison
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Tool calls in one sequential run
    #[arg(long, default_value_t = 1000)]
    calls: usize,
    /// Only the parts whose name contains this: deploy, rest, spare, idle, fleet, shim, shim-memory
    #[arg(long, default_value = "")]
    only: String,
    #[command(subcommand)]
    alone: Option<Alone>,
}

/// What is measured alone.
#[derive(Subcommand)]
enum Alone {
    /// A tool call on every way to the same server
    Gateway(gateway::Options),
    /// Passes bytes on between a connection and a container, as a part of that measurement
    Relay(gateway::relay::Options),
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let args = Args::parse();
    match &args.alone {
        Some(Alone::Gateway(options)) => return gateway::measure(&args, options).await,
        Some(Alone::Relay(options)) => return gateway::relay::run(&args, options).await,
        None => {}
    }
    let mut report = Report::new(&args);
    if "idle".contains(&args.only) {
        idle::measure(&args, &mut report).await.context("idle")?;
    }
    if "fleet".contains(&args.only) {
        fleet::measure(&args, &mut report).await.context("fleet")?;
    }
    if "shim".contains(&args.only) {
        shim::measure(&args, &mut report).await.context("shim")?;
    }
    if "shim-memory".contains(&args.only) {
        memory::measure(&args, &mut report).await.context("memory")?;
    }
    let engine = RawEngine::connect(&args.docker_host)?;
    let daemon = Daemon::start(&args).await?;
    let measured = compare(&args, &daemon, &engine, &mut report).await;
    // What was made is removed whether it worked or not.
    daemon.end().await?;
    engine.sweep().await?;
    measured?;
    report.print();
    Ok(())
}

async fn compare(args: &Args, daemon: &Daemon, engine: &RawEngine, report: &mut Report) -> Result<()> {
    if "deploy".contains(&args.only) {
        for count in [1, 10] {
            deploy::measure(args, daemon, engine, count, report).await.context("deploy")?;
        }
    }
    if "rest".contains(&args.only) {
        rest::measure(args, daemon, report).await.context("rest")?;
    }
    if "spare".contains(&args.only) {
        spare::measure(args, daemon, report).await.context("spare")?;
    }
    Ok(())
}
