//! MCP's official inspector, a client that is none of ours, lists and calls tools on six real servers through the
//! gateway, with a token.

use dtma_tests::binaries::cli;
use dtma_tests::inspector::{Door, PATIENCE, command, inspector};
use dtma_tests::program::run_aside;
use dtma_tests::{Toolbox, groups};
use serde_json::json;

async fn lists(toolbox: &Toolbox, instance: &str, tool: &str) {
    dtma_tests::inspector::lists(toolbox, Door::Http, instance, tool).await;
}

async fn calls(toolbox: &Toolbox, instance: &str, tool: &str, arguments: &[&str], expected: &str) {
    dtma_tests::inspector::calls(toolbox, Door::Http, instance, tool, arguments, expected).await;
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

#[tokio::test(flavor = "multi_thread")]
async fn the_inspector_has_a_page_fetched_that_a_tool_of_the_group_serves() {
    let toolbox = Toolbox::start();
    let page = json!({"instance": "page", "condition": "healthy", "connect": {"port": 8080}});
    let fetch = groups::with(groups::fetch("fetch"), &json!({"dependsOn": [page]}));
    toolbox.deploy(&toolbox.group("fetching", &[groups::web("page"), fetch])).await;
    lists(&toolbox, "fetch", "fetch").await;
    calls(&toolbox, "fetch", "fetch", &["url=http://127.0.0.1:8080/"], "It works.").await;
}

/// A client that shakes no hands, at servers that never heard of that and at one that has.
#[tokio::test(flavor = "multi_thread")]
async fn the_inspector_without_a_handshake_calls_tools_of_servers_of_both_eras() {
    let toolbox = Toolbox::start();
    let servers = [groups::everything("everything"), groups::time("time"), groups::fixture("fixture")];
    toolbox.deploy(&toolbox.group("eras", &servers)).await;
    for (instance, tool, argument, expected) in [
        ("everything", "echo", "message=hello", "Echo: hello"),
        ("time", "get_current_time", "timezone=Europe/Berlin", "Europe/Berlin"),
        ("fixture", "echo", "message=hello", "Echo: hello"),
    ] {
        let modern = ["--protocol-era", "modern", "--format", "json", "--method"];
        let list = [&modern[..], &["tools/list"]].concat();
        let listed = inspector(&toolbox, Door::Http, toolbox.token(), instance, &list).await;
        assert!(listed.expect_success(instance).contains(tool), "{instance}");
        let call = [&modern[..], &["tools/call", "--tool-name", tool, "--tool-arg", argument]].concat();
        let called = inspector(&toolbox, Door::Http, toolbox.token(), instance, &call).await;
        assert!(called.expect_success(instance).contains(expected), "{instance}");
    }
}

/// The same through the door for clients that only start commands.
#[tokio::test(flavor = "multi_thread")]
async fn the_inspector_starts_the_stdio_door_as_its_server() {
    let toolbox = Toolbox::start();
    toolbox.deploy(&toolbox.group("one", &[groups::time("time")])).await;
    let mut command = command();
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
    let ended = inspector(&toolbox, Door::Http, "wrong", "time", &["--method", "tools/list"]).await;
    assert!(!ended.status.success(), "{ended:?}");
    assert!(!ended.stdout.contains("get_current_time"), "{ended:?}");
}
