//! A Docker Engine of a test's own, to be killed, stopped and restarted: the engine of the other tests is left alone.
//!
//! It lives in a network namespace of its own, because a second engine in one namespace harms the first. Containers
//! without a network need nothing of it; an engine that listens on TCP is reached over a pair of virtual cables.

use crate::program;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(60);
const READY: Duration = Duration::from_secs(40);

/// The engine. Dropping it ends it, its containers included.
pub struct PrivateEngine {
    dir: TempDir,
    options: Vec<String>,
    child: Option<Child>,
}

impl PrivateEngine {
    /// Starts one with these further options of dockerd and waits until it answers. Needs root.
    #[must_use]
    pub fn start(options: &[&str]) -> Self {
        // The path of a unix socket is short, and containerd adds 38 bytes to it.
        let dir = tempfile::Builder::new().prefix("dtma-e-").tempdir_in("/var/tmp").expect("a directory");
        let mut engine =
            Self { dir, options: options.iter().map(ToString::to_string).collect(), child: None };
        std::fs::write(engine.path("daemon.json"), "{}\n").expect("its configuration");
        engine.start_again();
        engine
    }

    /// Its directory.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Its address, for `DOCKER_HOST`.
    #[must_use]
    pub fn host(&self) -> String {
        format!("unix://{}", self.path("d.sock").display())
    }

    /// Starts it after it ended, on the same data.
    pub fn start_again(&mut self) {
        assert!(self.child.is_none(), "it runs already");
        for stale in ["docker.pid", "exec/containerd/containerd.pid"] {
            // What a killed engine leaves behind would hold up the next for 15 s.
            let _ = std::fs::remove_file(self.path(stale));
        }
        let log = File::options().create(true).append(true).open(self.path("log")).expect("its log");
        let mut command = Command::new("unshare");
        command.args(["--net", "sh", "-c", "ip link set lo up && exec dockerd \"$@\"", "sh"]);
        command.arg("--config-file").arg(self.path("daemon.json"));
        command.arg("--data-root").arg(self.path("data")).arg("--exec-root").arg(self.path("exec"));
        command.arg("--pidfile").arg(self.path("docker.pid")).args(["--host", &self.host()]);
        command.args(&self.options).current_dir("/").stdin(Stdio::null());
        command.stdout(log.try_clone().expect("its log")).stderr(log);
        self.child = Some(command.spawn().expect("start dockerd"));
        self.wait_until_ready();
    }

    fn wait_until_ready(&mut self) {
        let deadline = Instant::now() + READY;
        while !self.try_docker(&["version"]).status.success() {
            let ended = self.child.as_mut().is_some_and(|child| child.try_wait().expect("wait").is_some());
            let log = || std::fs::read_to_string(self.path("log")).unwrap_or_default();
            assert!(
                !ended && Instant::now() < deadline,
                "the engine does not come up (as root?):\n{}",
                log()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Runs `docker ARGS` on it; panics when it fails.
    pub fn docker(&self, args: &[&str]) -> String {
        self.try_docker(args).expect_success(&format!("docker {}", args.join(" "))).trim().to_owned()
    }

    fn try_docker(&self, args: &[&str]) -> program::Ended {
        let mut command = program::command("docker", args);
        command.env_remove("DOCKER_CONTEXT").env("DOCKER_HOST", self.host());
        program::run(&mut command, PATIENCE)
    }

    /// Copies images from the engine of the environment.
    pub fn load(&self, images: &[&str]) {
        let file = self.path("images.tar").display().to_string();
        crate::engine::docker(&[&["save", "-o", &file][..], images].concat());
        self.docker(&["load", "-i", &file]);
        std::fs::remove_file(file).expect("remove the archive");
    }

    /// Sends a signal to dockerd itself.
    pub fn signal(&self, name: &str) {
        let pid = self.pid().to_string();
        succeed("kill", &[&format!("-{name}"), &pid]);
    }

    /// dockerd's process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("it runs").id()
    }

    /// Kills dockerd without warning.
    pub fn kill9(&mut self) {
        let mut child = self.child.take().expect("it runs");
        child.kill().expect("kill dockerd");
        child.wait().expect("reap dockerd");
        // Its containerd dies with it; the next one cannot start before it is gone.
        self.wait_for_the_end_of("containerd.toml");
    }

    fn wait_for_the_end_of(&self, mark: &str) {
        let deadline = Instant::now() + PATIENCE;
        let mine = self.dir.path().display().to_string();
        while processes(&mine).iter().any(|(_, line)| line.contains(mark)) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Where an engine that is [connected](Self::connect) will be reached; one of a process can be.
    #[must_use]
    pub fn cable_address() -> String {
        let number = Self::cable_number();
        format!("198.18.{}.{}", number / 64, number % 64 * 4 + 2)
    }

    /// Processes of one machine take different ones.
    fn cable_number() -> u32 {
        std::process::id() % 16_384
    }

    /// Lays a cable from here to its namespace and gives both ends an address: ours and the engine's.
    #[must_use]
    pub fn connect(&self) -> Cable {
        let number = Self::cable_number();
        let net = |last: u32| format!("198.18.{}.{}", number / 64, number % 64 * 4 + last);
        let (ours, theirs) = (format!("dtmah{number}"), format!("dtmae{number}"));
        let ns = self.pid().to_string();
        succeed("ip", &["link", "add", &ours, "type", "veth", "peer", "name", &theirs, "netns", &ns]);
        let cable = Cable { link: ours.clone() };
        succeed("ip", &["address", "add", &format!("{}/30", net(1)), "dev", &ours]);
        succeed("ip", &["link", "set", &ours, "up"]);
        let enter = format!("--net=/proc/{ns}/ns/net");
        for args in [
            &["address", "add", &format!("{}/30", net(2)), "dev", &theirs][..],
            &["link", "set", &theirs, "up"],
        ] {
            let args = [&[enter.as_str(), "ip"][..], args].concat();
            succeed("nsenter", &args);
        }
        cable
    }
}

/// The cable; pulled out when dropped.
pub struct Cable {
    link: String,
}

impl Drop for Cable {
    fn drop(&mut self) {
        // The other end may have taken it along.
        let _ = program::run(&mut program::command("ip", &["link", "delete", &self.link]), PATIENCE);
    }
}

impl Drop for PrivateEngine {
    fn drop(&mut self) {
        let mine = self.dir.path().display().to_string();
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        // Shims and their containers outlive an engine that was killed: each names this directory.
        for (pid, _) in processes(&mine) {
            end_tree(pid);
        }
        for mount in mounts_below(&mine) {
            let _ = program::run(&mut program::command("umount", &["--lazy", &mount]), PATIENCE);
        }
    }
}

fn succeed(program: &str, args: &[&str]) {
    let ended = program::run(&mut program::command(program, args), PATIENCE);
    assert!(ended.status.success(), "{program} {}: {}", args.join(" "), ended.stderr);
}

/// Numbers and command lines of the processes that name this directory.
fn processes(dir: &str) -> Vec<(u32, String)> {
    let pids = std::fs::read_dir("/proc").expect("/proc").flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let line = |pid: u32| std::fs::read(format!("/proc/{pid}/cmdline")).ok();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).replace('\0', " ");
    let named = pids.filter_map(|pid| Some((pid, text(line(pid)?))));
    named.filter(|(pid, line)| *pid != std::process::id() && line.contains(&format!("{dir}/"))).collect()
}

/// A shim with the processes it began.
fn end_tree(pid: u32) {
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let _ = program::run(&mut program::command("kill", &["-KILL", &pid.to_string()]), PATIENCE);
    for child in children.split_whitespace().filter_map(|child| child.parse().ok()) {
        end_tree(child);
    }
}

/// What is mounted there, the innermost first.
fn mounts_below(dir: &str) -> Vec<String> {
    let table = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let mut found: Vec<String> =
        table.lines().filter_map(|line| line.split(' ').nth(1)).map(str::to_owned).collect();
    found.retain(|target| Path::new(target).starts_with(dir));
    found.sort_by_key(|target| std::cmp::Reverse(target.len()));
    found
}
