//! A command in a real container: whose it is, and what the engine says when it cannot be run.

use crate::harness::Harness;
use dtma_core::port::runtime::{ContainerRuntime, ExecRequest, RuntimeError};
use std::collections::BTreeMap;
use std::time::Duration;

fn command(argv: &[&str]) -> ExecRequest {
    let argv = argv.iter().map(|&word| word.to_owned()).collect();
    ExecRequest {
        argv,
        environment: BTreeMap::new(),
        stdin: None,
        deadline: Duration::from_secs(20),
        output_limit: 1 << 20,
    }
}

#[tokio::test]
async fn a_command_has_no_more_rights_than_the_process() {
    let harness = Harness::new().await;
    let request = harness.request("a", "exec sleep 1000").await;
    let id = harness.start(&request).await;
    let show = "id -u; grep -E '^(CapEff|NoNewPrivs|Seccomp):' /proc/self/status; touch /x 2>&1; test -t 1 || echo no tty";
    let done = harness.engine().exec(&id, &command(&["sh", "-c", show])).await.expect("exec");
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    for expected in [
        &format!("{}\n", request.run_as.uid),
        "CapEff:\t0000000000000000",
        "NoNewPrivs:\t1",
        "Seccomp:\t2",
        "Read-only file system",
        "no tty",
    ] {
        assert!(said.contains(expected), "{expected:?} is not in {said}");
    }
    harness.leave().await;
}

#[tokio::test]
async fn a_command_that_is_not_there_is_refused_by_name() {
    let harness = Harness::new().await;
    let id = harness.start(&harness.request("a", "exec sleep 1000").await).await;
    for missing in [&["no-such-program"][..], &["/etc"]] {
        match harness.engine().exec(&id, &command(missing)).await {
            Err(RuntimeError::Refused { problem, .. }) => assert!(problem.contains(missing[0]), "{problem}"),
            other => panic!("{missing:?}: {other:?}"),
        }
    }
    let shell = harness.engine().exec(&id, &command(&["sh", "-c", "exit 127"])).await.expect("exec");
    assert_eq!(shell.exit_code, 127, "a command may end like that by itself");
    harness.leave().await;
}
