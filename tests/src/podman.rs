//! Podman's service, which speaks Docker's API, as a private engine: its images and containers lie in a directory of
//! its own, its networks and mounts in namespaces of their own. Debian's `docker-registry` is beside it, in the same.
//!
//! The tests of one program share one, for it takes seconds to fill. It ends with that program, however that ends: the
//! shell that keeps it waits for the end of its input, removes every container, and then the directory.

use crate::{engine, program};
use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(60);
const READY: Duration = Duration::from_secs(20);
const IMAGES: [&str; 2] = ["dtma/busybox:dev", "dtma/mcp-fixture:dev"];

/// What the machine has set for its own Podman does not matter here. The networks are netavark's, the containers runc's,
/// as with Docker; there need not be a journal.
const CONFIGURATION: &str = r#"[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"
[network]
network_backend = "netavark"
"#;

/// On its loopback, which is nobody else's.
const REGISTRY: &str = "127.0.0.1:5000";
const REGISTRIES: &str = r#"[[registry]]
location = "127.0.0.1:5000"
insecure = true
"#;

/// What keeps it; `$1` is the directory.
const KEEPER: &str = r#"
dir=$1
run() {
    exec podman --root "$dir/root" --runroot "$dir/run" --tmpdir "$dir/tmp" --network-config-dir "$dir/net" "$@"
}
ip link set lo up
run system service --time 0 "unix://$dir/d.sock" </dev/null &
service=$!
docker-registry serve "$dir/registry.yml" </dev/null &
registry=$!
# Nobody writes: it returns when those who could are gone.
read -r _
(run rm --all --force --time 0)
kill "$service" "$registry"
wait "$service" "$registry"
umount --recursive --lazy "$dir/root/overlay"
rm -rf "$dir"
"#;

/// The engine.
#[derive(Debug)]
pub struct Podman {
    dir: PathBuf,
    /// Its standard input is what the shell waits for.
    _keeper: Child,
}

impl Podman {
    /// The one of this program, with the images that tests run. Needs root.
    #[must_use]
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Podman> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    fn start() -> Self {
        // The path of a unix socket is short.
        let dir = tempfile::Builder::new().prefix("dtma-p-").tempdir_in("/var/tmp").expect("a directory");
        let dir = dir.keep();
        let mut keeper = keeper(&dir).spawn().expect("start Podman");
        wait_until_ready(&dir, &mut keeper);
        let podman = Self { dir, _keeper: keeper };
        podman.copy("images", &IMAGES);
        podman
    }

    /// Its address, for `DOCKER_HOST`.
    #[must_use]
    pub fn host(&self) -> String {
        host(&self.dir)
    }

    /// Runs `docker ARGS` on it; panics when it fails.
    pub fn docker(&self, args: &[&str]) -> String {
        docker(&self.dir, args).expect_success(&format!("docker {}", args.join(" "))).trim().to_owned()
    }

    /// Puts an image of this name into its registry that it does not have itself, and says what it is called.
    #[must_use]
    pub fn stock(&self, name: &str) -> String {
        let image = format!("{REGISTRY}/{name}:1");
        let made = engine::docker(&["create", IMAGES[0]]);
        engine::docker(&["commit", "--change", &format!("LABEL of={image}"), made.trim(), &image]);
        self.copy(name, &[&image]);
        engine::docker(&["rm", made.trim()]);
        engine::docker(&["rmi", &image]);
        self.docker(&["push", &image]);
        self.docker(&["rmi", &image]);
        image
    }

    /// Copies images from the engine of the environment, through a file of this name.
    fn copy(&self, name: &str, images: &[&str]) {
        let file = self.dir.join(name).with_extension("tar").display().to_string();
        engine::docker(&[&["save", "-o", &file], images].concat());
        self.docker(&["load", "-i", &file]);
        std::fs::remove_file(file).expect("remove the archive");
    }
}

fn host(dir: &Path) -> String {
    format!("unix://{}", dir.join("d.sock").display())
}

fn docker(dir: &Path, args: &[&str]) -> program::Ended {
    let mut command = program::command("docker", args);
    program::run(command.env_remove("DOCKER_CONTEXT").env("DOCKER_HOST", host(dir)), PATIENCE)
}

fn keeper(dir: &Path) -> Command {
    std::fs::write(dir.join("containers.conf"), CONFIGURATION).expect("its configuration");
    std::fs::write(dir.join("registries.conf"), REGISTRIES).expect("its registries");
    let registry = format!(
        "version: 0.1\nstorage: {{filesystem: {{rootdirectory: {}/registry}}}}\nhttp: {{addr: \"{REGISTRY}\"}}\n",
        dir.display()
    );
    std::fs::write(dir.join("registry.yml"), registry).expect("its registry's configuration");
    let log = File::create(log(dir)).expect("its log");
    let mut command = Command::new("unshare");
    command.args(["--net", "--mount", "sh", "-c", KEEPER, "sh"]).arg(dir);
    command.env("CONTAINERS_CONF", dir.join("containers.conf")).current_dir("/");
    command.env("CONTAINERS_REGISTRIES_CONF", dir.join("registries.conf"));
    command.stdin(Stdio::piped()).stdout(OwnedFd::from(log.try_clone().expect("its log"))).stderr(log);
    command
}

fn log(dir: &Path) -> PathBuf {
    dir.join("log")
}

fn wait_until_ready(dir: &Path, keeper: &mut Child) {
    let deadline = Instant::now() + READY;
    while !docker(dir, &["version"]).status.success() {
        let ended = keeper.try_wait().expect("wait").is_some();
        let said = || std::fs::read_to_string(log(dir)).unwrap_or_default();
        assert!(
            !ended && Instant::now() < deadline,
            "Podman does not come up (installed by `cargo xtask test`; as root?):\n{}",
            said()
        );
        std::thread::sleep(Duration::from_millis(50));
    }
}
