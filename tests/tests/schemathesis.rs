//! schemathesis, which is none of ours, asks the real daemon everything that its own document allows and forbids, the
//! changes included, with the same seed each time.
//!
//! `cargo xtask test` installs it and says where it is (`DTMA_TEST_SCHEMATHESIS`).
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test stops where something is broken, and reads where schemathesis is"
)]

use dtma_client::RemoveOptions;
use dtma_tests::program::run_aside;
use dtma_tests::{Daemon, Launch};
use serde_json::json;
use std::process::Command;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(300);

const PROGRAM: &str =
    "import sys; from schemathesis.cli import schemathesis; sys.argv[0] = 'schemathesis'; schemathesis()";

/// What a stream ends with is the client's patience, so those that only stream are left out.
const STREAMS: [&str; 5] =
    ["streamEvents", "gatewayListen", "gatewaySse", "gatewayGroupListen", "gatewayGroupSse"];
/// A server that somebody stopped is answered for with 502, as its operation says.
const STOPPED: &str = "\n[[operations]]\ninclude-operation-id = \"gatewayPost\"\n\
    [operations.checks.not_a_server_error]\nexpected-statuses = [\"2xx\", \"3xx\", \"4xx\", \"502\"]\n";

/// `positive_data_acceptance` is left out: rules that a JSON Schema cannot tell (a name that is taken, a duration, an
/// image that is not there) refuse a request of the right form, with 400 or 422.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,\
    response_headers_conformance,response_schema_conformance,negative_data_rejection,missing_required_header,\
    unsupported_method,allow_header_conformance,use_after_free,ensure_resource_availability,ignored_auth";

/// How it is run.
struct Run<'a> {
    phases: &'a str,
    /// Names in paths that are there, as its configuration file has them.
    names: &'a str,
    excluded: &'a [&'a str],
    /// Fewer questions than this would mean that something was left out.
    least: u32,
}

fn schemathesis(daemon: &Daemon, run: &Run<'_>) -> Command {
    let packages = std::env::var("DTMA_TEST_SCHEMATHESIS")
        .expect("DTMA_TEST_SCHEMATHESIS is not set; run `cargo xtask test`, which sets it");
    // It finds its configuration, and keeps the examples of its last run, in the directory it is run in.
    let config = daemon.dir().join("schemathesis.toml");
    std::fs::write(&config, format!("{}{STOPPED}", run.names))
        .expect("its configuration in the test's directory");
    let mut command = Command::new("python3");
    command.current_dir(daemon.dir()).args(["-c", PROGRAM, "--config-file"]).arg(config).arg("run");
    command.env("PYTHONPATH", packages).env("PYTHONUTF8", "1");
    command.args([&format!("{}/openapi.json", daemon.url()), "--url", daemon.url()]);
    command.args(["--header", &format!("Authorization: Bearer {}", daemon.token())]);
    command.args(["--phases", run.phases, "--max-examples", "5", "--seed", "1"]);
    command.args(["--checks", CHECKS, "--request-timeout", "20", "--continue-on-failure", "--no-color"]);
    for operation in STREAMS.iter().chain(run.excluded) {
        command.args(["--exclude-operation-id", operation]);
    }
    command
}

async fn finds_nothing(daemon: &Daemon, run: Run<'_>) {
    let ended = run_aside(schemathesis(daemon, &run), PATIENCE).await;
    let told = format!("{}\n{}", ended.stdout, ended.stderr);
    assert!(ended.status.success(), "{told}");
    // `  5884 generated, 5884 passed, 40 skipped`
    let line = ended.stdout.lines().find(|line| line.contains(" generated, "));
    let asked: Option<u32> = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    assert!(asked.is_some_and(|asked| asked >= run.least), "too few questions: {told}");
}

async fn remove_everything(daemon: &Daemon) {
    let client = daemon.client();
    let options = RemoveOptions { force: true, volumes: true, ..RemoveOptions::default() };
    for group in client.list_groups().await.expect("the groups").groups {
        let removed = client.remove_group(&group.group_id, &options).await;
        assert!(removed.is_ok(), "{}: {removed:?}", group.group_id);
    }
}

#[tokio::test]
async fn schemathesis_finds_no_failure() {
    let dir = tempfile::tempdir().expect("a directory");
    let daemon = Launch::new(dir.path()).start();
    finds_nothing(
        &daemon,
        Run { phases: "examples,coverage,fuzzing", names: "", excluded: &[], least: 3000 },
    )
    .await;
    remove_everything(&daemon).await;
}

/// Left to themselves the names in paths are nobody's: here they are those of a running group.
#[tokio::test]
async fn schemathesis_finds_no_failure_with_what_is_there() {
    let dir = tempfile::tempdir().expect("a directory");
    let daemon = Launch::new(dir.path()).start();
    let group = json!({"groupId": "there", "servers": [
        {"instanceName": "there", "kind": "tool", "image": "dtma/busybox:dev", "command": ["sleep", "3600"],
         "stopGraceMs": 100}]});
    let _ = daemon.rest().post("/mcp/groups", &group).await.expect(201);
    let names = "[parameters]\n\"path.groupId\" = \"there\"\n\"path.instanceName\" = \"there\"\n\
        \"path.name\" = \"there\"\n\"path.id\" = \"there\"\n";
    // What would remove it is asked in the other test.
    let excluded = ["removeGroup", "removeTool", "removeMcpServer", "putGroup"];
    finds_nothing(&daemon, Run { phases: "examples,fuzzing", names, excluded: &excluded, least: 200 }).await;
    remove_everything(&daemon).await;
}
