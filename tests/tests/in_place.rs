//! A change of nothing but the environment or the command of a server that stands alone: another process in the container
//! that is there, tried with the real daemon, engine and shim.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test stops where something is broken"
)]

use dtma_client::types::ApplyView;
use dtma_client::{ChangeOptions, Error, Wait};
use dtma_tests::command_line::ends;
use dtma_tests::engine::{container_ids, environment, inspect};
use dtma_tests::{McpClient, Toolbox, eventually, groups, text};
use serde_json::{Value, json};
use std::time::Duration;

const GROUP: &str = "place";
const CHANGE: Duration = Duration::from_secs(60);
const SOON: Duration = Duration::from_secs(20);

/// A group of an MCP server and a tool that are to be alone with what they write.
struct Scene {
    toolbox: Toolbox,
    group: String,
}

impl Scene {
    async fn set() -> Self {
        let toolbox = Toolbox::start_with(|launch| launch.shims = Some(true));
        let scene = Self { group: toolbox.named(GROUP), toolbox };
        scene.toolbox.deploy(&scene.document(&json!({}), &json!({}))).await;
        scene
    }

    fn document(&self, server: &Value, tool: &Value) -> Value {
        let alone = json!({"update": {"order": "stop-first"}, "environment": {"MODE": "first"}});
        let of = |kind: Value, change: &Value| groups::with(groups::with(kind, &alone), change);
        let wait = "trap 'exit 0' TERM; test $MODE != bad || exit 3; while :; do sleep 3600 & wait; done";
        let tool_ = groups::with(groups::idle("tool"), &json!({"command": ["sh", "-c", wait]}));
        self.toolbox.group(GROUP, &[of(groups::fixture("fixture"), server), of(tool_, tool)])
    }

    async fn put(&self, document: &Value) -> Result<ApplyView, Error> {
        let options = ChangeOptions { wait: Wait::Until(CHANGE), ..ChangeOptions::default() };
        self.toolbox.client().put_group(&self.group, document, &options).await
    }

    async fn applied(&self, document: &Value) -> Vec<String> {
        let applied = self.put(document).await.unwrap_or_else(|error| panic!("{error:#?}"));
        applied.changes.iter().map(|change| format!("{} {}", change.instance, change.action)).collect()
    }

    /// The only container of a server.
    fn container(&self, instance: &str) -> String {
        let all = container_ids(&self.group);
        let ids: Vec<_> = all.into_iter().filter(|(name, _)| name == instance).map(|(_, id)| id).collect();
        assert_eq!(ids.len(), 1, "{ids:?}");
        ids.into_iter().next().expect("one")
    }

    fn mode(&self, instance: &str) -> Option<String> {
        environment(&self.container(instance)).remove("MODE")
    }

    /// Id and start of each container, as the engine knows them.
    fn lives(&self) -> Vec<(String, Value)> {
        let started = |id: &str| inspect(id)["State"]["StartedAt"].clone();
        container_ids(&self.group).into_iter().map(|(_, id)| (id.clone(), started(&id))).collect()
    }
}

async fn echo(session: &McpClient) {
    let answer = session.call(&json!(1), "echo", &json!({"message": "hello"})).await;
    assert_eq!(text(&answer), "Echo: hello");
}

fn mode(mode: &str) -> Value {
    json!({"environment": {"MODE": mode}})
}

#[tokio::test(flavor = "multi_thread")]
async fn another_environment_or_command_is_another_process_in_the_same_container() {
    let scene = Scene::set().await;
    let session = scene.toolbox.raw_mcp("fixture").await;
    echo(&session).await;
    let (lives, image) = (scene.lives(), scene.container("fixture"));
    let changes = scene.applied(&scene.document(&mode("second"), &mode("second"))).await;
    assert_eq!(changes, ["fixture restart", "tool restart"]);
    assert_eq!(scene.lives(), lives, "every container runs on");
    for instance in ["fixture", "tool"] {
        assert_eq!(scene.mode(instance).as_deref(), Some("second"), "{instance}");
    }
    echo(&session).await;
    let view = scene.toolbox.view(&scene.group).await;
    assert_eq!((groups::restarts(&view), view.generation), (vec![0, 0], 2), "an update is no restart");
    assert!(!inspect(&image)["Config"]["Env"].to_string().contains("MODE"), "the engine is not told it");
    let command = json!({"command": ["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 60 & wait; done"]});
    assert_eq!(scene.applied(&scene.document(&mode("second"), &command)).await, ["tool restart"]);
    assert_eq!((scene.lives(), scene.mode("tool").as_deref()), (lives, Some("first")));
}

#[tokio::test(flavor = "multi_thread")]
async fn other_limits_are_another_container_and_so_is_what_is_proved_beside_the_old_one() {
    let scene = Scene::set().await;
    let (fixture, tool) = (scene.container("fixture"), scene.container("tool"));
    let limits = json!({"resources": {"pids": 77}});
    let beside = json!({"environment": {"MODE": "second"}, "update": {"order": "start-first"}});
    let changes = scene.applied(&scene.document(&limits, &beside)).await;
    assert_eq!(changes, ["fixture replace", "tool replace"]);
    assert!(scene.container("fixture") != fixture && scene.container("tool") != tool);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_environment_that_is_no_good_makes_room_for_the_one_before() {
    let scene = Scene::set().await;
    let lives = scene.lives();
    let refused = scene.put(&scene.document(&mode("first"), &mode("bad"))).await;
    let error = refused.expect_err("it crashes");
    let refusal = error.refusal().unwrap_or_else(|| panic!("{error:#?}"));
    assert_eq!((refusal.status, refusal.code.as_str()), (502, "update_failed"), "{refusal:#?}");
    let view = scene.toolbox.ready(&scene.group, CHANGE).await;
    assert_eq!((scene.lives(), view.generation), (lives.clone(), 1));
    assert_eq!(scene.mode("tool").as_deref(), Some("first"));
    let missing = json!({"command": ["/no/such/program"]});
    let error = scene.put(&scene.document(&mode("first"), &missing)).await.expect_err("it is not there");
    assert!(format!("{error:?}").contains("/no/such/program"), "{error:#?}");
    scene.toolbox.ready(&scene.group, CHANGE).await;
    assert_eq!((scene.lives(), scene.mode("tool").as_deref()), (lives, Some("first")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_is_killed_meanwhile_knows_again_which_environment_is_there() {
    let mut scene = Scene::set().await;
    let lives = scene.lives();
    for (number, after) in [0, 5, 15, 40, 100, 300].into_iter().enumerate() {
        let wanted = format!("number{number}");
        let document = scene.document(&mode(&wanted), &mode(&wanted));
        let rest = scene.toolbox.rest();
        let path = format!("/mcp/groups/{}", scene.group);
        let asking = tokio::spawn(async move {
            // The daemon may die before it answers.
            let _ = rest.try_send(http::Method::PUT, &path, document.to_string()).await;
        });
        tokio::time::sleep(Duration::from_millis(after)).await;
        scene.toolbox.kill9();
        asking.await.expect("the question was asked");
        scene.toolbox.start_again();
        scene.toolbox.ready(&scene.group, SOON).await;
        // Killed early enough, it never heard of it.
        scene.applied(&scene.document(&mode(&wanted), &mode(&wanted))).await;
        for instance in ["fixture", "tool"] {
            assert_eq!(scene.mode(instance), Some(wanted.clone()), "{instance} after {after} ms");
        }
        assert_eq!(scene.lives(), lives, "every container runs on, killed after {after} ms");
    }
    echo(&scene.toolbox.raw_mcp("fixture").await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_was_stopped_is_begun_with_what_it_was_last_given() {
    let mut scene = Scene::set().await;
    scene.applied(&scene.document(&mode("second"), &mode("second"))).await;
    let tool = scene.container("tool");
    scene.toolbox.kill9();
    dtma_tests::engine::docker(&["stop", "-t", "5", &tool]);
    scene.toolbox.start_again();
    let back = || async {
        let view = scene.toolbox.view(&scene.group).await;
        let ready = scene.mode("tool").as_deref() == Some("second");
        if ready { Ok(()) } else { Err(groups::summary(&view)) }
    };
    eventually("it runs again", SOON, back).await;
    assert_eq!(scene.container("tool"), tool);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_says_what_is_restarted_and_what_is_replaced() {
    let scene = Scene::set().await;
    let document = scene.document(&mode("second"), &json!({"resources": {"pids": 77}}));
    std::fs::write(scene.toolbox.dir().join("group.json"), document.to_string()).expect("a file");
    let plan = ends(&scene.toolbox, &["plan", "-f", "group.json"], 1).await.stdout;
    for words in ["~ fixture (restart in place)", "~ tool (replace)", "1 to replace, 1 to restart in place"] {
        assert!(plan.contains(words), "{words:?} is missing in:\n{plan}");
    }
}
