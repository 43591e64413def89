//! The daemon's front door as a process of its own: TLS from files that change, and tokens that come and go.
#![allow(clippy::expect_used, clippy::panic, reason = "a test stops where something is broken")]

use dtma_client::Client;
use dtma_tests::certificates::{Authority, Files};
use dtma_tests::program::{Ended, run_aside};
use dtma_tests::{Daemon, Launch, binaries, eventually};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);

fn launch(dir: &Path, args: &[&str]) -> Daemon {
    Launch { args: args.iter().map(|arg| (*arg).to_owned()).collect(), ..Launch::new(dir) }.start()
}

fn path(path: &Path) -> &str {
    path.to_str().expect("a path of letters")
}

fn tls_daemon(dir: &Path, files: &Files, more: &[&str]) -> Daemon {
    let tls = ["--tls-cert", path(&files.certificate), "--tls-key", path(&files.key)];
    launch(dir, &[&tls, more].concat())
}

fn believing(daemon: &Daemon, authority: &Authority) -> Client {
    let builder = Client::builder(daemon.url()).token(daemon.token().into());
    builder.certificate_authority(authority.pem()).build().expect("a client")
}

async fn dtma(daemon: &Daemon, args: &[&str]) -> Ended {
    let mut command = Command::new(binaries::cli());
    command.args(args).env_clear();
    command.env("DTMA_URL", daemon.url()).env("DTMA_TOKEN", daemon.token());
    run_aside(command, PATIENCE).await
}

#[tokio::test]
async fn the_command_line_speaks_https_with_the_right_authority_only() {
    let dir = tempfile::tempdir().expect("a directory");
    let (ours, theirs) = (Authority::default(), Authority::default());
    let daemon = tls_daemon(dir.path(), &ours.sign(dir.path(), "daemon", "127.0.0.1"), &[]);
    assert!(daemon.url().starts_with("https://"), "{}", daemon.url());
    let (good, bad) = (ours.file(dir.path().join("ca.pem")), theirs.file(dir.path().join("other.pem")));
    let _ = dtma(&daemon, &["ps", "--ca-file", path(&good)]).await.expect_success("with the authority");
    for (args, code, said) in [
        (&["ps"][..], 2, "needs the authority"),
        (&["ps", "--ca-file", path(&bad)], 3, "invalid peer certificate"),
        (&["ps", "--ca-file", "/nowhere"], 2, "/nowhere cannot be read"),
    ] {
        let ended = dtma(&daemon, args).await;
        assert_eq!((ended.code(), ended.stderr.contains(said)), (code, true), "{args:?}: {}", ended.stderr);
    }
}

#[tokio::test]
async fn a_daemon_that_asks_for_a_client_certificate_lets_nobody_in_without() {
    let dir = tempfile::tempdir().expect("a directory");
    let ours = Authority::default();
    let ca = ours.file(dir.path().join("ca.pem"));
    let files = ours.sign(dir.path(), "daemon", "127.0.0.1");
    let daemon = tls_daemon(dir.path(), &files, &["--tls-client-ca", path(&ca)]);
    let mine = ours.sign(dir.path(), "me", "me");
    let shown = ["--cert-file", path(&mine.certificate), "--key-file", path(&mine.key)];
    let with = [&["ps", "--ca-file", path(&ca)][..], &shown].concat();
    let _ = dtma(&daemon, &with).await.expect_success("with a certificate");
    assert_eq!(dtma(&daemon, &["ps", "--ca-file", path(&ca)]).await.code(), 3);
}

#[tokio::test]
async fn changed_certificate_files_are_taken_up_and_broken_ones_are_not() {
    let dir = tempfile::tempdir().expect("a directory");
    let (old, new) = (Authority::default(), Authority::default());
    let files = old.sign(dir.path(), "daemon", "127.0.0.1");
    let daemon = tls_daemon(dir.path(), &files, &[]);
    let before = believing(&daemon, &old);
    before.get_health().await.expect("the first certificate");

    std::fs::write(&files.certificate, "nonsense").expect("a file in the test's directory");
    eventually("the daemon says that the file is broken", PATIENCE, || async {
        daemon.log().contains("cannot be used; the old ones hold").then_some(()).ok_or_else(|| daemon.log())
    })
    .await;
    believing(&daemon, &old).get_health().await.expect("the old certificate holds");

    let _ = new.sign(dir.path(), "daemon", "127.0.0.1");
    eventually("the new certificate is served", PATIENCE, || async {
        believing(&daemon, &new).get_health().await.map_err(|error| format!("{error:?}"))
    })
    .await;
    before.get_health().await.expect("an open connection goes on");
}

/// Runs `dtma-daemon token …` on the state of that daemon.
async fn token(daemon: &Daemon, args: &[&str]) -> String {
    let mut command = Command::new(binaries::daemon());
    command.arg("token").args(args).arg("--state-dir").arg(daemon.dir().join("state")).env_clear();
    run_aside(command, PATIENCE).await.expect_success("dtma-daemon token").trim().to_owned()
}

async fn becomes(daemon: &Daemon, token: &str, method: &str, path: &str, expected: (u16, &str)) {
    let (rest, method) = (daemon.rest().with_token(Some(token)), method.parse().expect("a method"));
    let (rest, method): (_, &http::Method) = (&rest, &method);
    eventually(&format!("{method} {path} becomes {expected:?}"), PATIENCE, || async move {
        let answer = rest.send(method.clone(), path, "").await;
        let seen = (answer.status, answer.code().to_owned());
        if (seen.0, seen.1.as_str()) == expected { Ok(()) } else { Err(seen) }
    })
    .await;
}

#[tokio::test]
async fn tokens_are_made_rotated_and_revoked_while_the_daemon_runs() {
    let dir = tempfile::tempdir().expect("a directory");
    let daemon = launch(dir.path(), &[]);
    let old = token(&daemon, &["create", "ci", "--scope", "read"]).await;
    becomes(&daemon, &old, "GET", "/mcp/groups", (200, "")).await;
    becomes(&daemon, &old, "DELETE", "/mcp/groups/g", (403, "scope_missing")).await;

    let new = token(&daemon, &["rotate", "ci", "--overlap", "1h"]).await;
    becomes(&daemon, &new, "GET", "/mcp/groups", (200, "")).await;
    becomes(&daemon, &old, "GET", "/mcp/groups", (200, "")).await;
    assert_eq!(token(&daemon, &["ls"]).await.lines().count(), 2);

    let short = token(&daemon, &["create", "short", "--scope", "read", "--expires", "4s"]).await;
    becomes(&daemon, &short, "GET", "/mcp/groups", (200, "")).await;
    becomes(&daemon, &short, "GET", "/mcp/groups", (401, "token_expired")).await;

    let _ = token(&daemon, &["revoke", "ci"]).await;
    for revoked in [&old, &new] {
        becomes(&daemon, revoked, "GET", "/mcp/groups", (401, "token_unknown")).await;
    }
    let kept = std::fs::read_to_string(dir.path().join("state/tokens.json")).expect("the token file");
    assert!(
        [&old, &new, &short].iter().all(|token| !kept.contains(*token) && !daemon.log().contains(*token))
    );
}

#[tokio::test]
async fn the_originals_file_of_settings_opens_the_door() {
    let dir = tempfile::tempdir().expect("a directory");
    let conf = dir.path().join("dtma.conf");
    std::fs::write(&conf, "OTHER=1\nDTMA_AUTH_TOKEN='a-token-of-the-original'\n").expect("a file");
    let daemon = launch(dir.path(), &["--conf", path(&conf)]);
    becomes(&daemon, "a-token-of-the-original", "GET", "/mcp/groups", (200, "")).await;
    std::fs::write(&conf, "DTMA_AUTH_TOKEN=another-token-of-it\n").expect("a file");
    becomes(&daemon, "another-token-of-it", "GET", "/mcp/groups", (200, "")).await;
    becomes(&daemon, "a-token-of-the-original", "GET", "/mcp/groups", (401, "token_unknown")).await;
}

#[tokio::test]
async fn changes_are_limited_by_token_and_looking_is_not() {
    let dir = tempfile::tempdir().expect("a directory");
    let daemon = launch(dir.path(), &["--rate-mutations", "3/1h"]);
    let remove = || async { daemon.rest().delete("/mcp/groups/nobody").await.status };
    assert_eq!([remove().await, remove().await, remove().await, remove().await], [404, 404, 404, 429]);
    let other = token(&daemon, &["create", "other", "--scope", "deploy"]).await;
    becomes(&daemon, &other, "DELETE", "/mcp/groups/nobody", (404, "no_such_group")).await;
    for _ in 0..50 {
        let _ = daemon.get("/mcp/groups").await.expect(200);
    }
}

#[tokio::test]
async fn every_request_is_a_line_in_the_access_log_and_nothing_breaks_out_of_a_line() {
    let dir = tempfile::tempdir().expect("a directory");
    let log = dir.path().join("access.log");
    let mut daemon = launch(dir.path(), &["--access-log", path(&log)]);
    let id = daemon.get("/mcp/groups").await.request_id.expect("an id");
    let evil = "/mcp/groups?a%1b%5b31m%0aEVIL=1";
    let _ = daemon.rest().delete("/mcp/groups/a%0aEVIL%1b").await.expect(400);
    let _ = daemon.get(evil).await;
    daemon.terminate().await;
    let text = std::fs::read_to_string(&log).expect("the access log");
    let lines: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(lines.len(), 3, "{text}");
    let first = &lines[0];
    assert_eq!(first["requestId"], id.as_str());
    assert_eq!((&first["token"], &first["status"]), (&"DTMA_BEARER_TOKEN".into(), &200.into()));
    assert_eq!((&first["route"], &first["peer"]), (&"/mcp/groups".into(), &"127.0.0.1".into()));
    assert!(first["bytes"].as_u64().is_some_and(|bytes| bytes > 10), "{first}");
    for text in [text, daemon.log()] {
        assert!(!text.contains('\u{1b}') && !text.lines().any(|line| line.starts_with("EVIL")), "{text}");
        assert!(!text.contains(daemon.token()), "{text}");
    }
}

#[tokio::test]
async fn beyond_loopback_a_daemon_without_tls_does_not_start() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut command = Command::new(binaries::daemon());
    command.args(["--listen", "0.0.0.0:0", "--state-dir"]).arg(dir.path()).env_clear();
    let ended = run_aside(command, PATIENCE).await;
    assert_eq!((ended.code(), ended.stderr.contains("--tls-cert")), (2, true), "{}", ended.stderr);
}
