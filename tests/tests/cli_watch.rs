//! What the command line shows of running servers, against a real daemon: logs of many, what is used, waiting,
//! contexts, starters, support bundles.
#![allow(clippy::expect_used, clippy::panic, reason = "a test stops where something is broken")]

use dtma_tests::command_line::{PATIENCE, dtma, ends};
use dtma_tests::program::{self, run_aside};
use dtma_tests::{Toolbox, engine, eventually, groups};
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::Duration;

/// A tool that says its name and which run it is, then waits.
fn talker(name: &str) -> Value {
    let script = "echo run $(cat /proc/sys/kernel/random/uuid) begins; echo ERROR-$0 >&2; \
                  trap 'exit 0' TERM; while :; do sleep 3600 & wait; done";
    json!({"instanceName": name, "kind": "tool", "image": "dtma/busybox:dev", "health": {"settleMs": 100},
           "command": ["sh", "-c", script, name], "environment": {"GREETING": "canary-in-environment"}})
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_of_a_group_are_told_apart_searched_and_kept_for_the_run_before() {
    let toolbox = Toolbox::start();
    let group = toolbox.named("talk");
    toolbox.deploy(&toolbox.group("talk", &[talker("ann"), talker("bob")])).await;

    let all = ends(&toolbox, &["logs", &group], 0).await.stdout;
    assert!(all.lines().any(|line| line.starts_with("ann | run ")), "{all}");
    assert!(all.lines().any(|line| line.starts_with("bob | ERROR-bob")), "{all}");
    let found = ends(&toolbox, &["logs", &group, "--grep", "^ERROR-(ann|x)$", "--no-prefix"], 0).await.stdout;
    assert_eq!(found, "ERROR-ann\n");
    let plain = ends(&toolbox, &["logs", "ann", "--grep", "(ann|x)", "-F"], 0).await;
    assert_eq!(plain.stdout, "", "as plain text it is nowhere");
    let wrong = ends(&toolbox, &["logs", "ann", "--grep", "("], 2).await;
    assert!(
        wrong.stderr.contains("fixed=true") || wrong.stderr.contains("regular expression"),
        "{}",
        wrong.stderr
    );
    let json = ends(&toolbox, &["logs", "bob", "-o", "json", "-n", "1"], 0).await.stdout;
    let line: Value = serde_json::from_str(&json).expect("a line of JSON");
    assert_eq!(line["instanceName"], "bob");

    let first = ends(&toolbox, &["logs", "ann", "--grep", "^run"], 0).await.stdout;
    assert_eq!(ends(&toolbox, &["logs", "ann", "--previous"], 0).await.stdout, "");
    ends(&toolbox, &["restart", "ann"], 0).await;
    let before = ends(&toolbox, &["logs", "ann", "--previous", "--grep", "^run"], 0).await.stdout;
    assert_eq!(before, first, "the run before, and only that");
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_and_figures_say_which_replica_they_are_of_and_during_an_update_which_generation() {
    let toolbox = Toolbox::start();
    let group = toolbox.named("many");
    toolbox.deploy(&toolbox.group("many", &[talker("ann")])).await;
    let alone = ends(&toolbox, &["logs", "ann", "--grep", "ERROR"], 0).await.stdout;
    assert_eq!(alone, "ERROR-ann\n");
    ends(&toolbox, &["scale", "ann", "--replicas", "2"], 0).await;
    let both = ends(&toolbox, &["logs", "ann", "--grep", "ERROR"], 0).await.stdout;
    assert_eq!(sorted(&both), ["ann/0 | ERROR-ann", "ann/1 | ERROR-ann"]);
    let second = ends(&toolbox, &["logs", "ann", "--replica", "1", "--grep", "ERROR"], 0).await.stdout;
    assert_eq!(second, "ann/1 | ERROR-ann\n");
    let wrong = ends(&toolbox, &["logs", "ann", "--replica", "2"], 2).await.stderr;
    assert!(wrong.contains("ann has no replica 2: it has 0 to 1"), "{wrong}");
    let last = ends(&toolbox, &["logs", "ann", "-n", "1", "--no-prefix"], 0).await.stdout;
    assert_eq!(last.lines().count(), 1, "of both together: {last}");
    let rows = ends(&toolbox, &["top", &group, "--once"], 0).await.stdout;
    assert!(rows.contains("ann/0") && rows.contains("ann/1"), "{rows}");

    let mut changed = talker("ann");
    changed["replicas"] = json!(2);
    changed["environment"] = json!({"VERSION": "2"});
    changed["health"] = json!({"settleMs": 8000});
    let text = toolbox.group("many", &[changed]).to_string();
    std::fs::write(toolbox.dir().join("changed.json"), text).expect("a file");
    let old_and_new =
        ["ann/0@1 | ERROR-ann", "ann/0@3 | ERROR-ann", "ann/1@1 | ERROR-ann", "ann/1@3 | ERROR-ann"];
    ends(&toolbox, &["apply", "-f", "changed.json", "--no-wait"], 0).await;
    eventually("old and new side by side", PATIENCE, || async {
        let lines = sorted(&ends(&toolbox, &["logs", "ann", "--grep", "ERROR"], 0).await.stdout);
        let rows = ends(&toolbox, &["top", &group, "--once"], 0).await.stdout;
        let told = lines == old_and_new && rows.contains("ann/1@1") && rows.contains("ann/1@3");
        told.then_some(()).ok_or_else(|| format!("{lines:?}\n{rows}"))
    })
    .await;
    ends(&toolbox, &["wait", &group], 0).await;
}

fn sorted(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

#[tokio::test(flavor = "multi_thread")]
async fn what_servers_use_is_the_kernels_own_figure() {
    let toolbox = Toolbox::start();
    let mut busy = groups::idle("busy");
    busy["command"] = json!(["sh", "-c", "while :; do :; done"]);
    busy["resources"] = json!({"memory": "64MiB", "cpus": 0.2, "pids": 32});
    let group = toolbox.named("use");
    toolbox.deploy(&toolbox.group("use", &[busy, groups::idle("calm")])).await;
    let rows = ends(&toolbox, &["top", &group, "-o", "json", "--sort", "cpu"], 0).await.stdout;
    let rows: Value = serde_json::from_str(&rows).expect("JSON");
    let (busy, calm) = (&rows[0], &rows[1]);
    assert_eq!(
        (busy["instanceName"].as_str(), calm["instanceName"].as_str()),
        (Some("busy"), Some("calm")),
        "{rows}"
    );
    assert_eq!(busy["memoryLimitBytes"], 64 << 20, "{rows}");
    assert_eq!(
        (busy["pidsLimit"].as_u64(), busy["cpuLimitPercent"].as_f64()),
        (Some(32), Some(20.0)),
        "{rows}"
    );
    assert!(busy["cpuPercent"].as_f64().is_some_and(|share| share > 1.0), "{rows}");
    assert!(calm["memoryBytes"].as_u64().is_some_and(|bytes| bytes > 0 && bytes < 32 << 20), "{rows}");
    let table = ends(&toolbox, &["top", "--once"], 0).await.stdout;
    assert!(table.contains("64.0MiB"), "{table}");
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_ends_when_it_is_so_in_time_or_never() {
    let toolbox = Toolbox::start();
    let group = toolbox.named("late");
    let mut dying = groups::idle("dying");
    dying["command"] = json!(["sh", "-c", "sleep 1; exit 3"]);
    dying["restart"] = json!({"attempts": 0});
    dying["health"] = json!({"settleMs": 30000});
    let document = toolbox.group("late", &[dying]);
    std::fs::write(toolbox.dir().join("late.json"), document.to_string()).expect("a file");
    ends(&toolbox, &["up", "-f", "late.json", "--no-wait"], 0).await;
    let never = ends(&toolbox, &["wait", &group, "--timeout", "60s"], 1).await;
    assert!(never.stderr.contains("dying is failed"), "{}", never.stderr);
    ends(&toolbox, &["wait", "dying", "--for", "phase=failed"], 0).await;
    ends(&toolbox, &["wait", "dying", "--for", "stopped", "--timeout", "1s"], 8).await;
    ends(&toolbox, &["wait", "nobody"], 5).await;
    let waiting = run_aside(dtma(&toolbox, &["wait", &group, "--for", "removed"]), PATIENCE);
    let down = ["down", group.as_str()];
    let (waited, _) = tokio::join!(waiting, ends(&toolbox, &down, 0));
    assert_eq!(waited.code(), 0, "{}", waited.stderr);
    let events = ends(&toolbox, &["events", "--group", &group], 0).await.stdout;
    assert!(events.contains("failed") && events.contains("removed"), "{events}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_context_says_where_the_daemon_is_and_who_asks() {
    let toolbox = Toolbox::start();
    let token = toolbox.dir().join("home.token");
    std::fs::write(&token, toolbox.token()).expect("a file");
    std::fs::set_permissions(&token, std::fs::Permissions::from_mode(0o600)).expect("chmod");
    let bare = |args: &[&str]| {
        let mut command = dtma(&toolbox, args);
        command.env_remove("DTMA_URL").env_remove("DTMA_TOKEN");
        run_aside(command, PATIENCE)
    };
    let add = ["context", "add", "home", "--url", toolbox.url(), "--token-file", "home.token"];
    assert_eq!(bare(&add).await.code(), 0);
    assert_eq!(bare(&["ps"]).await.code(), 0, "the current one is used");
    assert_eq!(bare(&["--context", "home", "ps"]).await.code(), 0);
    let elsewhere = bare(&["--url", toolbox.url(), "ps"]).await;
    assert_eq!(elsewhere.code(), 4, "its token is not for an address that is given: {}", elsewhere.stderr);
    let kept = std::fs::read_to_string(toolbox.dir().join(".config/dtma/config.toml")).expect("the file");
    assert!(!kept.contains(toolbox.token()), "the token stands in its own file only");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_starter_deploys_as_it_is() {
    let toolbox = Toolbox::start();
    for kind in ["mcp", "tool", "full"] {
        let group = toolbox.named(kind);
        ends(&toolbox, &["init", "--template", kind, "--name", &group, "--force"], 0).await;
        ends(&toolbox, &["template", "render", "dtma.yaml"], 0).await;
        ends(&toolbox, &["up"], 0).await;
        ends(&toolbox, &["down", "--volumes"], 0).await;
    }
    ends(&toolbox, &["init"], 6).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_support_bundle_holds_no_canary() {
    let toolbox = Toolbox::start();
    let mut chatty = talker("chatty");
    chatty["command"] = json!([
        "sh",
        "-c",
        "env; echo Authorization: Bearer canary-in-log; echo $0; \
        trap 'exit 0' TERM; while :; do sleep 3600 & wait; done",
        toolbox.token()
    ]);
    toolbox.deploy(&toolbox.group("canary", &[chatty.clone()])).await;
    // What a generation changed names its values too.
    chatty["environment"] = json!({"GREETING": "canary-in-change"});
    let changed = toolbox.group("canary", &[chatty]).to_string();
    std::fs::write(toolbox.dir().join("changed.json"), changed).expect("a file");
    ends(&toolbox, &["apply", "-f", "changed.json"], 0).await;
    ends(&toolbox, &["support-bundle", "--to", "b.tar.gz"], 0).await;
    let file = toolbox.dir().join("b.tar.gz");
    assert_eq!(std::fs::metadata(&file).expect("the bundle").permissions().mode() & 0o777, 0o600);
    let mut unpack = Command::new("tar");
    unpack.args(["-xOzf"]).arg(&file);
    let everything = run_aside(unpack, PATIENCE).await.expect_success("tar");
    let kept = ["\"GREETING\": \"[redacted]\"", "\"kind\": \"apply\"", "\"cause\": \"deploy\""];
    for word in ["chatty", "GREETING=[redacted]", "\"authRequired\"", "dtma_"].into_iter().chain(kept) {
        assert!(everything.contains(word), "{word} is missing");
    }
    for canary in ["canary-in", toolbox.token()] {
        assert!(!everything.contains(canary), "{canary} is in the bundle");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_package_becomes_a_server_and_is_baked_once() {
    const IMAGE: &str = "dtma/uvx-mcp-server-time:2026.10.19";
    let toolbox = Toolbox::start();
    let group = toolbox.named("baked");
    // Left by a test that was killed, perhaps.
    let _ = run_aside(engine::cli(&["image", "rm", "--force", IMAGE]), PATIENCE).await;
    let line = ["run", "uvx:mcp-server-time@2026.10.19", "--name", &group, "--progress", "plain"];
    let with_programs = || {
        let mut command = dtma(&toolbox, &line);
        command.env("PATH", program::path());
        run_aside(command, Duration::from_secs(600))
    };
    let first = with_programs().await;
    assert_eq!(first.code(), 0, "{}", first.stderr);
    assert!(first.stderr.contains("baking"), "{}", first.stderr);
    let again = with_programs().await.stderr;
    assert!(again.contains("there already") && again.contains("nothing had to be"), "{again}");
    let call = ["mcp", "call", &group, "get_current_time", "--arg", "timezone=Europe/Berlin"];
    assert!(ends(&toolbox, &call, 0).await.stdout.contains("Europe/Berlin"));

    let mut bare = dtma(&toolbox, &["run", "npx:cowsay@0.0.1", "--name", "x"]);
    bare.env("PATH", toolbox.dir());
    let absent = run_aside(bare, PATIENCE).await;
    assert_eq!(absent.code(), 2, "without npm: {}", absent.stderr);
    assert!(absent.stderr.contains("npm") && absent.stderr.contains("dtma run IMAGE"), "{}", absent.stderr);
    ends(&toolbox, &["down", &group], 0).await;
    let removed = run_aside(engine::cli(&["image", "rm", IMAGE]), PATIENCE).await;
    assert_eq!(removed.code(), 0, "{removed:?}");
}
