//! What MCP servers offer, as callers ask for it, and their contracts.

use crate::house::{House, one_tool};
use crate::wire::Answer;
use dtma_client::types::{ApproveRequest, DiscoveredView, DriftKind, Pinning};
use dtma_client::{DiscoveryQuery, Mutation};
use serde_json::{Value, json};
use std::time::Duration;

const PATH: &str = "/mcp-servers/discovery";

async fn deployed() -> House {
    let house = House::new().await;
    let group = |name: &str, servers: Value| json!({"groupId": name, "servers": servers});
    let one = group(
        "one",
        json!([{"instanceName": "a", "image": "mcp"}, {"instanceName": "q", "image": "mcp", "pinning": "quarantine"}]),
    );
    let two = group("two", json!([{"instanceName": "b", "image": "mcp", "pinning": "off"}]));
    for group in [one, two, one_tool("three")] {
        house.client("deploy").deploy_group(&group, &Mutation::default()).await.unwrap();
    }
    until(&house, |servers| servers.iter().all(|server| !server.stale)).await;
    house
}

async fn until(house: &House, wanted: impl Fn(&[DiscoveredView]) -> bool) -> Vec<DiscoveredView> {
    for _ in 0..1000 {
        let view = house.client("read").get_mcp_servers_discovery(&DiscoveryQuery::default()).await.unwrap();
        if wanted(&view.servers) {
            return view.servers;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the servers never came to this");
}

async fn names(house: &House, query: &str) -> Vec<String> {
    let answer = house.ask("GET", &format!("{PATH}{query}"), None).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let body: Value = serde_json::from_str(&answer.body).unwrap();
    let servers = body["data"]["servers"].as_array().unwrap();
    assert_eq!(body["data"]["total"], servers.len());
    servers.iter().map(|server| server["instanceName"].as_str().unwrap().to_owned()).collect()
}

async fn conditional(house: &House, tag: &str) -> Answer {
    let headers = [("Authorization", "Bearer read"), ("If-None-Match", tag)];
    house.send("GET", PATH, &headers, "").await
}

#[tokio::test]
async fn every_mcp_server_is_told_of_in_the_words_of_the_original_and_its_own() {
    let house = deployed().await;
    let servers = until(&house, |_| true).await;
    let a = &servers[0];
    assert_eq!((a.instance_id.as_str(), a.instance_name.as_str(), a.group_id.as_str()), ("a", "a", "one"));
    assert_eq!((a.transport_type.as_str(), a.endpoint_url.as_str()), ("stdio", "/gateway/servers/a/mcp"));
    assert_eq!((a.health_status.as_str(), a.phase.as_str()), ("healthy", "ready"));
    assert_eq!(a.capabilities.as_ref().unwrap().get(), r#"{"logging":{},"tools":{"listChanged":true}}"#);
    assert_eq!(a.protocol_version.as_deref(), Some("2025-11-25"));
    assert!(a.tools[0].get().starts_with(r#"{"description":"Says the message back","#), "{}", a.tools[0]);
    assert!(a.discovered_at.is_some() && a.age_seconds.is_some() && a.image_id.is_some());
    assert_eq!((a.pinning, servers[1].pinning), (Pinning::Warn, Pinning::Off));
}

#[tokio::test]
async fn servers_are_chosen_by_group_tool_capability_and_name() {
    let house = deployed().await;
    for (query, wanted) in [
        ("", &["a", "b", "q"][..]),
        ("?group=one", &["a", "q"]),
        ("?instance=b", &["b"]),
        ("?tool=echo&group=two", &["b"]),
        ("?tool=nothing", &[]),
        ("?capability=logging", &["a", "b", "q"]),
        ("?capability=prompts", &[]),
        ("?instance=web", &[]),
    ] {
        assert_eq!(names(&house, query).await, wanted, "{query}");
    }
    assert_eq!(house.ask("GET", &format!("{PATH}?tol=echo"), None).await.status, 400);
    let gateway = [("Authorization", "Bearer gateway")];
    assert_eq!(house.send("GET", PATH, &gateway, "").await.status, 403);
    assert_eq!(house.send("GET", PATH, &[], "").await.status, 401);
}

#[tokio::test]
async fn an_answer_is_the_same_until_something_changes() {
    let house = deployed().await;
    let first = house.ask("GET", PATH, None).await;
    let tag = first.header("etag").unwrap().to_owned();
    let again = conditional(&house, &tag).await;
    assert_eq!((again.status, again.body.as_str(), again.header("etag")), (304, "", Some(tag.as_str())));
    assert_eq!(conditional(&house, "\"other\"").await.status, 200);
    let filtered = house.ask("GET", &format!("{PATH}?group=two"), None).await;
    assert_ne!(filtered.header("etag"), Some(tag.as_str()));
    house.mcp.offer(&[json!({"name": "other"})]);
    until(&house, |servers| servers.iter().any(|server| server.contract_drift > 0)).await;
    assert_eq!(conditional(&house, &tag).await.status, 200);
    house.ask("POST", "/mcp/servers/a/stop", None).await;
    let servers = until(&house, |servers| servers[0].stale).await;
    assert_eq!((servers[0].health_status.as_str(), servers[0].tools.len()), ("unhealthy", 1));
}

#[tokio::test]
async fn a_contract_is_shown_with_what_differs_and_approved() {
    let house = deployed().await;
    let reader = house.client("read");
    let before = reader.get_mcp_server_contract("q").await.unwrap();
    assert_eq!(before.approved.as_ref().unwrap().by, "first-discovery");
    assert_eq!((before.drift.len(), before.offered_hash.clone()), (0, Some(before.approved.unwrap().hash)));
    house.mcp.offer(&[json!({"name": "echo", "description": "another"}), json!({"name": "extra"})]);
    let known = |servers: &[DiscoveredView]| servers.iter().all(|server| server.tools.len() == 2);
    until(&house, known).await;
    let differs = reader.get_mcp_server_contract("q").await.unwrap();
    let told: Vec<_> = differs.drift.iter().map(|d| (d.tool.as_str(), d.change, d.quarantined)).collect();
    assert_eq!(told, [("echo", DriftKind::Changed, true), ("extra", DriftKind::Added, true)]);
    assert_eq!(differs.drift[0].fields[0].path, "/description");
    let status = reader.get_group("one").await.unwrap();
    assert!(status.servers[0].contract.as_ref().unwrap().contains("\"echo\" changed"));

    let deployer = house.client("deploy");
    let hash = Some("old".to_owned());
    let refused = deployer.approve_mcp_server_contract("q", &ApproveRequest { tool: None, hash }).await;
    assert!(refused.unwrap_err().to_string().contains("offers something else by now"));
    let one = ApproveRequest { tool: Some("extra".into()), hash: differs.offered_hash };
    let left = deployer.approve_mcp_server_contract("q", &one).await.unwrap();
    assert_eq!((left.drift.len(), left.approved.unwrap().by.as_str()), (1, "deploy"));
    let approve = "/mcp-servers/q/contract/approve";
    let answer = house.ask("POST", approve, Some(&json!({}))).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(reader.get_mcp_server_contract("q").await.unwrap().drift.is_empty());
}

#[tokio::test]
async fn what_cannot_be_approved_is_refused_with_its_reason() {
    let house = deployed().await;
    let code = async |path: &str, body: Value| {
        let answer = house.ask("POST", path, Some(&body)).await;
        let body: Value = serde_json::from_str(&answer.body).unwrap();
        (answer.status, body["code"].as_str().unwrap_or_default().to_owned())
    };
    let path = |name: &str| format!("/mcp-servers/{name}/contract/approve");
    for (name, body, status, wanted) in [
        ("nobody", json!({}), 404, "no_such_server"),
        ("web", json!({}), 404, "not_an_mcp_server"),
        ("a", json!({"tool": "nothing"}), 404, "no_such_tool"),
        ("a", json!({"tools": []}), 400, "invalid_request"),
        ("a", json!({"hash": "x"}), 412, "offer_changed"),
    ] {
        assert_eq!(code(&path(name), body).await, (status, wanted.to_owned()), "{name}");
    }
    let read = [("Authorization", "Bearer read"), ("Content-Type", "application/json")];
    assert_eq!(house.send("POST", &path("a"), &read, "{}").await.status, 403);
    assert_eq!(house.ask("GET", "/mcp-servers/web/contract", None).await.status, 404);
}

/// However often it is asked, as long as nothing changes it is the same list.
#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_servers_are_told_of_from_memory() {
    let house = House::new().await;
    let tool = |number: usize| {
        let about = "What it does, in as many words as tools need. ".repeat(10);
        json!({"name": format!("tool-{number}"), "description": about, "inputSchema": {"type": "object"}})
    };
    house.mcp.offer(&(0..10).map(tool).collect::<Vec<_>>());
    for group in 0..5 {
        let server = |number: usize| json!({"instanceName": format!("s{group}-{number}"), "image": "mcp"});
        let servers: Vec<Value> = (0..20).map(server).collect();
        let group = json!({"groupId": format!("g{group}"), "servers": servers});
        house.client("deploy").deploy_group(&group, &Mutation::default()).await.unwrap();
    }
    let servers = until(&house, |servers| servers.iter().all(|server| !server.stale)).await;
    assert_eq!(servers.iter().map(|server| server.tools.len()).sum::<usize>(), 1000);
    let first = house.ask("GET", PATH, None).await;
    assert!(first.body.len() > 500_000 && first.header("etag").is_some(), "{}", first.body.len());
    for _ in 0..10 {
        let answer = house.ask("GET", PATH, None).await;
        assert_eq!(answer.header("etag"), first.header("etag"), "nothing changed");
    }
}
