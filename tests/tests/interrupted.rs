//! Clients that hang up, many that want the same at once, and a daemon that is asked to end in the middle: the work
//! goes on, once, and is found again.
#![allow(clippy::expect_used, clippy::panic, reason = "a test stops where something is broken")]

use dtma_tests::engine::{container_ids, containers, networks, remains};
use dtma_tests::{Toolbox, eventually, groups};
use http::Method;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::task::JoinSet;

const STANDS: Duration = Duration::from_secs(30);
const CLIENTS: usize = 16;

fn pair(toolbox: &Toolbox) -> Value {
    let idle = groups::after(groups::peer("idle"), &[("fixture", "healthy")]);
    toolbox.group("pair", &[groups::fixture("fixture"), idle])
}

/// Every server runs in one container, on one network.
fn stands_once(group: &str) {
    let names: Vec<String> = container_ids(group).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["fixture", "idle"]);
    assert!(containers(group).iter().all(|container| container["State"]["Running"] == true));
    assert_eq!(networks(group).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_hangs_up_does_not_stop_the_work() {
    let toolbox = Toolbox::start();
    let (rest, group) = (toolbox.rest(), toolbox.named("pair"));
    let asked = rest.try_send(Method::POST, "/mcp/groups", pair(&toolbox).to_string());
    let hung_up = tokio::time::timeout(Duration::from_millis(150), asked).await;
    assert!(hung_up.is_err(), "it was to take longer: {hung_up:?}");
    let view = toolbox.ready(&group, STANDS).await;
    assert_eq!(groups::restarts(&view), [0, 0]);
    stands_once(&group);

    let path = format!("/mcp/groups/{group}");
    let asked = rest.try_send(Method::DELETE, &path, "");
    drop(tokio::time::timeout(Duration::from_millis(20), asked).await);
    eventually("nothing is left", STANDS, || async {
        let (remains, answer) = (remains(&group, true), rest.get(&path).await);
        if remains.is_empty() && answer.status == 404 { Ok(()) } else { Err((remains, answer.text)) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_waiting_the_answer_is_an_operation_that_goes_on() {
    let toolbox = Toolbox::start();
    let answer = toolbox.rest().post("/mcp/groups?wait=false", &pair(&toolbox)).await.expect(202);
    assert!(answer.json["data"]["operationId"].is_string(), "{}", answer.text);
    toolbox.ready(&toolbox.named("pair"), STANDS).await;
    stands_once(&toolbox.named("pair"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_that_passes_says_so_and_the_work_goes_on() {
    let toolbox = Toolbox::start();
    let answer = toolbox.rest().post("/mcp/groups?timeout=50ms", &pair(&toolbox)).await.expect(504);
    assert_eq!(answer.code(), "deadline");
    toolbox.ready(&toolbox.named("pair"), STANDS).await;
    stands_once(&toolbox.named("pair"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_a_kill_interrupted_is_in_the_audit_log_and_says_so() {
    let point = "runtime.create:after";
    let mut toolbox = Toolbox::start_with(|launch| launch.failpoint = Some(point.to_owned()));
    let group = toolbox.named("pair");
    drop(toolbox.rest().try_send(Method::POST, "/mcp/groups", pair(&toolbox).to_string()).await);
    assert!(toolbox.ended_within(STANDS).await.is_some(), "{point} was never reached");
    // What the log says is not changed by another kill.
    for _ in 0..2 {
        toolbox.start_again();
        toolbox.ready(&group, STANDS).await;
        let entries = toolbox.get("/audit").await.expect(200).json["data"]["entries"].clone();
        let [entry] = entries.as_array().expect("a list").as_slice() else { panic!("{entries:#}") };
        assert_eq!((&entry["outcome"], &entry["action"]), (&json!("interrupted"), &json!("deployGroup")));
        assert_eq!((&entry["method"], &entry["path"]), (&json!("POST"), &json!("/mcp/groups")), "{entry:#}");
        assert!(entry["actor"].is_string() && entry["requestId"].is_string(), "{entry:#}");
        assert!(entry.get("status").is_none() && entry["dryRun"].is_null(), "nobody was answered: {entry:#}");
        toolbox.kill9();
    }
    toolbox.start_again();
    toolbox.down(&group, true).await;
    let entries = toolbox.get("/audit").await.expect(200).json["data"]["entries"].clone();
    let outcomes: Vec<_> =
        entries.as_array().expect("a list").iter().map(|entry| &entry["outcome"]).collect();
    assert_eq!(outcomes, ["done", "interrupted"], "{entries:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_is_asked_to_end_in_the_middle_ends_and_the_next_goes_on() {
    let mut toolbox = Toolbox::start();
    let group = toolbox.named("pair");
    toolbox.rest().post("/mcp/groups?wait=false", &pair(&toolbox)).await.expect(202);
    let status = toolbox.terminate().await;
    assert!(status.success(), "{status}");
    toolbox.start_again();
    let view = toolbox.ready(&group, STANDS).await;
    assert_eq!(groups::restarts(&view), [0, 0]);
    stands_once(&group);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_that_want_the_same_at_once_all_get_the_same_group() {
    let toolbox = Toolbox::start();
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        let (rest, body) = (toolbox.rest(), pair(&toolbox));
        clients.spawn(async move { rest.post("/mcp/groups", &body).await });
    }
    let answers: Vec<_> = clients.join_all().await;
    let statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
    assert_eq!(statuses.iter().filter(|status| **status == 201).count(), 1, "{statuses:?}");
    // One that comes while the first is just being accepted is told to come again.
    let busy = answers.iter().filter(|answer| answer.status == 409);
    assert!(busy.into_iter().all(|answer| answer.code() == "busy"), "{answers:?}");
    assert!(statuses.iter().all(|status| [200, 201, 409].contains(status)), "{statuses:?}");
    toolbox.ready(&toolbox.named("pair"), STANDS).await;
    stands_once(&toolbox.named("pair"));
}

#[tokio::test(flavor = "multi_thread")]
async fn deploying_and_removing_by_turns_ends_as_the_last_one_wanted() {
    let toolbox = Toolbox::start();
    let (rest, group) = (toolbox.rest(), toolbox.named("churn"));
    let body = toolbox.group("churn", &[groups::idle("idle")]);
    for _ in 0..5 {
        rest.post("/mcp/groups?wait=false", &body).await.expect(202);
        rest.delete(&format!("/mcp/groups/{group}?wait=false")).await.expect(202);
        let refused = rest.post("/mcp/groups", &body).await;
        assert!(matches!(refused.status, 201 | 409), "{}", refused.text);
        eventually("it is gone", STANDS, || async {
            let gone = rest.delete(&format!("/mcp/groups/{group}")).await;
            let remains = remains(&group, true);
            if gone.status == 404 && remains.is_empty() { Ok(()) } else { Err(json!([gone.text, remains])) }
        })
        .await;
    }
}
