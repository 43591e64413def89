//! MCP's official conformance suite, through the gateway onto the stdio fixture, which has what the suite asks of a
//! server: every scenario passes as if the suite spoke to that server itself, for clients of every version. And onto
//! server-everything, which has not: what passes there is what passes without the gateway.
//!
//! `cargo xtask test` installs it and says where it is (`DTMA_TEST_NODE`, `DTMA_TEST_CONFORMANCE`,
//! `DTMA_TEST_CONFORMANCE_NEXT` for the one that knows 2026-07-28, and `DTMA_TEST_EVERYTHING`).
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test stops where something is broken, and reads where the suite is"
)]

use dtma_tests::program::run_aside;
use dtma_tests::{Toolbox, eventually, groups};
use serde_json::{Value, json};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(300);
fn setting(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set; run `cargo xtask test`, which sets it"))
}

/// What the suite says in the end, run with these arguments. It knows no tokens, so the daemon asks for none.
async fn summary(script: &str, args: &[&str]) -> String {
    summary_of(groups::fixture("fixture"), script, args).await
}

async fn summary_of(server: Value, script: &str, args: &[&str]) -> String {
    let toolbox = Toolbox::start_with(|launch| launch.args = vec!["--dev-no-auth".to_owned()]);
    toolbox.deploy(&toolbox.group("conforming", &[server])).await;
    let door = format!("{}/gateway/servers/fixture/mcp", toolbox.url());
    run(script, args, &door, toolbox.dir()).await
}

/// The same at any address; files are written into that directory.
async fn run(script: &str, args: &[&str], url: &str, dir: &Path) -> String {
    let mut suite = Command::new(setting("DTMA_TEST_NODE"));
    suite.arg(setting(script)).arg("server").args(args).args(["--url", url]);
    suite.arg("--output-dir").arg(dir.join("conformance")).current_dir(dir);
    let ended = run_aside(suite, PATIENCE).await;
    let said = format!("{}{}", ended.stdout, ended.stderr);
    let (_, summary) = said.split_once("=== SUMMARY ===").unwrap_or_else(|| panic!("no summary:\n{said}"));
    summary.to_owned()
}

/// Scenarios that failed; those of which the suite says itself that they do not count are in `but`.
fn failed<'a>(summary: &'a str, but: &str) -> Vec<&'a str> {
    let lines = summary.lines().filter(|line| line.starts_with('✗'));
    lines.filter(|line| but.is_empty() || !line.contains(but)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_scenario_of_the_released_suite_passes_through_the_gateway() {
    let summary = summary("DTMA_TEST_CONFORMANCE", &["--suite", "all"]).await;
    assert_eq!(failed(&summary, ""), Vec::<&str>::new(), "{summary}");
    assert!(summary.contains("Total: 43 passed, 0 failed"), "{summary}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_2025_11_25_requires_passes_through_the_gateway() {
    let summary = summary("DTMA_TEST_CONFORMANCE_NEXT", &["--requirements", "2025-11-25"]).await;
    assert_eq!(failed(&summary, ""), Vec::<&str>::new(), "{summary}");
    assert!(summary.contains("Total: 80 passed, 0 failed"), "{summary}");
}

/// A server that refuses `initialize`, for clients that begin with it.
#[tokio::test(flavor = "multi_thread")]
async fn what_2025_11_25_requires_passes_onto_a_server_without_a_handshake() {
    let stateless = json!({"environment": {"FIXTURE_ERA": "stateless"}});
    let server = groups::with(groups::fixture("fixture"), &stateless);
    let summary = summary_of(server, "DTMA_TEST_CONFORMANCE_NEXT", &["--requirements", "2025-11-25"]).await;
    assert_eq!(failed(&summary, ""), Vec::<&str>::new(), "{summary}");
    assert!(summary.contains("Total: 80 passed, 0 failed"), "{summary}");
}

/// Tasks are an extension that the fixture has not.
#[tokio::test(flavor = "multi_thread")]
async fn what_2026_07_28_requires_passes_through_the_gateway() {
    let summary = summary("DTMA_TEST_CONFORMANCE_NEXT", &["--requirements", "2026-07-28"]).await;
    assert_eq!(failed(&summary, "tasks-"), Vec::<&str>::new(), "{summary}");
    assert!(summary.contains("Total: 164 passed"), "{summary}");
    assert!(summary.contains("✓ http-custom-header-server-validation"), "{summary}");
}

/// server-everything by itself, on a port of its own.
struct Everything {
    process: Child,
    address: String,
}

impl Everything {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("its address");
        drop(listener);
        let mut command = Command::new(setting("DTMA_TEST_NODE"));
        command.arg(setting("DTMA_TEST_EVERYTHING")).arg("streamableHttp");
        command.env("PORT", address.port().to_string());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let started = Self { process: command.spawn().expect("node"), address: address.to_string() };
        eventually("server-everything listens", PATIENCE, async || TcpStream::connect(address).map(drop))
            .await;
        started
    }
}

impl Drop for Everything {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing left to kill.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Scenarios that are about HTTP itself, where the gateway is the server: streams, reconnection, `Host` and `Origin`.
const ABOUT_HTTP: [&str; 2] = ["server-sse-", "dns-rebinding-protection"];

/// The lines of the table: about the server, and about HTTP itself.
fn lines(table: &str) -> (Vec<&str>, Vec<&str>) {
    let lines = table.lines().filter(|line| line.starts_with(['✓', '✗']));
    lines.partition(|line| !ABOUT_HTTP.iter().any(|name| line.contains(name)))
}

#[tokio::test(flavor = "multi_thread")]
async fn server_everything_gives_the_same_table_with_and_without_the_gateway() {
    let toolbox = Toolbox::start_with(|launch| launch.args = vec!["--dev-no-auth".to_owned()]);
    let args = ["--suite", "all"];
    let alone = Everything::start().await;
    let directly = format!("http://{}/mcp", alone.address);
    let without = run("DTMA_TEST_CONFORMANCE", &args, &directly, toolbox.dir()).await;
    toolbox.deploy(&toolbox.group("everything", &[groups::everything("everything")])).await;
    let door = format!("{}/gateway/servers/everything/mcp", toolbox.url());
    let with = run("DTMA_TEST_CONFORMANCE", &args, &door, toolbox.dir()).await;
    let ((server, _), (same, http)) = (lines(&without), lines(&with));
    assert!(server.len() > 25, "{without}");
    assert_eq!(same, server);
    assert!(http.len() == 3 && http.iter().all(|line| line.starts_with('✓')), "{http:?}");
}
