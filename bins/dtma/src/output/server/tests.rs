//! Layouts, as they appear.

use super::*;
use serde_json::json;

/// A ready MCP server with one tool.
pub(crate) fn time() -> ServerView {
    serde_json::from_value(json!({
        "instanceName": "time", "groupId": "demo", "kind": "mcp", "transport": "stdio",
        "image": "dtma/mcp-server-time:dev", "phase": "ready", "phaseSince": "2026-01-01T00:00:00Z",
        "generation": 1, "network": "none", "restarts": 2, "crashes": 1,
        "container": {"id": "0123456789abcdef", "name": "dtma-0a1b2c3d-demo-time-0"},
        "lastExit": {"at": "2026-01-01T00:00:00Z", "code": 137, "outOfMemory": true, "asked": false, "ranForMs": 61000},
        "mcp": {"endpoint": "/gateway/servers/time/mcp", "protocolVersion": "2025-06-18", "serverName": "mcp-time",
                "serverVersion": "1.0", "capabilities": ["tools"],
                "tools": [{"name": "get_current_time", "description": "Get the time.\nIn a zone.", "inputSchema": {
                    "type": "object", "required": ["timezone"],
                    "properties": {"timezone": {"type": "string", "description": "IANA name"}}}}]}
    }))
    .unwrap()
}

/// A tool that waits.
pub(crate) fn web() -> ServerView {
    serde_json::from_value(json!({
        "instanceName": "web", "groupId": "demo", "kind": "tool", "image": "dtma/busybox:dev", "phase": "waiting",
        "reason": "waiting for time healthy", "generation": 1, "network": "group", "restarts": 0,
        "ports": [{"hostPort": 38080, "containerPort": 8080, "listening": false}]
    }))
    .unwrap()
}

fn now() -> Timestamp {
    "2026-01-01T00:05:00Z".parse().unwrap()
}

#[test]
fn the_narrow_table() {
    let (time, web) = (time(), web());
    assert_eq!(
        list(&[&time, &web], Shape::Table, now(), Ink::OFF),
        "\
GROUP  INSTANCE  KIND  PHASE    CRASHES  SINCE  TOOLS  PORTS
demo   time      mcp   ready          1  5m         1  -
demo   web       tool  waiting        0  -          -  38080->8080 (closed)
"
    );
}

#[test]
fn the_wide_table() {
    let web = web();
    assert_eq!(
        list(&[&web], Shape::Wide, now(), Ink::OFF),
        "\
GROUP  INSTANCE  KIND  PHASE    CRASHES  SINCE  TOOLS  PORTS                 RESTARTS  IMAGE             CONTAINER  GENERATION  REASON
demo   web       tool  waiting        0  -          -  38080->8080 (closed)         0  dtma/busybox:dev  -                   1  waiting for time healthy
"
    );
}

#[test]
fn names_alone() {
    assert_eq!(list(&[&time(), &web()], Shape::Name, now(), Ink::OFF), "time\nweb\n");
}

#[test]
fn one_in_detail() {
    assert_eq!(
        detail(&time(), now(), Ink::OFF),
        "\
time
  group        demo, generation 1
  kind         mcp over stdio
  phase        ready for 5m
  restarts     2, 1 crashes
  last exit    code 137, out of memory, 5m ago, after 61s
  image        dtma/mcp-server-time:dev
  container    0123456789ab (dtma-0a1b2c3d-demo-time-0)
  network      none
  MCP          mcp-time 1.0, protocol 2025-06-18, offers tools
  endpoint     /gateway/servers/time/mcp
  tools        get_current_time
"
    );
}

#[test]
fn what_an_image_says_cannot_reach_the_terminal() {
    let mut server = web();
    server.reason = Some("\u{1b}[2J".into());
    let told = list(&[&server], Shape::Wide, now(), Ink::OFF) + &detail(&server, now(), Ink::OFF);
    assert!(crate::output::text::is_harmless(&told));
}

/// A tool with two replicas, one of which does not answer yet.
fn twins() -> ServerView {
    let mut server = web();
    (server.phase, server.reason, server.replicas) = (PhaseWord::Starting, Some("1 of 2 ready".into()), 2);
    server.ports.clear();
    server.replica_status = serde_json::from_value(json!([
        {"replica": 0, "phase": "ready", "restarts": 1, "generation": 3, "container": {"id": "0123456789abcdef"}},
        {"replica": 1, "phase": "starting", "reason": "nobody listens", "restarts": 0}
    ]))
    .unwrap();
    server
}

#[test]
fn what_sessions_have_for_themselves_is_told_from_replicas() {
    let mut server = time();
    server.replica_status = serde_json::from_value(json!([
        {"replica": 0, "phase": "ready", "restarts": 2},
        {"replica": 1000, "role": "session", "phase": "starting", "restarts": 0},
        {"replica": 1001, "role": "spare", "phase": "idle", "restarts": 0}
    ]))
    .unwrap();
    server.spares = serde_json::from_value(json!({"wanted": 2, "ready": 1})).unwrap();
    let listed = list(&[&server], Shape::Table, now(), Ink::OFF);
    assert!(listed.contains("demo   time/1000  session  starting"), "{listed}");
    assert!(listed.contains("demo   time/1001  spare    idle"), "{listed}");
    let told = detail(&server, now(), Ink::OFF);
    for line in [
        "  replicas     1 of 1 ready, 1 of sessions, 1 of 2 spares ready\n",
        "  time/1000    starting, of a session, 0 restarts\n",
        "  time/1001    idle, a spare, 0 restarts\n",
    ] {
        assert!(told.contains(line), "{told}");
    }
}

#[test]
fn replicas_stand_below_their_server() {
    assert_eq!(
        list(&[&twins()], Shape::Table, now(), Ink::OFF),
        "\
GROUP  INSTANCE  KIND  PHASE     CRASHES  SINCE  TOOLS  PORTS
demo   web       tool  starting        0  -          -  -
demo   web/0     tool  ready           -  -          -  -
demo   web/1     tool  starting        -  -          -  -
"
    );
    assert_eq!(list(&[&twins()], Shape::Name, now(), Ink::OFF), "web\n");
    assert_eq!(reasons(&[&twins()], Ink::OFF), ["web: 1 of 2 ready", "web/1: nobody listens"]);
    let told = detail(&twins(), now(), Ink::OFF);
    for line in [
        "  replicas     1 of 2 ready\n",
        "  web/0        ready, generation 3, container 0123456789ab, 1 restarts\n",
        "  web/1        starting, 0 restarts: nobody listens\n",
    ] {
        assert!(told.contains(line), "{told}");
    }
}
