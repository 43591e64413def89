//! What a change means: `~ web (replace)` and below it each field that differs; generations of a group.

use super::ink::{Ink, Mood};
use super::table::{Field, field, number, render, word};
use super::text::{line, shorten};
use super::time::since;
use dtma_client::types::{ChangeAction, Fate, FieldDiff, PlanView, RevisionView, ServerDiff};
use jiff::Timestamp;
use serde_json::Value;
use std::fmt::Write;

/// A longer value is cut, unless somebody wants every detail.
const LONGEST_VALUE: usize = 80;

/// Each server that is changed, and how.
pub(crate) fn diff(changes: &[ServerDiff], verbose: bool, ink: Ink) -> String {
    let mut told = String::new();
    for change in changes {
        let (sign, mood) = sign(change.action);
        let head = format!("{sign} {} ({})", line(&change.instance), in_words(change.action));
        let _ = writeln!(told, "{}", ink.paint(mood, &head));
        for field in change.fields.iter().filter(|field| verbose || is_telling(change.action, field)) {
            let _ = writeln!(told, "    {}", one(field, verbose));
        }
    }
    told
}

/// What is new differs in everything; its image says what it is.
fn is_telling(action: ChangeAction, field: &FieldDiff) -> bool {
    match action {
        ChangeAction::Create => field.path == "/image",
        ChangeAction::Replace
        | ChangeAction::Restart
        | ChangeAction::Scale
        | ChangeAction::Update
        | ChangeAction::Remove => true,
    }
}

fn one(field: &FieldDiff, verbose: bool) -> String {
    let most = if verbose { usize::MAX } else { LONGEST_VALUE };
    let shown = |value: &Value| shorten(&line(&value.to_string()), most);
    let path = line(&field.path);
    match (&field.from, &field.to) {
        (Some(from), Some(to)) => format!("{path}: {} -> {}", shown(from), shown(to)),
        (None, Some(to)) => format!("{path}: {}", shown(to)),
        (Some(from), None) => format!("{path}: {} -> (not set)", shown(from)),
        (None, None) => path,
    }
}

fn sign(action: ChangeAction) -> (char, Mood) {
    match action {
        ChangeAction::Create => ('+', Mood::Good),
        ChangeAction::Remove => ('-', Mood::Bad),
        ChangeAction::Replace | ChangeAction::Restart | ChangeAction::Scale | ChangeAction::Update => {
            ('~', Mood::Busy)
        }
    }
}

/// As people are told.
fn in_words(action: ChangeAction) -> &'static str {
    match action {
        ChangeAction::Restart => "restart in place",
        ChangeAction::Create
        | ChangeAction::Replace
        | ChangeAction::Scale
        | ChangeAction::Update
        | ChangeAction::Remove => action.as_str(),
    }
}

/// What the servers that are changed reach, and what reaches them; of all of them where every detail is wanted.
pub(crate) fn exposed(plan: &PlanView, verbose: bool) -> String {
    let is_told = |name: &String| verbose || plan.changes.iter().any(|change| change.instance == *name);
    let mut told = String::new();
    for (name, sentences) in plan.validation.exposed.iter().filter(|(name, _)| is_told(name)) {
        for sentence in sentences {
            let _ = writeln!(told, "  {} {}", line(name), line(sentence));
        }
    }
    if told.is_empty() { told } else { format!("exposed:\n{told}") }
}

/// `1 to create, 2 to replace`.
pub(crate) fn summary(changes: &[ServerDiff]) -> String {
    let count = |action: &ChangeAction| {
        let count = changes.iter().filter(|change| change.action == *action).count();
        (count > 0).then(|| format!("{count} to {}", in_words(*action)))
    };
    ChangeAction::ALL.iter().filter_map(count).collect::<Vec<_>>().join(", ")
}

/// The generations of a group, the oldest first.
pub(crate) fn history(generations: &[RevisionView], now: Timestamp, ink: Ink) -> String {
    let row = |one: &RevisionView| -> Vec<Field> {
        vec![
            field(if one.current { "*" } else { "" }),
            number(one.generation),
            field(format!("{} ago", since(Some(&one.at), now))),
            field(line(&one.author)),
            field(line(&one.cause)),
            word(one.fate),
            field(brief(&one.changes)),
        ]
    };
    let header = ["CURRENT", "GENERATION", "WHEN", "AUTHOR", "CAUSE", "FATE", "CHANGES"];
    render(&header, generations.iter().map(row).collect(), ink)
}

/// `~web +db`.
fn brief(changes: &[ServerDiff]) -> String {
    let one = |change: &ServerDiff| format!("{}{}", sign(change.action).0, line(&change.instance));
    changes.iter().map(one).collect::<Vec<_>>().join(" ")
}

/// Why generations failed, a line each.
pub(crate) fn failures(generations: &[RevisionView]) -> Vec<String> {
    let reason = |one: &RevisionView| {
        one.reason.as_deref().map(|reason| format!("generation {}: {}", one.generation, line(reason)))
    };
    generations.iter().filter_map(reason).collect()
}

impl From<Fate> for Mood {
    fn from(fate: Fate) -> Self {
        match fate {
            Fate::Established => Self::Good,
            Fate::Rolling => Self::Busy,
            Fate::Failed => Self::Bad,
            Fate::Superseded => Self::Calm,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn changes() -> Vec<ServerDiff> {
        serde_json::from_value(json!([
            {"instance": "db", "action": "create", "fields": [
                {"path": "/image", "to": "db:1"}, {"path": "/port", "to": 5432}]},
            {"instance": "notes", "action": "restart", "fields": [
                {"path": "/environment/LEVEL", "to": "2"}]},
            {"instance": "old", "action": "remove"},
            {"instance": "web", "action": "replace", "fields": [
                {"path": "/environment/VERSION", "from": "1", "to": "2"},
                {"path": "/environment/GONE\u{1b}", "from": "x"}]},
            {"instance": "worker", "action": "scale", "fields": [{"path": "/replicas", "from": 1, "to": 3}]}
        ]))
        .unwrap()
    }

    #[test]
    fn each_server_with_what_differs() {
        assert_eq!(
            diff(&changes(), false, Ink::OFF),
            "\
+ db (create)
    /image: \"db:1\"
~ notes (restart in place)
    /environment/LEVEL: \"2\"
- old (remove)
~ web (replace)
    /environment/VERSION: \"1\" -> \"2\"
    /environment/GONE\\u{1b}: \"x\" -> (not set)
~ worker (scale)
    /replicas: 1 -> 3
"
        );
        assert!(diff(&changes(), true, Ink::OFF).contains("/port: 5432"));
        assert_eq!(
            summary(&changes()),
            "1 to create, 1 to replace, 1 to restart in place, 1 to scale, 1 to remove"
        );
    }

    #[test]
    fn what_is_exposed_of_what_is_changed() {
        let exposed = json!({"db": ["reaches a.example:443\u{1b}"], "idle": ["is reached at port 1"]});
        let validation =
            json!({"valid": true, "errors": [], "warnings": [], "effective": {}, "exposed": exposed});
        let plan = json!({"changed": true, "changes": changes(), "validation": validation});
        let mut plan: PlanView = serde_json::from_value(plan).unwrap();
        assert_eq!(super::exposed(&plan, false), "exposed:\n  db reaches a.example:443\\u{1b}\n");
        assert!(super::exposed(&plan, true).contains("  idle is reached at port 1\n"));
        plan.validation.exposed.clear();
        assert_eq!(super::exposed(&plan, true), "");
    }

    #[test]
    fn a_long_value_is_cut_unless_every_detail_is_wanted() {
        let long = "x".repeat(200);
        let field = FieldDiff { path: "/args".into(), from: None, to: Some(json!(long)) };
        assert_eq!(one(&field, false).chars().count(), "/args: ".len() + LONGEST_VALUE);
        assert!(one(&field, true).contains(&long));
    }

    #[test]
    fn generations_in_a_line_each() {
        let one = |generation: u64, fate: &str, current: bool| {
            json!({"generation": generation, "at": "2026-01-01T00:00:00Z", "author": "ann", "cause": "apply",
                   "fate": fate, "current": current, "changes": changes(), "spec": {},
                   "reason": (fate == "failed").then_some("web: exited")})
        };
        let generations: Vec<RevisionView> =
            serde_json::from_value(json!([one(1, "failed", false), one(2, "established", true)])).unwrap();
        assert_eq!(
            history(&generations, "2026-01-01T00:05:00Z".parse().unwrap(), Ink::OFF),
            "\
CURRENT  GENERATION  WHEN    AUTHOR  CAUSE  FATE         CHANGES
-                 1  5m ago  ann     apply  failed       +db ~notes -old ~web ~worker
*                 2  5m ago  ann     apply  established  +db ~notes -old ~web ~worker
"
        );
        assert_eq!(failures(&generations), ["generation 1: web: exited"]);
    }
}
