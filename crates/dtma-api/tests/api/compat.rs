//! The older families of routes: the requests of the original's callers as they send them, byte by byte, and one case
//! for each request that its documents show (`tests/fixtures/compat`).

use crate::house::House;
use crate::wire::{Answer, exchange};
use dtma_testing::fake_runtime::{Process, Verb};
use serde_json::{Value, json};
use std::net::TcpListener;
use std::time::Duration;

/// What the original's backend sends with every call; only the last header is ours, so that the answer has an end.
fn as_the_backend_sends_it(house: &House, method: &str, path: &str, body: Option<&str>) -> String {
    let length = match (method, body) {
        (_, Some(body)) => format!("content-length: {}\r\n", body.len()),
        ("POST", None) => "content-length: 0\r\n".to_owned(),
        _ => String::new(),
    };
    format!(
        "{method} {path} HTTP/1.1\r\ncontent-type: application/json\r\nauthorization: Bearer admin\r\naccept: */*\r\n\
         accept-language: *\r\nuser-agent: Deno/1.45.2 (variant; SupabaseEdgeRuntime/1.54.6)\r\n\
         accept-encoding: gzip,br\r\nhost: {}\r\n{length}connection: close\r\n\r\n{}",
        house.address,
        body.unwrap_or_default()
    )
}

async fn call(house: &House, method: &str, path: &str, body: Option<&str>) -> Answer {
    exchange(house.address, as_the_backend_sends_it(house, method, path, body).as_bytes()).await
}

fn fixture(name: &str) -> Value {
    let path = format!("{}/tests/fixtures/compat/{name}.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// A port that was free a moment ago.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn tool(name: &str, overrides: &Value) -> Value {
    json!({"dockerImageUrl": "tool", "instanceNameOnToolbox": name, "accountToolInstanceId": format!("id-{name}"),
           "baseConfigOverrideJson": overrides})
}

#[tokio::test]
async fn the_backends_calls_are_answered_as_the_original_did() {
    let house = House::new().await;
    let port = free_port();
    let body = format!(
        "{{\"dockerImageUrl\":\"tool\",\"instanceNameOnToolbox\":\"web\",\"accountToolInstanceId\":\"7b0c2f0e-6f0a-4c6e-9b67-0a2d8f1c9e11\",\
         \"baseConfigOverrideJson\":{{\"Env\":[\"A=b\"],\"HostConfig\":{{\"PortBindings\":{{\"8080/tcp\":[{{\"HostPort\":\"{port}\"}}]}}}}}}}}"
    );
    let made = call(&house, "POST", "/tools", Some(&body)).await;
    assert_eq!(made.status, 201, "{}", made.body);
    let data = &made.json()["data"];
    assert_eq!(made.json()["success"], true);
    assert_eq!(data["container_id"].as_str(), Some(house.engine.id_of("web").as_str()));
    assert_eq!(data["instance_name_on_toolbox"], "web");
    assert_eq!(data["account_tool_instance_id"], "7b0c2f0e-6f0a-4c6e-9b67-0a2d8f1c9e11");
    assert_eq!(data["image"], "tool");
    assert_eq!(data["ports"], json!({"8080/tcp": [{"HostIp": "127.0.0.1", "HostPort": port.to_string()}]}));
    assert_eq!((&data["state"]["Running"], &data["state"]["Status"]), (&json!(true), &json!("running")));
    assert_eq!(house.engine.request("web").config.environment.get("A").map(String::as_str), Some("b"));

    assert_eq!(call(&house, "POST", "/tools", Some(&body)).await.status, 409, "the name is taken");
    for (path, running) in [("stop", false), ("stop", false), ("start", true), ("start", true)] {
        let answer = call(&house, "POST", &format!("/tools/web/{path}"), None).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        assert_eq!(answer.json()["data"]["state"]["Running"], running, "{path}");
    }
    let status = call(&house, "GET", "/status", None).await;
    let item = &status.json()["data"]["tool_instances"][0];
    for (field, expected) in [
        ("account_tool_instance_id", json!("7b0c2f0e-6f0a-4c6e-9b67-0a2d8f1c9e11")),
        ("instance_name_on_toolbox", json!("web")),
        ("container_id", data["container_id"].clone()),
        ("id", data["container_id"].clone()),
        ("status", json!("running")),
        ("state", json!("running")),
        ("image", json!("tool")),
        ("ports", json!([{"IP": "127.0.0.1", "PrivatePort": 8080, "PublicPort": port, "Type": "tcp"}])),
        ("created", json!(1_767_225_600)),
    ] {
        assert_eq!(item[field], expected, "{field} of {item}");
    }
    assert_eq!(call(&house, "DELETE", "/tools/web", None).await.status, 200);
    assert_eq!(call(&house, "DELETE", "/tools/web", None).await.status, 404);
    for verb in ["start", "stop"] {
        assert_eq!(call(&house, "POST", &format!("/tools/web/{verb}"), None).await.status, 404);
    }
}

#[tokio::test]
async fn each_missing_field_is_a_400() {
    let house = House::new().await;
    for field in ["dockerImageUrl", "instanceNameOnToolbox", "accountToolInstanceId"] {
        let mut body = tool("web", &Value::Null);
        body.as_object_mut().unwrap().remove(field);
        let answer = call(&house, "POST", "/tools", Some(&body.to_string())).await;
        assert_eq!(
            (answer.status, answer.details()),
            (400, vec![format!("/{field} schema.required")]),
            "{field}"
        );
    }
    let answer = call(&house, "POST", "/tools", Some("{}")).await;
    assert_eq!(answer.status, 400);
}

#[tokio::test]
async fn dockers_words_go_through_policy_and_mistakes_are_named_where_they_stand() {
    let house = House::new().await;
    let cases = [
        (json!({"HostConfig": {"Privileged": true}}), "/HostConfig/Privileged never.privileged"),
        (json!({"HostConfig": {"Binds": ["/etc:/etc"]}}), "/HostConfig/Binds/0 "),
        (json!({"HostConfig": {"NetworkMode": "host"}}), "/HostConfig/NetworkMode never."),
        (json!({"Env": ["NOT A VARIABLE"]}), "/Env/0 override.type"),
        (
            json!({"HostConfig": {"PortBindings": {"8080/tcp": [{"HostPort": "80"}]}}}),
            "/HostConfig/PortBindings/8080~1tcp/0/hostPort policy.host-port",
        ),
        (
            json!({"HostConfig": {"PortBindings": {"8080/tcp": [{}]}}}),
            "/HostConfig/PortBindings/8080~1tcp/0 compat.host-port",
        ),
    ];
    for (overrides, expected) in cases {
        let answer = call(&house, "POST", "/tools", Some(&tool("web", &overrides).to_string())).await;
        let details = answer.details();
        let expected = format!("/baseConfigOverrideJson{expected}");
        assert_eq!(answer.status, 422, "{overrides}: {}", answer.body);
        assert!(details.iter().any(|detail| detail.starts_with(&expected)), "{expected} in {details:?}");
    }
    let mut wrong = tool("no/name", &Value::Null);
    wrong["dockerImageUrl"] = json!("No Image");
    let answer = call(&house, "POST", "/tools", Some(&wrong.to_string())).await;
    let mut details = answer.details();
    details.sort();
    assert_eq!((answer.status, details.len()), (422, 3), "{details:?}");
    assert!(details[0].starts_with("/dockerImageUrl ") && details[1].starts_with("/instanceNameOnToolbox "));
}

#[tokio::test]
async fn a_name_an_id_and_a_port_are_taken_once() {
    let house = House::new().await;
    let bound =
        |port: u16| json!({"HostConfig": {"PortBindings": {"80/tcp": [{"HostPort": port.to_string()}]}}});
    let port = free_port();
    assert_eq!(house.ask("POST", "/tools", Some(&tool("a", &bound(port)))).await.status, 201);
    let answer = house.ask("POST", "/tools", Some(&tool("b", &bound(port)))).await;
    let expected = "/baseConfigOverrideJson/HostConfig/PortBindings/80~1tcp/0/hostPort taken.port";
    assert_eq!((answer.status, answer.details()), (409, vec![expected.to_owned()]));
    let answer = house.ask("POST", "/tools", Some(&tool("a", &Value::Null))).await;
    assert_eq!((answer.status, answer.code().as_str()), (409, "instance_taken"));
    let mut same_id = tool("c", &Value::Null);
    same_id["accountToolInstanceId"] = json!("id-a");
    let answer = house.ask("POST", "/tools", Some(&same_id)).await;
    assert_eq!((answer.status, answer.code().as_str()), (409, "account_id_taken"));
}

#[tokio::test]
async fn whoever_heard_no_answer_asks_again_with_the_same_key() {
    let house = House::new().await;
    let key = [
        ("Authorization", "Bearer deploy"),
        ("Content-Type", "application/json"),
        ("Idempotency-Key", "made"),
    ];
    let body = tool("web", &Value::Null).to_string();
    let held = house.engine.hold(Verb::Start);
    // Also what was answered by a daemon that was killed is found by its operation: no answer is kept of either.
    let late = house.send("POST", "/tools?timeout=3s", &key, &body).await;
    assert_eq!((late.status, late.code().as_str()), (504, "deadline"));
    drop(held);
    let made = house.send("POST", "/tools?timeout=3s", &key, &body).await;
    assert_eq!(
        (made.status, made.header("x-operation-id")),
        (201, late.header("x-operation-id")),
        "{made:?}"
    );
    let other = house.send("POST", "/tools", &key[..2], &body).await;
    assert_eq!((other.status, other.code().as_str()), (409, "instance_taken"));
    let key = [key[0], ("Idempotency-Key", "gone")];
    let held = house.engine.hold(Verb::Stop);
    let late = house.send("DELETE", "/tools/web?timeout=100ms", &key, "").await;
    assert_eq!((late.status, late.code().as_str()), (504, "deadline"));
    drop(held);
    while call(&house, "GET", "/mcp/groups", None).await.body.contains("web") {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let gone = house.send("DELETE", "/tools/web?timeout=100ms", &key, "").await;
    assert_eq!(
        (gone.status, gone.header("x-operation-id")),
        (200, late.header("x-operation-id")),
        "{gone:?}"
    );
    assert_eq!(gone.json()["data"]["instance_name_on_toolbox"], "web");
    assert_eq!(house.send("DELETE", "/tools/web", &key[..1], "").await.status, 404);
}

#[tokio::test]
async fn every_request_of_the_documents_is_understood() {
    let house = House::new().await;
    let single = [
        ("/tools", "tool-with-null-overrides", None, vec![]),
        ("/tools", "tool-with-docker-overrides", None, vec!["compat.restart"]),
        ("/tools", "mcp-server-deployment-request", Some("stdio"), vec!["compat.no-effect"]),
        ("/tools", "mcp-deployment-payload", Some("stdio"), vec![]),
        ("/tools", "mcp-service-overrides", Some("stdio"), vec!["compat.no-effect"]),
        ("/mcp-servers", "admin-controller-overrides", Some("stdio"), vec![]),
        ("/mcp-servers", "mcp-server-over-sse", Some("sse"), vec!["transport.by-port"]),
    ];
    for (path, name, transport, warnings) in single {
        let mut body = fixture(name);
        if let Some(external) = body.pointer_mut("/port_mappings/0/external") {
            *external = json!(free_port());
        }
        let answer = house.ask("POST", path, Some(&body)).await;
        assert_eq!(answer.status, 201, "{name}: {}", answer.body);
        let data = &answer.json()["data"];
        let found: Vec<_> = data["warnings"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|warning| warning["rule"].clone())
            .collect();
        assert_eq!(found, warnings, "{name}");
        let deployed = data["instance_name_on_toolbox"].as_str().unwrap();
        let listed = house.ask("GET", "/tools", None).await.json();
        let item = listed["data"]["tools"].as_array().unwrap().iter();
        let item = item.clone().find(|item| item["instance_name_on_toolbox"] == deployed).unwrap();
        assert_eq!(item["mcp_transport_type"].as_str(), transport, "{name}");
        assert_eq!(item["account_tool_instance_id"], body["accountToolInstanceId"], "{name}");
    }
    let sse = house.engine.request("over-sse").config.environment;
    assert_eq!((sse["MCP_TRANSPORT"].as_str(), sse["MCP_ENDPOINT_PATH"].as_str()), ("sse", "/sse"));
    assert_eq!(house.engine.request("admin-controller").config.image.as_str(), "mcp");
    let status = house.ask("GET", "/status", None).await.json();
    assert_eq!(
        status["data"]["transport_distribution"],
        json!({"stdio": 4, "sse": 1, "websocket": 0, "streamable-http": 0})
    );
    assert_eq!(status["data"]["standard_tools"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn groups_in_the_older_words_are_groups() {
    let house = House::new().await;
    let many = house.ask("POST", "/mcp-servers/deploy", Some(&fixture("mcp-deployment-spec"))).await;
    assert_eq!(many.status, 201, "{}", many.body);
    let data = many.json()["data"].clone();
    assert_eq!((&data["status"], &data["healthState"]), (&json!("ready"), &json!("healthy")));
    assert!(
        data["warnings"].as_array().unwrap().iter().any(|warning| warning["pointer"] == "/networkConfig")
    );
    assert_eq!(house.engine.request("spec-two").config.limits.memory, 256 * 1024 * 1024);
    let servers = house.ask("GET", "/mcp-servers/status", None).await.json()["data"].clone();
    assert_eq!((&servers["total"], &servers["mcp_servers"][0]["mcp_status"]), (&json!(2), &json!("active")));

    let again = house.ask("POST", "/mcp-servers/deploy", Some(&fixture("mcp-deployment-spec"))).await;
    assert_eq!(again.status, 409, "the names are taken");

    let made = house.ask("POST", "/container-groups", Some(&fixture("container-group"))).await;
    assert_eq!((made.status, &made.json()["data"]["id"]), (201, &json!("toolbox")), "{}", made.body);
    let seen = house.ask("GET", "/container-groups/toolbox", None).await.json();
    assert_eq!(seen["data"]["mcpServers"].as_array().unwrap().len(), 2);
    let before = house.engine.container("group-one").and_then(|seen| seen.run());
    assert_eq!(house.ask("PUT", "/container-groups/toolbox/restart", None).await.status, 200);
    assert_ne!(house.engine.container("group-one").and_then(|seen| seen.run()), before);
    assert_eq!(house.ask("GET", "/container-groups/nobody", None).await.status, 404);
}

/// A tool whose container knows two programs.
async fn two_programs(process: Process) -> i64 {
    let command = process.container.config.command.clone().unwrap_or_default();
    let words: Vec<&str> = command.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["report", payload] => {
            process.stdout.line(payload).await;
            0
        }
        ["fail"] => {
            process.stderr.line("it broke").await;
            3
        }
        _ => {
            process.terminated.cancelled().await;
            143
        }
    }
}

#[tokio::test]
async fn a_capability_is_a_program_or_the_tool_of_an_mcp_server() {
    let house = House::new().await;
    house.engine.add_image_running("programs", two_programs);
    let mut body = tool("worker", &Value::Null);
    body["dockerImageUrl"] = json!("programs");
    assert_eq!(house.ask("POST", "/tools", Some(&body)).await.status, 201);
    let mcp = json!({"dockerImageUrl": "mcp", "instanceNameOnToolbox": "server", "mcpServerType": "mcp_server",
                     "accountToolInstanceId": fixture("execute-capability")["accountToolInstanceId"]});
    assert_eq!(house.ask("POST", "/tools", Some(&mcp)).await.status, 201);

    let ask = async |name: &str, body: &Value| {
        house.ask("POST", &format!("/tools/{name}/execute"), Some(body)).await
    };
    let said = ask("worker", &json!({"agentId": "a", "capabilityName": "report", "payload": {"x": 1}})).await;
    assert_eq!((said.status, &said.json()["data"]["output"]), (200, &json!({"x": 1})), "{}", said.body);
    assert_eq!(said.json()["data"]["exitCode"], 0);
    let failed = ask("worker", &json!({"agentId": "a", "capabilityName": "fail"})).await;
    assert_eq!((failed.status, failed.code().as_str()), (502, "capability_failed"));
    assert!(failed.body.contains("it broke"), "{}", failed.body);
    let command = ask("worker", &json!({"command": ["fail"]})).await;
    assert_eq!((command.status, &command.json()["data"]["exitCode"]), (200, &json!(3)));

    let echoed = ask("server", &fixture("execute-capability")).await;
    assert_eq!(echoed.status, 200, "{}", echoed.body);
    assert_eq!(echoed.json()["data"]["output"]["content"][0]["text"], "hello");
    let unknown = ask("server", &json!({"agentId": "a", "capabilityName": "nothing"})).await;
    assert_eq!((unknown.status, unknown.code().as_str()), (502, "capability_failed"));

    for (body, detail) in [
        (json!({"capabilityName": "report"}), "/agentId schema.required"),
        (json!({"agentId": "a"}), "/capabilityName schema.required"),
        (
            json!({"agentId": "a", "capabilityName": "report", "accountToolInstanceId": "id-other"}),
            "/accountToolInstanceId compat.mismatch",
        ),
        (
            json!({"agentId": "a", "capabilityName": "report", "command": ["x"]}),
            "/command compat.contradiction",
        ),
    ] {
        let answer = ask("worker", &body).await;
        assert_eq!((answer.status, answer.details()), (400, vec![detail.to_owned()]), "{body}");
    }
    assert_eq!(ask("nobody", &json!({"command": ["x"]})).await.status, 404);
    house.ask("POST", "/tools/worker/stop", None).await;
    let stopped = ask("id-worker", &json!({"command": ["fail"]})).await;
    assert_eq!((stopped.status, stopped.code().as_str()), (409, "not_running"), "by its id, and not running");
}

#[tokio::test]
async fn a_command_is_run_for_admins_only() {
    let house = House::new().await;
    house.engine.add_image_running("programs", two_programs);
    let mut body = tool("worker", &Value::Null);
    body["dockerImageUrl"] = json!("programs");
    assert_eq!(house.ask("POST", "/tools", Some(&body)).await.status, 201);
    let request = dtma_client::types::compat::ExecRequestBody {
        command: vec!["report".into(), "said".into()],
        ..Default::default()
    };
    let done = house.client("admin").exec_server("worker", &request).await.unwrap();
    assert_eq!((done.exit_code, done.stdout.as_str(), done.truncated), (0, "said\n", false));
    let refused = house.client("deploy").exec_server("worker", &request).await.unwrap_err();
    assert_eq!(refused.refusal().map(|refusal| refusal.status), Some(403));
    for command in [json!([]), json!([""]), json!(["a\u{0}b"])] {
        let answer = house.ask("POST", "/mcp/servers/worker/exec", Some(&json!({"command": command}))).await;
        assert!(matches!(answer.status, 400 | 422), "{command}: {}", answer.body);
    }
}

#[tokio::test]
async fn a_stranger_learns_that_somebody_is_there() {
    let house = House::new().await;
    house.ask("POST", "/tools", Some(&tool("secret-project", &Value::Null))).await;
    let stranger = house.send("GET", "/status", &[], "").await;
    let expected = json!({"service": "dtma", "version": env!("CARGO_PKG_VERSION"), "status": "operational"});
    assert_eq!((stranger.status, &stranger.json()["data"]), (200, &expected));
    let wrong = house.send("GET", "/status", &[("Authorization", "Bearer nobody")], "").await;
    assert_eq!(wrong.status, 401);
    let known = house.client("read").get_daemon_status().await.unwrap();
    assert_eq!(known.dtma_version.as_deref(), Some(env!("CARGO_PKG_VERSION")));
    assert_eq!(known.tool_instances.unwrap()[0].instance_name_on_toolbox, "secret-project");
    assert!(known.system_metrics.is_some() && known.oauth_status.is_some());
}

fn group_of_three(id: &str) -> Value {
    let server = |name: &str, needs: Value| json!({"instanceName": format!("{id}-{name}"), "kind": "tool", "image": "tool", "dependsOn": needs});
    let needs = json!([{"instance": format!("{id}-base"), "condition": "started"}]);
    json!({"groupId": id, "servers": [server("base", json!([])), server("user", needs), server("alone", json!([]))]})
}

#[tokio::test]
async fn one_of_many_is_removed_unless_others_need_it() {
    let house = House::new().await;
    let made = house.ask("POST", "/mcp/groups", Some(&group_of_three("g"))).await;
    assert_eq!(made.status, 201, "{}", made.body);
    let needed = house.ask("DELETE", "/tools/g-base", None).await;
    assert_eq!((needed.status, needed.code().as_str()), (409, "depended_on"));
    assert!(needed.body.contains("g-user"), "{}", needed.body);
    let kept = house.engine.id_of("g-user");
    for path in ["/tools/g-alone", "/mcp-servers/g-user", "/tools/g-base"] {
        if path == "/mcp-servers/g-user" {
            assert_eq!(house.engine.id_of("g-user"), kept, "what stays is not touched");
        }
        let gone = house.ask("DELETE", path, None).await;
        assert_eq!((gone.status, &gone.json()["data"]["gone"]), (200, &json!(true)), "{path}: {}", gone.body);
        assert_eq!(house.ask("DELETE", path, None).await.status, 404, "{path}");
    }
    assert_eq!(
        house.ask("GET", "/mcp/groups/g", None).await.status,
        404,
        "with its last server the group is gone"
    );
}

#[tokio::test]
async fn of_two_at_the_same_moment_one_gets_the_id() {
    let house = House::new().await;
    for round in 0..20 {
        let ask = async |name: String| {
            let mut body = tool(&name, &Value::Null);
            body["accountToolInstanceId"] = json!(format!("id-{round}"));
            house.ask("POST", "/tools", Some(&body)).await
        };
        let (one, other) = tokio::join!(ask(format!("one-{round}")), ask(format!("other-{round}")));
        let mut statuses = [one.status, other.status];
        statuses.sort_unstable();
        assert_eq!(statuses, [201, 409], "{} {}", one.body, other.body);
        let refused = if one.status == 409 { one } else { other };
        assert_eq!(refused.code(), "account_id_taken");
    }
    let ask = async || house.ask("POST", "/tools", Some(&tool("same", &Value::Null))).await;
    let (one, other) = tokio::join!(ask(), ask());
    let mut statuses = [one.status, other.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 409], "the same request twice: {} {}", one.body, other.body);
}

#[tokio::test]
async fn an_mcp_server_is_scaled_by_any_of_its_names() {
    let house = House::new().await;
    let made = house.ask("POST", "/tools", Some(&tool("web", &Value::Null))).await;
    assert_eq!(made.status, 201, "{}", made.body);
    let scale = async |body: Value| house.ask("PUT", "/mcp-servers/scale", Some(&body)).await;
    for (field, name, replicas) in [
        ("instanceName", "web", 2),
        ("id", "id-web", 3),
        ("mcpId", "web", 1),
        ("instanceNameOnToolbox", "web", 2),
        ("accountToolInstanceId", "id-web", 1),
    ] {
        let scaled = scale(json!({field: name, "replicas": replicas})).await;
        assert_eq!(scaled.status, 200, "{field}: {}", scaled.body);
        let group = house.ask("GET", "/mcp/groups/web", None).await.json();
        assert_eq!(group["data"]["servers"][0]["replicas"].as_u64().unwrap_or(1), replicas, "{group}");
    }
    let nobody = scale(json!({"replicas": 2})).await;
    assert_eq!((nobody.status, nobody.details()), (400, vec!["/instanceName schema.required".to_owned()]));
    let none = scale(json!({"instanceName": "web"})).await;
    assert_eq!((none.status, none.details()), (400, vec!["/replicas schema.required".to_owned()]));
    assert_eq!(scale(json!({"id": "nobody", "replicas": 1})).await.status, 404);
    assert_eq!(house.ask("POST", "/tools", Some(&tool("other", &Value::Null))).await.status, 201);
    let both = scale(json!({"id": "web", "instanceName": "other", "replicas": 2})).await;
    assert_eq!((both.status, both.details()), (400, vec!["/id compat.contradiction".to_owned()]));
}
