//! The servers that tests deploy, as documents a person might write, and how to read what became of them.

use dtma_client::types::{GroupView, ServerView};
use serde_json::{Value, json};

/// `server-everything`: echo, sums, long-running operations.
#[must_use]
pub fn everything(name: &str) -> Value {
    json!({"instanceName": name, "image": "dtma/mcp-everything:dev", "transport": "stdio"})
}

/// `server-filesystem` over a volume.
#[must_use]
pub fn filesystem(name: &str) -> Value {
    let mounts = json!([{"type": "volume", "name": "files", "target": "/data"}]);
    json!({"instanceName": name, "image": "dtma/mcp-filesystem:dev", "transport": "stdio", "mounts": mounts})
}

/// `server-memory`, whose memory is a volume.
#[must_use]
pub fn memory(name: &str) -> Value {
    let mounts = json!([{"type": "volume", "name": "memory", "target": "/data"}]);
    json!({"instanceName": name, "image": "dtma/mcp-memory:dev", "transport": "stdio", "mounts": mounts})
}

/// `mcp-server-time`.
#[must_use]
pub fn time(name: &str) -> Value {
    json!({"instanceName": name, "image": "dtma/mcp-server-time:dev", "transport": "stdio"})
}

/// `mcp-server-git` over the repository of its image, which nobody can write to.
#[must_use]
pub fn git(name: &str) -> Value {
    json!({"instanceName": name, "image": "dtma/mcp-server-git:dev", "transport": "stdio"})
}

/// `mcp-server-fetch`, which may fetch what is private, too: nothing else is within its reach.
#[must_use]
pub fn fetch(name: &str) -> Value {
    let command = json!(["/usr/bin/python3", "-m", "mcp_server_fetch", "--allow-private-ips"]);
    json!({"instanceName": name, "image": "dtma/mcp-server-fetch:dev", "transport": "stdio", "command": command})
}

/// The scripted server of `tests/fixtures`: `echo`, `sleep`, progress. Answers come out of order.
#[must_use]
pub fn fixture(name: &str) -> Value {
    json!({"instanceName": name, "image": "dtma/mcp-fixture:dev", "transport": "stdio"})
}

/// A web server that is no MCP server.
#[must_use]
pub fn web(name: &str) -> Value {
    let command = json!(["httpd", "-f", "-p", "8080"]);
    json!({"instanceName": name, "kind": "tool", "image": "dtma/busybox:dev", "port": 8080, "command": command})
}

/// A tool that does nothing for a long time and ends at once when asked.
#[must_use]
pub fn idle(name: &str) -> Value {
    let command = json!(["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 3600 & wait; done"]);
    let health = json!({"settleMs": 100});
    json!({"instanceName": name, "kind": "tool", "image": "dtma/busybox:dev", "command": command, "health": health})
}

/// The same on its group's network.
#[must_use]
pub fn peer(name: &str) -> Value {
    with(idle(name), &json!({"network": "group"}))
}

/// `server` with further fields.
#[must_use]
pub fn with(mut server: Value, fields: &Value) -> Value {
    let object = server.as_object_mut().expect("a server is an object");
    object.extend(fields.as_object().expect("fields are an object").clone());
    server
}

/// `server` that waits for others: `[("memory", "healthy")]`.
#[must_use]
pub fn after(server: Value, dependencies: &[(&str, &str)]) -> Value {
    let one = |(instance, condition): &(&str, &str)| json!({"instance": instance, "condition": condition});
    with(server, &json!({"dependsOn": dependencies.iter().map(one).collect::<Vec<_>>()}))
}

/// The server of that name.
#[must_use]
pub fn server<'a>(group: &'a GroupView, instance: &str) -> &'a ServerView {
    let found = group.servers.iter().find(|server| server.instance_name == instance);
    found.unwrap_or_else(|| panic!("no {instance} in {}", summary(group)))
}

/// Restart counters, by the servers' order.
#[must_use]
pub fn restarts(group: &GroupView) -> Vec<u64> {
    group.servers.iter().map(|server| server.restarts).collect()
}

/// A group in one line, for failures.
#[must_use]
pub fn summary(group: &GroupView) -> String {
    let server = |server: &ServerView| {
        let reason = server.reason.clone().unwrap_or_default();
        format!("{} {} {reason} (restarts {})", server.instance_name, server.phase, server.restarts)
    };
    let servers: Vec<String> = group.servers.iter().map(server).collect();
    format!("{} {} {:?}: {}", group.group_id, group.state, group.trouble, servers.join(", "))
}
