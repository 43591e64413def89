//! MCP's official inspector, a client that is none of ours, lists and calls tools on five real servers through the
//! gateway, with a token.
//!
//! `cargo xtask test` installs it and says where it is (`DTMA_TEST_NODE`, `DTMA_TEST_INSPECTOR`).
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test stops where something is broken, and reads where the inspector is"
)]

use dtma_tests::binaries::cli;
use dtma_tests::program::{Ended, run_aside};
use dtma_tests::{Toolbox, groups};
use serde_json::{Value, json};
use std::process::Command;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(90);

fn setting(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set; run `cargo xtask test`, which sets it"))
}

/// Runs the inspector against a server's door.
async fn inspector(toolbox: &Toolbox, token: &str, instance: &str, args: &[&str]) -> Ended {
    let mut command = Command::new(setting("DTMA_TEST_NODE"));
    let door = format!("{}/gateway/servers/{instance}/mcp", toolbox.url());
    command.arg(setting("DTMA_TEST_INSPECTOR")).args(["--cli", &door, "--transport", "http"]);
    command.args(["--header", &format!("Authorization: Bearer {token}")]).args(args);
    run_aside(command, PATIENCE).await
}

/// What the inspector printed, as JSON.
async fn inspect(toolbox: &Toolbox, instance: &str, args: &[&str]) -> Value {
    let ended = inspector(toolbox, toolbox.token(), instance, args).await;
    let text = ended.expect_success(&format!("inspector {instance} {args:?}"));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

async fn lists(toolbox: &Toolbox, instance: &str, tool: &str) {
    let listed = inspect(toolbox, instance, &["--method", "tools/list", "--format", "json"]).await;
    let tools =
        listed.pointer("/tools").or_else(|| listed.pointer("/result/tools")).expect("a list of tools");
    let named = |listed: &Value| listed["name"] == tool;
    assert!(tools.as_array().is_some_and(|tools| tools.iter().any(named)), "{instance}: {listed}");
}

async fn calls(toolbox: &Toolbox, instance: &str, tool: &str, arguments: &[&str], expected: &str) {
    let mut args = vec!["--method", "tools/call", "--tool-name", tool, "--format", "json"];
    args.extend(arguments.iter().flat_map(|argument| ["--tool-arg", argument]));
    let answer = inspect(toolbox, instance, &args).await;
    assert!(answer.to_string().contains(expected), "{instance} {tool}: {answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_inspector_lists_and_calls_tools_of_five_servers() {
    let toolbox = Toolbox::start();
    let group = toolbox.group(
        "five",
        &[
            groups::everything("everything"),
            groups::filesystem("filesystem"),
            groups::memory("memory"),
            groups::time("time"),
            groups::git("git"),
        ],
    );
    toolbox.deploy(&group).await;

    lists(&toolbox, "everything", "echo").await;
    calls(&toolbox, "everything", "echo", &["message=hello"], "Echo: hello").await;
    lists(&toolbox, "filesystem", "write_file").await;
    let note = ["path=/data/note.txt", "content=remember"];
    calls(&toolbox, "filesystem", "write_file", &note, "note.txt").await;
    calls(&toolbox, "filesystem", "read_text_file", &["path=/data/note.txt"], "remember").await;
    lists(&toolbox, "memory", "create_entities").await;
    let entity = json!([{"name": "Ada", "entityType": "person", "observations": ["wrote programs"]}]);
    calls(&toolbox, "memory", "create_entities", &[&format!("entities={entity}")], "Ada").await;
    calls(&toolbox, "memory", "search_nodes", &["query=Ada"], "wrote programs").await;
    lists(&toolbox, "time", "get_current_time").await;
    calls(&toolbox, "time", "get_current_time", &["timezone=Europe/Berlin"], "Europe/Berlin").await;
    lists(&toolbox, "git", "git_log").await;
    calls(&toolbox, "git", "git_log", &["repo_path=/data"], "Begin").await;
}

/// The same through the door for clients that only start commands.
#[tokio::test(flavor = "multi_thread")]
async fn the_inspector_starts_the_stdio_door_as_its_server() {
    let toolbox = Toolbox::start();
    toolbox.deploy(&toolbox.group("one", &[groups::time("time")])).await;
    let mut command = Command::new(setting("DTMA_TEST_NODE"));
    command.arg(setting("DTMA_TEST_INSPECTOR")).arg("--cli");
    for (name, value) in [("DTMA_URL", toolbox.url()), ("DTMA_TOKEN", toolbox.token())] {
        command.args(["-e", &format!("{name}={value}")]);
    }
    command.args(["--method", "tools/call", "--tool-name", "get_current_time"]);
    command.args(["--tool-arg", "timezone=Europe/Berlin", "--format", "json", "--"]);
    command.arg(cli()).args(["mcp", "connect", "time"]);
    let answer = run_aside(command, PATIENCE).await.expect_success("inspector over stdio");
    assert!(answer.contains("Europe/Berlin"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_right_token_the_inspector_sees_nothing() {
    let toolbox = Toolbox::start();
    toolbox.deploy(&toolbox.group("one", &[groups::time("time")])).await;
    let ended = inspector(&toolbox, "wrong", "time", &["--method", "tools/list"]).await;
    assert!(!ended.status.success(), "{ended:?}");
    assert!(!ended.stdout.contains("get_current_time"), "{ended:?}");
}
