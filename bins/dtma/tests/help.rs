//! Every command's help as it appears, and what it says without a daemon, held against the snapshots beside this file.
//!
//! `UPDATE_SNAPSHOTS=1 cargo test -p dtma --test help` writes them anew; the difference is then read before it is
//! committed.
#![allow(clippy::expect_used, clippy::panic, reason = "a test stops where something is broken")]

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn dtma(folder: &Path, line: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dtma"));
    command.args(line).env_clear().current_dir(folder);
    command.env("HOME", folder).env("COLUMNS", "100").env("NO_COLOR", "1");
    command.output().expect("dtma can be run")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn held(name: &str, found: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/snapshots").join(format!("{name}.txt"));
    assert!(!found.contains('\u{1b}'), "{name}: colours where nobody wants them");
    #[expect(clippy::disallowed_methods, reason = "how a person asks a test to write instead of compare")]
    let update = std::env::var_os("UPDATE_SNAPSHOTS").is_some();
    if update {
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder for snapshots");
        std::fs::write(&path, found).expect("a snapshot can be written");
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(kept == found, "{} differs; UPDATE_SNAPSHOTS=1 writes it anew. Found:\n{found}", path.display());
}

/// The subcommands a help page lists.
fn listed(help: &str) -> Vec<String> {
    let Some((_, rest)) = help.split_once("\nCommands:\n") else { return Vec::new() };
    let lines = rest.lines().take_while(|line| line.starts_with("  "));
    let words =
        lines.filter(|line| !line.starts_with("   ")).filter_map(|line| line.split_whitespace().next());
    words.filter(|word| *word != "help").map(str::to_owned).collect()
}

fn pages(folder: &Path, line: &[&str], book: &mut String) {
    let ended = dtma(folder, &[line, &["--help"]].concat());
    let help = String::from_utf8_lossy(&ended.stdout).into_owned();
    assert!(ended.status.success(), "{line:?}: {}", said(&ended));
    let _ = write!(
        book,
        "$ dtma {}--help\n{help}\n",
        line.iter().map(|word| format!("{word} ")).collect::<String>()
    );
    for command in listed(&help) {
        pages(folder, &[line, &[command.as_str()]].concat(), book);
    }
}

#[test]
fn every_help_page() {
    let folder = tempfile::tempdir().expect("a folder");
    let first = String::from_utf8_lossy(&dtma(folder.path(), &["--help"]).stdout).into_owned();
    held("help", &first);
    let commands = listed(&first);
    assert!(commands.len() > 20, "{commands:?}");
    for command in commands {
        let mut book = String::new();
        pages(folder.path(), &[&command], &mut book);
        held(&format!("help-{command}"), &book);
    }
}

#[test]
fn a_session_without_a_daemon() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("open.token"), "t\n").expect("a file");
    std::fs::write(folder.path().join("group.yaml"), "groupId: [\n").expect("a file");
    let mut book = String::new();
    for line in [
        "context ls",
        "context add home",
        "context add home --url nowhere",
        "context add home --url http://127.0.0.1:1",
        "context add work --url http://127.0.0.1:2 --use",
        "context ls",
        "context ls -o json",
        "context use nobody",
        "context show",
        "context rm work",
        "context show",
        "--context nobody ps",
        "--context home ps",
        "init --name shop",
        "init --name shop",
        "init --template tool --name shop -",
        "exit-codes",
        "help exit-codes",
        "scale web",
        "explain port_taken",
        "explain bind",
        "explain policy.bind -o json",
        "up -f group.yaml",
        "up -f absent.yaml",
        "run npx:--registry",
        "logs",
        "wait demo --for soon",
        "frobnicate",
    ] {
        let words: Vec<&str> = line.split(' ').collect();
        let ended = dtma(folder.path(), &words);
        let code = ended.status.code().unwrap_or_default();
        let _ = write!(book, "$ dtma {line}\n{}[{code}]\n\n", said(&ended));
    }
    held("session", &book.replace(&folder.path().display().to_string(), "HOME"));
}

#[test]
fn completions_are_there_for_every_shell() {
    let folder = tempfile::tempdir().expect("a folder");
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = said(&dtma(folder.path(), &["completion", shell]));
        assert!(script.contains("support-bundle") && script.contains("previous"), "{shell}");
    }
}

#[test]
fn there_is_a_manual_page_for_every_command() {
    let folder = tempfile::tempdir().expect("a folder");
    let ended = dtma(folder.path(), &["man", "--dir", "pages"]);
    assert!(ended.status.success(), "{}", said(&ended));
    let help = String::from_utf8_lossy(&dtma(folder.path(), &["--help"]).stdout).into_owned();
    for command in listed(&help) {
        let page = folder.path().join(format!("pages/dtma-{command}.1"));
        let page =
            std::fs::read_to_string(&page).unwrap_or_else(|error| panic!("{}: {error}", page.display()));
        assert!(page.contains(".TH"), "{command}");
    }
}

#[test]
fn a_token_that_others_can_read_is_not_used() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().expect("a folder");
    let token = folder.path().join("token");
    std::fs::write(&token, "t\n").expect("a file");
    let add = ["context", "add", "x", "--url", "http://127.0.0.1:1", "--token-file", "token"];
    std::fs::set_permissions(&token, std::fs::Permissions::from_mode(0o644)).expect("chmod");
    let ended = dtma(folder.path(), &add);
    assert_eq!(ended.status.code(), Some(2));
    assert!(said(&ended).contains("chmod 600"), "{}", said(&ended));
    std::fs::set_permissions(&token, std::fs::Permissions::from_mode(0o600)).expect("chmod");
    assert_eq!(dtma(folder.path(), &add).status.code(), Some(0));
    let kept = std::fs::read_to_string(folder.path().join(".config/dtma/config.toml")).expect("the file");
    assert!(kept.contains("token_file") && !kept.contains("\"t\""), "{kept}");
    std::fs::set_permissions(&token, std::fs::Permissions::from_mode(0o604)).expect("chmod");
    assert_eq!(dtma(folder.path(), &["ps"]).status.code(), Some(2));
}
