//! A container for each session: nobody sees what another one's process knows, whatever it asks is asked of its own
//! client, and nothing of it is left when the session is over.
#![allow(clippy::expect_used, clippy::panic, reason = "a test stops where something is broken")]

use dtma_client::ChangeOptions;
use dtma_client::mcp::Target;
use dtma_client::types::PlaceRole;
use dtma_tests::engine::{container_ids, docker, remains};
use dtma_tests::mcp::call;
use dtma_tests::{McpClient, Toolbox, WsClient, eventually, groups, text};
use serde_json::{Value, json};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(60);
const PERSONAL: &str = include_str!("../fixtures/personal.py");

fn personal(name: &str, fields: &Value) -> Value {
    let command = json!(["/usr/bin/python3", "-c", PERSONAL]);
    groups::with(groups::with(groups::fixture(name), &json!({"command": command})), fields)
}

/// `diary` has a replica beside its sessions, `lonely` nothing but those.
fn servers(version: &str) -> [Value; 2] {
    let session = json!({"mode": "per-session", "max": 3, "idleTimeoutSecs": 600});
    let environment = json!({"VERSION": version});
    let diary = json!({"session": session, "environment": environment, "update": {"drainMs": 500}});
    [personal("diary", &diary), personal("lonely", &json!({"session": "per-session", "replicas": 0}))]
}

struct House {
    toolbox: Toolbox,
    group: String,
}

impl House {
    async fn new() -> Self {
        let toolbox = Toolbox::start();
        let group = toolbox.named("own");
        toolbox.deploy(&toolbox.group("own", &servers("1"))).await;
        Self { toolbox, group }
    }

    fn containers(&self, instance: &str) -> Vec<String> {
        let all = container_ids(&self.group).into_iter().filter(|(name, _)| name == instance);
        all.map(|(_, id)| id).collect()
    }

    async fn until_containers(&self, instance: &str, count: usize) -> Vec<String> {
        let look = || async {
            let there = self.containers(instance);
            if there.len() == count { Ok(there) } else { Err(there) }
        };
        eventually(&format!("{instance} has {count} containers"), SOON, look).await
    }

    async fn client(&self, instance: &str, capabilities: &Value) -> McpClient {
        let target = Target::Server(instance.to_owned());
        let opened = McpClient::open_at(&self.toolbox.client(), target, capabilities).await;
        opened.unwrap_or_else(|error| panic!("{error}"))
    }

    /// A client, and the container that came with it.
    async fn client_and_container(&self, capabilities: &Value) -> (McpClient, String) {
        let before = self.containers("diary");
        let client = self.client("diary", capabilities).await;
        let new: Vec<String> =
            self.containers("diary").into_iter().filter(|id| !before.contains(id)).collect();
        assert_eq!(new.len(), 1, "{before:?} and {new:?}");
        (client, new.into_iter().next().expect("one"))
    }
}

async fn said(client: &McpClient, tool: &str, arguments: &Value) -> String {
    text(&client.call(&json!(tool), tool, arguments).await).to_owned()
}

/// The answers that two clients give to questions that are open at the same time come where they belong.
async fn asked_at_once(house: &House) {
    let (mut one, mut two) =
        (WsClient::open(&house.toolbox, "diary").await, WsClient::open(&house.toolbox, "diary").await);
    let mut questions = Vec::new();
    for (client, name) in [(&mut one, "one"), (&mut two, "two")] {
        client.say(&call(&json!(1), "confirm", &json!({"text": name}))).await;
        let question = client.hear().await;
        assert_eq!(
            (&question["method"], &question["params"]["message"]),
            (&json!("elicitation/create"), &json!(name))
        );
        questions.push(question["id"].clone());
    }
    for (client, id, name) in [(&mut two, &questions[1], "two"), (&mut one, &questions[0], "one")] {
        let answer = json!({"action": "accept", "content": {"said": name}});
        client.say(&json!({"jsonrpc": "2.0", "id": id, "result": answer})).await;
        let told: Value = serde_json::from_str(text(&client.answer(&json!(1)).await)).expect("JSON");
        assert_eq!(told, answer);
    }
    assert_eq!(house.containers("diary").len(), 3);
    drop((one, two));
    house.until_containers("diary", 1).await;
}

/// The one beyond the bound is refused, and told when to come again.
async fn bounded(house: &House) {
    let mut clients = Vec::new();
    for _ in 0..3 {
        clients.push(house.client("diary", &json!({})).await);
    }
    let hello = json!({"jsonrpc": "2.0", "id": 7, "method": "initialize", "params": {"protocolVersion": "2025-11-25",
        "capabilities": {}, "clientInfo": {"name": "fourth", "version": "0"}}});
    let refused = house.toolbox.rest().post_message("/gateway/servers/diary/mcp", &hello).await;
    assert_eq!((refused.status, &refused.json["error"]["code"]), (503, &json!(-32000)), "{}", refused.text);
    assert_eq!((&refused.json["id"], refused.retry_after.as_deref()), (&json!(7), Some("5")));
    let bearer = format!("Bearer {}", house.toolbox.token());
    let mut stream =
        WsClient::connect(&house.toolbox, "diary", &[("Authorization", &bearer)]).await.expect("connected");
    assert_eq!(stream.ask(&hello).await["error"]["code"], -32000);
    for client in &clients {
        client.close().await.expect("closed");
    }
    house.until_containers("diary", 1).await;
}

/// A killed container takes nobody else along, and its session goes on.
async fn killed(house: &House) {
    let (one, container) = house.client_and_container(&json!({"roots": {}})).await;
    let (two, other) = house.client_and_container(&json!({})).await;
    assert_eq!(said(&two, "remember", &json!({"text": "b"})).await, "remembered");
    docker(&["kill", &container]);
    let who = eventually("the session goes on", SOON, || async {
        let answer = one.try_exchange(&call(&json!(1), "who", &json!({}))).await?.pop();
        answer.filter(|answer| answer.get("result").is_some()).ok_or("no answer".to_owned())
    })
    .await;
    let who: Value = serde_json::from_str(text(&who)).expect("who it was greeted by");
    assert_eq!((&who["capabilities"], &who["clientInfo"]["name"]), (&json!({"roots": {}}), &json!("test")));
    assert_eq!(said(&two, "recall", &json!({})).await, "b", "the other one noticed nothing");
    let there = house.containers("diary");
    assert!(there.contains(&container) && there.contains(&other) && there.len() == 3, "{there:?}");
    one.close().await.expect("closed");
    two.close().await.expect("closed");
    house.until_containers("diary", 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_session_has_a_container_and_leaves_none() {
    let mut house = House::new().await;
    assert_eq!((house.containers("diary").len(), house.containers("lonely").len()), (1, 0));
    assert_eq!(house.toolbox.server(&house.group, "lonely").await.phase.as_str(), "on-demand");

    let (one, of_one) = house.client_and_container(&json!({"roots": {}})).await;
    let (two, _) = house.client_and_container(&json!({"sampling": {}})).await;
    let lonely = house.client("lonely", &json!({})).await;
    assert_eq!(said(&one, "remember", &json!({"text": "a"})).await, "remembered");
    let recalled = [
        said(&one, "recall", &json!({})).await,
        said(&two, "recall", &json!({})).await,
        said(&lonely, "recall", &json!({})).await,
    ];
    assert_eq!(recalled, ["a", "", ""]);
    let who: Value = serde_json::from_str(&said(&two, "who", &json!({})).await).expect("JSON");
    assert_eq!(who["capabilities"], json!({"sampling": {}}));
    let view = house.toolbox.server(&house.group, "diary").await;
    let roles: Vec<_> = view.replica_status.iter().map(|one| one.role).collect();
    assert_eq!(roles, [None, Some(PlaceRole::Session), Some(PlaceRole::Session)]);

    one.close().await.expect("closed");
    assert!(!house.until_containers("diary", 2).await.contains(&of_one));
    assert_eq!(said(&two, "recall", &json!({})).await, "");
    two.close().await.expect("closed");
    lonely.close().await.expect("closed");
    house.until_containers("diary", 1).await;
    house.until_containers("lonely", 0).await;

    asked_at_once(&house).await;
    bounded(&house).await;
    killed(&house).await;

    // An update ends sessions when it is proved, and the next are of the new generation.
    let old = house.client("diary", &json!({})).await;
    let changed = house.toolbox.group("own", &servers("2"));
    let applied = house.toolbox.client().put_group(&house.group, &changed, &ChangeOptions::default()).await;
    applied.unwrap_or_else(|error| panic!("{error:#?}"));
    house.until_containers("diary", 1).await;
    let over = old.try_exchange(&call(&json!(1), "version", &json!({}))).await;
    assert!(over.as_ref().is_err_and(|error| error.contains("404")), "{over:?}");
    let new = house.client("diary", &json!({})).await;
    assert_eq!(said(&new, "version", &json!({})).await, "2");

    // A daemon that was killed knows of no session, and leaves none of their containers.
    house.toolbox.kill9();
    assert_eq!(house.containers("diary").len(), 2);
    house.toolbox.start_again();
    house.until_containers("diary", 1).await;
    let new = new.over(&house.toolbox.client());
    let over = new.try_exchange(&call(&json!(1), "version", &json!({}))).await;
    assert!(over.as_ref().is_err_and(|error| error.contains("404")), "{over:?}");
    let next = house.client("diary", &json!({})).await;
    assert_eq!(said(&next, "version", &json!({})).await, "2");
    house.toolbox.down(&house.group, true).await;
    assert_eq!(remains(&house.group, true), Vec::<String>::new());
}
