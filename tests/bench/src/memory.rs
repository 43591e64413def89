//! What the daemon keeps in memory for each MCP server with a shim: 1, 10 and 50 of them, greeted and left alone for a
//! moment.

use crate::Args;
use crate::daemon::Daemon;
use crate::report::Report;
use anyhow::Result;
use dtma_client::Mutation;
use serde_json::{Value, json};
use std::time::Duration;

const SERVERS: [usize; 3] = [1, 10, 50];
/// Until nothing of what a deployment needed is on its way any more.
const REST: Duration = Duration::from_secs(3);

/// The least MCP server that a shell can be.
const SERVER: &str = r#"
while read -r line; do
    id=${line#*\"id\":}; id=${id%%,*}
    case $line in
    *'"initialize"'*) echo "{\"jsonrpc\":\"2.0\",\"id\":$id,\"result\":{\"protocolVersion\":\"2025-06-18\",
        \"capabilities\":{},\"serverInfo\":{\"name\":\"least\",\"version\":\"1\"}}}" | tr -d '\n'; echo ;;
    *'"ping"'*) echo "{\"jsonrpc\":\"2.0\",\"id\":${id%\}},\"result\":{}}" ;;
    esac
done"#;

fn group(number: usize) -> Value {
    let server = json!({"instanceName": format!("least{number}"), "image": "dtma/busybox:dev", "transport": "stdio",
        "command": ["sh", "-c", SERVER], "shim": true});
    json!({"groupId": format!("least{number}"), "servers": [server]})
}

/// Resident and private memory, in kilobytes.
async fn with(args: &Args, servers: usize) -> Result<(u64, u64)> {
    let daemon = Daemon::start(args).await?;
    for number in 0..servers {
        daemon.client.deploy_group(&group(number), &Mutation::default()).await?;
    }
    tokio::time::sleep(REST).await;
    let memory = daemon.memory();
    daemon.end().await?;
    memory
}

pub(crate) async fn measure(args: &Args, report: &mut Report) -> Result<()> {
    let (mut before, (_, mut least)) = (0, with(args, 0).await?);
    for servers in SERVERS {
        let (resident, private) = with(args, servers).await?;
        let further = private.saturating_sub(least) / (servers - before) as u64;
        let text = format!("{:.1} MB ({:.1} private)", resident as f64 / 1024.0, private as f64 / 1024.0);
        let what = format!("daemon: resident memory with {servers} MCP server(s) with a shim");
        report.line(&what, &text, &format!("{further} kB for each further one"), "");
        (before, least) = (servers, private);
    }
    Ok(())
}
