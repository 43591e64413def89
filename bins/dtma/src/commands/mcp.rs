//! `mcp ls`, `mcp call`.

use super::{arguments, inspect};
use crate::app::{App, server, servers, there_is};
use crate::cli::{McpCallArgs, McpLsArgs};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Shape, mcp as layout};
use dtma_client::Error;
use dtma_client::mcp::McpSession;
use dtma_client::types::{Kind, McpView, ServerView, StatusView};
use serde_json::{Map, Value};

/// JSON-RPC's code for parameters that are wrong.
const INVALID_PARAMS: i64 = -32602;

/// `dtma mcp ls`: what the daemon saw when the servers answered.
pub(super) async fn ls(app: &App, args: &McpLsArgs) -> Result<(), Failure> {
    if args.instance.is_none() && !args.tools {
        return inspect::ls(app).await;
    }
    let status = app.status().await?;
    match &args.instance {
        Some(instance) => one(app, &status, instance),
        None => tools(app, &status),
    }
}

fn tools(app: &App, status: &StatusView) -> Result<(), Failure> {
    let servers: Vec<&ServerView> = servers(status).filter(|server| server.kind == Kind::Mcp).collect();
    app.output.list(&servers, |shape| layout::list(&servers, shape, app.output.ink))?;
    if servers.is_empty() && app.output.is_human() {
        app.output.remark("there is no MCP server yet; dtma up -f FILE deploys a group");
    }
    Ok(())
}

fn one(app: &App, status: &StatusView, instance: &str) -> Result<(), Failure> {
    let server = server(status, instance)?;
    let mcp = about(server)?;
    app.output.list(mcp, |shape| match shape {
        Shape::Name => mcp.tools.iter().map(|tool| crate::output::text::line(&tool.name) + "\n").collect(),
        Shape::Table | Shape::Wide => layout::detail(server, mcp, app.output.ink),
    })
}

fn about(server: &ServerView) -> Result<&McpView, Failure> {
    let name = &server.instance_name;
    match (server.kind, &server.mcp) {
        (_, Some(mcp)) => Ok(mcp),
        (Kind::Tool, None) => {
            Err(Failure::new(Exit::NotFound, format!("{name} is a tool: it does not speak MCP")))
        }
        (Kind::Mcp, None) => {
            let failure =
                Failure::new(Exit::Failed, format!("{name} has not answered yet: it is {}", server.phase));
            Err(failure.hint(format!("dtma status {name} says why, dtma logs {name} what it wrote")))
        }
    }
}

/// `dtma mcp call`.
pub(super) async fn call(app: &App, args: McpCallArgs) -> Result<(), Failure> {
    let given = args.json.as_deref().map(arguments::object).transpose()?.unwrap_or_default();
    let session = McpSession::open(&app.client, &args.instance, args.timeout).await?;
    let outcome = in_session(&session, given, &args).await;
    // The answer counts; a session that cannot be closed times out by itself.
    let _ = session.close().await;
    show(app, &outcome?)
}

async fn in_session(
    session: &McpSession,
    mut arguments: Map<String, Value>,
    args: &McpCallArgs,
) -> Result<Value, Failure> {
    if !args.args.is_empty() {
        let tool = listed(session, args).await?;
        arguments.extend(arguments::typed(&args.args, &tool["inputSchema"])?);
    }
    match session.call_tool(&args.tool, &Value::Object(arguments)).await {
        // This is also how servers say that they have no such tool.
        Err(error @ Error::Rpc { code: INVALID_PARAMS, .. }) => {
            listed(session, args).await?;
            Err(Failure::from(error)
                .hint(format!("dtma mcp ls {} shows what each tool takes", args.instance)))
        }
        answer => Ok(answer?),
    }
}

/// The tool as the server lists it.
async fn listed(session: &McpSession, args: &McpCallArgs) -> Result<Value, Failure> {
    let tools = session.list_tools().await?;
    tools.iter().find(|tool| tool["name"] == args.tool.as_str()).cloned().ok_or_else(|| {
        let known = tools.iter().filter_map(|tool| tool["name"].as_str());
        let message = format!("{} has no tool {}", args.instance, args.tool);
        Failure::new(Exit::NotFound, message).hint(there_is(known))
    })
}

fn show(app: &App, result: &Value) -> Result<(), Failure> {
    app.output.result(result, |_| layout::answer(result))?;
    if result["isError"] == true {
        app.output.remark("the tool reported an error");
        return Err(Failure::Said(Exit::Failed));
    }
    Ok(())
}
