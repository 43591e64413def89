//! What a call to a server that rests waits for: its processes being let go on, or started.

use crate::Args;
use crate::daemon::Daemon;
use crate::report::{Report, median, show};
use anyhow::{Result, bail};
use dtma_client::Mutation;
use dtma_client::mcp::McpSession;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const RESTS: Duration = Duration::from_secs(30);
const AGAIN: Duration = Duration::from_millis(50);

pub(crate) async fn measure(args: &Args, daemon: &Daemon, report: &mut Report) -> Result<()> {
    for (state, idle) in [("paused", json!({"pauseAfterSecs": 1})), ("stopped", json!({"stopAfterSecs": 1}))]
    {
        let group = format!("bench-{state}");
        daemon.client.deploy_group(&wire(&group, state, &idle), &Mutation::default()).await?;
        let session = McpSession::open(&daemon.client, state, RESTS).await?;
        let (mut woken, mut awake) = (Vec::new(), Vec::new());
        for _ in 0..args.rounds {
            until_it_rests(daemon, &group).await?;
            woken.push(call(&session).await?);
            awake.push(call(&session).await?);
        }
        session.close().await?;
        daemon.remove(&group).await?;
        let what = format!("tool call of server-everything that was {state}, against the next one");
        let (woken, awake) = (median(&woken), median(&awake));
        report.line(&what, &show(woken), &show(awake), "");
    }
    Ok(())
}

fn wire(group: &str, name: &str, idle: &Value) -> Value {
    let server =
        json!({"instanceName": name, "image": "dtma/mcp-everything:dev", "transport": "stdio", "idle": idle});
    json!({"groupId": group, "servers": [server]})
}

async fn call(session: &McpSession) -> Result<Duration> {
    let began = Instant::now();
    session.call_tool("echo", &json!({"message": "hello"})).await?;
    Ok(began.elapsed())
}

async fn until_it_rests(daemon: &Daemon, group: &str) -> Result<()> {
    let deadline = Instant::now() + RESTS;
    while Instant::now() < deadline {
        let view = daemon.client.get_group(group).await?;
        if view.servers.iter().all(|server| server.phase.as_str() == "idle") {
            return Ok(());
        }
        tokio::time::sleep(AGAIN).await;
    }
    bail!("{group} does not rest")
}
