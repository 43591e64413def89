//! The original's contract against the real daemon and the real engine: a tool and an MCP server, from their deployment
//! to their removal, over a kill of the daemon. What is true is asked of the engine.
#![allow(clippy::expect_used, reason = "a test stops where something is broken")]

use dtma_tests::engine::{container_ids, inspect, remains};
use dtma_tests::rest::Rest;
use dtma_tests::{Answer, Toolbox};
use http::Method;
use serde_json::{Value, json};

async fn post(rest: &Rest, path: &str, body: &Value) -> Answer {
    rest.post(path, body).await
}

async fn order(rest: &Rest, method: Method, path: &str) -> Answer {
    rest.send(method, path, "").await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_originals_callers_are_served_by_the_real_thing() {
    let mut toolbox = Toolbox::start();
    let (tool, server) = (toolbox.named("web"), toolbox.named("time"));
    let rest = toolbox.rest();
    let script = "trap 'exit 0' TERM; while :; do sleep 3600 & wait; done";
    let body = json!({"dockerImageUrl": "dtma/busybox:dev", "instanceNameOnToolbox": tool,
        "accountToolInstanceId": format!("id-{tool}"),
        "baseConfigOverrideJson": {"Cmd": ["sh", "-c", script], "Env": ["GREETING=hello"]}});
    let made = post(&rest, "/tools", &body).await.expect(201);
    let (name, id) = container_ids(&tool).first().expect("a container").clone();
    assert_eq!(
        (name.as_str(), made.json["data"]["container_id"].as_str()),
        (tool.as_str(), Some(id.as_str()))
    );
    post(&rest, "/tools", &body).await.expect(409);

    let command = json!({"command": ["sh", "-c", "echo $GREETING; id -u"]});
    let said = post(&rest, &format!("/tools/{tool}/execute"), &command).await.expect(200);
    assert_eq!(
        (&said.json["data"]["output"], &said.json["data"]["exitCode"]),
        (&json!("hello\n65532\n"), &json!(0))
    );

    let mcp = json!({"tool_name": server, "docker_image": "dtma/mcp-server-time:dev",
        "mcp_config": {"transport": "stdio", "endpoint_path": "/mcp", "capabilities": ["tools"]}});
    post(&rest, "/tools", &mcp).await.expect(201);
    let call = json!({"agentId": "a", "capabilityName": "get_current_time", "payload": {"timezone": "UTC"}});
    let time = post(&rest, &format!("/tools/{server}/execute"), &call).await.expect(200);
    assert!(time.text.contains("UTC"), "{}", time.text);

    toolbox.kill9();
    toolbox.start_again();
    let rest = toolbox.rest();
    let by_id = format!("/tools/id-{tool}");
    for (verb, running) in [("stop", false), ("stop", false), ("start", true), ("start", true)] {
        order(&rest, Method::POST, &format!("{by_id}/{verb}")).await.expect(200);
        let now = container_ids(&tool).first().expect("a container").1.clone();
        assert_eq!(inspect(&now)["State"]["Running"], running, "{verb}, by the caller's own id");
    }
    let status = rest.get("/status").await.expect(200);
    assert!(
        status.json["data"]["system_metrics"]["memory"]["total_bytes"].as_u64() > Some(0),
        "{}",
        status.text
    );
    for path in [by_id.as_str(), &format!("/mcp-servers/{server}")] {
        order(&rest, Method::DELETE, path).await.expect(200);
        order(&rest, Method::DELETE, path).await.expect(404);
    }
    assert_eq!((remains(&tool, true), remains(&server, true)), (Vec::<String>::new(), Vec::<String>::new()));
}
