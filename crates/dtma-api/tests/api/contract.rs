//! What the contract promises about every request: the envelope, the ids, and a precise no to bad input.

use crate::house::{House, one_tool};
use crate::wire::{exchange, read_answer};
use dtma_api::ServeLimits;
use serde_json::json;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

#[tokio::test]
async fn success_and_failure_have_their_envelopes() {
    let house = House::new().await;
    let good = house.ask("GET", "/mcp/groups", None).await;
    assert_eq!(good.json(), json!({"success": true, "message": "0 group(s)", "data": {"groups": []}}));
    let bad = house.ask("GET", "/mcp/groups/nobody", None).await;
    let body = bad.json();
    assert_eq!(
        (bad.status, body["success"].as_bool(), bad.code().as_str()),
        (404, Some(false), "no_such_group")
    );
    assert!(body["message"].is_string() && body["error"].is_string());
}

#[tokio::test]
async fn a_callers_request_id_is_kept_when_it_is_harmless() {
    let house = House::new().await;
    for (id, kept) in [("abc-1.2_3", true), ("a b", false), ("a\"b", false), (&"x".repeat(65), false)] {
        let answer = house.send("GET", "/healthz", &[("X-Request-Id", id)], "").await;
        let given = answer.header("x-request-id").unwrap();
        assert_eq!((given == id, given.is_empty()), (kept, false), "{id:?} became {given:?}");
    }
}

#[tokio::test]
async fn what_is_not_there_is_a_404_or_405_in_our_words() {
    let house = House::new().await;
    for (method, path, status, code) in [
        ("GET", "/nothing", 404, "no_such_route"),
        ("GET", "/mcp/groups/g/future", 404, "no_such_route"),
        ("PUT", "/mcp/groups", 405, "method_not_allowed"),
        ("GET", "/mcp/templates/nobody", 404, "no_such_template"),
        ("POST", "/mcp/servers/nobody/restart", 404, "no_such_server"),
        ("GET", "/mcp/servers/nobody/logs", 404, "no_such_server"),
        ("DELETE", "/mcp/groups/nobody", 404, "no_such_group"),
        ("GET", "/mcp/groups/a%2Fb", 400, "invalid_name"),
        ("GET", "/mcp/groups/..", 400, "invalid_name"),
        ("GET", "/mcp/groups/a%0Ab", 400, "invalid_name"),
        ("GET", "/mcp/groups/%FF", 400, "invalid_name"),
        ("DELETE", "/mcp/groups/g?force=true", 400, "invalid_query"),
        ("DELETE", "/mcp/groups/g?timeout=soon", 400, "invalid_query"),
        ("DELETE", "/mcp/groups/g?timeout=2h", 400, "invalid_query"),
        ("GET", "/mcp/servers/s/logs?tail=-1", 400, "invalid_query"),
        ("GET", "/mcp/servers/s/logs?since=yesterday", 400, "invalid_query"),
    ] {
        let answer = house.ask(method, path, None).await;
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{method} {path}");
    }
}

#[tokio::test]
async fn bodies_that_are_no_request_are_refused() {
    let house = House::new().await;
    let json = ("Content-Type", "application/json");
    let token = ("Authorization", "Bearer admin");
    for (headers, body, status, code) in [
        (vec![token, json], "{\"groupId\":", 400, "malformed_json"),
        (vec![token, json], "", 400, "malformed_json"),
        (vec![token, json], "\u{0}", 400, "malformed_json"),
        (vec![token, json], &"[".repeat(5000), 400, "malformed_json"),
        (vec![token, json], "[]", 400, "invalid_request"),
        (vec![token, json], "null", 400, "invalid_request"),
        (vec![token], "{}", 415, "unsupported_media_type"),
        (vec![token, ("Content-Type", "text/plain")], "{}", 415, "unsupported_media_type"),
    ] {
        let answer = house.send("POST", "/mcp/groups", &headers, body).await;
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{body:.40}");
    }
}

#[tokio::test]
async fn a_body_over_one_mebibyte_is_a_413_however_it_is_sent() {
    let house = House::new().await;
    let body = format!("{{\"groupId\":\"{}\"}}", "x".repeat(1 << 20));
    let headers = [("Authorization", "Bearer admin"), ("Content-Type", "application/json")];
    let announced = house.send("POST", "/mcp/groups", &headers, &body).await;
    assert_eq!((announced.status, announced.code().as_str()), (413, "body_too_big"));
    let chunked = format!(
        "POST /mcp/groups HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer admin\r\nConnection: close\r\n\
         Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n",
        body.len()
    );
    assert_eq!(exchange(house.address, chunked.as_bytes()).await.status, 413);
}

#[tokio::test]
async fn every_mistake_of_a_request_is_listed_at_once() {
    let house = House::new().await;
    let shape = json!({"groupId": "g", "replicas": 2, "servers": [
        {"instanceName": "a", "dockerImage": "i", "env": {"A": "b"}}, {"image": 7, "kind": "robot"}]});
    let answer = house.ask("POST", "/mcp/groups", Some(&shape)).await;
    assert_eq!((answer.status, answer.code().as_str()), (400, "invalid_request"));
    let mut details = answer.details();
    details.sort();
    assert_eq!(
        details,
        [
            "/replicas schema.unknown",
            "/servers/0/dockerImage schema.unknown",
            "/servers/0/env schema.unknown",
            "/servers/0/image schema.required",
            "/servers/1/image schema.type",
            "/servers/1/instanceName schema.required",
            "/servers/1/kind schema.enum",
        ]
    );
    assert!(answer.body.contains("did you mean environment?") && answer.body.contains("did you mean image?"));
}

#[tokio::test]
async fn rules_of_the_border_and_of_the_manager_are_listed_together() {
    let house = House::new().await;
    let rules = json!({"groupId": "a b", "servers": [
        {"instanceName": "a/b", "image": "tool"},
        {"instanceName": "x", "kind": "tool", "image": "tool", "dependsOn": [{"instance": "nobody"}]},
        {"instanceName": "y", "image": "mcp", "overrides": {"HostConfig": {"Privileged": true}}}]});
    let answer = house.ask("POST", "/mcp/groups", Some(&rules)).await;
    assert_eq!((answer.status, answer.code().as_str()), (422, "invalid_spec"));
    let details = answer.details();
    for expected in ["/groupId name", "/servers/0/instanceName name"] {
        assert!(details.contains(&expected.to_owned()), "{details:?}");
    }
    assert!(details.iter().any(|detail| detail.starts_with("/servers/1/dependsOn/0")), "{details:?}");
    assert!(details.iter().any(|detail| detail.starts_with("/servers/2/overrides")), "{details:?}");
    assert_eq!(house.engine.containers().len(), 0);
}

#[tokio::test]
async fn a_client_that_dawdles_over_its_head_is_let_go() {
    let limits = ServeLimits { head: Duration::from_millis(300), ..ServeLimits::default() };
    let house = House::with(limits).await;
    let mut stream = TcpStream::connect(house.address).await.unwrap();
    stream.write_all(b"GET /health HTTP/1.1\r\nHost: loc").await.unwrap();
    assert_eq!(read_answer(&mut stream).await.status, 0);
}

#[tokio::test]
async fn an_idle_connection_is_let_go_later_than_a_dawdling_one() {
    let limits = ServeLimits {
        head: Duration::from_millis(200),
        idle: Duration::from_millis(900),
        ..ServeLimits::default()
    };
    let house = House::with(limits).await;
    let mut stream = TcpStream::connect(house.address).await.unwrap();
    let request = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n";
    stream.write_all(request).await.unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    stream.write_all(request).await.unwrap();
    let both = read_answer(&mut stream).await;
    assert_eq!((both.status, both.body.matches("HTTP/1.1 200").count()), (200, 1), "{both:?}");
}

#[tokio::test]
async fn beyond_the_cap_connections_wait_their_turn() {
    let house = House::with(ServeLimits { connections: 1, ..ServeLimits::default() }).await;
    let first = TcpStream::connect(house.address).await.unwrap();
    let mut second = TcpStream::connect(house.address).await.unwrap();
    second.write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await.unwrap();
    let early = tokio::time::timeout(Duration::from_millis(300), second.readable()).await;
    assert!(early.is_err(), "the second connection had to wait");
    drop(first);
    assert_eq!(read_answer(&mut second).await.status, 200);
}

#[tokio::test]
async fn the_daemon_ends_while_streams_are_open_and_finishes_what_is_under_way() {
    let house = House::new().await;
    let client = house.client("admin");
    let events = client.stream_events(None).await.unwrap();
    house.shutdown.cancel();
    let ended = tokio::time::timeout(Duration::from_secs(5), house.served).await;
    assert!(ended.is_ok(), "an open stream must not hold up the end");
    drop(events);
}

#[tokio::test]
async fn the_open_routes_say_how_things_are() {
    let house = House::new().await;
    assert_eq!(house.client("-").get_health().await.unwrap(), "OK");
    assert_eq!(house.client("-").get_healthz().await.unwrap().status, "ok");
    assert_eq!(house.client("-").get_readyz().await.unwrap().status, "ready");
    house.engine.away(true);
    tokio::time::sleep(dtma_manager::ENGINE_KNOWN_FOR).await;
    let away = house.client("-").get_readyz().await.unwrap_err();
    let refusal = away.refusal().unwrap();
    assert_eq!((refusal.status, refusal.code.as_str()), (503, "engine_away"));
    assert_eq!(house.client("-").get_healthz().await.unwrap().status, "ok");
}

#[tokio::test]
async fn the_front_page_lists_every_route_and_the_metrics_count_them() {
    let house = House::new().await;
    let client = house.client("read");
    let index = client.get_index().await.unwrap();
    assert!(index.endpoints.iter().any(|entry| entry.operation_id == "deployGroup"));
    assert!(client.get_openapi().await.unwrap().contains("\"deployGroup\""));
    house.ask("POST", "/mcp/groups", Some(&one_tool("g"))).await;
    let metrics = client.get_metrics().await.unwrap();
    for line in [
        "dtma_groups{state=\"ready\"} 1",
        "dtma_servers{phase=\"ready\"} 1",
        "dtma_server_restarts_total{group=\"g\",instance=\"web\"} 0",
        "dtma_http_requests_total{method=\"GET\",route=\"/openapi.json\",status=\"200\"} 1",
    ] {
        assert!(metrics.contains(line), "{line} is not in\n{metrics}");
    }
}

/// In the words of the request, wherever it goes wrong.
#[tokio::test]
async fn a_server_that_insists_on_a_shim_is_refused_where_there_is_none() {
    let house = House::new().await;
    let mut asked = one_tool("demo");
    asked["servers"][0]["shim"] = json!(true);
    let answer = house.ask("POST", "/mcp/groups", Some(&asked)).await;
    assert_eq!((answer.status, answer.code().as_str()), (422, "invalid_spec"));
    assert_eq!(answer.details(), ["/servers/0/shim shim.none"]);
    asked["servers"][0]["shim"] = json!("yes");
    assert_eq!(house.ask("POST", "/mcp/groups", Some(&asked)).await.status, 400);
    asked["servers"][0]["shim"] = json!(false);
    assert_eq!(house.ask("POST", "/mcp/groups", Some(&asked)).await.status, 201);
    assert!(!house.engine.request("web").config.shim);
}
