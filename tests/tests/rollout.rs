//! A group is changed, scaled and wounded by bad changes under steady load through the gateway and through a published
//! port: no request is lost, none is answered by a version that cannot be meant.
//!
//! `DTMA_TEST_UPDATES` says how many updates are rolled out (10 by default; `cargo xtask soak` asks for 100).
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a test stops where something is broken, and tells its figures"
)]

#[path = "rollout/load.rs"]
mod load;

use dtma_client::types::{ApplyView, ScaleRequest};
use dtma_client::{ChangeOptions, Error, Wait};
use dtma_tests::engine::{container_ids, containers, networks};
use dtma_tests::{Toolbox, eventually, groups, shims, standing};
use load::Load;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const SERVER: &str = "everything";
const TOOL: &str = "page";
/// Of a change, on a busy machine.
const CHANGE: Duration = Duration::from_secs(120);
/// From the answer to a change until the last container bears its plain name.
const SETTLES: Duration = Duration::from_secs(10);

/// A group whose every answer tells the version it was started with.
struct Scene {
    toolbox: Toolbox,
    group: String,
    port: u16,
}

impl Scene {
    async fn set() -> Self {
        let toolbox = Toolbox::start();
        let scene = Self { group: toolbox.named("rolled"), port: free_port(), toolbox };
        scene.toolbox.deploy(&scene.document(1)).await;
        scene.stands("when it was deployed", 2).await;
        scene
    }

    fn document(&self, version: u64) -> Value {
        self.of(self.server(version), self.tool(version))
    }

    fn of(&self, server: Value, tool: Value) -> Value {
        self.toolbox.group("rolled", &[server, tool])
    }

    fn server(&self, version: u64) -> Value {
        let fields = json!({"environment": {"VERSION": version.to_string()}});
        groups::with(groups::everything(SERVER), &fields)
    }

    fn tool(&self, version: u64) -> Value {
        let serve = "mkdir -p /tmp/page && echo $VERSION > /tmp/page/index.html && \
                     exec httpd -f -p 8080 -h /tmp/page";
        json!({
            "instanceName": TOOL, "kind": "tool", "image": "dtma/busybox:dev", "port": 8080,
            "command": ["sh", "-c", serve], "environment": {"VERSION": version.to_string()},
            "publish": [{"hostPort": self.port, "containerPort": 8080}],
        })
    }

    async fn put(&self, document: &Value) -> Result<ApplyView, Error> {
        let options = ChangeOptions { wait: Wait::Until(CHANGE), ..ChangeOptions::default() };
        self.toolbox.client().put_group(&self.group, document, &options).await
    }

    /// Rolls a version out; how long that took.
    async fn update(&self, load: &Load, version: u64) -> Duration {
        let began = Instant::now();
        load.asked(version);
        let applied = self.put(&self.document(version)).await;
        let applied = applied.unwrap_or_else(|error| panic!("version {version}: {error:#?}"));
        load.established(version);
        let took = began.elapsed();
        assert!(applied.changed);
        assert_eq!(applied.changes.len(), 2, "{:#?}", applied.changes);
        self.stands(&format!("after version {version}"), 2).await;
        load.unharmed(&format!("after version {version}"));
        took
    }

    /// A change that cannot come to stand is answered with the reason, and then all is as before.
    async fn refuses(&self, load: &Load, what: &str, document: &Value) {
        let refused = self.put(document).await;
        let error = refused.err().unwrap_or_else(|| panic!("{what} was accepted"));
        let refusal = error.refusal().unwrap_or_else(|| panic!("{what}: {error:#?}"));
        assert_eq!((refusal.status, refusal.code.as_str()), (502, "update_failed"), "{what}: {refusal:#?}");
        self.toolbox.ready(&self.group, CHANGE).await;
        self.stands(&format!("after {what}"), 2).await;
        load.unharmed(&format!("after {what}"));
    }

    /// One container in each place, under its plain name, made from what is wanted, and nothing besides.
    async fn stands(&self, when: &str, places: usize) {
        let rest = self.toolbox.rest();
        eventually(&format!("{when} all is as wanted"), SETTLES, || async {
            let wrong = standing::deviations(&rest, &self.group).await;
            if wrong.is_empty() { Ok(()) } else { Err(wrong) }
        })
        .await;
        assert_eq!(container_ids(&self.group).len(), places, "{when}");
        assert_eq!(networks(&self.group).len(), usize::from(!shims()), "{when}");
    }

    async fn scale(&self, server: &str, replicas: u32) {
        let options = ChangeOptions { wait: Wait::Until(CHANGE), ..ChangeOptions::default() };
        let body = ScaleRequest { replicas };
        let scaled = self.toolbox.client().scale_server(server, &body, &options).await;
        scaled.unwrap_or_else(|error| panic!("{server} to {replicas}: {error:#?}"));
    }
}

/// A moment ago it was; who takes it meanwhile fails the deployment, not the test's verdict.
fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("its address").port()
}

fn updates() -> u64 {
    let wanted = std::env::var("DTMA_TEST_UPDATES").ok();
    wanted.map_or(10, |text| text.parse().expect("DTMA_TEST_UPDATES is a number"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn updates_under_load_lose_no_request() {
    let scene = Scene::set().await;
    let load = Load::begin(&scene.toolbox, SERVER, scene.port, 1).await;
    let mut times = Vec::new();
    for version in 2..2 + updates() {
        times.push(scene.update(&load, version).await);
    }
    let count = times.len();
    load.end(&format!("{count} updates")).await;
    times.sort();
    println!(
        "figure: an update took {:.1?} at the median, {:.1?} at most",
        times[count / 2],
        times[count - 1]
    );
    let restarts = groups::restarts(&scene.toolbox.view(&scene.group).await);
    assert_eq!(restarts, [0, 0], "an update is no restart");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_bad_change_never_takes_the_old_one_down() {
    let scene = Scene::set().await;
    let lives = lives(&scene.group);
    let load = Load::begin(&scene.toolbox, SERVER, scene.port, 1).await;
    let no_image = json!({"image": "dtma/no-such-image:dev", "pullPolicy": "never"});
    let crashes = json!({"command": ["sh", "-c", "exit 3"]});
    let bad_tool = |change| scene.of(scene.server(1), groups::with(scene.tool(2), change));
    let bad_server = |change| scene.of(groups::with(scene.server(2), change), scene.tool(1));
    for (what, document) in [
        ("a tool's bad image", bad_tool(&no_image)),
        ("a server's bad image", bad_server(&no_image)),
        ("a tool that crashes", bad_tool(&crashes)),
        ("a server that crashes", bad_server(&crashes)),
    ] {
        scene.refuses(&load, what, &document).await;
        assert_eq!(self::lives(&scene.group), lives, "{what}: nobody was restarted");
    }
    // What is sound of a bad change may serve for a while: until all goes back.
    load.asked(2);
    let half = scene.of(scene.server(2), groups::with(scene.tool(2), &crashes));
    scene.refuses(&load, "a change half of which is sound", &half).await;
    load.given_up();
    load.end("five bad changes").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn more_and_fewer_replicas_lose_no_request() {
    let scene = Scene::set().await;
    let load = Load::begin(&scene.toolbox, SERVER, scene.port, 1).await;
    for (server, replicas, places) in [(SERVER, 3, 4), (TOOL, 3, 6), (SERVER, 1, 4), (TOOL, 1, 2)] {
        scene.scale(server, replicas).await;
        let when = format!("with {replicas} of {server}");
        scene.stands(&when, places).await;
        load.unharmed(&when);
    }
    load.end("scaled to three and back").await;
}

/// Id and start of every container.
fn lives(group: &str) -> Vec<Value> {
    containers(group).into_iter().map(|seen| json!([seen["Id"], seen["State"]["StartedAt"]])).collect()
}
