//! `dtma`, as a person runs it beside their daemon.

use crate::program::{Ended, run_aside};
use crate::{Toolbox, binaries};
use serde_json::Value;
use std::process::Command;
use std::time::Duration;

/// How long a command may take.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// The command, in the toolbox's directory and with nothing of our own environment.
#[must_use]
pub fn dtma(toolbox: &Toolbox, args: &[&str]) -> Command {
    let mut command = Command::new(binaries::cli());
    command.args(args).env_clear().current_dir(toolbox.dir());
    command.env("HOME", toolbox.dir()).env("DTMA_URL", toolbox.url()).env("DTMA_TOKEN", toolbox.token());
    command
}

/// Runs it, expects this exit code, and returns what it said.
pub async fn ends(toolbox: &Toolbox, args: &[&str], code: i32) -> Ended {
    let ended = run_aside(dtma(toolbox, args), PATIENCE).await;
    assert_eq!(ended.code(), code, "dtma {}: {}\n{}", args.join(" "), ended.stdout, ended.stderr);
    ended
}

/// Runs it, and reads the JSON it prints.
pub async fn json_of(toolbox: &Toolbox, args: &[&str]) -> Value {
    let text = ends(toolbox, args, 0).await.stdout;
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}
