//! Engines that are killed, restarted or stand still, each a private one. With live-restore nothing of ours notices;
//! without it containers die with their engine and are started again once.
//!
//! `DTMA_TEST_STANDSTILL` says for how many seconds an engine stands still (10 by default; `cargo xtask soak` asks for
//! 60).
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test stops where something is broken"
)]

use dtma_tests::private_engine::PrivateEngine;
use dtma_tests::{Answer, McpClient, Toolbox, eventually, groups, text};
use serde_json::json;
use std::time::{Duration, Instant};

const IMAGES: [&str; 2] = ["dtma/mcp-fixture:dev", "dtma/busybox:dev"];
/// How long the engine may take to answer a question.
const READ: Duration = Duration::from_secs(5);
const BACK: Duration = Duration::from_secs(60);

/// A group on an engine of its own, with a session.
struct Scene {
    // Dropped in this order: the daemon before its engine.
    toolbox: Toolbox,
    session: McpClient,
    group: String,
    engine: PrivateEngine,
}

impl Scene {
    async fn on(options: &[&str]) -> Self {
        let engine = PrivateEngine::start(options);
        engine.load(&IMAGES);
        let toolbox = Toolbox::start_with(|launch| launch.docker_host = Some(engine.host()));
        let idle = groups::with(groups::idle("idle"), &json!({"network": "none"}));
        toolbox.deploy(&toolbox.group("engine", &[groups::fixture("fixture"), idle])).await;
        let session = toolbox.raw_mcp("fixture").await;
        let group = toolbox.named("engine");
        let scene = Self { toolbox, session, group, engine };
        scene.echo().await.expect("it answers");
        scene
    }

    async fn echo(&self) -> Result<(), String> {
        let call = dtma_tests::mcp::call(&json!(1), "echo", &json!({"message": "hello"}));
        let answers = self.session.try_exchange(&call).await?;
        let answer = answers.last().ok_or("no answer")?;
        if answer.get("result").is_none() {
            return Err(answer.to_string());
        }
        assert_eq!(text(answer), "Echo: hello");
        Ok(())
    }

    /// Waits until the same session is served.
    async fn answers_again(&self) {
        eventually("the session is served", BACK, || self.echo()).await;
        self.toolbox.ready(&self.group, BACK).await;
    }

    /// Id and start of every container.
    fn lives(&self) -> Vec<String> {
        let ids = self.engine.docker(&["ps", "-aq", "--no-trunc"]);
        let format = "{{.Id}} {{.State.StartedAt}} {{.State.Status}}";
        let life = |id: &str| self.engine.docker(&["inspect", "--format", format, id]);
        let mut lives: Vec<String> = ids.lines().map(life).collect();
        lives.sort();
        lives
    }

    async fn restarts(&self) -> Vec<u64> {
        groups::restarts(&self.toolbox.view(&self.group).await)
    }

    fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.toolbox.pid())).expect("the daemon runs").count()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_live_restore_a_killed_engine_costs_no_restart() {
    let mut scene = Scene::on(&["--live-restore"]).await;
    let lives = scene.lives();
    for _ in 0..2 {
        scene.engine.kill9();
        scene.toolbox.get("/healthz").await.expect(200);
        scene.engine.start_again();
        scene.answers_again().await;
        assert_eq!(scene.lives(), lives);
        assert_eq!(scene.restarts().await, [0, 0]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_live_restore_what_died_with_its_engine_is_started_again_once() {
    let mut scene = Scene::on(&[]).await;
    scene.engine.kill9();
    scene.engine.start_again();
    scene.answers_again().await;
    assert_eq!(scene.restarts().await, [1, 1]);
    let lives = scene.lives();
    assert!(lives.len() == 2 && lives.iter().all(|life| life.ends_with("running")), "{lives:?}");
    // Nothing is owed: the next seconds are quiet.
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!((scene.lives(), scene.restarts().await), (lives, vec![1, 1]));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_stands_still_restarts_nothing_and_keeps_no_caller_waiting() {
    let scene = Scene::on(&[]).await;
    let (lives, descriptors) = (scene.lives(), scene.descriptors());
    scene.engine.signal("STOP");
    let began = Instant::now();
    let asked = deploy_while_it_stands(&scene).await;
    assert_eq!(asked.code(), "engine_timeout", "{asked:?}");
    assert!(began.elapsed() < READ + Duration::from_secs(1), "an answer after {:?}", began.elapsed());
    while began.elapsed() < standstill() {
        let look = Instant::now();
        scene.toolbox.get("/mcp/status").await.expect(200);
        assert!(look.elapsed() < Duration::from_secs(3), "a look at the status took {:?}", look.elapsed());
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    scene.engine.signal("CONT");
    scene.answers_again().await;
    let late = format!("/mcp/groups/{}", scene.toolbox.named("late"));
    scene.toolbox.get(&late).await.expect(404);
    assert_eq!((scene.lives(), scene.restarts().await), (lives, vec![0, 0]));
    let flat = || async {
        let now = scene.descriptors();
        if now <= descriptors + 3 { Ok(()) } else { Err(now) }
    };
    eventually(&format!("descriptors are back at {descriptors}"), Duration::from_secs(15), flat).await;
}

/// How long the engine stands still.
fn standstill() -> Duration {
    let wanted = std::env::var("DTMA_TEST_STANDSTILL").ok();
    let seconds = wanted.map_or(10, |text| text.parse().expect("DTMA_TEST_STANDSTILL is a number"));
    Duration::from_secs(seconds)
}

async fn deploy_while_it_stands(scene: &Scene) -> Answer {
    let idle = groups::with(groups::idle("late"), &json!({"network": "none"}));
    let group = scene.toolbox.group("late", &[idle]);
    scene.toolbox.rest().post("/mcp/groups?wait=false", &group).await
}
