//! Operations: what was asked of the daemon, and what became of it.

use super::ink::{Ink, Mood};
use super::table::{Field, field, render, word};
use super::text::line;
use super::time::{length, moment, since};
use dtma_client::types::{OperationState, OperationView};
use jiff::Timestamp;
use std::fmt::Write;
use std::time::Duration;

const HEADER: [&str; 7] = ["OPERATION", "KIND", "WHOM", "AUTHOR", "ACCEPTED", "TOOK", "STATE"];

/// Operations, a line each.
pub(crate) fn list(operations: &[OperationView], now: Timestamp, ink: Ink) -> String {
    let row = |one: &OperationView| -> Vec<Field> {
        vec![
            field(line(&one.id)),
            field(one.kind.as_str()),
            field(whom(one)),
            field(line(&one.author)),
            field(format!("{} ago", since(Some(&one.accepted_at), now))),
            field(took(one)),
            word(one.state),
        ]
    };
    render(&HEADER, operations.iter().map(row).collect(), ink)
}

/// One in detail.
pub(crate) fn detail(one: &OperationView, ink: Ink) -> String {
    let mut told = format!("{}  {}\n", ink.bold(&line(&one.id)), state(one, ink));
    let facts = [
        ("kind", one.kind.to_string()),
        ("of", whom(one)),
        ("author", line(&one.author)),
        ("accepted", moment(&one.accepted_at)),
        ("finished", one.finished_at.as_deref().map(moment).unwrap_or_default()),
        ("took", took(one)),
        ("error", one.error.as_deref().map(line).unwrap_or_default()),
    ];
    for (label, said) in facts.into_iter().filter(|(_, said)| !said.is_empty()) {
        let _ = writeln!(told, "  {label:<12} {said}");
    }
    told
}

fn state(one: &OperationView, ink: Ink) -> String {
    ink.paint(Mood::from(one.state), one.state.as_str())
}

fn whom(one: &OperationView) -> String {
    match &one.instance_name {
        Some(instance) => format!("{}/{}", line(&one.group_id), line(instance)),
        None => line(&one.group_id),
    }
}

fn took(one: &OperationView) -> String {
    let end = one.finished_at.as_deref().and_then(|at| at.parse::<Timestamp>().ok());
    let Some((begin, end)) = one.accepted_at.parse::<Timestamp>().ok().zip(end) else {
        return String::new();
    };
    length(Duration::try_from(end.duration_since(begin)).unwrap_or_default())
}

impl From<OperationState> for Mood {
    fn from(state: OperationState) -> Self {
        match state {
            OperationState::Running => Self::Busy,
            OperationState::Done => Self::Good,
            OperationState::Failed => Self::Bad,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn failed() -> OperationView {
        serde_json::from_value(json!({
            "id": "01K9", "kind": "restart", "groupId": "demo", "instanceName": "web", "author": "ann",
            "acceptedAt": "2026-01-01T00:00:00Z", "finishedAt": "2026-01-01T00:00:07Z", "state": "failed",
            "error": "it exited\n\u{1b}[2J"}))
        .unwrap()
    }

    #[test]
    fn a_line_each() {
        let running = OperationView {
            kind: dtma_client::types::OperationKind::Apply,
            instance_name: None,
            finished_at: None,
            state: OperationState::Running,
            ..failed()
        };
        assert_eq!(
            list(&[running, failed()], "2026-01-01T00:05:00Z".parse().unwrap(), Ink::OFF),
            "\
OPERATION  KIND     WHOM      AUTHOR  ACCEPTED  TOOK  STATE
01K9       apply    demo      ann     5m ago    -     running
01K9       restart  demo/web  ann     5m ago    7s    failed
"
        );
    }

    #[test]
    fn one_in_full() {
        assert_eq!(
            detail(&failed(), Ink::OFF),
            "\
01K9  failed
  kind         restart
  of           demo/web
  author       ann
  accepted     2026-01-01T00:00:00.000Z
  finished     2026-01-01T00:00:07.000Z
  took         7s
  error        it exited\\n\\u{1b}[2J
"
        );
    }
}
