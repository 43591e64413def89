//! MCP's official conformance suite, through the gateway onto the stdio fixture, which has what the suite asks of a
//! server: every scenario passes as if the suite spoke to that server itself, for clients of every version.
//!
//! `cargo xtask test` installs it and says where it is (`DTMA_TEST_NODE`, `DTMA_TEST_CONFORMANCE`, and
//! `DTMA_TEST_CONFORMANCE_NEXT` for the one that knows 2026-07-28).
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test stops where something is broken, and reads where the suite is"
)]

use dtma_tests::program::run_aside;
use dtma_tests::{Toolbox, groups};
use std::process::Command;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(300);
fn setting(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set; run `cargo xtask test`, which sets it"))
}

/// What the suite says in the end, run with these arguments. It knows no tokens, so the daemon asks for none.
async fn summary(script: &str, args: &[&str]) -> String {
    let toolbox = Toolbox::start_with(|launch| launch.args = vec!["--dev-no-auth".to_owned()]);
    toolbox.deploy(&toolbox.group("conforming", &[groups::fixture("fixture")])).await;
    let mut suite = Command::new(setting("DTMA_TEST_NODE"));
    let door = format!("{}/gateway/servers/fixture/mcp", toolbox.url());
    suite.arg(setting(script)).arg("server").args(args).args(["--url", &door]);
    suite.arg("--output-dir").arg(toolbox.dir().join("conformance")).current_dir(toolbox.dir());
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

/// Tasks are an extension that the fixture has not.
#[tokio::test(flavor = "multi_thread")]
async fn what_2026_07_28_requires_passes_through_the_gateway() {
    let summary = summary("DTMA_TEST_CONFORMANCE_NEXT", &["--requirements", "2026-07-28"]).await;
    assert_eq!(failed(&summary, "tasks-"), Vec::<&str>::new(), "{summary}");
    assert!(summary.contains("Total: 164 passed"), "{summary}");
    assert!(summary.contains("✓ http-custom-header-server-validation"), "{summary}");
}
