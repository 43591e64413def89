//! Podman's compatible API as an engine: the suites that every engine passes, the hardened profile as it is felt inside,
//! and a daemon that keeps a server on it. What differs from Docker is listed in `docs/engines.md`.
#![allow(clippy::expect_used, clippy::panic, reason = "a test stops where something is broken")]

use async_trait::async_trait;
use dtma_client::Mutation;
use dtma_core::container::{ContainerMount, CreateContainer, LogDriver};
use dtma_core::id::{ContainerId, ImageRef, OwnerId};
use dtma_core::observation::ContainerState;
use dtma_core::port::runtime::{LogQuery, OutputStream};
use dtma_core::port::{ContainerRuntime, ImageShelf};
use dtma_core::spec::PullPolicy;
use dtma_docker::{DockerRuntime, Settings};
use dtma_testing::sample;
use dtma_testing::suite::images::ShelfHarness;
use dtma_testing::suite::runtime::{RuntimeHarness, Traits, sweep};
use dtma_tests::fault_proxy::FaultProxy;
use dtma_tests::podman::Podman;
use dtma_tests::{Toolbox, eventually, groups, shims, text};
use futures_util::StreamExt;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

const IMAGE: &str = "dtma/busybox:dev";

/// One installation on the shared engine.
struct Harness {
    runtime: Arc<DockerRuntime>,
    owner: OwnerId,
    proxy: FaultProxy,
}

impl Harness {
    async fn new() -> Self {
        let podman = tokio::task::spawn_blocking(Podman::shared).await.expect("Podman");
        let owner = OwnerId::from(uuid::Uuid::new_v4().to_string());
        let proxy = FaultProxy::before(&podman.host());
        let settings = Settings { host: Some(proxy.host()), ..Settings::new(owner.clone()) };
        Self { runtime: Arc::new(DockerRuntime::connect(settings).expect("connect")), owner, proxy }
    }

    /// The hardened defaults, running this shell text, with a log.
    async fn request(&self, script: &str) -> CreateContainer {
        let image = self.runtime.ensure_image(&IMAGE.into(), PullPolicy::Never, None, &|_| {}).await;
        let mut config = sample::container_config(IMAGE);
        config.command = Some(["sh", "-c", script].map(str::to_owned).into());
        config.log = LogDriver::Bounded { max_size: 1024 * 1024, max_files: 2 };
        sample::create_container(
            &self.owner,
            &sample::slot("podman", "a"),
            config,
            &image.expect("the image"),
        )
    }

    /// Runs to the end and says what it wrote to standard output.
    async fn run(&self, request: &CreateContainer) -> String {
        let id = self.runtime.create(request).await.expect("create");
        self.runtime.start(&id, &request.launch()).await.expect("start");
        let ended = || async {
            let seen = self.runtime.inspect(&id).await.expect("inspect");
            if matches!(seen.state, ContainerState::Exited { .. }) { Ok(()) } else { Err(seen) }
        };
        eventually("it ends", Duration::from_secs(30), ended).await;
        let lines = self.runtime.logs(&id, &LogQuery::default()).await.expect("logs");
        let lines: Vec<_> = lines.map(|line| line.expect("a log line")).collect().await;
        let stdout = lines.into_iter().filter(|line| line.stream == OutputStream::Stdout);
        stdout.map(|line| line.text + "\n").collect()
    }

    async fn leave(self) {
        sweep(&*self.runtime, &self.owner).await;
    }
}

#[async_trait]
impl RuntimeHarness for Harness {
    fn runtime(&self) -> Arc<dyn ContainerRuntime> {
        Arc::clone(&self.runtime) as Arc<dyn ContainerRuntime>
    }
    fn owner(&self) -> OwnerId {
        self.owner.clone()
    }
    fn image(&self) -> ImageRef {
        IMAGE.into()
    }
    fn traits(&self) -> Traits {
        // Its networks are in a namespace of their own.
        Traits { input_outlives_its_client: false, addresses_lead_there: false }
    }
    async fn break_connections(&self) {
        self.proxy.cut();
    }
}

mod suite {
    dtma_testing::runtime_suite!(super::Harness::new().await);
}

/// The shared engine, and an image in its registry that no other test has.
struct Shelf {
    engine: Harness,
    image: ImageRef,
}

impl Shelf {
    async fn new() -> Self {
        let engine = Harness::new().await;
        let name = engine.owner.to_string();
        let stocked = tokio::task::spawn_blocking(move || Podman::shared().stock(&name)).await;
        Self { engine, image: stocked.expect("an image").into() }
    }
}

#[async_trait]
impl ShelfHarness for Shelf {
    fn shelf(&self) -> &dyn ImageShelf {
        &*self.engine.runtime
    }
    fn runtime(&self) -> &dyn ContainerRuntime {
        &*self.engine.runtime
    }
    fn local(&self) -> ImageRef {
        format!("localhost/{IMAGE}").into()
    }
    fn fetchable(&self) -> ImageRef {
        self.image.clone()
    }
    async fn brought(&self) -> ImageRef {
        let image = self.image.to_string();
        let pulled = tokio::task::spawn_blocking(move || Podman::shared().docker(&["pull", &image])).await;
        pulled.expect("their pull");
        self.image.clone()
    }
    async fn container(&self, image: &ImageRef) -> ContainerId {
        let facts = self.runtime().ensure_image(image, PullPolicy::Never, None, &|_| {}).await;
        let mut request = self.engine.request("true").await;
        request.image = facts.expect("it was fetched");
        self.runtime().create(&request).await.expect("create")
    }
    async fn leave(self) {
        self.engine.leave().await;
    }
}

mod shelf {
    dtma_testing::images_suite!(super::Shelf::new().await);
}

/// Runs a script under the profile and says what it wrote.
async fn inside(script: &str) -> String {
    let harness = Harness::new().await;
    let output = harness.run(&harness.request(script).await).await;
    harness.leave().await;
    output
}

#[track_caller]
fn check(output: &str, expected: &[&str]) {
    assert_eq!(output.lines().map(str::trim).collect::<Vec<_>>(), expected);
}

#[tokio::test]
async fn podman_says_who_it_is() {
    let harness = Harness::new().await;
    let info = harness.runtime.info().await.expect("info");
    assert!(info.product.starts_with("Podman Engine "), "{info:?}");
    harness.leave().await;
}

/// By whom it is run, what it could do, and how much of everything it has.
#[tokio::test]
async fn the_hardened_profile_is_felt_on_podman() {
    let script = "id -u; id -g; \
                  grep -E '^(CapPrm|CapEff|CapBnd|CapAmb|NoNewPrivs|Seccomp):' /proc/self/status | tr '\\t' ' '; \
                  ulimit -Sn; ulimit -Hn; ulimit -c; cat /proc/self/oom_score_adj; cat /proc/1/comm; \
                  cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null; \
                  cat /sys/fs/cgroup/pids.max /sys/fs/cgroup/pids/pids.max 2>/dev/null; ls /sys/class/net";
    let none = "0000000000000000";
    let status = ["CapPrm", "CapEff", "CapBnd", "CapAmb"].map(|name| format!("{name}: {none}"));
    let mut expected = vec!["65532", "65532"];
    expected.extend(status.iter().map(String::as_str));
    expected.extend(["NoNewPrivs: 1", "Seccomp: 2", "1024", "4096", "0", "500", "podman-init"]);
    expected.extend(["268435456", "128", "lo"]);
    check(&inside(script).await, &expected);
}

/// Podman's own writable `/var/tmp` is covered.
#[tokio::test]
async fn writing_is_refused_everywhere_but_in_memory_on_podman() {
    let script = "for path in / /bin /etc /usr /var /var/tmp /tmp /run /dev/shm; do \
                  if touch $path/probe 2>/dev/null; then echo $path; fi; done; \
                  grep -E ' (/tmp|/run) ' /proc/mounts | cut -d' ' -f2-4 | sort";
    let output = inside(script).await;
    let lines: Vec<&str> = output.lines().collect();
    assert_eq!(lines[..3], ["/tmp", "/run", "/dev/shm"], "{output}");
    for (line, (path, size)) in lines[3..].iter().zip([("/run", "size=16384k"), ("/tmp", "size=65536k")]) {
        for option in [path, "tmpfs", "nosuid", "nodev", "noexec", size, "uid=65532"] {
            assert!(line.contains(option), "{line} lacks {option}");
        }
    }
    assert_eq!(lines.len(), 5, "{output}");
}

/// Images bring folders that only root may write to; what is mounted over them is the server's, and empty.
#[tokio::test]
async fn memory_over_a_folder_of_the_image_belongs_to_the_server_on_podman() {
    let harness = Harness::new().await;
    let mut request = harness.request("ls -A /www; touch /www/new && ls /www").await;
    let (target, size) = ("/www".to_owned(), 1024 * 1024);
    request.config.mounts.push(ContainerMount::Tmpfs { target, size, exec: false });
    assert_eq!(harness.run(&request).await, "new\n");
    harness.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_keeps_a_server_on_podman() {
    let podman = tokio::task::spawn_blocking(Podman::shared).await.expect("Podman");
    let mut toolbox = Toolbox::start_with(|launch| launch.docker_host = Some(podman.host()));
    let files = json!({"mounts": [{"type": "volume", "name": "files", "target": "/data"}]});
    let group =
        toolbox.group("podman", &[groups::with(groups::fixture("fixture"), &files), groups::idle("idle")]);
    toolbox.deploy(&group).await;
    let name = toolbox.named("podman");
    let ours = format!("label=io.dtma.group={name}");
    let containers = || podman.docker(&["ps", "-q", "--no-trunc", "--filter", &ours]);
    assert_eq!(containers().lines().count(), 2);

    let session = toolbox.raw_mcp("fixture").await;
    let list = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"});
    let tools = session.exchange(&list).await.pop().expect("an answer");
    assert!(tools["result"]["tools"].as_array().is_some_and(|tools| !tools.is_empty()), "{tools}");
    let answer = session.call(&json!(2), "echo", &json!({"message": "on podman"})).await;
    assert_eq!(text(&answer), "Echo: on podman");

    let restarted =
        toolbox.client().restart_server("fixture", &Mutation::default()).await.expect("a restart");
    assert_eq!(restarted.server.phase.as_str(), "ready");
    let answer = toolbox.raw_mcp("fixture").await.call(&json!(3), "echo", &json!({"message": "again"})).await;
    assert_eq!(text(&answer), "Echo: again");

    // Without a shim its input ended with the daemon, and it with its input: it is started again, once.
    let restarts = groups::restarts(&toolbox.view(&name).await);
    toolbox.kill9();
    toolbox.start_again();
    toolbox.ready(&name, Duration::from_secs(60)).await;
    let answer = toolbox.raw_mcp("fixture").await.call(&json!(4), "echo", &json!({"message": "back"})).await;
    assert_eq!(text(&answer), "Echo: back");
    let now = groups::restarts(&toolbox.view(&name).await);
    assert_eq!(now, [restarts[0] + u64::from(!shims()), restarts[1]]);

    toolbox.down(&name, true).await;
    assert_eq!(containers(), "");
    for list in [["network", "ls"], ["volume", "ls"]] {
        assert_eq!(podman.docker(&[&list[..], &["-q", "--filter", &ours]].concat()), "");
    }
}
