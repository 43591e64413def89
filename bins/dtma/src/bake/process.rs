//! Programs of this machine: run to their end, within bounds, and quoted when they fail.

use crate::exit::Exit;
use crate::failure::Failure;
use std::time::Duration;
use tokio::process::Command;

/// No installation takes longer.
const PATIENCE: Duration = Duration::from_secs(15 * 60);
/// Lines of a failed program that are shown.
const QUOTED: usize = 5;

/// Runs it and returns what it printed.
pub(super) async fn run(command: &mut Command, remedy: &str) -> Result<String, Failure> {
    let name = command.as_std().get_program().to_string_lossy().into_owned();
    let ended = tokio::time::timeout(
        PATIENCE,
        command.kill_on_drop(true).stdin(std::process::Stdio::null()).output(),
    );
    let ended =
        ended.await.map_err(|_| Failure::new(Exit::TimedOut, format!("{name} does not come to an end")))?;
    let output = ended.map_err(|error| {
        Failure::new(Exit::Usage, format!("{name} cannot be run on this machine"))
            .cause(error.to_string())
            .hint(remedy)
    })?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said = if said.trim().is_empty() { String::from_utf8_lossy(&output.stdout) } else { said };
    let lines: Vec<&str> = said.lines().filter(|line| !line.trim().is_empty()).collect();
    let last = lines[lines.len().saturating_sub(QUOTED)..].join("; ");
    Err(Failure::new(Exit::Failed, format!("{name} failed: {}", output.status)).cause(last).hint(remedy))
}
