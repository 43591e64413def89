//! The daemon under a service manager: what it is handed over and what it says, without systemd itself.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test stops where something is broken; it starts processes and looks at the clock"
)]

use dtma_tests::program::{Ended, run};
use dtma_tests::{binaries, eventually};
use serde_json::Value;
use std::io::{BufRead, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(20);
/// Exit codes that `dtma-daemon --help` promises.
const FAILED: i32 = 1;
const USAGE: i32 = 2;
const STATE: i32 = 3;

/// The daemon with a state of its own and an engine that is not there.
fn daemon(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(binaries::daemon());
    command.env_clear().env("DTMA_BEARER_TOKEN", "a-token-of-this-test").current_dir(dir);
    command
        .args(args)
        .args(["--docker-host", "unix:///nowhere/docker.sock", "--state-dir"])
        .arg(dir.join("state"));
    command
}

/// Killed when dropped.
struct Running(Child);

impl Running {
    fn signal(&self, name: &str) {
        let sent = Command::new("sh").args(["-c", &format!("kill -{name} {}", self.0.id())]).status();
        assert!(sent.expect("sh").success(), "it is not there any more");
    }

    async fn ends(mut self) -> i32 {
        let look = || std::future::ready(self.0.try_wait().unwrap().ok_or("still running"));
        eventually("it ends", PATIENCE, look).await.code().expect("an exit code")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(mut command: Command) -> Running {
    Running(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the daemon"))
}

fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// The other end of a notify socket.
struct Manager {
    socket: UnixDatagram,
    heard: Vec<String>,
}

impl Manager {
    fn at(path: &Path) -> Self {
        let socket = UnixDatagram::bind(path).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        Self { socket, heard: Vec::new() }
    }

    /// The lines of the next message that has this one; what came before is kept in `heard`.
    fn wait_for(&mut self, line: &str) -> Vec<String> {
        let deadline = Instant::now() + PATIENCE;
        let mut buffer = [0; 4096];
        while Instant::now() < deadline {
            let Ok(length) = self.socket.recv(&mut buffer) else { continue };
            let message = String::from_utf8_lossy(&buffer[..length]).into_owned();
            let lines: Vec<_> = message.lines().map(str::to_owned).collect();
            self.heard.push(message);
            if lines.iter().any(|found| found == line) {
                return lines;
            }
        }
        panic!("{line} was not heard, only {:?}", self.heard);
    }
}

#[tokio::test]
async fn the_service_manager_hears_of_readiness_life_and_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let mut manager = Manager::at(&dir.path().join("notify"));
    let (log, moved) = (dir.path().join("dtma.log"), dir.path().join("moved.log"));
    let address = free_address();
    let mut command = daemon(dir.path(), &["--listen", &address.to_string(), "--log-file", "dtma.log"]);
    command.env("NOTIFY_SOCKET", dir.path().join("notify")).env("WATCHDOG_USEC", "300000");
    let daemon = start(command);

    let ready = manager.wait_for("READY=1");
    assert!(ready.contains(&format!("STATUS=listening on {address}, 0 groups")), "{ready:?}");
    assert!(get(address, "/health").ends_with("OK"), "ready means that it answers");
    for _ in 0..5 {
        manager.wait_for("WATCHDOG=1");
    }

    std::fs::rename(&log, &moved).unwrap();
    daemon.signal("HUP");
    let reloading = manager.wait_for("RELOADING=1");
    assert!(reloading.iter().any(|line| line.starts_with("MONOTONIC_USEC=")), "{reloading:?}");
    manager.wait_for("READY=1");
    let read = |path: &Path| std::fs::read_to_string(path).unwrap();
    assert!(read(&moved).contains("listening") && read(&log).contains("opened anew"));

    daemon.signal("TERM");
    let stopping = manager.wait_for("STOPPING=1");
    assert!(stopping.contains(&"EXTEND_TIMEOUT_USEC=30000000".to_owned()), "{stopping:?}");
    assert_eq!(daemon.ends().await, 0);
}

#[tokio::test]
async fn a_daemon_that_is_stuck_gives_no_sign_of_life() {
    let dir = tempfile::tempdir().unwrap();
    let mut manager = Manager::at(&dir.path().join("notify"));
    let mut command = daemon(dir.path(), &["--listen", &free_address().to_string()]);
    command.env("NOTIFY_SOCKET", dir.path().join("notify")).env("WATCHDOG_USEC", "300000");
    let daemon = start(command);
    manager.wait_for("WATCHDOG=1");
    daemon.signal("STOP");
    // What was sent before the signal took hold is still in the socket.
    while manager.socket.recv(&mut [0; 64]).is_ok() {}
    manager.socket.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    assert!(manager.socket.recv(&mut [0; 64]).is_err(), "nothing is heard within three times the limit");
    daemon.signal("CONT");
    manager.wait_for("WATCHDOG=1");
}

#[tokio::test]
async fn without_a_watchdog_no_sign_of_life_is_given() {
    let dir = tempfile::tempdir().unwrap();
    let mut manager = Manager::at(&dir.path().join("notify"));
    let mut command = daemon(dir.path(), &["--listen", &free_address().to_string()]);
    command.env("NOTIFY_SOCKET", dir.path().join("notify"));
    let daemon = start(command);
    manager.wait_for("READY=1");
    daemon.signal("TERM");
    manager.wait_for("STOPPING=1");
    assert!(!manager.heard.iter().any(|message| message.contains("WATCHDOG")), "{:?}", manager.heard);
}

/// Runs the daemon with this as file descriptor 3, as systemd would.
fn with_socket(daemon: &Command, socket: OwnedFd) -> Command {
    let script = "LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=api exec \"$0\" \"$@\" 3<&0 0</dev/null";
    let mut command = Command::new("/bin/sh");
    command.arg("-c").arg(script).arg(daemon.get_program()).args(daemon.get_args()).env_clear();
    for (name, value) in daemon.get_envs().filter_map(|(name, value)| Some((name, value?))) {
        command.env(name, value);
    }
    command.stdin(Stdio::from(socket));
    command
}

#[tokio::test]
async fn a_passed_socket_replaces_the_address() {
    let dir = tempfile::tempdir().unwrap();
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let occupied = TcpListener::bind("127.0.0.1:0").unwrap();
    let elsewhere = occupied.local_addr().unwrap().to_string();
    let daemon = start(with_socket(&daemon(dir.path(), &["--listen", &elsewhere]), socket.into()));
    // The socket listens already, so the question waits for the daemon instead of being refused.
    assert!(get(address, "/health").ends_with("OK"));
    let environment = std::fs::read_to_string(format!("/proc/{}/status", daemon.0.id())).unwrap();
    assert!(environment.contains("dtma-daemon"), "the shell has become the daemon");
    daemon.signal("TERM");
    assert_eq!(daemon.ends().await, 0);
}

#[test]
fn a_passed_socket_of_the_wrong_kind_is_refused_with_a_remedy() {
    let dir = tempfile::tempdir().unwrap();
    let sockets: [OwnedFd; 2] = [
        UdpSocket::bind("127.0.0.1:0").unwrap().into(),
        UnixListener::bind(dir.path().join("socket")).unwrap().into(),
    ];
    for socket in sockets {
        let mut command = with_socket(&daemon(dir.path(), &[]), socket);
        let output = command.output().expect("the daemon");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(USAGE), "{said}");
        assert!(
            said.contains("LISTEN_FDS: ") && said.contains("pass exactly one listening TCP socket"),
            "{said}"
        );
    }
}

fn get(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn ends(mut command: Command, code: i32) -> Ended {
    let ended = run(&mut command, PATIENCE);
    assert_eq!(ended.code(), code, "{}\n{}", ended.stdout, ended.stderr);
    ended
}

#[tokio::test]
async fn a_second_daemon_on_the_same_state_is_told_who_the_first_is() {
    let dir = tempfile::tempdir().unwrap();
    let mut manager = Manager::at(&dir.path().join("notify"));
    let mut command = daemon(dir.path(), &["--listen", &free_address().to_string()]);
    command.env("NOTIFY_SOCKET", dir.path().join("notify"));
    let first = start(command);
    manager.wait_for("READY=1");
    let holder = format!("is in use by another process (pid {})", first.0.id());
    let listen = free_address().to_string();
    for words in [&["--listen", &listen][..], &["state", "check"], &["state", "export", "-"]] {
        let said = ends(daemon(dir.path(), words), STATE).stderr;
        assert!(said.contains(&holder), "{words:?}: {said}");
    }
    drop(first);
    ends(daemon(dir.path(), &["state", "check"]), 0);
}

#[tokio::test]
async fn a_state_can_be_looked_at_backed_up_and_restored() {
    let dir = tempfile::tempdir().unwrap();
    let mut manager = Manager::at(&dir.path().join("notify"));
    let mut command = daemon(dir.path(), &["--listen", &free_address().to_string()]);
    command.env("NOTIFY_SOCKET", dir.path().join("notify"));
    let first = start(command);
    manager.wait_for("READY=1");
    drop(first);

    let said = ends(daemon(dir.path(), &["state", "check"]), 0).stdout;
    assert!(said.contains("every record can be read"), "{said}");
    let dump = |dir| -> Value {
        serde_json::from_str(&ends(daemon(dir, &["state", "dump"]), 0).stdout).expect("a dump is JSON")
    };
    let before = dump(dir.path());
    ends(daemon(dir.path(), &["state", "export", "backup.json"]), 0);
    let exists = ends(daemon(dir.path(), &["state", "import", "backup.json"]), FAILED).stderr;
    assert!(exists.contains("--force") && exists.contains("nothing was changed"), "{exists}");
    std::fs::remove_dir_all(dir.path().join("state")).unwrap();
    let gone = ends(daemon(dir.path(), &["state", "check"]), STATE).stderr;
    assert!(gone.contains("there is none"), "{gone}");
    ends(daemon(dir.path(), &["state", "import", "backup.json"]), 0);
    assert_eq!(dump(dir.path()), before);

    let backup = dir.path().join("backup.json");
    std::fs::write(&backup, std::fs::read_to_string(&backup).unwrap().replacen("owner", "ownex", 1)).unwrap();
    let refused = ends(daemon(dir.path(), &["state", "import", "--force", "backup.json"]), FAILED).stderr;
    assert!(refused.contains("checksum"), "{refused}");
    assert_eq!(dump(dir.path()), before);
}

#[tokio::test]
async fn a_daemon_without_opentelemetry_says_so_once_where_spans_are_wanted() {
    let dir = tempfile::tempdir().unwrap();
    let (log, run) = (dir.path().join("stderr"), dir.path().join("run"));
    let mut command =
        daemon(dir.path(), &["--listen", "127.0.0.1:0", "--runtime-dir", run.to_str().unwrap()]);
    command.env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318");
    command.stdout(Stdio::piped()).stderr(std::fs::File::create(&log).unwrap());
    let mut running = Running(command.spawn().unwrap());
    let mut line = String::new();
    std::io::BufReader::new(running.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    running.signal("TERM");
    assert_eq!((line.starts_with("listening on"), running.ends().await), (true, 0));
    let said = std::fs::read_to_string(log).unwrap();
    assert_eq!(said.matches("built without OpenTelemetry").count(), 1, "{said}");
    assert!(said.contains("OTEL_EXPORTER_OTLP_ENDPOINT is set"), "{said}");
}

#[test]
fn settings_are_checked_all_at_once_and_shown_with_their_origin() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("daemon.toml");
    std::fs::write(&file, "log = 1\nlisen = \"x\"\nlog_format = \"xml\"\n").unwrap();
    let config = ["--config", "daemon.toml"];
    let wrong = ends(daemon(dir.path(), &[&["config", "check"], &config[..]].concat()), FAILED).stderr;
    for place in ["daemon.toml:1: log: ", "daemon.toml:2: lisen: ", "daemon.toml:3: log_format: "] {
        assert!(wrong.contains(place), "{place} in {wrong}");
    }
    std::fs::write(&file, "\nlog_format = \"json\"\n").unwrap();
    ends(daemon(dir.path(), &[&["config", "check"], &config[..]].concat()), 0);
    let mut show = daemon(dir.path(), &[&["config", "show", "--origin"], &config[..]].concat());
    show.env("DTMA_LISTEN", "127.0.0.1:7").env("RUNTIME_DIRECTORY", "/run/of-systemd");
    let shown = ends(show, 0).stdout;
    for line in [
        "log_format = \"json\"  # daemon.toml:2",
        "listen = \"127.0.0.1:7\"  # env DTMA_LISTEN",
        "runtime_dir = \"/run/of-systemd\"  # env RUNTIME_DIRECTORY",
        "docker_host = \"unix:///nowhere/docker.sock\"  # flag --docker-host",
        "log = \"info\"  # default",
        "# token = \"***\"  # env DTMA_BEARER_TOKEN",
    ] {
        assert!(shown.contains(line), "{line} in {shown}");
    }
    assert!(!shown.contains("a-token-of-this-test"));
    let json = ends(daemon(dir.path(), &[&["config", "show", "-o", "json"], &config[..]].concat()), 0).stdout;
    let json: Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(json["log_format"], "json");
}
