//! Groups and servers over HTTP, through the typed client.

use crate::house::{House, one_mcp, one_tool};
use dtma_client::types::{GroupState, PhaseWord};
use dtma_client::{Error, LogOptions, Mutation, RemoveOptions, Wait};
use dtma_core::port::RuntimeError;
use dtma_testing::fake_runtime::Verb;
use serde_json::json;
use std::time::Duration;

/// Status and code of a refusal.
fn refused<T: std::fmt::Debug>(result: Result<T, Error>) -> (u16, String) {
    let error = result.unwrap_err();
    let refusal = error.refusal().unwrap_or_else(|| panic!("{error:?}"));
    assert!(!refusal.request_id.is_empty());
    (refusal.status, refusal.code.clone())
}

#[tokio::test]
async fn a_group_is_deployed_looked_at_and_removed() {
    let house = House::new().await;
    let client = house.client("deploy");
    let deployed = client.deploy_group(&one_tool("demo"), &Mutation::default()).await.unwrap();
    assert!(deployed.changed);
    assert_eq!(
        (deployed.group.state, deployed.group.servers[0].phase),
        (GroupState::Ready, PhaseWord::Ready)
    );
    let again = client.deploy_group(&one_tool("demo"), &Mutation::default()).await.unwrap();
    assert!(!again.changed);
    assert_eq!(client.get_group("demo").await.unwrap().servers[0].instance_name, "web");
    assert_eq!(client.list_groups().await.unwrap().groups.len(), 1);
    let status = client.get_status().await.unwrap();
    assert_eq!((status.servers_total.ready, status.engine.reachable), (1, true));
    let removed = client.remove_group("demo", &RemoveOptions::default()).await.unwrap();
    assert!(removed.gone && house.engine.containers().is_empty());
}

#[tokio::test]
async fn created_unchanged_and_accepted_have_their_status() {
    let house = House::new().await;
    let post = |path: &'static str, body| house.ask("POST", path, Some(body));
    let (demo, other) = (
        one_tool("demo"),
        json!({"groupId": "o", "servers": [
        {"instanceName": "other", "kind": "tool", "image": "tool", "port": 80}]}),
    );
    assert_eq!(post("/mcp/groups", &demo).await.status, 201);
    assert_eq!(post("/mcp/groups", &demo).await.status, 200);
    assert_eq!(post("/mcp/groups?wait=false", &other).await.status, 202);
    assert_eq!(house.ask("DELETE", "/mcp/groups/demo?wait=false", None).await.status, 202);
}

#[tokio::test]
async fn conflicts_are_409() {
    let house = House::new().await;
    let client = house.client("deploy");
    client.deploy_group(&one_tool("demo"), &Mutation::default()).await.unwrap();
    let mut changed = one_tool("demo");
    changed["servers"][0]["port"] = json!(9090);
    let refusal = refused(client.deploy_group(&changed, &Mutation::default()).await);
    assert_eq!(refusal, (409, "group_changed".into()));
    let refusal = refused(client.deploy_group(&one_tool("second"), &Mutation::default()).await);
    assert_eq!(refusal, (409, "instance_taken".into()));
}

#[tokio::test]
async fn a_host_port_that_a_stranger_holds_is_a_409_before_anything_is_made() {
    let house = House::new().await;
    let stranger = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = stranger.local_addr().unwrap().port();
    let mut tool = one_tool("demo");
    tool["servers"][0]["publish"] = json!([{"hostPort": port, "containerPort": 8080}]);
    let refusal = refused(house.client("deploy").deploy_group(&tool, &Mutation::default()).await);
    assert_eq!(refusal, (409, "port_taken".into()));
    assert!(house.engine.containers().is_empty());
}

#[tokio::test]
async fn a_client_that_waits_while_the_daemon_ends_is_told_so() {
    let house = House::new().await;
    let _not_yet = house.engine.hold(Verb::Dial);
    let client = house.client("deploy");
    let (tool, asked) = (one_tool("demo"), Mutation::default());
    let deploying = client.deploy_group(&tool, &asked);
    let end = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        house.shutdown.cancel();
    };
    let (refusal, ()) = tokio::join!(deploying, end);
    assert_eq!(refused(refusal), (503, "shutting_down".into()));
    tokio::time::timeout(Duration::from_secs(5), house.served).await.unwrap().unwrap();
}

#[tokio::test]
async fn what_the_engine_refuses_has_its_status_and_leaves_nothing() {
    let failure = |error: RuntimeError| async {
        let house = House::new().await;
        house.engine.fail(Verb::Create, 100, error);
        let answer =
            refused(house.client("deploy").deploy_group(&one_tool("demo"), &Mutation::default()).await);
        assert!(
            house.engine.containers().is_empty() && house.client("read").get_group("demo").await.is_err()
        );
        answer
    };
    let refusal = failure(RuntimeError::OutOfSpace { problem: "full".into() }).await;
    assert_eq!(refusal, (507, "out_of_space".into()));
    let refusal = failure(RuntimeError::Refused { call: "create", problem: "no".into() }).await;
    assert_eq!(refusal, (422, "engine_refused".into()));
    let house = House::new().await;
    let missing =
        json!({"groupId": "g", "servers": [{"instanceName": "a", "kind": "tool", "image": "nowhere"}]});
    let refusal = refused(house.client("deploy").deploy_group(&missing, &Mutation::default()).await);
    assert_eq!(refusal, (422, "image_missing".into()));
    let answer = house.ask("POST", "/mcp/groups", Some(&missing)).await;
    assert_eq!(answer.details(), ["/servers/0/image engine.image-missing"]);
    assert!(answer.json()["details"][0]["hint"].as_str().is_some_and(|hint| hint.contains("nowhere")));
    let stalled = RuntimeError::PullStalled { image: "slow".into(), after: Duration::from_secs(60) };
    assert_eq!(failure(stalled).await, (504, "pull_stalled".into()));
    house.engine.away(true);
    let refusal = refused(house.client("deploy").deploy_group(&one_tool("demo"), &Mutation::default()).await);
    assert_eq!(refusal, (503, "engine_away".into()));
}

#[tokio::test]
async fn a_group_on_its_way_out_says_what_to_do() {
    let house = House::new().await;
    house.client("deploy").deploy_group(&one_tool("demo"), &Mutation::default()).await.unwrap();
    let held = house.engine.hold(Verb::Stop);
    assert_eq!(house.ask("DELETE", "/mcp/groups/demo?wait=false", None).await.status, 202);
    let answer = house.ask("POST", "/mcp/groups", Some(&one_tool("demo"))).await;
    assert_eq!((answer.status, answer.json()["code"].as_str()), (409, Some("being_removed")));
    assert_eq!(answer.details(), [" group.being-removed"]);
    let hint = answer.json()["details"][0]["hint"].clone();
    assert_eq!(hint, "wait until it is gone: dtma wait demo --for removed");
    drop(held);
}

#[tokio::test]
async fn a_deadline_is_a_504_and_the_work_goes_on() {
    let house = House::new().await;
    let not_yet = house.engine.hold(Verb::Dial);
    let client = house.client("deploy");
    let soon = Mutation { wait: Wait::Until(Duration::from_millis(200)), ..Mutation::default() };
    assert_eq!(refused(client.deploy_group(&one_tool("demo"), &soon).await), (504, "deadline".into()));
    drop(not_yet);
    let again = client.deploy_group(&one_tool("demo"), &Mutation::default()).await.unwrap();
    assert_eq!(again.group.state, GroupState::Ready);
}

#[tokio::test]
async fn a_server_is_stopped_started_and_restarted() {
    let house = House::new().await;
    let client = house.client("deploy");
    client.deploy_group(&one_tool("demo"), &Mutation::default()).await.unwrap();
    let stopped = client.stop_server("web", &Mutation::default()).await.unwrap();
    assert_eq!(stopped.server.phase, PhaseWord::Stopped);
    let started = client.start_server("web", &Mutation::default()).await.unwrap();
    assert_eq!(started.server.phase, PhaseWord::Ready);
    let restarted = client.restart_server("web", &Mutation::default()).await.unwrap();
    assert!(restarted.server.restarts > started.server.restarts, "{restarted:?}");
    let group = client.restart_group("demo", &Mutation::default()).await.unwrap();
    assert_eq!(group.group.state, GroupState::Ready);
}

#[tokio::test]
async fn validate_tells_what_would_be_refused_and_changes_nothing() {
    let house = House::new().await;
    let client = house.client("read");
    let good = client.validate_group(&one_mcp("demo")).await.unwrap();
    assert!(good.valid && good.effective["time"].is_object(), "{good:?}");
    let mut bad = one_mcp("demo");
    bad["servers"][0]["dependsOn"] = json!([{"instance": "time"}, {"instance": "a/b"}]);
    let bad = client.validate_group(&bad).await.unwrap();
    assert!(!bad.valid && bad.errors.len() >= 2 && bad.effective.is_empty(), "{bad:?}");
    assert!(client.list_groups().await.unwrap().groups.is_empty());
}

#[tokio::test]
async fn templates_are_listed_and_shown() {
    let client = House::new().await.client("read");
    let names: Vec<String> =
        client.list_templates().await.unwrap().templates.into_iter().map(|template| template.name).collect();
    assert!(names.contains(&"standard".to_owned()), "{names:?}");
    let standard = client.get_template("standard").await.unwrap();
    assert_eq!(standard.settings["readOnlyRoot"], true);
}

#[tokio::test]
async fn logs_are_filtered_and_counted_after_the_filter() {
    let house = House::new().await;
    let client = house.client("deploy");
    client.deploy_group(&one_mcp("demo"), &Mutation::default()).await.unwrap();
    for line in ["one", "two apples", "three", "four apples"] {
        house.mcp.write_stderr(format!("{line}\n"));
    }
    let ask = |options: LogOptions| {
        let client = client.clone();
        async move {
            let lines = client.get_logs("time", &options).await.unwrap().lines;
            lines.into_iter().map(|line| line.text).collect::<Vec<_>>()
        }
    };
    let apples = || LogOptions { grep: Some("apples".into()), ..LogOptions::default() };
    for _ in 0..100 {
        if ask(apples()).await.len() == 2 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(ask(apples()).await, ["two apples", "four apples"]);
    assert_eq!(ask(LogOptions { tail: Some(1), ..apples() }).await, ["four apples"]);
    assert_eq!(ask(LogOptions { tail: Some(2), ..LogOptions::default() }).await, ["three", "four apples"]);
}

#[tokio::test]
async fn grep_is_an_expression_and_the_run_before_is_read_alone() {
    let house = House::new().await;
    let client = house.client("deploy");
    client.deploy_group(&one_mcp("demo"), &Mutation::default()).await.unwrap();
    let previous = LogOptions { previous: true, ..LogOptions::default() };
    assert_eq!(client.get_logs("time", &previous).await.unwrap().lines, [], "there is only one run");
    for bad in ["[", "a{1000}{1000}"] {
        let options = LogOptions { grep: Some(bad.into()), ..LogOptions::default() };
        let refused = client.get_logs("time", &options).await.unwrap_err();
        assert_eq!(refused.refusal().map(|refusal| refusal.code.as_str()), Some("invalid_query"), "{bad}");
        client.get_logs("time", &LogOptions { fixed: true, ..options }).await.unwrap();
    }
    let both = LogOptions { previous: true, since: Some("1m".into()), ..LogOptions::default() };
    assert!(client.get_logs("time", &both).await.is_err());
}

#[tokio::test]
async fn what_servers_use_is_read_and_nothing_is_guessed() {
    let house = House::new().await;
    house.client("deploy").deploy_group(&one_mcp("demo"), &Mutation::default()).await.unwrap();
    let stats = house.client("read").get_stats().await.unwrap();
    assert_eq!((stats.unavailable, stats.servers.len()), (None, 1));
    let time = &stats.servers[0];
    assert_eq!((time.group_id.as_str(), time.instance_name.as_str()), ("demo", "time"));
    assert_eq!((time.cpu_micros, time.memory_bytes, time.pids), (Some(1500), Some(4096), None));
}
