//! Processes kept ready for sessions to come, with the real daemon and engine: frozen there, handed out, followed by others,
//! and gone when nobody is to have them any more.
#![allow(clippy::expect_used, clippy::panic, reason = "a test stops where something is broken")]

use dtma_client::ChangeOptions;
use dtma_client::types::{PlaceRole, SparesView};
use dtma_tests::engine::{container_ids, containers, docker, remains};
use dtma_tests::mcp::call;
use dtma_tests::{Toolbox, WsClient, eventually, groups, text};
use serde_json::{Value, json};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(90);
const PERSONAL: &str = include_str!("../fixtures/personal.py");
const WANTED: usize = 2;

/// A server for sessions only, two of whose processes are always kept ready.
fn desk(version: &str) -> Value {
    let fields = json!({
        "command": ["/usr/bin/python3", "-c", PERSONAL], "environment": {"VERSION": version}, "replicas": 0,
        "session": {"mode": "per-session", "max": 4, "spares": WANTED}, "update": {"drainMs": 500},
    });
    groups::with(groups::fixture("desk"), &fields)
}

struct House {
    toolbox: Toolbox,
    group: String,
}

impl House {
    async fn new() -> Self {
        let toolbox = Toolbox::start();
        let group = toolbox.named("kept");
        toolbox.deploy(&toolbox.group("kept", &[desk("1")])).await;
        Self { toolbox, group }
    }

    fn containers(&self) -> Vec<String> {
        container_ids(&self.group).into_iter().map(|(_, id)| id).collect()
    }

    /// As many spares as are to be, frozen, besides so many containers of sessions; none of the spares is one of these.
    async fn until_kept(&self, sessions: usize, others: &[String]) -> Vec<String> {
        let look = || async {
            let there = containers(&self.group);
            let frozen = there.iter().filter(|one| one["State"]["Paused"] == true);
            let kept: Vec<String> = frozen.filter_map(|one| Some(one["Id"].as_str()?.to_owned())).collect();
            let server = self.toolbox.server(&self.group, "desk").await;
            let (wanted, ready) = (WANTED as u32, WANTED as u32);
            let told = server.spares == Some(SparesView { wanted, ready });
            let fresh = kept.iter().all(|id| !others.contains(id));
            let complete = kept.len() == WANTED && there.len() == WANTED + sessions;
            if told && fresh && complete { Ok(kept) } else { Err((there.len(), kept, server.replica_status)) }
        };
        eventually("the spares are frozen", SOON, look).await
    }

    async fn of_sessions(&self) -> Vec<String> {
        let server = self.toolbox.server(&self.group, "desk").await;
        let own = server.replica_status.into_iter().filter(|one| one.role == Some(PlaceRole::Session));
        own.filter_map(|one| one.container).map(|container| container.id).collect()
    }
}

async fn said(client: &mut WsClient, tool: &str, arguments: &Value) -> String {
    text(&client.ask(&call(&json!(1), tool, arguments)).await).to_owned()
}

/// Each remembers what it was told by its own client, and asks nobody else.
async fn are_apart(one: &mut WsClient, two: &mut WsClient) {
    assert_eq!(said(one, "remember", &json!({"text": "a"})).await, "remembered");
    assert_eq!(
        (said(one, "recall", &json!({})).await, said(two, "recall", &json!({})).await),
        ("a".into(), "".into())
    );
    let who: Value = serde_json::from_str(&said(two, "who", &json!({})).await).expect("JSON");
    assert!(who["clientInfo"]["name"].is_string(), "it was greeted in its client's name: {who}");
    let mut questions = Vec::new();
    for (client, name) in [(&mut *one, "one"), (&mut *two, "two")] {
        client.say(&call(&json!(2), "confirm", &json!({"text": name}))).await;
        let question = client.hear().await;
        assert_eq!(question["params"]["message"], name, "{question}");
        questions.push(question["id"].clone());
    }
    for (client, id, name) in [(two, &questions[1], "two"), (one, &questions[0], "one")] {
        let answer = json!({"action": "accept", "content": {"said": name}});
        client.say(&json!({"jsonrpc": "2.0", "id": id, "result": answer})).await;
        let told: Value = serde_json::from_str(text(&client.answer(&json!(2)).await)).expect("JSON");
        assert_eq!(told, answer);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_find_their_processes_ready_and_leave_none_behind() {
    let mut house = House::new().await;
    let first = house.until_kept(0, &[]).await;
    assert_eq!(house.toolbox.server(&house.group, "desk").await.phase.as_str(), "on-demand");

    let (mut one, mut two) =
        tokio::join!(WsClient::open(&house.toolbox, "desk"), WsClient::open(&house.toolbox, "desk"));
    let mut taken = house.of_sessions().await;
    taken.sort();
    let mut expected = first.clone();
    expected.sort();
    assert_eq!(taken, expected, "both have what was kept ready");
    are_apart(&mut one, &mut two).await;
    let second = house.until_kept(2, &first).await;

    // One that dies is started again.
    docker(&["kill", &second[0]]);
    house.until_kept(2, &first).await;
    drop((one, two));
    house.until_kept(0, &first).await;

    // The next daemon begins with new ones.
    let before = house.containers();
    house.toolbox.kill9();
    house.toolbox.start_again();
    let third = house.until_kept(0, &before).await;

    // An update puts others in their place.
    let changed = house.toolbox.group("kept", &[desk("2")]);
    let applied = house.toolbox.client().put_group(&house.group, &changed, &ChangeOptions::default()).await;
    applied.unwrap_or_else(|error| panic!("{error:#?}"));
    house.until_kept(0, &third).await;
    let mut client = WsClient::open(&house.toolbox, "desk").await;
    assert_eq!(said(&mut client, "version", &json!({})).await, "2");

    house.toolbox.down(&house.group, true).await;
    assert_eq!(remains(&house.group, true), Vec::<String>::new());
}
