//! `docs/operating.md` is true: each of its commands is run, in order, by a shell. What is substituted is said at the top
//! of the document.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test stops where something is broken; it starts processes"
)]

use dtma_tests::program::run;
use dtma_tests::{binaries, engine};
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const DOCUMENT: &str = include_str!("../../docs/operating.md");
const SETTINGS: &str = include_str!("../../packaging/daemon.toml");
const PATIENCE: Duration = Duration::from_secs(180);

/// `start|stop|restart|reload dtma` without systemd; it returns from a start when the daemon listens.
const SYSTEMCTL: &str = r#"#!/bin/bash
set -eu
[ "$2" = dtma ]
pid=$(cat "$HOME/pid" 2>/dev/null || true)
lives() { [ -n "$pid" ] && [ -e "/proc/$pid" ] && ! grep -q '^State:.Z' "/proc/$pid/status" 2>/dev/null; }
stop() { if lives; then kill -TERM "$pid"; while lives; do sleep 0.05; done; fi; }
start() {
    : > "$HOME/said"
    dtma-daemon run < /dev/null > "$HOME/said" 2>> "$HOME/journal" & pid=$!
    echo "$pid" > "$HOME/pid"
    until grep -q 'listening on' "$HOME/said"; do lives || { tail -n 20 "$HOME/journal" >&2; exit 1; }; sleep 0.05; done
}
case $1 in
    start) lives || start ;;
    stop) stop ;;
    restart) stop; start ;;
    reload) lives && kill -HUP "$pid" ;;
    *) exit 1 ;;
esac
"#;

/// A block of the document.
struct Block {
    line: usize,
    kind: &'static str,
    text: String,
}

fn blocks() -> Vec<Block> {
    let mut found: Vec<Block> = Vec::new();
    let mut open = false;
    for (index, line) in DOCUMENT.lines().enumerate() {
        match line.strip_prefix("```") {
            Some(kind) if !open => found.push(Block { line: index + 1, kind, text: String::new() }),
            Some(_) => {}
            None if open => {
                let block = found.last_mut().expect("an open block");
                block.text.push_str(line);
                block.text.push('\n');
            }
            None => {}
        }
        open ^= line.starts_with("```");
    }
    found
}

/// A machine in a directory, with a group of its own on the engine; both go in the end.
struct Machine {
    root: tempfile::TempDir,
    tag: String,
    port: u16,
}

impl Machine {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let tag = root.path().file_name().unwrap().to_string_lossy().replace('.', "").to_lowercase();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let machine = Self { root, tag, port };
        machine.furnish();
        machine
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// What the package installs.
    fn furnish(&self) {
        for dir in ["bin", "etc/dtma", "var/lib/dtma", "work"] {
            std::fs::create_dir_all(self.path(dir)).unwrap();
        }
        symlink(binaries::daemon(), self.path("bin/dtma-daemon")).unwrap();
        symlink(binaries::cli(), self.path("bin/dtma")).unwrap();
        std::fs::write(self.path("bin/systemctl"), SYSTEMCTL).unwrap();
        std::fs::set_permissions(self.path("bin/systemctl"), PermissionsExt::from_mode(0o755)).unwrap();
        let said = SETTINGS.replace("#listen =", "listen =").replace("#state_dir =", "state_dir =");
        std::fs::write(self.path("etc/dtma/daemon.toml"), self.here(&said)).unwrap();
    }

    /// The document's places as this machine's.
    fn here(&self, text: &str) -> String {
        let mut text = text.replace("127.0.0.1:30000", &format!("127.0.0.1:{}", self.port));
        for dir in ["/etc/dtma", "/var/lib/dtma", "/var/log/dtma", "/var/backups"] {
            text = text.replace(dir, &self.path(&dir[1..]).display().to_string());
        }
        text.replace("clocks", &format!("clocks-{}", self.tag))
    }

    fn bash(&self, script: &str) -> Command {
        let mut command = Command::new("bash");
        command.arg("-c").arg(script).current_dir(self.path("work")).env_clear();
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{}:{path}", self.path("bin").display())).env("HOME", self.root.path());
        command.env("DTMA_CONFIG", self.path("etc/dtma/daemon.toml"));
        command.env("DTMA_URL", format!("http://127.0.0.1:{}", self.port));
        if let Some(host) = engine::host() {
            command.env("DOCKER_HOST", host);
        }
        command
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // Perhaps by a panic: a second one would hide the first.
        let _ = self.bash("systemctl stop dtma").status();
        engine::remove_tagged(&self.tag);
    }
}

/// One shell for all of them, so that what one block sets holds in the next, as on an operator's terminal.
fn script(blocks: &[Block]) -> String {
    let mut script = "set -eu -o pipefail\n\
        trap 'echo \"at line $at of the document, or soon after\" >&2; tail -n 20 \"$HOME/journal\" >&2' ERR\n\
        (umask 077 && dtma-daemon token create install --scope admin > /etc/dtma/token)\n\
        systemctl start dtma\n"
        .to_owned();
    for block in blocks.iter().filter(|block| block.kind == "sh run") {
        script.push_str(&format!("at={}\n{}", block.line, block.text));
    }
    script
}

#[test]
fn every_command_of_the_operating_document_does_what_it_should() {
    let machine = Machine::new();
    let ended = run(&mut machine.bash(&machine.here(&script(&blocks()))), PATIENCE);
    let said = ended.expect_success("the commands of docs/operating.md");
    let wanted = [
        "every record can be read",
        "the settings are sound",
        "1 to replace",
        "generation   3",
        "Europe/Berlin",
    ];
    for words in wanted {
        assert!(said.contains(words), "{words:?} is not in:\n{said}");
    }
    let access = std::fs::read_to_string(machine.path("var/log/dtma/access.log")).unwrap();
    assert!(access.lines().count() > 3, "{access}");
    assert_eq!(engine::remains(&format!("clocks-{}", machine.tag), true), Vec::<String>::new());
}

#[test]
fn every_block_is_run_here_or_where_systemd_is_and_is_bash() {
    for block in blocks() {
        assert!(["sh run", "sh systemd"].contains(&block.kind), "line {}: {:?}", block.line, block.kind);
        let checked = Command::new("bash").args(["-n", "-c", &block.text]).output().unwrap();
        assert!(checked.status.success(), "line {}: {checked:?}", block.line);
    }
}

#[test]
fn every_command_of_the_table_of_symptoms_stands_in_a_block() {
    let blocks = blocks();
    let rows = DOCUMENT.lines().filter(|line| line.starts_with("| ")).skip(1);
    let mut seen = 0;
    for row in rows {
        let command = row.split('|').nth(2).unwrap_or_default().trim().trim_matches('`');
        let is_run = blocks.iter().any(|block| block.text.lines().any(|line| line == command));
        assert!(is_run, "{command:?} is run nowhere");
        seen += 1;
    }
    assert!(seen > 5, "the table is there");
}

/// The package's units, as far as that can be said without booting.
#[test]
fn systemd_finds_no_fault_with_the_units() {
    let packaging = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging");
    let dir = tempfile::tempdir().unwrap();
    let units = ["dtma.service", "dtma.socket", "run-dtma-secrets.mount"];
    for unit in units {
        let text = std::fs::read_to_string(packaging.join(unit)).unwrap();
        assert!(text.contains("Documentation=file:///usr/share/doc/dtma/operating.md"), "{unit}");
        let here = text.replace("/usr/bin/dtma-daemon", &binaries::daemon().display().to_string());
        std::fs::write(dir.path().join(unit), here).unwrap();
    }
    let mut verify = Command::new("systemd-analyze");
    verify.args(["verify", "--man=no"]).args(units.map(|unit| dir.path().join(unit)));
    let ended = run(&mut verify, PATIENCE);
    let ours = |line: &&str| units.iter().any(|unit| line.contains(unit));
    let complaints: Vec<_> = ended.stderr.lines().filter(ours).collect();
    assert!(complaints.is_empty(), "{complaints:#?}");
}
