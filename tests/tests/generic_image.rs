//! The generic image of the catalogue through the real daemon: the package is named in the environment.
#![allow(clippy::expect_used, reason = "a test stops where something is broken")]

use dtma_tests::{Toolbox, eventually};
use serde_json::{Value, json};
use std::time::Duration;

const IMAGE: &str = "dtma/mcp-server-runtime:dev";

fn request(name: &str, environment: &Value) -> Value {
    json!({"tool_name": name, "docker_image": IMAGE, "environment_variables": environment,
        "mcp_config": {"transport": "stdio", "endpoint_path": "/mcp", "capabilities": ["tools"]}})
}

#[tokio::test(flavor = "multi_thread")]
async fn the_generic_image_runs_npm_and_pypi_packages() {
    let toolbox = Toolbox::start();
    let rest = toolbox.rest();
    let cases = [
        ("everything", json!({"MCP_PACKAGE": "npm:@modelcontextprotocol/server-everything"}), "echo"),
        (
            "files",
            json!({"MCP_PACKAGE": "@modelcontextprotocol/server-filesystem", "MCP_PACKAGE_ARGS": "[\"/tmp\"]"}),
            "list_allowed_directories",
        ),
        (
            "time",
            json!({"MCP_PACKAGE": "pypi:mcp-server-time", "MCP_PACKAGE_ARGS": "--local-timezone Europe/Rome"}),
            "get_current_time",
        ),
    ];
    let mut said = Vec::new();
    for (name, environment, tool) in cases {
        let name = toolbox.named(name);
        rest.post("/tools", &request(&name, &environment)).await.expect(201);
        let payload = json!({"message": "hello", "timezone": "UTC"});
        let payload = if tool == "list_allowed_directories" { json!({}) } else { payload };
        let call = json!({"agentId": "a", "capabilityName": tool, "payload": payload});
        said.push(rest.post(&format!("/tools/{name}/execute"), &call).await.expect(200).text);
        let session = toolbox.mcp(&name).await;
        drop(session);
    }
    assert!(said[0].contains("hello") && said[1].contains("/tmp") && said[2].contains("UTC"), "{said:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_package_that_is_not_baked_in_is_named_with_those_that_are() {
    let toolbox = Toolbox::start();
    let (name, rest) = (toolbox.named("absent"), toolbox.rest());
    let body = request(&name, &json!({"MCP_PACKAGE": "npm:left-pad"}));
    rest.post("/tools?wait=false", &body).await.expect(202);
    let line = "mcp-server-runtime: the package npm:left-pad is not in this image; available are \
                npm:@modelcontextprotocol/server-everything";
    eventually("its log says why", Duration::from_secs(60), || async {
        let logs = rest.get(&format!("/mcp/servers/{name}/logs?tail=20")).await.text;
        if logs.contains(line) { Ok(()) } else { Err(logs) }
    })
    .await;
}
