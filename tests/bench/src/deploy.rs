//! Deploying N servers to ready, through the daemon and by raw concurrent calls to the same engine.

use crate::Args;
use crate::daemon::Daemon;
use crate::raw::RawEngine;
use crate::report::Report;
use anyhow::Result;
use dtma_client::Mutation;
use dtma_core::spec::{GroupSpec, NetworkMode, ServerKind, ServerSpec, Transport};
use serde_json::{Value, json};
use std::time::Instant;

/// One kind of server, as the daemon is asked for it and as the raw calls are made from it.
pub(crate) struct Kind {
    what: &'static str,
    wire: fn(&str) -> Value,
    spec: fn(&str) -> Result<ServerSpec>,
}

/// A stdio MCP server without a network, and a tool on its group's network.
const KINDS: [Kind; 2] = [
    Kind { what: "stdio server", wire: stdio_wire, spec: stdio_spec },
    Kind { what: "networked tool", wire: tool_wire, spec: tool_spec },
];

fn stdio_wire(name: &str) -> Value {
    json!({"instanceName": name, "image": "dtma/mcp-fixture:dev", "transport": "stdio"})
}

fn stdio_spec(name: &str) -> Result<ServerSpec> {
    Ok(ServerSpec::new(name.parse()?, ServerKind::Mcp(Transport::Stdio), "dtma/mcp-fixture:dev".into()))
}

fn tool_wire(name: &str) -> Value {
    json!({"instanceName": name, "kind": "tool", "image": "dtma/busybox:dev", "port": 8080,
        "command": ["httpd", "-f", "-p", "8080"], "network": "group"})
}

fn tool_spec(name: &str) -> Result<ServerSpec> {
    let mut spec = ServerSpec::new(name.parse()?, ServerKind::Tool, "dtma/busybox:dev".into());
    spec.port = Some(8080);
    spec.network = Some(NetworkMode::Group);
    spec.command = Some(["httpd", "-f", "-p", "8080"].map(str::to_owned).into());
    Ok(spec)
}

/// A group as the domain sees it.
pub(crate) fn group(name: &str, servers: Vec<ServerSpec>) -> Result<GroupSpec> {
    Ok(GroupSpec::new(name.parse()?, servers))
}

pub(crate) async fn measure(
    args: &Args,
    daemon: &Daemon,
    engine: &RawEngine,
    count: usize,
    report: &mut Report,
) -> Result<()> {
    for kind in KINDS {
        let names: Vec<String> = (0..count).map(|n| format!("bench-{n}")).collect();
        let servers: Vec<Value> = names.iter().map(|name| (kind.wire)(name)).collect();
        let body = json!({"groupId": "bench", "servers": servers});
        let spec = group("bench", names.iter().map(|name| (kind.spec)(name)).collect::<Result<_>>()?)?;
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        // The first round warms both.
        for round in 0..=args.rounds {
            let began = Instant::now();
            daemon.client.deploy_group(&body, &Mutation::default()).await?;
            let took = began.elapsed();
            daemon.remove("bench").await?;
            let raw = engine.deploy(&spec).await?;
            if round > 0 {
                ours.push(took);
                theirs.push(raw);
            }
        }
        let what =
            format!("deploy of {count} {}(s) to ready, against raw concurrent engine calls", kind.what);
        report.versus(&what, &ours, &theirs);
    }
    Ok(())
}
