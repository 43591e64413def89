//! MCP's official conformance suite, through the gateway onto the stdio fixture, which has what the suite asks of a
//! server: every scenario passes as if the suite spoke to that server itself.
//!
//! `cargo xtask test` installs it and says where it is (`DTMA_TEST_NODE`, `DTMA_TEST_CONFORMANCE`).
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
/// Checks of all scenarios of the suite that is pinned.
const CHECKS: &str = "Total: 43 passed, 0 failed";

fn setting(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set; run `cargo xtask test`, which sets it"))
}

/// The suite knows no tokens, so the daemon asks for none.
#[tokio::test(flavor = "multi_thread")]
async fn every_scenario_of_the_conformance_suite_passes_through_the_gateway() {
    let toolbox = Toolbox::start_with(|launch| launch.args = vec!["--dev-no-auth".to_owned()]);
    toolbox.deploy(&toolbox.group("conforming", &[groups::fixture("fixture")])).await;
    let mut suite = Command::new(setting("DTMA_TEST_NODE"));
    let door = format!("{}/gateway/servers/fixture/mcp", toolbox.url());
    suite.arg(setting("DTMA_TEST_CONFORMANCE")).args(["server", "--suite", "all", "--url", &door]);
    suite.arg("--output-dir").arg(toolbox.dir().join("conformance")).current_dir(toolbox.dir());
    let said = run_aside(suite, PATIENCE).await.expect_success("the conformance suite");
    let (_, summary) = said.split_once("=== SUMMARY ===").unwrap_or_else(|| panic!("no summary:\n{said}"));
    let failed: Vec<&str> = summary.lines().filter(|line| line.starts_with('✗')).collect();
    assert_eq!(failed, Vec::<&str>::new(), "{said}");
    assert!(summary.contains(CHECKS), "{summary}");
}
