//! Executing a capability: the tool of an MCP server, or a program in the container.

use super::find::Found;
use crate::app::App;
use crate::error::ApiError;
use crate::routes::exec::{Command, run};
use dtma_api_types::compat::{ExecView, ExecuteRequest, ExecuteView};
use dtma_core::phase::Phase;
use dtma_core::violation::Violation;
use dtma_manager::ManagerError;
use serde_json::{Map, Value, json};
use std::time::Duration;

const DEFAULT_TIME: Duration = Duration::from_secs(30);

/// Executes what is asked for.
///
/// # Errors
/// 400 for what is missing or contradicts itself, 409 when it does not run, 502 when the capability failed.
pub(crate) async fn execute(
    app: &App,
    found: &Found,
    request: ExecuteRequest,
) -> Result<ExecuteView, ApiError> {
    check(found, &request)?;
    let within = request.timeout_ms.map_or(DEFAULT_TIME, Duration::from_millis);
    let capability = request.capability_name.or(request.tool);
    let payload = request.payload.or(request.arguments).unwrap_or_default();
    match (capability, request.command) {
        (Some(name), _) if found.wanted().is_some_and(|server| server.kind.is_mcp()) => {
            call(app, found, &name, payload, within).await
        }
        (Some(name), _) => program(app, found, name, &payload, within).await,
        (None, argv) => {
            let argv = argv.unwrap_or_default();
            let command = Command { argv, stdin: request.stdin, within, at: "/command" };
            Ok(view(run(app, &found.instance, command).await?))
        }
    }
}

fn check(found: &Found, request: &ExecuteRequest) -> Result<(), ApiError> {
    let mut mistakes = Vec::new();
    let capability = request.capability_name.is_some() || request.tool.is_some();
    let mut mistake = |pointer: &str, rule: &str, message: &str| {
        mistakes.push(Violation::new(pointer, rule, message));
    };
    match (capability, &request.command) {
        (false, None) => {
            mistake("/capabilityName", "schema.required", "the field \"capabilityName\" is missing");
        }
        (true, Some(_)) => mistake("/command", "compat.contradiction", "there is a capability and a command"),
        (true, None) | (false, Some(_)) => {}
    }
    if request.capability_name.is_some() && request.agent_id.is_none() {
        mistake("/agentId", "schema.required", "the field \"agentId\" is missing");
    }
    if request.account_tool_instance_id.as_deref().is_some_and(|id| found.account_id() != Some(id)) {
        mistake("/accountToolInstanceId", "compat.mismatch", "the instance of that name bears another id");
    }
    if mistakes.is_empty() { Ok(()) } else { Err(ApiError::Shape(mistakes)) }
}

async fn call(
    app: &App,
    found: &Found,
    tool: &str,
    arguments: Map<String, Value>,
    within: Duration,
) -> Result<ExecuteView, ApiError> {
    let ready = found.status().is_some_and(|server| matches!(server.phase, Phase::Ready { .. }));
    let server = app.manager().mcp(&found.instance).filter(|_| ready);
    let server = server.ok_or_else(|| ManagerError::NotRunning(found.instance.clone()))?;
    let params = json!({"name": tool, "arguments": arguments}).to_string();
    let answer = server.call("tools/call", Some(params.as_bytes()), within).await;
    let answer = answer.map_err(|error| failed(tool, &error.to_string()))?;
    let output: Value =
        serde_json::from_slice(&answer).map_err(|problem| failed(tool, &problem.to_string()))?;
    if output["isError"] == true {
        return Err(failed(tool, output["content"][0]["text"].as_str().unwrap_or("the tool says it failed")));
    }
    Ok(ExecuteView { output, exit_code: 0, stderr: String::new(), truncated: false })
}

async fn program(
    app: &App,
    found: &Found,
    name: String,
    payload: &Map<String, Value>,
    within: Duration,
) -> Result<ExecuteView, ApiError> {
    let argument = (!payload.is_empty()).then(|| Value::from(payload.clone()).to_string());
    let argv = std::iter::once(name.clone()).chain(argument).collect();
    let command = Command { argv, stdin: None, within, at: "/capabilityName" };
    let done = run(app, &found.instance, command).await?;
    if done.exit_code == 0 {
        return Ok(view(done));
    }
    let said = if done.stderr.trim().is_empty() { &done.stdout } else { &done.stderr };
    Err(failed(&name, &format!("exit code {}: {}", done.exit_code, said.trim())))
}

fn failed(capability: &str, why: &str) -> ApiError {
    let short = |text: &str| text.chars().take(2000).collect();
    ApiError::CapabilityFailed(short(capability), short(why))
}

/// JSON when it is JSON, else text.
fn view(done: ExecView) -> ExecuteView {
    let ExecView { exit_code, stdout, stderr, truncated } = done;
    let output = serde_json::from_str(&stdout).unwrap_or(Value::String(stdout));
    ExecuteView { output, exit_code, stderr, truncated }
}
