//! Opening a session that has a process of its own: with one that was kept ready, and without.

use crate::Args;
use crate::daemon::Daemon;
use crate::report::Report;
use anyhow::{Context, Result, bail};
use dtma_client::Mutation;
use dtma_client::mcp::McpSession;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const GROUP: &str = "bench-spare";
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(50);
/// So long nothing is begun before a session comes, on either side.
const LULL: Duration = Duration::from_millis(500);
/// What is measured, and its image.
const SERVERS: [(&str, &str); 2] = [
    ("server-everything", "dtma/mcp-everything:dev"),
    ("mcp-server-time (Python)", "dtma/mcp-server-time:dev"),
];

fn server(name: &str, image: &str, spares: u32) -> Value {
    let session = json!({"mode": "per-session", "spares": spares});
    let resources = json!({"memory": "512MiB", "cpus": 2});
    json!({"instanceName": name, "image": image, "transport": "stdio", "replicas": 0, "session": session,
        "resources": resources})
}

pub(crate) async fn measure(args: &Args, daemon: &Daemon, report: &mut Report) -> Result<()> {
    for (what, image) in SERVERS {
        let servers = [server("kept-ready", image, 1), server("made-anew", image, 0)];
        let group = json!({"groupId": GROUP, "servers": servers});
        daemon.client.deploy_group(&group, &Mutation::default()).await?;
        let (mut with, mut without) = (Vec::new(), Vec::new());
        for round in 0..=args.rounds {
            let (ready, new) = (opened(daemon, "kept-ready").await?, opened(daemon, "made-anew").await?);
            if round > 0 {
                with.push(ready);
                without.push(new);
            }
        }
        daemon.remove(GROUP).await?;
        let what = format!("{what}: a session with a process of its own, with a spare against without");
        report.versus(&what, &with, &without);
    }
    Ok(())
}

/// How long a client waits for its session, when nothing else is under way.
async fn opened(daemon: &Daemon, instance: &str) -> Result<Duration> {
    until_still(daemon).await?;
    let began = Instant::now();
    let session = McpSession::open(&daemon.client, instance, PATIENCE).await?;
    let took = began.elapsed();
    session.close().await?;
    Ok(took)
}

/// Until the spare is frozen and nothing else runs.
async fn until_still(daemon: &Daemon) -> Result<()> {
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        let group = daemon.client.get_group(GROUP).await.context("the group")?;
        let places: Vec<_> = group.servers.iter().flat_map(|server| &server.replica_status).collect();
        if places.len() == 1 && places[0].phase.as_str() == "idle" {
            tokio::time::sleep(LULL).await;
            return Ok(());
        }
        tokio::time::sleep(LOOK).await;
    }
    bail!("the spare did not come up in time")
}
