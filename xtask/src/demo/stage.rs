//! The demo's stage: the daemon, and the programs that act on it.

use super::daemon::Daemon;
use super::sight::Sight;
use super::{GROUP, Result};
use crate::engine::Engine;
use crate::node::Inspector;
use crate::process;
use anyhow::{Context, bail};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(5 * 60);
const PAUSE: Duration = Duration::from_millis(50);

pub(super) struct Stage {
    pub(super) daemon: Daemon,
    pub(super) sight: Sight,
    inspector: Inspector,
    cli: PathBuf,
}

impl Stage {
    /// Starts the daemon of that directory beside the engine.
    pub(super) fn open(engine: Engine, inspector: Inspector, programs: &Path) -> Result<Self> {
        let daemon = Daemon::start(&engine, &programs.join("dtma-daemon"))?;
        eprintln!("    {} (log: {})", daemon.url(), daemon.log().display());
        Ok(Self { daemon, sight: Sight { engine }, inspector, cli: programs.join("dtma") })
    }

    /// The daemon keeps its state from one demo to the next, and so its groups: one that was interrupted, or kept,
    /// is removed as a person would.
    pub(super) fn take_down_an_earlier_run(&self) -> Result<()> {
        if self.sight.remains()?.is_empty() {
            return Ok(());
        }
        process::timed("take down what an earlier demo left", || {
            let down = process::output(PATIENCE, &mut self.cli(&["down", GROUP, "--volumes"]));
            let remains = self.sight.remains()?;
            match remains.is_empty() {
                true => Ok(()),
                false => down.map(drop).and_then(|()| bail!("it is left: {}", remains.join(", "))),
            }
        })
    }

    /// Runs our command line where the audience sees it.
    pub(super) fn dtma(&self, label: &str, args: &[&str]) -> Result<()> {
        let label = format!("{label}: dtma {}", args.join(" "));
        process::shown(&label, PATIENCE, &mut self.cli(args))
    }

    /// Runs MCP's official inspector on a server's door.
    pub(super) fn inspector(&self, label: &str, instance: &str, args: &[&str]) -> Result<()> {
        let mut command = self.sight.engine.beside(&self.inspector.node.to_string_lossy());
        let door = format!("{}/gateway/servers/{instance}/mcp", self.daemon.url());
        command.arg(&self.inspector.script).args(["--cli", &door, "--transport", "http"]);
        command.args(["--header", &format!("Authorization: Bearer {}", self.daemon.token())]);
        process::shown(label, PATIENCE, command.args(args))
    }

    /// One tool call that nobody sees.
    pub(super) fn echo(&self, instance: &str, message: &str) -> Result<()> {
        let message_arg = format!("message={message}");
        let mut call = self.cli(&["mcp", "call", instance, "echo", "--arg", &message_arg]);
        let answer = process::output(PATIENCE, &mut call)?;
        if !answer.contains(message) {
            bail!("{instance} answered {answer:?}");
        }
        eprintln!("    {}", answer.trim());
        Ok(())
    }

    /// Tries until it works, at most for `patience`; what it said last is the error.
    pub(super) fn until(
        &self,
        what: &str,
        patience: Duration,
        mut attempt: impl FnMut() -> Result<()>,
    ) -> Result<()> {
        let began = Instant::now();
        loop {
            match attempt() {
                Ok(()) => {
                    eprintln!("    {what}: after {:.1} s", began.elapsed().as_secs_f64());
                    return Ok(());
                }
                Err(error) if began.elapsed() > patience => {
                    return Err(error)
                        .with_context(|| format!("not within {} s: {what}", patience.as_secs()));
                }
                Err(_) => thread::sleep(PAUSE),
            }
        }
    }

    /// Says what can be tried on what was left running.
    pub(super) fn leave_running(&self) {
        let dtma = words(&self.sight.engine.beside(&self.cli.to_string_lossy()));
        println!("\nThe daemon (pid {}) and group {GROUP} go on. Try next:\n", self.daemon.pid());
        println!("  export DTMA_URL={}", self.daemon.url());
        println!("  export DTMA_TOKEN=$(cat {})", self.daemon.token_file().display());
        println!("  alias dtma='{dtma}'");
        println!("  dtma status {GROUP}");
        println!("  dtma mcp ls");
        println!("  dtma mcp call everything get-sum --arg a=1 --arg b=2");
        println!("  dtma logs -f everything");
        println!("  DOCKER_HOST={} docker ps", self.sight.engine.docker_host);
        println!(
            "  kill -9 {}    # and `cargo xtask demo` again: it takes over and cleans up",
            self.daemon.pid()
        );
        println!("  dtma down {GROUP} --volumes; kill {}", self.daemon.pid());
    }

    fn cli(&self, args: &[&str]) -> Command {
        let mut command = self.sight.engine.beside(&self.cli.to_string_lossy());
        command.args(args).env("DTMA_URL", self.daemon.url()).env("DTMA_TOKEN", self.daemon.token());
        command
    }
}

/// A command as a person types it.
fn words(command: &Command) -> String {
    let words = [command.get_program()].into_iter().chain(command.get_args());
    words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}
