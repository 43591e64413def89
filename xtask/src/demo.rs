//! `cargo xtask demo`: everything the project promises, shown on this machine from nothing: an engine, images, the
//! daemon, real MCP servers, a tool call by the official inspector, a crash, a `kill -9`, and nothing left.
//!
//! Each step is a line that says what it does and one that says how long it took; the first that fails ends the
//! demo with a non-zero exit, after what was deployed has been taken down again.

mod daemon;
mod sight;
mod stage;

use crate::{engine, images, node, process, workspace};
use anyhow::{Context, Result, ensure};
use stage::Stage;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

const BUILD: Duration = Duration::from_secs(30 * 60);
/// How long a killed server or an adopted group may take to be whole again.
const WHOLE_AGAIN: Duration = Duration::from_secs(30);
/// The group of `examples/demo.yaml`.
const GROUP: &str = "demo";

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Leave everything running and print what to try next
    #[arg(long)]
    keep: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let began = Instant::now();
    let _alone = workspace::lock("demo")?;
    let mut stage = set()?;
    let played = play(&mut stage);
    if played.is_ok() && args.keep {
        stage.leave_running();
        return Ok(());
    }
    let cleared = clear(&mut stage);
    // What went wrong first is the reason for what may have gone wrong afterwards.
    played.and(cleared)?;
    println!("demo: all of it worked, and nothing is left ({:.1} s)", began.elapsed().as_secs_f64());
    Ok(())
}

/// Everything that must be there before the curtain rises.
fn set() -> Result<Stage> {
    let engine = engine::ensure()?;
    images::ensure(&engine)?;
    let inspector = node::inspector()?;
    let programs = build()?;
    let stage = process::timed("start the daemon", || Stage::open(engine, inspector, &programs))?;
    stage.take_down_an_earlier_run()?;
    Ok(stage)
}

/// Builds beside the running xtask, in its profile, and returns that directory.
fn build() -> Result<PathBuf> {
    let xtask = std::env::current_exe()?;
    let directory = xtask.parent().context("xtask lies in no directory")?;
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--workspace", "--bins"]);
    if directory.ends_with("release") {
        cargo.arg("--release");
    }
    let label = "build the daemon and its command line";
    process::shown(label, BUILD, cargo.current_dir(workspace::root()))?;
    Ok(directory.to_owned())
}

fn play(stage: &mut Stage) -> Result<()> {
    let file = workspace::root().join("examples/demo.yaml");
    stage.dtma("deploy a group of MCP servers and a tool", &["up", "-f", &file.to_string_lossy()])?;
    stage.dtma("how it stands", &["ps"])?;
    call_tools(stage)?;
    process::timed("kill a container; it comes back by itself", || wound(stage))?;
    process::timed("kill -9 the daemon; the next one adopts everything", || survive(stage))?;
    stage.dtma("how it stands now", &["ps"])
}

fn call_tools(stage: &Stage) -> Result<()> {
    stage.inspector(
        "the official MCP inspector calls a tool through the gateway",
        "everything",
        &["--method", "tools/call", "--tool-name", "echo", "--tool-arg", "message=hello"],
    )?;
    let call = ["mcp", "call", "time", "get_current_time", "--arg", "timezone=Europe/Berlin"];
    stage.dtma("our own command line calls another", &call)
}

/// One container dies; it is started again without anybody asking.
fn wound(stage: &Stage) -> Result<()> {
    let container = stage.sight.container("everything")?;
    let before = stage.sight.started_at(&container)?;
    stage.sight.kill(&container)?;
    stage.until("it runs in a new process", WHOLE_AGAIN, || {
        let now = stage.sight.container("everything").and_then(|id| stage.sight.started_at(&id))?;
        ensure!(now != before, "it has not been started again");
        Ok(())
    })?;
    stage.until("it answers again", WHOLE_AGAIN, || stage.echo("everything", "back again"))
}

/// The daemon dies without warning; the containers do not notice, the next daemon takes them over.
fn survive(stage: &mut Stage) -> Result<()> {
    let before = stage.sight.runs()?;
    stage.daemon.kill9()?;
    ensure!(stage.sight.runs()? == before, "containers changed when the daemon died");
    stage.daemon.start_again(&stage.sight.engine)?;
    stage.until("it answers through the new daemon", WHOLE_AGAIN, || stage.echo("everything", "adopted"))?;
    let after = stage.sight.runs()?;
    ensure!(after == before, "not the same containers and processes: {before:?} became {after:?}");
    eprintln!("    {} containers adopted: the same ids, the same processes", after.len());
    Ok(())
}

/// Takes everything down and looks whether the engine agrees.
fn clear(stage: &mut Stage) -> Result<()> {
    // A demo that failed early has nothing to take down.
    let down = match stage.sight.remains()?.is_empty() {
        true => Ok(()),
        false => stage.dtma("take it down, data included", &["down", GROUP, "--volumes"]),
    };
    let ended = stage.daemon.end();
    down.and(ended)?;
    let remains = stage.sight.remains()?;
    ensure!(remains.is_empty(), "something is left: {}", remains.join(", "));
    eprintln!("    no container, no network and no volume is left");
    Ok(())
}
