//! The Docker Engine that images are baked on and tests run against.
//!
//! An engine that answers is used as it is. Where none does, Debian's packages are installed and a private
//! engine is started in the work directory. An engine that somebody else runs is never touched.

mod private;
pub(crate) mod probe;

use crate::{apt, process, workspace};
use anyhow::{Context, Result};
use clap::Subcommand;
pub(crate) use private::PrivateEngine;
use std::path::PathBuf;
use std::process::Command as Process;

const SYSTEM: &str = "unix:///var/run/docker.sock";

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Use an engine that answers, else install and start a private one
    Up,
    /// Stop the private engine and its containers; other engines are left alone
    Down,
    /// Say which engine would be used
    Status,
    /// Print the shell line that points Docker's tools at the engine
    Env,
}

/// An engine that answers.
pub(crate) struct Engine {
    /// `unix://...` or `tcp://...`, for `DOCKER_HOST`.
    pub(crate) docker_host: String,
    /// The network namespace it lives in, when that is not ours.
    netns: Option<PathBuf>,
}

pub(crate) fn run(command: &Command) -> Result<()> {
    match command {
        Command::Up => up(),
        Command::Down => down(),
        Command::Status => status(),
        Command::Env => env(),
    }
}

/// An engine that answers, started if need be.
pub(crate) fn ensure() -> Result<Engine> {
    if let Some(engine) = reachable()? {
        return Ok(engine);
    }
    let _alone = workspace::lock("engine")?;
    // While we waited another run may have started it.
    if let Some(engine) = reachable()? {
        return Ok(engine);
    }
    process::timed("start a private Docker Engine", start_private)
}

fn start_private() -> Result<Engine> {
    install_missing()?;
    // With systemd as PID 1 the installation has started the system's own engine.
    if let Some(engine) = probe::wait_for_system(SYSTEM) {
        return Ok(engine);
    }
    let engine = PrivateEngine::new()?;
    engine.start()?;
    Ok(engine.as_engine())
}

/// The first of `DOCKER_HOST`, the system's engine and ours that answers.
fn reachable() -> Result<Option<Engine>> {
    if let Ok(host) = std::env::var("DOCKER_HOST") {
        if probe::answers(&host) {
            return Ok(Some(Engine::at(host)));
        }
        eprintln!("    DOCKER_HOST={host} does not answer; looking further");
    }
    if probe::answers(SYSTEM) {
        return Ok(Some(Engine::at(SYSTEM.to_owned())));
    }
    let ours = PrivateEngine::new()?;
    Ok(probe::answers(&ours.docker_host()).then(|| ours.as_engine()))
}

fn install_missing() -> Result<()> {
    if workspace::find_program("dockerd").is_none() {
        apt::install(&["docker.io", "iptables"])?;
    } else if workspace::find_program("iptables").is_none() {
        apt::install(&["iptables"])?;
    }
    Ok(())
}

/// The docker CLI: part of Debian 12's `docker.io`, a package of its own from Debian 13 on.
pub(crate) fn docker_cli() -> Result<PathBuf> {
    if let Some(cli) = workspace::find_program("docker") {
        return Ok(cli);
    }
    let package = if apt::known("docker-cli") { "docker-cli" } else { "docker.io" };
    apt::install(&[package])?;
    workspace::find_program("docker").with_context(|| format!("{package} is installed but brought no docker"))
}

impl Engine {
    fn at(docker_host: String) -> Self {
        // The private engine may be what DOCKER_HOST names: then its namespace counts.
        let ours = PrivateEngine::new().ok().filter(|ours| ours.docker_host() == docker_host);
        Self { docker_host, netns: ours.and_then(|ours| ours.foreign_netns()) }
    }

    /// The docker CLI, pointed at this engine whatever the caller's contexts say.
    pub(crate) fn docker(&self) -> Result<Process> {
        let mut command = Process::new(docker_cli()?);
        command.env("DOCKER_HOST", &self.docker_host).env_remove("DOCKER_CONTEXT");
        // BuildKit would fetch its frontend from a registry.
        command.env("DOCKER_BUILDKIT", "0");
        Ok(command)
    }

    /// A program that can reach this engine's containers: inside the engine's network namespace if it has
    /// one of its own, for its internal networks cannot be reached from outside.
    pub(crate) fn beside(&self, program: &str) -> Process {
        let mut command = match &self.netns {
            None => Process::new(program),
            Some(netns) => {
                let mut nsenter = Process::new("nsenter");
                nsenter.arg(format!("--net={}", netns.display())).arg(program);
                nsenter
            }
        };
        command.env("DOCKER_HOST", &self.docker_host);
        command
    }
}

fn up() -> Result<()> {
    let engine = ensure()?;
    eprintln!("    the engine at {} answers", engine.docker_host);
    println!("{}", engine.docker_host);
    Ok(())
}

fn env() -> Result<()> {
    println!("export DOCKER_HOST={}", ensure()?.docker_host);
    Ok(())
}

fn status() -> Result<()> {
    match reachable()? {
        None => println!("no engine answers; `cargo xtask engine up` starts a private one"),
        Some(engine) => println!("{}{}", engine.docker_host, engine.origin()?),
    }
    Ok(())
}

impl Engine {
    fn origin(&self) -> Result<String> {
        let ours = PrivateEngine::new()?;
        if ours.docker_host() != self.docker_host {
            return Ok(" (not ours)".to_owned());
        }
        let namespace = if self.netns.is_some() { ", in a network namespace of its own" } else { "" };
        Ok(format!(" (private{namespace}; log: {})", ours.log().display()))
    }
}

fn down() -> Result<()> {
    let _alone = workspace::lock("engine")?;
    PrivateEngine::new()?.stop()
}
