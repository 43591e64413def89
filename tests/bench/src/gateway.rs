//! A tool call on every way to the same stdio server: straight to the container or the process, through each door of
//! DTMA, and through what others have for it.
//!
//! All ways stand side by side for the whole measurement, and each round goes once through all of them. Whoever does not
//! come up, stalls or answers wrongly is told in its row, with the reason, and asked no more.

mod message;
mod peers;
mod process;
pub(crate) mod relay;
mod sessions;
mod table;
mod ways;

use crate::Args;
use crate::daemon::Daemon;
use crate::raw::RawEngine;
use anyhow::{Context, Result, anyhow};
use sessions::Load;
use std::path::PathBuf;
use std::time::Duration;
use table::Table;
use ways::Way;

/// Clients that call at the same moment.
const CLIENTS: [usize; 4] = [1, 8, 16, 64];
/// How long a way may take to open its sessions and to make the calls of one cell.
const CELL: Duration = Duration::from_secs(120);
/// The same for a first look.
const QUICK_CELL: Duration = Duration::from_secs(60);
/// Calls in a cell of a first look.
const QUICK_CALLS: usize = 200;

/// What `dtma-bench gateway` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// The release build of dtma
    #[arg(long)]
    cli: PathBuf,
    /// The Node that runs everything from npm
    #[arg(long)]
    node: PathBuf,
    /// The script of server-everything
    #[arg(long)]
    everything: PathBuf,
    /// Somebody else's bridge and where it is installed
    #[arg(long = "peer", value_name = "NAME=PATH", value_parser = pair)]
    peers: Vec<(String, String)>,
    /// Somebody else's bridge that could not be installed, and why
    #[arg(long = "absent", value_name = "NAME=WHY", value_parser = pair)]
    absent: Vec<(String, String)>,
    /// A first look: one round, few calls
    #[arg(long)]
    quick: bool,
    /// Only the ways whose name contains this
    #[arg(long, default_value = "")]
    way: String,
    /// Only the servers whose name contains this: null, everything
    #[arg(long, default_value = "")]
    server: String,
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("not of the form NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

/// A stdio server, as a process of this machine and in a container.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    pub(crate) name: &'static str,
    image: &'static str,
    /// Instead of what the image starts.
    command: Option<Vec<String>>,
    /// The same outside.
    process: Vec<String>,
}

fn servers(options: &Options, dir: &std::path::Path) -> Result<[Server; 2]> {
    let script = dir.join("null_server.py");
    let text = include_str!("gateway/null_server.py");
    std::fs::write(&script, text)?;
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let path = |path: &std::path::Path| path.display().to_string();
    Ok([
        Server {
            name: "null",
            image: "dtma/mcp-fixture:dev",
            command: Some(words(&["/usr/bin/python3", "-c", text])),
            process: words(&["python3", &path(&script)]),
        },
        Server {
            name: "everything",
            image: "dtma/mcp-everything:dev",
            command: None,
            process: words(&[&path(&options.node), &path(&options.everything), "stdio"]),
        },
    ])
}

/// Until it is done or somebody presses Ctrl-C; whatever was started ends either way.
pub(crate) async fn measure(args: &Args, options: &Options) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let (daemon, engine) = (Daemon::start(args).await?, RawEngine::connect(&args.docker_host)?);
    let scene = ways::Scene { args, options, daemon: &daemon, engine: &engine, dir: dir.path() };
    // What is under way is dropped by Ctrl-C, and with it every bridge and session.
    let measured = tokio::select! {
        done = all(&scene) => done,
        _ = tokio::signal::ctrl_c() => Err(anyhow!("interrupted")),
    };
    // What was made is removed whether it worked or not.
    let swept = engine.sweep().await;
    daemon.end().await?;
    measured.and(swept)
}

async fn all(scene: &ways::Scene<'_>) -> Result<()> {
    for server in servers(scene.options, scene.dir)? {
        if server.name.contains(&scene.options.server) {
            one(scene, &server).await.with_context(|| server.name)?;
        }
    }
    Ok(())
}

async fn one(scene: &ways::Scene<'_>, server: &Server) -> Result<()> {
    let (rounds, calls) = match scene.options.quick {
        true => (1, scene.args.calls.min(QUICK_CALLS)),
        false => (scene.args.rounds, scene.args.calls),
    };
    eprintln!("{}: {rounds} interleaved round(s), {calls} calls in each cell, medians", server.name);
    let mut ways = ways::all(scene, server).await?;
    let mut table = Table::new(&ways);
    for round in 0..rounds {
        for clients in CLIENTS {
            for (row, way) in ways.iter_mut().enumerate() {
                cell(scene, &mut table, row, way, Load { clients, calls, own_ids: false }).await;
            }
        }
        eprintln!("  round {} of {rounds} done", round + 1);
    }
    println!("\n{}", table.print(server.name, rounds, calls));
    Ok(())
}

/// One way, one number of clients.
async fn cell(scene: &ways::Scene<'_>, table: &mut Table, row: usize, way: &mut Way, load: Load) {
    if way.failed.is_some() {
        return;
    }
    let patience = if scene.options.quick { QUICK_CELL } else { CELL };
    let told = match tokio::time::timeout(patience, way.measure(load)).await {
        Ok(Ok(sample)) => {
            let told = sample.to_string();
            table.add(row, load.clients, sample);
            told
        }
        Ok(Err(error)) => way.give_up(format!("{error:#}")),
        Err(_) => way.give_up(format!("{} clients: not done after {} s", load.clients, patience.as_secs())),
    };
    table.noted(row, way);
    eprintln!("  {} client(s), {}: {told}", load.clients, way.name);
}
