//! `mcp ls` of all servers, `mcp inspect`, `mcp approve`.

use crate::app::{App, there_is};
use crate::cli::{McpApproveArgs, McpInspectArgs};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::text::line;
use crate::output::{Shape, contract, offer as layout};
use dtma_client::DiscoveryQuery;
use dtma_client::types::{ApproveRequest, ContractView, DiscoveredView};
use serde_json::Value;

/// `dtma mcp ls`: every server and how much it offers.
pub(super) async fn ls(app: &App) -> Result<(), Failure> {
    let servers = app.client.get_mcp_servers_discovery(&DiscoveryQuery::default()).await?.servers;
    let ink = app.output.ink;
    app.output.list(&plain(&servers)?, |shape| layout::list(&servers, shape, ink))?;
    if app.output.is_human() {
        if servers.is_empty() {
            app.output.remark("there is no MCP server yet; dtma up -f FILE deploys a group");
        }
        for server in servers.iter().filter(|server| server.contract_drift > 0) {
            let name = line(&server.instance_name);
            app.output.remark(&format!(
                "{name}: {} tool(s) are not as approved; dtma mcp inspect {name} --contract",
                server.contract_drift
            ));
        }
    }
    Ok(())
}

/// `dtma mcp inspect`.
pub(super) async fn inspect(app: &App, args: &McpInspectArgs) -> Result<(), Failure> {
    if args.contract {
        let view = app.client.get_mcp_server_contract(&args.instance).await?;
        return app.output.list(&view, |_| contract::told(&view, app.output.ink));
    }
    let server = one(app, &args.instance).await?;
    let (now, ink) = (app.clock.now(), app.output.ink);
    app.output.list(&plain(&server)?, |shape| match shape {
        Shape::Name => layout::names(&server.tools).iter().map(|name| line(name) + "\n").collect(),
        Shape::Table | Shape::Wide => layout::detail(&server, now, ink),
    })
}

async fn one(app: &App, instance: &str) -> Result<DiscoveredView, Failure> {
    let mut servers = app.client.get_mcp_servers_discovery(&DiscoveryQuery::default()).await?.servers;
    match servers.iter().position(|server| server.instance_name == instance) {
        Some(at) => Ok(servers.swap_remove(at)),
        None => {
            let known = servers.iter().map(|server| server.instance_name.as_str());
            let failure = Failure::new(Exit::NotFound, format!("there is no MCP server {instance}"));
            Err(failure.hint(there_is(known)))
        }
    }
}

/// Values as every format can print them.
fn plain(value: &impl serde::Serialize) -> Result<Value, Failure> {
    serde_json::to_value(value)
        .map_err(|error| Failure::new(Exit::Failed, "the answer cannot be printed").cause(error.to_string()))
}

/// `dtma mcp approve`: of what was seen, and nothing else.
pub(super) async fn approve(app: &App, args: McpApproveArgs) -> Result<(), Failure> {
    let before = app.client.get_mcp_server_contract(&args.instance).await?;
    for told in seen(&before, args.tool.as_deref()) {
        app.output.remark(&told);
    }
    let request = ApproveRequest { tool: args.tool, hash: before.offered_hash };
    let now = app.client.approve_mcp_server_contract(&args.instance, &request).await?;
    app.output.result(&now, |_| contract::told(&now, app.output.ink))
}

fn seen(contract: &ContractView, tool: Option<&str>) -> Vec<String> {
    let drift = contract.drift.iter().filter(|drift| tool.is_none_or(|tool| drift.tool == tool));
    drift.flat_map(|drift| &drift.lines).map(|told| line(told)).collect()
}
