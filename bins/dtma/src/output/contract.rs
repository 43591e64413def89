//! What was approved of a server's tools, and what differs.

use super::ink::Ink;
use super::text::line;
use dtma_client::types::{ContractView, Pinning};

/// All of it, for people.
pub(crate) fn told(view: &ContractView, ink: Ink) -> String {
    let mut told = format!("{}  pinning {}\n", ink.bold(&line(&view.instance_name)), view.pinning);
    let fact = |label: &str, text: String| format!("  {label:<10} {text}\n");
    match &view.approved {
        Some(approved) => {
            told.push_str(&fact("approved", format!("{} by {}", line(&approved.at), line(&approved.by))));
            told.push_str(&fact("hash", line(&approved.hash)));
            told.push_str(&fact("tools", approved.tools.len().to_string()));
        }
        None => told.push_str(&fact("approved", "nothing yet".into())),
    }
    if let Some(at) = &view.offered_at {
        let stale = if view.stale { ", not confirmed since" } else { "" };
        told.push_str(&fact("offered", format!("{}{stale}", line(at))));
    }
    told.push_str(&verdict(view));
    let lines = view.drift.iter().flat_map(|drift| &drift.lines);
    told.extend(lines.map(|text| format!("{}\n", line(text))));
    told
}

fn verdict(view: &ContractView) -> String {
    let kept = view.drift.iter().filter(|drift| drift.quarantined).count();
    match (view.drift.len(), view.pinning, &view.approved) {
        (0, Pinning::Off, _) => "\nnobody looks whether its tools change\n".into(),
        (0, _, None) => String::new(),
        (0, _, Some(_)) => "\nits tools are as approved\n".into(),
        (differ, _, _) if kept > 0 => {
            format!("\n{differ} tool(s) are not as approved, {kept} of them in quarantine:\n")
        }
        (differ, _, _) => format!("\n{differ} tool(s) are not as approved:\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn view(drift: &serde_json::Value) -> ContractView {
        serde_json::from_value(json!({
            "instanceName": "time", "groupId": "g", "pinning": "quarantine", "offeredHash": "b",
            "offeredAt": "2026-11-22T00:00:00Z", "stale": false, "drift": drift,
            "approved": {"hash": "a", "at": "2026-11-21T00:00:00Z", "by": "ann", "configHash": "c", "tools": {"t": "h"}}
        }))
        .unwrap()
    }

    #[test]
    fn what_differs_is_listed_below_what_was_approved() {
        let drift = json!([
            {"tool": "t", "change": "changed", "quarantined": true, "lines": ["~ tool \"t\" is another", "    /description: \"a\" -> \"\u{1b}[2J\""]},
            {"tool": "u", "change": "removed", "quarantined": false, "lines": ["- tool \"u\" is gone"]}
        ]);
        assert_eq!(
            told(&view(&drift), Ink::OFF),
            "\
time  pinning quarantine
  approved   2026-11-21T00:00:00Z by ann
  hash       a
  tools      1
  offered    2026-11-22T00:00:00Z

2 tool(s) are not as approved, 1 of them in quarantine:
~ tool \"t\" is another
    /description: \"a\" -> \"\\u{1b}[2J\"
- tool \"u\" is gone
"
        );
        assert!(told(&view(&json!([])), Ink::OFF).ends_with("\nits tools are as approved\n"));
    }
}
