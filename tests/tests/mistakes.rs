//! Bad input, and a world that is not as it should be: the status, the code and the place that are answered, and
//! nothing half done that stays.
#![allow(clippy::expect_used, clippy::panic, reason = "a test stops where something is broken")]

#[path = "mistakes/table.rs"]
mod table;

use dtma_tests::engine::{docker, remains};
use dtma_tests::{Answer, Toolbox, groups};
use http::Method;
use serde_json::json;
use std::net::TcpListener;
use table::{MALFORMED, bad_groups};

/// The group is unknown to the daemon, and the engine has nothing of it.
async fn nothing_stays(toolbox: &Toolbox, group: &str) {
    toolbox.get(&format!("/mcp/groups/{group}")).await.expect(404);
    assert_eq!(remains(group, true), Vec::<String>::new());
}

/// A failure says in its envelope what docs/openapi.json promises.
fn is_a_failure(answer: &Answer) {
    assert_eq!(answer.json["success"], false, "{}", answer.text);
    for field in ["message", "error", "code", "requestId"] {
        assert!(answer.json[field].as_str().is_some_and(|text| !text.is_empty()), "{field}: {}", answer.text);
    }
    assert_eq!(answer.request_id.as_deref(), answer.json["requestId"].as_str());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_mistake_of_a_group_is_named_with_its_place_and_nothing_is_begun() {
    let toolbox = Toolbox::start();
    let rest = toolbox.rest();
    for bad in bad_groups(&toolbox.named("bad")) {
        for path in ["/mcp/groups", "/mcp/validate"] {
            let answer = rest.post(path, &bad.body).await;
            if path == "/mcp/validate" && bad.status == 422 {
                // Asking whether it is valid is no mistake.
                assert_eq!(
                    (answer.status, &answer.json["data"]["valid"]),
                    (200, &json!(false)),
                    "{}",
                    bad.what
                );
                continue;
            }
            assert_eq!(
                (answer.status, answer.code()),
                (bad.status, bad.code),
                "{}: {}",
                bad.what,
                answer.text
            );
            assert_eq!(answer.mistakes(), bad.mistakes, "{}: {}", bad.what, answer.text);
            is_a_failure(&answer);
        }
    }
    nothing_stays(&toolbox, &toolbox.named("bad")).await;
    let all = rest.get("/mcp/groups").await.expect(200);
    assert_eq!(all.json["data"]["groups"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cycle_is_printed() {
    let toolbox = Toolbox::start();
    let ring = |name: &str, next: &str| groups::after(groups::idle(name), &[(next, "healthy")]);
    let group = toolbox.group("ring", &[ring("a", "b"), ring("b", "c"), ring("c", "a")]);
    let answer = toolbox.rest().post("/mcp/groups", &group).await.expect(422);
    assert!(answer.text.contains("a -> b -> c -> a"), "{}", answer.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_json_is_a_400_and_what_is_too_big_a_413() {
    let toolbox = Toolbox::start();
    let rest = toolbox.rest();
    for body in MALFORMED {
        let answer = rest.send(Method::POST, "/mcp/groups", body.to_vec()).await;
        assert_eq!(answer.status, 400, "{:?}: {}", String::from_utf8_lossy(body), answer.text);
        is_a_failure(&answer);
    }
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(rest.send(Method::POST, "/mcp/groups", deep).await.status, 400);
    let big = format!("{{\"groupId\":\"{}\"}}", "a".repeat(1 << 20));
    let answer = rest.send(Method::POST, "/mcp/groups", big).await.expect(413);
    assert_eq!(answer.code(), "body_too_big");
    rest.get("/healthz").await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn paths_and_queries_are_judged_too() {
    let toolbox = Toolbox::start();
    let rest = toolbox.rest();
    for (method, path, status, code) in [
        (Method::GET, "/mcp/groups/no-such-group", 404, "no_such_group"),
        (Method::DELETE, "/mcp/groups/no-such-group", 404, "no_such_group"),
        (Method::POST, "/mcp/servers/no-such-server/restart", 404, "no_such_server"),
        (Method::GET, "/mcp/servers/no-such-server/logs", 404, "no_such_server"),
        (Method::GET, "/mcp/templates/no-such-template", 404, "no_such_template"),
        (Method::GET, "/mcp/groups/..%2F..%2Fetc", 400, "invalid_name"),
        (Method::GET, "/mcp/groups/a%00b", 400, "invalid_name"),
        (Method::GET, "/mcp/groups/a%0Ab", 400, "invalid_name"),
        (Method::GET, "/mcp/servers/a%2Fb/logs", 400, "invalid_name"),
        (Method::GET, "/no/such/path", 404, "no_such_route"),
        (Method::PATCH, "/mcp/groups", 405, "method_not_allowed"),
        (Method::DELETE, "/mcp/groups/x?wait=perhaps", 400, "invalid_query"),
        (Method::DELETE, "/mcp/groups/x?timeout=never", 400, "invalid_query"),
        (Method::DELETE, "/mcp/groups/x?surprise=1", 400, "invalid_query"),
    ] {
        let answer = rest.send(method.clone(), path, "").await;
        assert_eq!((answer.status, answer.code()), (status, code), "{method} {path}: {}", answer.text);
        is_a_failure(&answer);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_is_nowhere_leaves_nothing_of_its_group() {
    let toolbox = Toolbox::start();
    let mounts = json!({"mounts": [{"type": "volume", "name": "data", "target": "/data"}]});
    let absent = json!({"instanceName": "absent", "image": "dtma/no-such-image:dev", "pullPolicy": "never"});
    let whole = groups::with(groups::web("whole"), &mounts);
    let group = toolbox.group("absent", &[whole, absent]);
    let answer = toolbox.rest().post("/mcp/groups", &group).await.expect(422);
    assert_eq!(answer.code(), "image_missing");
    assert!(
        answer.text.contains("absent") && answer.text.contains("dtma/no-such-image:dev"),
        "{}",
        answer.text
    );
    is_a_failure(&answer);
    nothing_stays(&toolbox, &toolbox.named("absent")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_somebody_has_is_a_409_before_anything_is_made() {
    let toolbox = Toolbox::start();
    let stranger = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = stranger.local_addr().expect("an address").port();
    let publish = json!({"publish": [{"hostPort": port, "containerPort": 8080}]});
    let group = toolbox.group("port", &[groups::with(groups::web("web"), &publish)]);
    let answer = toolbox.rest().post("/mcp/groups", &group).await.expect(409);
    assert_eq!(answer.code(), "port_taken");
    assert!(answer.text.contains(&port.to_string()), "{}", answer.text);
    nothing_stays(&toolbox, &toolbox.named("port")).await;

    drop(stranger);
    toolbox.deploy(&group).await;
    let other = toolbox.group("other", &[groups::with(groups::web("other"), &publish)]);
    let answer = toolbox.rest().post("/mcp/groups", &other).await.expect(409);
    assert_eq!(answer.code(), "port_taken");
    nothing_stays(&toolbox, &toolbox.named("other")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_another_group_has_is_a_409() {
    let toolbox = Toolbox::start();
    toolbox.deploy(&toolbox.group("first", &[groups::idle("idle")])).await;
    let second = toolbox.group("second", &[groups::idle("fresh"), groups::idle("idle")]);
    let answer = toolbox.rest().post("/mcp/groups", &second).await.expect(409);
    assert_eq!(answer.code(), "instance_taken");
    assert!(answer.text.contains(&toolbox.named("first")), "{}", answer.text);
    nothing_stays(&toolbox, &toolbox.named("second")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_name_that_a_stranger_has_is_a_409_and_the_stranger_stays() {
    let toolbox = Toolbox::start();
    // Which name it will be is known only once it was given: deployed, looked at, removed.
    let group = toolbox.group("name", &[groups::idle("idle")]);
    let view = toolbox.deploy(&group).await;
    let name = groups::server(&view, "idle").container.clone().and_then(|c| c.name).expect("a name");
    toolbox.down(&toolbox.named("name"), true).await;

    let made = docker(&["create", "--name", &name, "dtma/busybox:dev", "sleep", "60"]);
    let answer = toolbox.rest().post("/mcp/groups", &group).await;
    let stranger = docker(&["ps", "-aq", "--no-trunc", "--filter", &format!("name={name}")]);
    docker(&["rm", "--force", made.trim()]);
    assert_eq!((answer.status, answer.code()), (409, "container_name_taken"), "{}", answer.text);
    assert_eq!(stranger.trim(), made.trim(), "what is not ours is left alone");
    nothing_stays(&toolbox, &toolbox.named("name")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_engine_the_daemon_runs_says_so_and_accepts_nothing() {
    let toolbox = Toolbox::start_with(|launch| {
        launch.docker_host = Some(format!("unix://{}/nobody.sock", launch.dir.display()));
    });
    let rest = toolbox.rest();
    let group = toolbox.group("away", &[groups::idle("idle")]);
    let answer = rest.post("/mcp/groups", &group).await.expect(503);
    assert_eq!(answer.code(), "engine_away");
    is_a_failure(&answer);
    rest.get("/readyz").await.expect(503);
    rest.get("/healthz").await.expect(200);
    let status = rest.get("/mcp/status").await.expect(200);
    assert_eq!(status.json["data"]["engine"]["reachable"], false, "{}", status.text);
    rest.get(&format!("/mcp/groups/{}", toolbox.named("away"))).await.expect(404);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_right_token_no_door_opens() {
    let toolbox = Toolbox::start();
    let none = toolbox.rest().with_token(None);
    let group = toolbox.group("token", &[groups::idle("idle")]);
    for open in ["/health", "/healthz", "/readyz"] {
        none.get(open).await.expect(200);
    }
    let long = "x".repeat(8192);
    let almost = toolbox.token()[1..].to_owned();
    let wrong = [Some("wrong"), Some(long.as_str()), Some(almost.as_str()), Some(""), None];
    for rest in wrong.map(|token| toolbox.rest().with_token(token)) {
        for path in ["/", "/mcp/groups", "/mcp/status", "/metrics", "/gateway/servers/idle/mcp"] {
            let answer = rest.get(path).await;
            assert_eq!(answer.status, 401, "{path}: {}", answer.text);
            is_a_failure(&answer);
        }
        rest.post("/mcp/groups", &group).await.expect(401);
    }
    nothing_stays(&toolbox, &toolbox.named("token")).await;
}
