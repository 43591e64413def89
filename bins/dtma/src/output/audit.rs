//! The audit log, a line for each request.

use super::Shape;
use super::ink::{Ink, Mood};
use super::table::{Field, field, number, render, word};
use super::text::line;
use super::time::moment;
use dtma_client::types::{AuditEntryView, AuditOutcome};

const NARROW: &[&str] = &["WHEN", "ACTOR", "ACTION", "WHOM", "OUTCOME", "CODE"];
const WIDE: &[&str] = &["STATUS", "REQUEST", "OPERATION", "PEER", "PATH"];

const EGRESS: &[&str] = &["WHEN", "WHO", "WAY", "TARGET", "OUTCOME", "SENT", "RECEIVED", "REASON"];
const EGRESS_WIDE: &[&str] = &["ADDRESS", "MS"];

/// What servers reached outside.
pub(crate) fn egress(entries: &[AuditEntryView], shape: Shape, ink: Ink) -> String {
    match shape {
        Shape::Name => entries.iter().map(|entry| format!("{}\n", line(&entry.path))).collect(),
        Shape::Table => render(EGRESS, entries.iter().map(passage).collect(), ink),
        Shape::Wide => {
            let rows = entries.iter().map(|entry| [passage(entry), details(entry)].concat());
            render(&[EGRESS, EGRESS_WIDE].concat(), rows.collect(), ink)
        }
    }
}

fn passage(entry: &AuditEntryView) -> Vec<Field> {
    let egress = entry.egress.as_ref();
    vec![
        field(moment(&entry.at)),
        field(whom(entry)),
        field(line(&entry.method)),
        field(line(&entry.path)),
        word(entry.outcome),
        number(egress.map_or(0, |egress| egress.sent)),
        number(egress.map_or(0, |egress| egress.received)),
        maybe(egress.and_then(|egress| egress.reason.as_deref())),
    ]
}

fn details(entry: &AuditEntryView) -> Vec<Field> {
    vec![
        maybe(entry.egress.as_ref().and_then(|egress| egress.address.as_deref())),
        field(entry.duration_ms.map(|took| took.to_string()).unwrap_or_default()),
    ]
}

const CALLS: &[&str] =
    &["WHEN", "ACTOR", "SERVER", "METHOD", "ABOUT", "OUTCOME", "MS", "SENT", "RECEIVED", "CODE"];
const CALLS_WIDE: &[&str] = &["DOOR", "ARGUMENTS"];

/// What agents asked MCP servers for.
pub(crate) fn calls(entries: &[AuditEntryView], shape: Shape, ink: Ink) -> String {
    match shape {
        Shape::Name => entries.iter().map(|entry| format!("{}\n", line(&entry.path))).collect(),
        Shape::Table => render(CALLS, entries.iter().map(call).collect(), ink),
        Shape::Wide => {
            let rows = entries.iter().map(|entry| [call(entry), arguments(entry)].concat());
            render(&[CALLS, CALLS_WIDE].concat(), rows.collect(), ink)
        }
    }
}

fn call(entry: &AuditEntryView) -> Vec<Field> {
    let call = entry.call.as_ref();
    vec![
        field(moment(&entry.at)),
        maybe(entry.actor.as_deref()),
        maybe(entry.instance_name.as_deref()),
        field(line(&entry.method)),
        field(line(&entry.path)),
        word(entry.outcome),
        field(call.map(|call| millis(call.micros)).unwrap_or_default()),
        number(call.map_or(0, |call| call.sent)),
        number(call.map_or(0, |call| call.received)),
        maybe(entry.code.as_deref()),
    ]
}

fn arguments(entry: &AuditEntryView) -> Vec<Field> {
    let call = entry.call.as_ref();
    vec![maybe(call.map(|call| call.door.as_str())), maybe(call.and_then(|call| call.arguments.as_deref()))]
}

/// Tenths of milliseconds: most calls take few.
fn millis(micros: u64) -> String {
    format!("{}.{}", micros / 1000, micros % 1000 / 100)
}

/// The newest first, as the daemon gives them.
pub(crate) fn list(entries: &[AuditEntryView], shape: Shape, ink: Ink) -> String {
    match shape {
        Shape::Name => entries.iter().map(|entry| format!("{}\n", line(&entry.request_id))).collect(),
        Shape::Table => render(NARROW, entries.iter().map(narrow).collect(), ink),
        Shape::Wide => {
            let rows = entries.iter().map(|entry| [narrow(entry), wide(entry)].concat());
            render(&[NARROW, WIDE].concat(), rows.collect(), ink)
        }
    }
}

fn narrow(entry: &AuditEntryView) -> Vec<Field> {
    vec![
        field(moment(&entry.at)),
        maybe(entry.actor.as_deref()),
        field(action(entry)),
        field(whom(entry)),
        word(entry.outcome),
        maybe(entry.code.as_deref()),
    ]
}

fn wide(entry: &AuditEntryView) -> Vec<Field> {
    vec![
        field(entry.status.map(|status| status.to_string()).unwrap_or_default()),
        field(line(&entry.request_id)),
        maybe(entry.operation_id.as_deref()),
        maybe(entry.peer.as_deref()),
        field(line(&format!("{} {}", entry.method, entry.path))),
    ]
}

fn action(entry: &AuditEntryView) -> String {
    let asked_only = if entry.dry_run { " (dry run)" } else { "" };
    format!("{}{asked_only}", line(&entry.action))
}

fn maybe(text: Option<&str>) -> Field {
    field(text.map(line).unwrap_or_default())
}

fn whom(entry: &AuditEntryView) -> String {
    let parts = [&entry.group_id, &entry.instance_name];
    parts.into_iter().flatten().map(|part| line(part)).collect::<Vec<_>>().join("/")
}

/// How many were turned away without a line of their own.
pub(crate) fn left_out(entries: &[AuditEntryView]) -> u64 {
    entries.iter().filter_map(|entry| entry.left_out).sum()
}

impl From<AuditOutcome> for Mood {
    fn from(outcome: AuditOutcome) -> Self {
        match outcome {
            AuditOutcome::Done => Self::Good,
            AuditOutcome::Accepted | AuditOutcome::Interrupted => Self::Busy,
            AuditOutcome::Replayed => Self::Calm,
            AuditOutcome::Refused | AuditOutcome::Denied | AuditOutcome::Failed => Self::Bad,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn who_asked_for_what_and_how_it_ended() {
        let entries: Vec<AuditEntryView> = serde_json::from_value(json!([
            {"seq": 4, "at": "2026-01-01T00:00:01Z", "requestId": "r2", "action": "putGroup", "method": "PUT",
             "path": "/mcp/groups/demo", "groupId": "demo", "idempotencyKey": false, "outcome": "denied",
             "code": "token_unknown", "status": 401, "leftOut": 7},
            {"seq": 2, "at": "2026-01-01T00:00:00Z", "requestId": "r1", "actor": "ann\u{7}", "action": "stopServer",
             "method": "POST", "path": "/mcp/servers/web/stop", "groupId": "demo", "instanceName": "web",
             "idempotencyKey": false, "outcome": "done", "status": 200},
            {"seq": 1, "at": "2026-01-01T00:00:00Z", "requestId": "r0", "actor": "ann", "action": "putGroup",
             "method": "PUT", "path": "/mcp/groups/demo", "groupId": "demo", "idempotencyKey": false,
             "dryRun": true, "outcome": "done", "status": 200}
        ]))
        .unwrap();
        assert_eq!(
            list(&entries, Shape::Table, Ink::OFF),
            "\
WHEN                      ACTOR     ACTION              WHOM      OUTCOME  CODE
2026-01-01T00:00:01.000Z  -         putGroup            demo      denied   token_unknown
2026-01-01T00:00:00.000Z  ann\\u{7}  stopServer          demo/web  done     -
2026-01-01T00:00:00.000Z  ann       putGroup (dry run)  demo      done     -
"
        );
        assert!(list(&entries, Shape::Wide, Ink::OFF).contains("POST /mcp/servers/web/stop"));
        assert_eq!(left_out(&entries), 7);
    }

    #[test]
    fn who_reached_what() {
        let entry = |outcome: &str, egress: serde_json::Value| {
            json!({"seq": 1, "at": "2026-01-01T00:00:00Z", "requestId": "", "action": "egress", "method": "CONNECT",
                "path": "a.example:443", "groupId": "demo", "instanceName": "web", "idempotencyKey": false,
                "outcome": outcome, "egress": egress})
        };
        let through = json!({"replica": 0, "address": "192.0.2.1:443", "sent": 10, "received": 2000});
        let refused = json!({"replica": 0, "reason": "not \u{1b}[2Jlisted", "sent": 0, "received": 0});
        let entries = json!([entry("done", through), entry("denied", refused)]);
        let entries: Vec<AuditEntryView> = serde_json::from_value(entries).unwrap();
        assert_eq!(
            egress(&entries, Shape::Table, Ink::OFF),
            "\
WHEN                      WHO       WAY      TARGET         OUTCOME  SENT  RECEIVED  REASON
2026-01-01T00:00:00.000Z  demo/web  CONNECT  a.example:443  done       10      2000  -
2026-01-01T00:00:00.000Z  demo/web  CONNECT  a.example:443  denied      0         0  not \\u{1b}[2Jlisted
"
        );
        assert!(egress(&entries, Shape::Wide, Ink::OFF).contains("192.0.2.1:443"));
    }

    #[test]
    fn who_asked_which_server_for_what() {
        let entry = |call: serde_json::Value, outcome: &str, code: Option<&str>| {
            json!({"seq": 1, "at": "2026-01-01T00:00:00Z", "requestId": "", "action": "call", "actor": "ann",
                "method": "tools/call", "path": "echo", "instanceName": "time", "idempotencyKey": false,
                "outcome": outcome, "code": code, "call": call})
        };
        let quick = json!({"door": "websocket", "sent": 90, "received": 120, "micros": 1250});
        let loud = json!({"door": "http", "sent": 90, "received": 0, "micros": 30, "arguments": "{\"a\":\"\u{1b}\"}"});
        let entries = json!([entry(quick, "done", None), entry(loud, "failed", Some("client_left"))]);
        let entries: Vec<AuditEntryView> = serde_json::from_value(entries).unwrap();
        assert_eq!(
            calls(&entries, Shape::Table, Ink::OFF),
            "\
WHEN                      ACTOR  SERVER  METHOD      ABOUT  OUTCOME  MS   SENT  RECEIVED  CODE
2026-01-01T00:00:00.000Z  ann    time    tools/call  echo   done     1.2    90       120  -
2026-01-01T00:00:00.000Z  ann    time    tools/call  echo   failed   0.0    90         0  client_left
"
        );
        let wide = calls(&entries, Shape::Wide, Ink::OFF);
        assert!(wide.contains("websocket") && wide.contains("\\u{1b}") && !wide.contains('\u{1b}'), "{wide}");
    }
}
