//! Settings as they are said, sound and wrong.

use super::*;
use crate::cli::Cli;
use clap::{CommandFactory, FromArgMatches};
use std::os::unix::fs::PermissionsExt;

fn resolve(line: &[&str]) -> Result<Settings, Vec<Mistake>> {
    let matches = Cli::command().get_matches_from([&["dtma-daemon"], line].concat());
    Settings::resolve(&Cli::from_arg_matches(&matches).unwrap().settings, &matches, None)
}

#[track_caller]
fn check(line: &[&str], expected: &[&str]) {
    let mistakes = resolve(line).err().unwrap_or_default();
    let shown: Vec<_> = mistakes.iter().map(ToString::to_string).collect();
    assert_eq!(shown.len(), expected.len(), "{shown:?}");
    for (shown, expected) in shown.iter().zip(expected) {
        assert!(shown.starts_with(expected), "{shown}");
    }
}

#[test]
fn the_command_line_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn every_wrong_setting_is_named_with_its_origin() {
    check(
        &["--listen", "nowhere", "--log-format", "xml"],
        &["--listen: \"nowhere\"", "--log-format: \"xml\""],
    );
    check(&["--docker-host", "ftp://x"], &["--docker-host: \"ftp://x\""]);
    check(&["--config", "/nowhere/at/all"], &["/nowhere/at/all: No such file"]);
}

#[test]
fn only_urls_that_clients_may_follow_are_told_to_them() {
    let line = ["--public-url", "http://tools.example", "--authorization-servers", "https://a,b"];
    check(&line, &["--public-url: \"http://tools.example\": tokens would", "--authorization-servers: \"b\""]);
    let line = ["--public-url", "https://tools.example/x/", "--authorization-servers", "https://a,https://b"];
    let front = resolve(&line).ok().unwrap().front;
    assert_eq!(front.public.unwrap().to_string(), "https://tools.example/x");
    assert_eq!(front.authorization_servers.len(), 2);
    assert_eq!(resolve(&[]).ok().unwrap().front, Front::default());
}

#[test]
fn what_cannot_be_used_to_reach_the_engine_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let (certs, open) = (dir.path().to_str().unwrap(), dir.path().join("config.json"));
    std::fs::write(&open, "{}").unwrap();
    std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o644)).unwrap();
    let line = [
        &["--docker-host", "tcp://h:1", "--docker-cert-path", certs][..],
        &["--registry-auth", open.to_str().unwrap(), "--pull-stall-ms", "soon"],
    ];
    let ca = format!("--docker-cert-path: {certs}/ca.pem: ");
    let auth = format!("--registry-auth: {}: it holds passwords", open.display());
    check(&line.concat(), &[&ca, &auth, "--pull-stall-ms: \"soon\" is not a number"]);
    std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o600)).unwrap();
    let line = ["--registry-auth", open.to_str().unwrap(), "--engine-read-timeout-ms", "250"];
    let settings = resolve(&line).ok().unwrap();
    assert_eq!(settings.engine.deadlines.read, Duration::from_millis(250));
    assert!(settings.engine.registries.is_empty() && settings.engine.tls.is_none());
}

#[test]
fn images_are_removed_by_a_policy_that_makes_sense() {
    let gc = |line: &[&str]| resolve(line).ok().unwrap().image_gc;
    let day = Duration::from_secs(24 * 3600);
    assert_eq!(gc(&[]), Some(ImageGc { high: 85, low: 80, min_age: day }));
    let said =
        gc(&["--image-gc-high-percent", "90", "--image-gc-low-percent", "90", "--image-gc-min-age", "7d"]);
    assert_eq!(said, Some(ImageGc { high: 90, low: 90, min_age: 7 * day }));
    assert_eq!(gc(&["--image-gc", "off"]), None);
    let wrong = ["--image-gc", "often", "--image-gc-min-age", "soon", "--image-gc-high-percent", "101"];
    check(
        &wrong,
        &[
            "--image-gc: \"often\" is neither off nor disk",
            "--image-gc-high-percent: \"101\" is not",
            "--image-gc-min-age: \"soon\"",
        ],
    );
    check(
        &["--image-gc-low-percent", "90"],
        &["--image-gc-low-percent: 90 is above image_gc_high_percent, 85"],
    );
}

#[test]
fn a_passed_socket_decides_where_the_daemon_listens() {
    let matches = Cli::command().get_matches_from(["dtma-daemon", "--listen", "127.0.0.1:1"]);
    let args = Cli::from_arg_matches(&matches).unwrap().settings;
    let at = |address: &str| Settings::resolve(&args, &matches, Some(address.parse().unwrap()));
    assert_eq!(at("127.0.0.1:2").ok().unwrap().listen.port(), 2);
    assert_eq!(at("0.0.0.0:2").err().unwrap().len(), 1, "a socket unit opens no door that a flag could not");
}

#[test]
fn every_mistake_of_policy_and_templates_is_named_with_its_file() {
    let dir = tempfile::tempdir().unwrap();
    let (policy, templates) = (dir.path().join("policy.toml"), dir.path().join("templates"));
    std::fs::write(&policy, "memory = \"much\"\nprivileged = true\n").unwrap();
    std::fs::create_dir(&templates).unwrap();
    std::fs::write(templates.join("big.yaml"), "name: big\nprivileged: true\npids: many\n").unwrap();
    let (policy, templates) = (policy.to_str().unwrap(), templates.to_str().unwrap());
    let big = format!("{templates}/big.yaml");
    check(
        &["--policy", policy, "--templates", templates],
        &[&format!("{policy}:1: memory: "), &format!("{policy}:2: privileged: "), &big, &big],
    );
    check(&["--templates", "/nowhere/at/all"], &["--templates: /nowhere/at/all: "]);
}

#[test]
fn beyond_loopback_needs_a_word() {
    check(&["--listen", "0.0.0.0:1"], &["--listen: 0.0.0.0:1 is not on loopback"]);
    check(&["--listen", "0.0.0.0:1", "--insecure-http"], &[]);
    check(&["--listen", "0.0.0.0:1", "--insecure-http", "--dev-no-auth"], &["--dev-no-auth: "]);
    check(&["--listen", "[::1]:1", "--dev-no-auth"], &[]);
    let tls = ["--tls-cert", "c.pem", "--tls-key", "k.pem"];
    check(&[&["--listen", "0.0.0.0:1"][..], &tls].concat(), &[]);
    check(&[&["--listen", "0.0.0.0:1", "--dev-no-auth"][..], &tls].concat(), &["--dev-no-auth: "]);
}

#[test]
fn limits_are_read_or_named_as_mistakes() {
    let settings = resolve(&["--rate-mutations", "off", "--rate-gateway", "5/1s", "--max-connections", "7"]);
    let settings = settings.ok().unwrap();
    assert_eq!(settings.rates.mutations, "off".parse().unwrap());
    assert_eq!(settings.rates.gateway, "5/1s".parse().unwrap());
    assert_eq!(settings.rates.failures, Rates::default().failures);
    assert_eq!(settings.limits.connections, 7);
    check(
        &["--rate-reads", "many", "--max-connections-per-peer", "0"],
        &["--max-connections-per-peer: 0 is not", "--rate-reads: \"many\": "],
    );
}

#[test]
fn what_clients_may_have_of_servers_is_bounded_as_said() {
    let second = Duration::from_secs(1);
    let usual = resolve(&[]).ok().unwrap();
    assert_eq!((usual.mcp, usual.session_idle), (Limits::default(), Some(24 * 3600 * second)));
    let line =
        ["--max-sessions", "7", "--session-idle", "off", "--call-timeout", "90s", "--max-message-mb", "2"];
    let said = resolve(&line).ok().unwrap();
    let deadline = dtma_mcp::CallDeadline { quiet: 90 * second, longest: 900 * second };
    let expected = Limits { sessions: 7, message: 2 << 20, deadline: Some(deadline), ..Limits::default() };
    assert_eq!((said.mcp, said.session_idle), (expected, None));
    let longest = resolve(&["--call-timeout", "1m", "--call-timeout-max", "1h"]).ok().unwrap().mcp.deadline;
    assert_eq!(longest.unwrap().longest, 3600 * second);
    check(
        &["--max-sessions", "0", "--max-message-mb", "17", "--call-timeout", "soon", "--session-idle", "0s"],
        &[
            "--max-sessions: \"0\"",
            "--max-message-mb: \"17\"",
            "--call-timeout: \"soon\"",
            "--session-idle: \"0s\"",
        ],
    );
    check(&["--call-timeout-max", "1m"], &["--call-timeout-max: it is for calls with a timeout"]);
    check(&["--call-timeout", "1m", "--call-timeout-max", "1s"], &["--call-timeout-max: 1s is shorter"]);
}

#[test]
fn the_audit_log_has_bounds() {
    let settings = resolve(&["--audit-max-mb", "1", "--audit-files", "2"]).ok().unwrap();
    assert_eq!(settings.audit, AuditBounds { size: 1 << 20, files: 2 });
    assert_eq!(resolve(&[]).ok().unwrap().audit, AuditBounds::default());
    check(
        &["--audit-max-mb", "0", "--audit-files", "1"],
        &["--audit-max-mb: 0 is not", "--audit-files: 1 is not"],
    );
}

#[test]
fn half_of_tls_is_a_mistake() {
    check(&["--tls-cert", "c.pem"], &["--tls-cert: it needs its private key"]);
    check(&["--tls-key", "k.pem"], &["--tls-key: it needs its certificate"]);
    check(&["--tls-client-ca", "ca.pem"], &["--tls-client-ca: it needs TLS"]);
    let half = ["--listen", "0.0.0.0:1", "--tls-cert", "c.pem"];
    check(&half, &["--tls-cert: ", "--listen: 0.0.0.0:1 is not on loopback"]);
}

#[test]
fn a_flag_wins_over_the_file_and_the_file_over_the_default() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("daemon.toml");
    std::fs::write(&path, "listen = \"127.0.0.1:1\"\nstate_dir = \"/from/file\"\n").unwrap();
    let file = path.to_str().unwrap();
    let settings = resolve(&["run", "--config", file, "--listen", "127.0.0.1:2"]).ok().unwrap();
    assert_eq!((settings.listen.port(), settings.state_dir), (2, PathBuf::from("/from/file")));
    std::fs::write(&path, "log = 1\nlisen = \"127.0.0.1:1\"\nlog_format = \"xml\"\n").unwrap();
    let expected =
        [format!("{file}:2: lisen: "), format!("{file}:1: log: "), format!("{file}:3: log_format: ")];
    check(&["--config", file], &expected.each_ref().map(String::as_str));
}

#[test]
fn the_runtime_directory_is_absolute_and_holds_no_state() {
    let settings = resolve(&["--runtime-dir", "/run/other"]).ok().unwrap();
    assert_eq!(settings.runtime_dir, PathBuf::from("/run/other"));
    check(&["--runtime-dir", "here"], &["--runtime-dir: here is no absolute path"]);
    check(
        &["--runtime-dir", "/a", "--state-dir", "/a/b"],
        &["--runtime-dir: the state directory /a/b lies in /a"],
    );
}
