//! Images that nobody needs any more, on a real engine with Debian's `docker-registry`: what the daemon fetched goes when
//! its group is gone, also when it was killed in between, and nothing else does.
#![allow(clippy::expect_used, clippy::panic, reason = "a test stops where something is broken")]

use dtma_tests::engine::{docker, try_docker};
use dtma_tests::{Toolbox, eventually, groups};
use serde_json::json;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

/// A registry on the loopback that lets everybody in.
struct Registry {
    child: Child,
    address: String,
    _dir: TempDir,
}

impl Drop for Registry {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Registry {
    fn start() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let config = format!(
            "version: 0.1\nlog: {{level: info}}\nstorage: {{filesystem: {{rootdirectory: {}/data}}}}\n\
             http: {{addr: \"127.0.0.1:0\"}}\n",
            dir.path().display()
        );
        let file = dir.path().join("config.yml");
        std::fs::write(&file, config).expect("its configuration");
        let mut command = Command::new("docker-registry");
        command.arg("serve").arg(file).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("docker-registry is installed: run `cargo xtask test`");
        let mut lines = BufReader::new(child.stderr.take().expect("its log")).lines().map_while(Result::ok);
        let address = lines.find_map(|line| {
            let (_, rest) = line.split_once("listening on ")?;
            rest.split(['"', ' ', ',']).next().map(str::to_owned)
        });
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, address: address.expect("it says where it listens"), _dir: dir }
    }

    /// Puts an image of this name there that the engine does not have.
    fn stock(&self, name: &str) -> String {
        let image = format!("{}/{name}:1", self.address);
        let made = docker(&["create", "dtma/busybox:dev"]);
        docker(&["commit", "--change", &format!("LABEL of={image}"), made.trim(), &image]);
        docker(&["push", &image]);
        docker(&["rm", made.trim()]);
        docker(&["rmi", &image]);
        image
    }
}

fn is_there(image: &str) -> bool {
    try_docker(&["image", "inspect", image]).status.success()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_goes_when_nobody_needs_it_and_only_if_it_was_fetched() {
    let registry = Registry::start();
    let (fetched, brought) = (registry.stock("fetched"), registry.stock("brought"));
    docker(&["pull", &brought]);
    let mut toolbox = Toolbox::start_with(|launch| {
        // Every disk is fuller than this.
        let marks = ["--image-gc-high-percent", "1", "--image-gc-low-percent", "1"];
        launch.args = marks.iter().chain(&["--image-gc-min-age", "1s"]).map(|&it| it.to_owned()).collect();
    });
    let tool = |name: &str, image: &str| groups::with(groups::idle(name), &json!({"image": image}));
    toolbox.deploy(&toolbox.group("gc", &[tool("one", &fetched), tool("two", &brought)])).await;
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert!(is_there(&fetched), "a container is made from it");
    toolbox.kill9();
    toolbox.start_again();
    toolbox.ready(&toolbox.named("gc"), Duration::from_secs(30)).await;

    toolbox.down(&toolbox.named("gc"), false).await;
    let gone = || async { if is_there(&fetched) { Err("it is there") } else { Ok(()) } };
    eventually("what was fetched is removed", Duration::from_secs(20), gone).await;
    assert!(is_there(&brought) && is_there("dtma/busybox:dev"), "what the daemon did not fetch stays");
    assert!(toolbox.log().contains("removing an image that nobody needs"), "{}", toolbox.log());
    docker(&["rmi", &brought]);
}
