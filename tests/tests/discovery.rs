//! What real servers offer is told without asking them, and tools that change behind somebody's back are shown, kept
//! from clients, and approved.
#![allow(clippy::expect_used, clippy::panic, reason = "a test stops where something is broken")]

use dtma_client::types::{ApproveRequest, ContractView, DiscoveredView};
use dtma_client::{ChangeOptions, DiscoveryQuery};
use dtma_tests::command_line::{ends, json_of};
use dtma_tests::engine::{container_ids, docker};
use dtma_tests::{McpClient, Toolbox, eventually, groups, text};
use serde_json::{Value, json};
use std::time::Duration;

const DRIFTING: &str = include_str!("../fixtures/drifting.py");
const PATH: &str = "/mcp-servers/discovery";
const PATIENCE: Duration = Duration::from_secs(60);

/// A server whose tools change when it is told so.
fn drifting(name: &str, pinning: &str, version: &str) -> Value {
    let command = json!(["/usr/bin/python3", "-c", DRIFTING]);
    let fields = json!({"command": command, "pinning": pinning, "environment": {"VERSION": version}});
    groups::with(groups::fixture(name), &fields)
}

async fn told(toolbox: &Toolbox, instance: &str) -> Option<DiscoveredView> {
    let query = DiscoveryQuery { instance: Some(instance.to_owned()), ..DiscoveryQuery::default() };
    let view = toolbox.client().get_mcp_servers_discovery(&query).await;
    view.unwrap_or_else(|error| panic!("{error:#?}")).servers.pop()
}

/// Waits until a server is told of so.
async fn until(
    toolbox: &Toolbox,
    instance: &str,
    wanted: impl Fn(&DiscoveredView) -> bool,
) -> DiscoveredView {
    let look = || async {
        let view = told(toolbox, instance).await.ok_or("nothing")?;
        if wanted(&view) { Ok(view) } else { Err("something else") }
    };
    eventually(&format!("{instance} is known so"), PATIENCE, look).await
}

async fn fresh(toolbox: &Toolbox, instance: &str) -> DiscoveredView {
    until(toolbox, instance, |view| !view.stale).await
}

async fn contract(toolbox: &Toolbox, instance: &str) -> ContractView {
    let view = toolbox.client().get_mcp_server_contract(instance).await;
    view.unwrap_or_else(|error| panic!("{error:#?}"))
}

async fn become_another(client: &McpClient) {
    assert_eq!(
        text(&client.call(&json!(1), "become", &json!({"version": "2"})).await),
        "become of version 2"
    );
}

async fn tool_names(client: &McpClient) -> Vec<String> {
    let (mut names, mut params) = (Vec::new(), json!({}));
    loop {
        let ask = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": params});
        let answer = client.exchange(&ask).await.pop().expect("an answer");
        let tools = answer["result"]["tools"].as_array().expect("tools");
        names.extend(tools.iter().filter_map(|tool| Some(tool["name"].as_str()?.to_owned())));
        match &answer["result"]["nextCursor"] {
            Value::Null => return names,
            cursor => params = json!({"cursor": cursor}),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn real_servers_are_told_of_in_their_own_words_and_chosen_by_what_they_offer() {
    let toolbox = Toolbox::start();
    let servers = [groups::everything("everything"), groups::time("time"), groups::memory("memory")];
    let group = toolbox.named("offering");
    toolbox.deploy(&toolbox.group("offering", &servers)).await;
    for name in ["everything", "time", "memory"] {
        fresh(&toolbox, name).await;
    }
    let named = async |query: &str| {
        let view = toolbox.get(&format!("{PATH}{query}")).await.expect(200).json;
        let servers = view["data"]["servers"].as_array().expect("servers").clone();
        servers
            .iter()
            .filter_map(|server| Some(server["instanceName"].as_str()?.to_owned()))
            .collect::<Vec<_>>()
    };
    assert_eq!(named("?tool=get_current_time").await, ["time"]);
    assert_eq!(named("?capability=logging").await, ["everything"]);
    assert_eq!(named(&format!("?group={group}&capability=tools")).await, ["everything", "memory", "time"]);
    assert_eq!(named("?group=another").await, Vec::<String>::new());

    let time = told(&toolbox, "time").await.expect("time");
    assert_eq!((time.transport_type.as_str(), time.health_status.as_str()), ("stdio", "healthy"));
    assert!(time.image_id.is_some_and(|id| id.starts_with("sha256:")));
    let ask = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"});
    let answer = toolbox.raw_mcp("time").await.exchange(&ask).await.pop().expect("an answer");
    let tools: Vec<Value> =
        time.tools.iter().map(|raw| serde_json::from_str(raw.get()).expect("a tool")).collect();
    assert_eq!(answer["result"]["tools"], json!(tools), "as an agent sees them");
    let everything = told(&toolbox, "everything").await.expect("everything");
    assert!(!everything.prompts.is_empty() && !everything.resources.is_empty());
    assert!(!everything.resource_templates.is_empty() && everything.instructions.is_some());

    let listed = ends(&toolbox, &["mcp", "ls"], 0).await.stdout;
    assert!(listed.lines().any(|line| line.starts_with("everything  stdio")), "{listed}");
    let inspected = ends(&toolbox, &["mcp", "inspect", "time"], 0).await.stdout;
    for word in ["get_current_time", "timezone (string, required)", "pinning warn"] {
        assert!(inspected.contains(word), "{word}: {inspected}");
    }
    let raw = json_of(&toolbox, &["mcp", "inspect", "memory", "-o", "json"]).await;
    assert!(raw["tools"].as_array().is_some_and(|tools| tools.len() > 3), "{raw}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_begins_anew_tells_at_once_what_was_known_and_later_what_is() {
    let mut toolbox = Toolbox::start();
    let group = toolbox.named("remembered");
    toolbox.deploy(&toolbox.group("remembered", &[groups::time("time")])).await;
    let before = fresh(&toolbox, "time").await;
    // It is told before it is kept: a kill in the same moment would take it along.
    tokio::time::sleep(Duration::from_secs(1)).await;
    toolbox.kill9();
    let (_, container) = container_ids(&group).pop().expect("a container");
    // It cannot answer the new daemon until it is let go on.
    docker(&["pause", &container]);
    toolbox.start_again();
    let at_once = told(&toolbox, "time").await.expect("time");
    assert!(at_once.stale);
    assert_eq!(at_once.discovered_at, before.discovered_at);
    let raw = |view: &DiscoveredView| view.tools.iter().map(|tool| tool.get().to_owned()).collect::<Vec<_>>();
    assert_eq!(raw(&at_once), raw(&before));
    docker(&["unpause", &container]);
    let after = fresh(&toolbox, "time").await;
    assert_eq!(raw(&after), raw(&before));
    assert_eq!(container_ids(&group).pop().expect("a container").1, container, "it was not replaced");
    ends(&toolbox, &["stop", "time"], 0).await;
    let stopped = until(&toolbox, "time", |view| view.stale).await;
    assert_eq!((raw(&stopped), stopped.health_status.as_str()), (raw(&before), "unhealthy"));
}

#[tokio::test(flavor = "multi_thread")]
async fn tools_that_change_are_shown_with_every_difference_until_they_are_approved() {
    let toolbox = Toolbox::start();
    toolbox.deploy(&toolbox.group("drifting", &[drifting("shady", "warn", "1")])).await;
    let known = fresh(&toolbox, "shady").await;
    assert_eq!((known.tools.len(), known.prompts.len()), (3, 1), "a page for each tool");
    assert_eq!(contract(&toolbox, "shady").await.approved.expect("the first").by, "first-discovery");
    let client = toolbox.raw_mcp("shady").await;
    become_another(&client).await;
    until(&toolbox, "shady", |view| view.contract_drift == 3 && view.tools[1].get().contains("else")).await;
    let shown = ends(&toolbox, &["mcp", "inspect", "shady", "--contract"], 0).await.stdout;
    for line in [
        "3 tool(s) are not as approved:",
        r#"+ tool "new" is new"#,
        r#"- tool "old" is gone"#,
        r#"~ tool "say" is another"#,
        r#"    /annotations: gone, was {"readOnlyHint":true}"#,
        r#"    /description: "Says it." -> "Says it to somebody else.""#,
        r#"    /inputSchema/properties/to: new, {"type":"string"}"#,
    ] {
        assert!(shown.lines().any(|shown| shown == line), "{line}\n{shown}");
    }
    let warned = || async {
        let server = toolbox.server(&toolbox.named("drifting"), "shady").await;
        server.contract.ok_or("no warning")
    };
    let warning = eventually("its status warns", PATIENCE, warned).await;
    assert_eq!(warning, r#"tools are not as approved: "new" added, "old" removed, "say" changed"#);
    assert_eq!(tool_names(&client).await, ["become", "say", "new"], "a warning keeps nothing from anybody");

    ends(&toolbox, &["mcp", "approve", "shady", "--tool", "say"], 0).await;
    let left: Vec<String> =
        contract(&toolbox, "shady").await.drift.into_iter().map(|drift| drift.tool).collect();
    assert_eq!(left, ["new", "old"]);
    let approved = ends(&toolbox, &["mcp", "approve", "shady"], 0).await;
    assert!(
        approved.stderr.contains(r#"+ tool "new" is new"#),
        "what was approved is told: {}",
        approved.stderr
    );
    assert!(approved.stdout.ends_with("its tools are as approved\n"), "{}", approved.stdout);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_as_approved_is_neither_listed_nor_called_until_it_is_approved() {
    let mut toolbox = Toolbox::start();
    toolbox.deploy(&toolbox.group("kept", &[drifting("shady", "quarantine", "1")])).await;
    fresh(&toolbox, "shady").await;
    let client = toolbox.raw_mcp("shady").await;
    assert_eq!(tool_names(&client).await, ["become", "say", "old"]);
    become_another(&client).await;
    until(&toolbox, "shady", |view| view.contract_drift == 3).await;
    assert_eq!(tool_names(&client).await, ["become"]);
    let refused = client.call(&json!("x"), "say", &json!({"text": "hi"})).await;
    assert_eq!((&refused["id"], &refused["error"]["code"]), (&json!("x"), &json!(-32602)));
    let why = refused["error"]["message"].as_str().expect("a message");
    assert!(why.contains("quarantine") && why.contains("dtma mcp approve shady"), "{why}");

    toolbox.kill9();
    toolbox.start_again();
    toolbox.ready(&toolbox.named("kept"), PATIENCE).await;
    let client = client.over(&toolbox.client());
    assert_eq!(
        client.call(&json!(2), "new", &json!({})).await["error"]["code"],
        -32602,
        "nor by the next daemon"
    );
    let hash = until(&toolbox, "shady", |view| !view.stale && view.tools[1].get().contains("else")).await;
    assert_eq!(hash.tools.len(), 3);
    let request =
        ApproveRequest { tool: Some("say".into()), hash: contract(&toolbox, "shady").await.offered_hash };
    let approved = toolbox.client().approve_mcp_server_contract("shady", &request).await;
    approved.unwrap_or_else(|error| panic!("{error:#?}"));
    assert_eq!(tool_names(&client).await, ["become", "say"]);
    assert_eq!(text(&client.call(&json!(3), "say", &json!({"text": "hi"})).await), "say of version 2");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_that_breaks_tools_says_so_before_it_ends_and_is_foreseen_the_second_time() {
    let toolbox = Toolbox::start();
    let version = |version: &str| toolbox.group("updated", &[drifting("shady", "warn", version)]);
    let group = toolbox.named("updated");
    toolbox.deploy(&version("1")).await;
    fresh(&toolbox, "shady").await;
    let put = async |document: &Value| {
        let changed = toolbox.client().put_group(&group, document, &ChangeOptions::default()).await;
        changed.unwrap_or_else(|error| panic!("{error:#?}")).group
    };
    let updated = put(&version("2")).await;
    let warning = groups::server(&updated, "shady").contract.clone();
    assert_eq!(
        warning.as_deref(),
        Some(r#"tools are not as approved: "new" added, "old" removed, "say" changed"#)
    );
    until(&toolbox, "shady", |view| view.generation == Some(2) && !view.stale).await;
    ends(&toolbox, &["mcp", "approve", "shady"], 0).await;
    let path = toolbox.dir().join("back.json");
    std::fs::write(&path, version("1").to_string()).expect("a file");
    let plan = ends(&toolbox, &["plan", "-f", path.to_str().expect("text")], 1).await;
    let said = format!("{}{}", plan.stdout, plan.stderr);
    assert!(
        said.contains(r#"tools were not as approved: "new" removed, "old" added, "say" changed"#),
        "{said}"
    );
}
