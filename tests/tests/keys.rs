//! A request with an `Idempotency-Key`, sent again after the daemon was killed at any moment between accepting and
//! answering: one effect, one operation, and the answer the caller never heard.
#![allow(clippy::expect_used, clippy::panic, reason = "a test stops where something is broken")]

use dtma_tests::engine::{container_ids, networks};
use dtma_tests::rest::{Answer, Rest};
use dtma_tests::{Toolbox, eventually, groups};
use http::Method;
use serde_json::Value;
use std::time::Duration;

const DIES: Duration = Duration::from_secs(30);
const STANDS: Duration = Duration::from_secs(30);

fn tool(toolbox: &Toolbox) -> Value {
    toolbox.group("keyed", &[groups::peer("idle")])
}

/// Sends it and does not care for the answer: the daemon is to die.
async fn ask_in_vain(rest: &Rest, path: &str, body: &Value) {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    drop(rest.try_send(Method::POST, path, body).await);
}

/// One of several servers, by each of the routes that remove one.
#[tokio::test(flavor = "multi_thread")]
async fn a_removal_of_one_of_several_asked_again_after_a_kill_is_the_same_removal() {
    for (failpoint, family) in [
        ("store.put_group:before", "/tools"),
        ("store.put_group:after", "/mcp-servers"),
        ("runtime.remove:before", "/tools"),
        ("store.put_answer:before", "/mcp-servers"),
        ("store.put_answer:after", "/tools"),
    ] {
        let mut toolbox = Toolbox::start();
        let body = toolbox.group("keyed", &[groups::peer("stays"), groups::peer("goes")]);
        toolbox.deploy(&body).await;
        let stays = container_ids(&toolbox.named("keyed")).into_iter().find(|(name, _)| name == "stays");
        toolbox.kill9();
        toolbox.start_again_with(Some(failpoint));
        let path = format!("{family}/goes");
        drop(toolbox.rest().with_key("gone-1").try_send(Method::DELETE, &path, "").await);
        assert!(toolbox.ended_within(DIES).await.is_some(), "{failpoint} was never reached");
        toolbox.start_again();
        let rest = toolbox.rest().with_key("gone-1");
        let answer = rest.delete(&path).await.expect(200);
        assert_eq!(answer.json["data"]["gone"], true, "{failpoint}: {}", answer.text);
        assert_eq!(answer.replayed, failpoint == "store.put_answer:after", "{failpoint}");
        let again = rest.delete(&path).await.expect(200);
        assert_eq!((again.replayed, &again.text), (true, &answer.text), "{failpoint}");
        assert_eq!(named(&again), named(&answer));
        assert_eq!(operations(&toolbox, "kind=apply").await.len(), 1, "{failpoint}");
        toolbox.rest().with_key("gone-2").delete(&path).await.expect(404);
        assert_eq!(
            rest.delete(&format!("{family}/stays")).await.expect(409).code(),
            "idempotency_key_reused"
        );
        let left = container_ids(&toolbox.named("keyed"));
        assert_eq!(left, Vec::from_iter(stays), "{failpoint}: its neighbour is not touched");
    }
}

async fn operations(toolbox: &Toolbox, filter: &str) -> Vec<Value> {
    let path = format!("/operations?groupId={}&{filter}", toolbox.named("keyed"));
    let answer = toolbox.get(&path).await.expect(200);
    answer.json["data"]["operations"].as_array().expect("a list").clone()
}

fn named(answer: &Answer) -> &str {
    answer.operation.as_deref().unwrap_or_else(|| panic!("no operation: {}", answer.text))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_asked_again_after_a_kill_is_the_same_deployment() {
    for failpoint in [
        "store.put_group:before",
        "store.put_group:after",
        "runtime.create:after",
        "store.put_answer:before",
        "store.put_answer:after",
    ] {
        let mut toolbox = Toolbox::start_with(|launch| launch.failpoint = Some(failpoint.to_owned()));
        let (group, body) = (toolbox.named("keyed"), tool(&toolbox));
        ask_in_vain(&toolbox.rest().with_key("deploy-1"), "/mcp/groups", &body).await;
        assert!(toolbox.ended_within(DIES).await.is_some(), "{failpoint} was never reached");
        toolbox.start_again();
        let rest = toolbox.rest().with_key("deploy-1");
        let answer = rest.post("/mcp/groups", &body).await.expect(201);
        assert_eq!(answer.json["data"]["group"]["state"], "ready", "{failpoint}: {}", answer.text);
        assert_eq!(answer.replayed, failpoint == "store.put_answer:after", "{failpoint}");
        let asked = operations(&toolbox, "kind=deploy").await;
        assert_eq!(asked.len(), 1, "{failpoint}: {asked:?}");
        assert_eq!(
            (asked[0]["id"].as_str(), asked[0]["state"].as_str()),
            (Some(named(&answer)), Some("done"))
        );
        let again = rest.post("/mcp/groups", &body).await.expect(201);
        assert_eq!((again.replayed, &again.text), (true, &answer.text), "{failpoint}");
        let other = toolbox.group("keyed", &[groups::peer("other")]);
        assert_eq!(rest.post("/mcp/groups", &other).await.expect(409).code(), "idempotency_key_reused");
        assert_eq!((container_ids(&group).len(), networks(&group).len()), (1, 1), "{failpoint}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_asked_again_after_a_kill_restarts_once() {
    let mut toolbox = Toolbox::start();
    let body = tool(&toolbox);
    toolbox.deploy(&body).await;
    for (round, after) in [5_u64, 40, 150, 400].into_iter().enumerate() {
        let key = format!("restart-{round}");
        let rest = toolbox.rest().with_key(&key);
        let asked = ask_in_vain(&rest, "/mcp/servers/idle/restart", &Value::Null);
        drop(tokio::time::timeout(Duration::from_millis(after), asked).await);
        toolbox.kill9();
        toolbox.start_again();
        let rest = toolbox.rest().with_key(&key);
        let answer = rest.send(Method::POST, "/mcp/servers/idle/restart", "").await.expect(200);
        let again = rest.send(Method::POST, "/mcp/servers/idle/restart", "").await.expect(200);
        assert_eq!((named(&again), again.replayed), (named(&answer), true));
        let view = toolbox.ready(&toolbox.named("keyed"), STANDS).await;
        assert_eq!(groups::restarts(&view), [round as u64 + 1], "killed after {after} ms");
        assert_eq!(operations(&toolbox, "kind=restart").await.len(), round + 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operation_of_a_client_that_hung_up_is_found_after_a_kill_and_after_its_group_is_gone() {
    let mut toolbox = Toolbox::start();
    let (body, group) = (tool(&toolbox), toolbox.named("keyed"));
    let rest = toolbox.rest();
    let asked = rest.try_send(Method::POST, "/mcp/groups", body.to_string());
    drop(tokio::time::timeout(Duration::from_millis(100), asked).await);
    let id = eventually("it was accepted", STANDS, || async {
        let found = operations(&toolbox, "kind=deploy").await;
        found.first().map(|one| one["id"].as_str().unwrap_or_default().to_owned()).ok_or(found)
    })
    .await;
    toolbox.kill9();
    toolbox.start_again();
    let path = format!("/operations/{id}");
    eventually("it is done", STANDS, || async {
        let answer = toolbox.get(&path).await;
        if answer.json["data"]["state"] == "done" { Ok(()) } else { Err(answer.text) }
    })
    .await;
    toolbox.down(&group, true).await;
    toolbox.kill9();
    toolbox.start_again();
    assert_eq!(toolbox.get(&path).await.expect(200).json["data"]["state"], "done");
}
