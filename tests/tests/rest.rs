//! MCP servers that nobody uses, with the real daemon and engine: paused, stopped, asked for lists meanwhile, found again by
//! the next daemon, woken by a call in the same session, removed.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test stops where something is broken"
)]

use dtma_tests::engine::{container_ids, inspect, remains};
use dtma_tests::{McpClient, Toolbox, eventually, groups, text};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);
const GROUP: &str = "rest";
/// How each server is found at last.
const SERVERS: [(&str, &str); 2] = [("pausing", "paused"), ("stopping", "exited")];

struct Scene {
    toolbox: Toolbox,
    group: String,
}

impl Scene {
    async fn set() -> Self {
        let toolbox = Toolbox::start();
        let idle = |name, idle: Value| groups::with(groups::fixture(name), &json!({"idle": idle}));
        let servers = [
            idle("pausing", json!({"pauseAfterSecs": 1})),
            idle("stopping", json!({"pauseAfterSecs": 1, "stopAfterSecs": 2})),
        ];
        toolbox.deploy(&toolbox.group(GROUP, &servers)).await;
        Self { group: toolbox.named(GROUP), toolbox }
    }

    /// What the engine says of each server's container: which it is, since when it runs, and what it does.
    fn lives(&self) -> BTreeMap<String, (String, String, String)> {
        let of = |(name, id): (String, String)| {
            let state = inspect(&id)["State"].clone();
            let word = |key: &str| state[key].as_str().unwrap_or_default().to_owned();
            (name, (id, word("StartedAt"), word("Status")))
        };
        container_ids(&self.group).into_iter().map(of).collect()
    }

    async fn until_all_rest(&self) -> BTreeMap<String, (String, String, String)> {
        eventually("both rest", PATIENCE, async || {
            let lives = self.lives();
            let rests =
                SERVERS.iter().all(|(name, state)| lives.get(*name).is_some_and(|life| life.2 == *state));
            let view = self.toolbox.view(&self.group).await;
            let idle = view.servers.iter().all(|server| server.phase.as_str() == "idle");
            if rests && idle { Ok(lives) } else { Err(format!("{lives:?} {}", groups::summary(&view))) }
        })
        .await
    }
}

async fn ask(client: &McpClient, method: &str) -> Value {
    let answers = client.exchange(&json!({"jsonrpc": "2.0", "id": 1, "method": method})).await;
    answers.last().expect("an answer").clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_uses_rests_answers_for_its_lists_and_is_woken_by_a_call() {
    let mut scene = Scene::set().await;
    let mut clients = Vec::new();
    for (name, _) in SERVERS {
        let client = scene.toolbox.raw_mcp(name).await;
        let echoed = client.call(&json!(1), "echo", &json!({"message": "first"})).await;
        assert_eq!(text(&echoed), "Echo: first");
        let tools = ask(&client, "tools/list").await;
        clients.push((name, client, tools));
    }
    let before = scene.until_all_rest().await;
    check_answers_from_memory(&scene, &clients, &before).await;

    // The next daemon takes both for what they are.
    scene.toolbox.kill9();
    scene.toolbox.start_again();
    assert_eq!(scene.until_all_rest().await, before);
    let client = scene.toolbox.client();
    clients = clients.into_iter().map(|(name, old, tools)| (name, old.over(&client), tools)).collect();
    check_answers_from_memory(&scene, &clients, &before).await;

    for (name, client, _) in &clients {
        let echoed = client.call(&json!(2), "echo", &json!({"message": "again"})).await;
        assert_eq!(text(&echoed), "Echo: again", "{name}");
        let (id, started, _) = scene.lives().remove(*name).expect("its container");
        assert_eq!(id, before[*name].0, "it is the same container");
        assert_eq!(
            started == before[*name].1,
            *name == "pausing",
            "and the same process, where that was paused"
        );
    }
    let view = scene.toolbox.view(&scene.group).await;
    assert_eq!(groups::restarts(&view), [0, 0], "rest is no restart");
    for point in POINTS {
        dies_at(&mut scene, point).await;
    }
    scene.until_all_rest().await;
    scene.toolbox.down(&scene.group, true).await;
    assert_eq!(remains(&scene.group, true), [] as [String; 0]);
}

/// Where the daemon is killed while it wakes a server, or puts it to rest again.
const POINTS: [&str; 4] =
    ["runtime.unpause:before", "runtime.unpause:after", "runtime.pause:before", "runtime.pause:after"];

async fn dies_at(scene: &mut Scene, point: &str) {
    scene.until_all_rest().await;
    scene.toolbox.kill9();
    scene.toolbox.start_again_with(Some(point));
    let client = scene.toolbox.raw_mcp("pausing").await;
    let echo = dtma_tests::mcp::call(&json!(1), "echo", &json!({"message": point}));
    // Whether an answer comes is of no interest: the daemon dies at the latest when nobody asks any more.
    let _answer = client.try_exchange(&echo).await;
    assert!(scene.toolbox.ended_within(PATIENCE).await.is_some(), "it does not come to {point}");
    scene.toolbox.start_again();
    let client = client.over(&scene.toolbox.client());
    let echoed = client.call(&json!(2), "echo", &json!({"message": point})).await;
    assert_eq!(text(&echoed), format!("Echo: {point}"));
    let view = scene.toolbox.view(&scene.group).await;
    assert_eq!(groups::restarts(&view), [0, 0], "{point}");
}

/// Nothing is started or let go on for it.
async fn check_answers_from_memory(
    scene: &Scene,
    clients: &[(&str, McpClient, Value)],
    lives: &BTreeMap<String, (String, String, String)>,
) {
    for (name, client, tools) in clients {
        assert_eq!(ask(client, "tools/list").await, *tools, "{name}");
        assert_eq!(ask(client, "ping").await["result"], json!({}), "{name}");
        let newcomer = scene.toolbox.raw_mcp(name).await;
        assert_eq!(ask(&newcomer, "tools/list").await, *tools, "{name}");
        newcomer.close().await.expect("closed");
    }
    assert_eq!(scene.lives(), *lives);
}
