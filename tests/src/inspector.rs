//! MCP's official inspector, a client that is none of ours. `cargo xtask test` installs it and says where it is
//! (`DTMA_TEST_NODE`, `DTMA_TEST_INSPECTOR`).

use crate::Toolbox;
use crate::program::{Ended, run_aside};
use serde_json::Value;
use std::process::Command;
use std::time::Duration;

/// How long one run may take.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// A door of the gateway that the inspector can use.
#[derive(Debug, Clone, Copy)]
pub enum Door {
    /// Streamable HTTP.
    Http,
    /// HTTP+SSE.
    Sse,
    /// Streamable HTTP onto a group; its name stands for the server's.
    Group,
}

/// The inspector as a command, without arguments.
///
/// # Panics
/// Nobody said where it is.
#[must_use]
pub fn command() -> Command {
    let mut command = Command::new(setting("DTMA_TEST_NODE"));
    command.arg(setting("DTMA_TEST_INSPECTOR")).arg("--cli");
    command
}

fn setting(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set; run `cargo xtask test`, which sets it"))
}

/// Runs it against a server's door.
pub async fn inspector(toolbox: &Toolbox, door: Door, token: &str, instance: &str, args: &[&str]) -> Ended {
    let (whose, path, transport) = match door {
        Door::Http => ("servers", "mcp", "http"),
        Door::Sse => ("servers", "sse", "sse"),
        Door::Group => ("groups", "mcp", "http"),
    };
    let url = format!("{}/gateway/{whose}/{instance}/{path}", toolbox.url());
    let mut command = command();
    command.args([&url, "--transport", transport]);
    command.args(["--header", &format!("Authorization: Bearer {token}")]).args(args);
    run_aside(command, PATIENCE).await
}

/// What it printed, as JSON.
async fn inspect(toolbox: &Toolbox, door: Door, instance: &str, args: &[&str]) -> Value {
    let ended = inspector(toolbox, door, toolbox.token(), instance, args).await;
    let text = ended.expect_success(&format!("inspector {door:?} {instance} {args:?}"));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// It lists a tool of that name.
pub async fn lists(toolbox: &Toolbox, door: Door, instance: &str, tool: &str) {
    let listed = inspect(toolbox, door, instance, &["--method", "tools/list", "--format", "json"]).await;
    let tools =
        listed.pointer("/tools").or_else(|| listed.pointer("/result/tools")).expect("a list of tools");
    let named = |listed: &Value| listed["name"] == tool;
    assert!(tools.as_array().is_some_and(|tools| tools.iter().any(named)), "{instance}: {listed}");
}

/// It calls a tool with `name=value` pairs, and what it prints has `expected` in it.
pub async fn calls(
    toolbox: &Toolbox,
    door: Door,
    instance: &str,
    tool: &str,
    arguments: &[&str],
    expected: &str,
) {
    let mut args = vec!["--method", "tools/call", "--tool-name", tool, "--format", "json"];
    args.extend(arguments.iter().flat_map(|argument| ["--tool-arg", argument]));
    let answer = inspect(toolbox, door, instance, &args).await;
    assert!(answer.to_string().contains(expected), "{instance} {tool}: {answer}");
}
