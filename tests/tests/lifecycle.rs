//! The life of a group of real MCP servers: deployed, wounded, adopted, taken down. What is true is asked of the
//! engine.
#![allow(clippy::expect_used, reason = "a test stops where something is broken")]

use dtma_client::mcp::McpSession;
use dtma_client::types::{PhaseWord, ServerView};
use dtma_client::{Mutation, Wait};
use dtma_tests::engine::{
    container_ids, containers, docker, inspect, networks, remains, server_process, volumes,
};
use dtma_tests::{Toolbox, eventually, groups, shims, text};
use serde_json::{Value, json};
use std::time::Duration;

/// How long a server may take to be back after it died.
const BACK: Duration = Duration::from_secs(30);
/// How long a daemon may take to have everything in hand again.
const ADOPTED: Duration = Duration::from_secs(10);

/// Four MCP servers and a tool; the tool waits for one of them.
fn household(toolbox: &Toolbox) -> Value {
    toolbox.group(
        "home",
        &[
            groups::everything("everything"),
            groups::memory("memory"),
            groups::filesystem("files"),
            groups::time("time"),
            groups::after(groups::web("web"), &[("memory", "healthy"), ("time", "started")]),
        ],
    )
}

async fn echo(session: &McpSession, message: &str) -> Result<String, dtma_client::Error> {
    let result = session.call_tool("echo", &json!({"message": message})).await?;
    Ok(text(&result).to_owned())
}

fn running(id: &str) -> bool {
    inspect(id)["State"]["Running"] == true
}

fn id_of(group: &str, instance: &str) -> String {
    let ids = container_ids(group);
    let found = ids.iter().find(|(name, _)| name == instance);
    found.expect("that server has a container").1.clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployed_group_stands_as_it_was_wanted() {
    let toolbox = Toolbox::start();
    let view = toolbox.deploy(&household(&toolbox)).await;
    let group = toolbox.named("home");

    let ids = container_ids(&group);
    let names: Vec<&str> = ids.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["everything", "files", "memory", "time", "web"]);
    for (name, id) in &ids {
        assert!(running(id), "{name}");
        let container = groups::server(&view, name).container.as_ref().expect("a container");
        assert_eq!(&container.id, id, "what the daemon says is what the engine says");
        assert_eq!(groups::server(&view, name).restarts, 0);
    }
    assert_eq!(networks(&group).len(), usize::from(!shims()), "a tool without a shim is reached over one");
    assert_eq!(volumes(&group).len(), 2);
    let status = toolbox.client().get_status().await.expect("the status");
    assert_eq!(
        (status.groups_total.ready, status.servers_total.ready, status.servers_total.total),
        (1, 5, 5)
    );
    assert!(status.engine.reachable);
    let everything = groups::server(&view, "everything").mcp.as_ref().expect("it told of itself");
    assert!(everything.tools.iter().any(|tool| tool.name == "echo"));
    assert_eq!(everything.endpoint, "/gateway/servers/everything/mcp");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dependant_starts_after_what_it_depends_on() {
    let toolbox = Toolbox::start();
    toolbox.deploy(&household(&toolbox)).await;
    let started = |instance: &str| {
        let container = inspect(&id_of(&toolbox.named("home"), instance));
        container["State"]["StartedAt"].as_str().expect("a time").to_owned()
    };
    // RFC 3339 in UTC with nanoseconds: the order of the text is the order of time.
    assert!(started("web") > started("memory"), "web {} memory {}", started("web"), started("memory"));
    assert!(started("web") > started("time"), "web {} time {}", started("web"), started("time"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_group_again_changes_nothing_and_another_under_its_name_is_refused() {
    let toolbox = Toolbox::start();
    let group = toolbox.group("same", &[groups::idle("idle")]);
    toolbox.deploy(&group).await;
    let before = container_ids(&toolbox.named("same"));
    toolbox.rest().post("/mcp/groups", &group).await.expect(200);
    assert_eq!(container_ids(&toolbox.named("same")), before);

    let other = toolbox.group("same", &[groups::idle("other")]);
    let answer = toolbox.rest().post("/mcp/groups", &other).await.expect(409);
    assert_eq!(answer.code(), "group_changed");
    assert!(answer.json["message"].as_str().is_some_and(|text| text.contains("down")), "{}", answer.text);
    assert_eq!(container_ids(&toolbox.named("same")), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_server_comes_back_and_its_session_goes_on() {
    let toolbox = Toolbox::start();
    let group = toolbox.named("home");
    toolbox.deploy(&household(&toolbox)).await;
    let session = toolbox.mcp("everything").await;
    assert_eq!(echo(&session, "before").await.expect("an echo"), "Echo: before");

    let id = id_of(&group, "everything");
    let pid = inspect(&id)["State"]["Pid"].clone();
    docker(&["kill", &id]);
    eventually("everything runs in a new process", BACK, || async {
        let state = inspect(&id_of(&group, "everything"))["State"].clone();
        if state["Running"] == true && state["Pid"] != pid { Ok(()) } else { Err(state) }
    })
    .await;
    let view = toolbox.ready(&group, BACK).await;
    assert_eq!(groups::server(&view, "everything").restarts, 1, "{}", groups::summary(&view));
    assert!(
        view.servers.iter().filter(|server| server.instance_name != "everything").all(|s| s.restarts == 0)
    );
    assert_eq!(echo(&session, "after").await.expect("an echo in the same session"), "Echo: after");

    let web = id_of(&group, "web");
    docker(&["kill", &web]);
    toolbox_back(&toolbox, &group, "web").await;
    assert!(running(&id_of(&group, "web")));
}

async fn toolbox_back(toolbox: &Toolbox, group: &str, instance: &str) {
    eventually("it was started again", BACK, || async {
        let server = toolbox.server(group, instance).await;
        if server.restarts == 1 && server.phase.as_str() == "ready" { Ok(()) } else { Err(server) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_daemon_adopts_everything_and_sessions_outlive_it() {
    let mut toolbox = Toolbox::start();
    let group = toolbox.named("home");
    let deployed = toolbox.deploy(&household(&toolbox)).await;
    let session = toolbox.mcp("everything").await;
    assert_eq!(echo(&session, "before").await.expect("an echo"), "Echo: before");
    let before = container_ids(&group);
    let processes: Vec<Value> = containers(&group).iter().map(|c| c["State"]["Pid"].clone()).collect();

    toolbox.kill9();
    assert!(before.iter().all(|(_, id)| running(id)), "the containers do not depend on the daemon");
    toolbox.start_again();

    let view = toolbox.ready(&group, ADOPTED).await;
    assert_eq!(container_ids(&group), before);
    let now: Vec<Value> = containers(&group).iter().map(|c| c["State"]["Pid"].clone()).collect();
    assert_eq!(now, processes, "not even a process was started anew");
    assert_eq!(groups::restarts(&view), groups::restarts(&deployed));
    assert_eq!(echo(&session, "after").await.expect("an echo in the same session"), "Echo: after");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_died_while_the_daemon_was_dead_is_started_again() {
    let mut toolbox = Toolbox::start();
    let group = toolbox.named("home");
    toolbox.deploy(&toolbox.group("home", &[groups::everything("everything"), groups::idle("idle")])).await;
    let session = toolbox.mcp("everything").await;
    toolbox.kill9();
    docker(&["kill", &id_of(&group, "everything")]);
    docker(&["rm", "--force", &id_of(&group, "idle")]);
    toolbox.start_again();

    let view = toolbox.ready(&group, BACK).await;
    assert_eq!(groups::server(&view, "everything").restarts, 1, "{}", groups::summary(&view));
    assert!(running(&id_of(&group, "everything")) && running(&id_of(&group, "idle")));
    assert_eq!(echo(&session, "again").await.expect("an echo in the same session"), "Echo: again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminated_daemon_leaves_its_containers_running() {
    let mut toolbox = Toolbox::start();
    let group = toolbox.named("home");
    toolbox.deploy(&toolbox.group("home", &[groups::time("time"), groups::idle("idle")])).await;
    let before = container_ids(&group);
    let status = toolbox.terminate().await;
    assert!(status.success(), "{status}");
    assert!(before.iter().all(|(_, id)| running(id)));
    toolbox.start_again();
    toolbox.ready(&group, ADOPTED).await;
    assert_eq!(container_ids(&group), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn down_leaves_nothing_but_volumes_and_those_only_until_asked() {
    let toolbox = Toolbox::start();
    let group = toolbox.named("home");
    toolbox.deploy(&household(&toolbox)).await;
    remember(&toolbox.mcp("memory").await, "Ada").await;

    toolbox.down(&group, false).await;
    assert_eq!(remains(&group, false), Vec::<String>::new());
    assert_eq!(volumes(&group).len(), 2, "data outlives its group");
    toolbox.get(&format!("/mcp/groups/{group}")).await.expect(404);

    toolbox.deploy(&household(&toolbox)).await;
    let graph = toolbox.mcp("memory").await.call_tool("read_graph", &json!({})).await.expect("the graph");
    assert!(text(&graph).contains("Ada"), "{graph}");

    toolbox.down(&group, true).await;
    assert_eq!(remains(&group, true), Vec::<String>::new());
}

async fn remember(memory: &McpSession, name: &str) {
    let entity = json!({"name": name, "entityType": "person", "observations": ["wrote the first program"]});
    let made = memory.call_tool("create_entities", &json!({"entities": [entity]})).await.expect("a reply");
    assert_ne!(made["isError"], true, "{made}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_stops_starts_and_restarts_a_server() {
    let toolbox = Toolbox::start();
    let group = toolbox.named("home");
    toolbox.deploy(&toolbox.group("home", &[groups::time("time"), groups::idle("idle")])).await;
    let id = id_of(&group, "idle");
    let (client, at_once) = (toolbox.client(), Mutation::default());

    let stopped = client.stop_server("idle", &at_once).await.expect("stopped");
    assert_eq!(stopped.server.phase.as_str(), "stopped");
    assert!(!running(&id));
    let started = client.start_server("idle", &at_once).await.expect("started");
    assert_eq!(started.server.phase.as_str(), "ready");
    assert!(running(&id_of(&group, "idle")));

    let pid = server_process(&id_of(&group, "time"));
    let restarted = client.restart_server("time", &at_once).await.expect("restarted");
    assert_eq!(restarted.server.phase.as_str(), "ready");
    assert_ne!(server_process(&id_of(&group, "time")), pid);
    assert!(restarted.server.restarts >= 1);
}

/// Processes that end within milliseconds: every look at them races with their end, and the last word must win.
#[tokio::test(flavor = "multi_thread")]
async fn tools_that_die_at_once_fail_or_complete_and_are_never_called_ready() {
    let toolbox = Toolbox::start();
    let ending = |name: &str, code: u8| {
        let ends = json!({"command": ["sh", "-c", format!("exit {code}")], "restart": {"attempts": 0}});
        groups::with(groups::idle(name), &ends)
    };
    let mut servers: Vec<Value> = (0..8).map(|n| ending(&format!("dying-{n}"), 3)).collect();
    servers.extend((0..8).map(|n| ending(&format!("once-{n}"), 0)));
    let awaited: Vec<String> = (0..8).map(|n| format!("once-{n}")).collect();
    let awaited: Vec<_> = awaited.iter().map(|name| (name.as_str(), "completed")).collect();
    servers.push(groups::after(groups::idle("last"), &awaited));
    let wait = Mutation { wait: Wait::No, ..Mutation::default() };
    toolbox.client().deploy_group(&toolbox.group("brief", &servers), &wait).await.expect("it is accepted");

    let expected = |name: &str| match name.split('-').next() {
        Some("dying") => PhaseWord::Failed,
        Some("once") => PhaseWord::Completed,
        _ => PhaseWord::Ready,
    };
    let group = toolbox.named("brief");
    eventually("every server ends as it must", BACK, || async {
        let view = toolbox.view(&group).await;
        let early = |server: &ServerView| server.phase != expected(&server.instance_name);
        if view.servers.iter().any(early) { Err(groups::summary(&view)) } else { Ok(()) }
    })
    .await;
    assert_eq!(groups::restarts(&toolbox.view(&group).await), [0; 17]);
}
