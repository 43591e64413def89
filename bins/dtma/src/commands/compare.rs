//! What lies between two generations that do not follow each other. What a change did to a server is said by the
//! daemon; which fields differ is read from the two specs.

use dtma_client::types::{ChangeAction, FieldDiff, RevisionView, ServerDiff};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};

/// What changed between the generations at two places of a history.
pub(super) fn between(kept: &[RevisionView], from: usize, to: usize) -> Vec<ServerDiff> {
    if from + 1 == to {
        return kept[to].changes.clone();
    }
    let passed = &kept[from.min(to)..=from.max(to)];
    let actions = passed.iter().skip(1).flat_map(|one| &one.changes);
    let mut strongest: BTreeMap<&str, ChangeAction> = BTreeMap::new();
    for change in actions {
        let action = strongest.entry(&change.instance).or_insert(change.action);
        *action = stronger(*action, change.action);
    }
    let (before, after) = (servers(&kept[from].spec), servers(&kept[to].spec));
    let names: BTreeSet<&str> = before.keys().chain(after.keys()).copied().collect();
    let one = |name: &str| {
        let action = strongest.get(name).copied().unwrap_or(ChangeAction::Update);
        compared(name, before.get(name).copied(), after.get(name).copied(), action)
    };
    names.into_iter().filter_map(one).collect()
}

/// What two changes, one after the other, come to for a server that is there before and after.
fn stronger(one: ChangeAction, other: ChangeAction) -> ChangeAction {
    let rank = |action: ChangeAction| match action {
        ChangeAction::Update => 0,
        ChangeAction::Scale => 1,
        ChangeAction::Restart => 2,
        ChangeAction::Replace | ChangeAction::Create | ChangeAction::Remove => 3,
    };
    match rank(one).max(rank(other)) {
        0 => ChangeAction::Update,
        1 => ChangeAction::Scale,
        2 => ChangeAction::Restart,
        _ => ChangeAction::Replace,
    }
}

/// The servers of a spec in the daemon's own words, by name.
fn servers(spec: &Value) -> BTreeMap<&str, &Value> {
    let servers = spec["servers"].as_array().into_iter().flatten();
    servers.filter_map(|server| Some((server["instance"].as_str()?, server))).collect()
}

fn compared(
    name: &str,
    before: Option<&Value>,
    after: Option<&Value>,
    action: ChangeAction,
) -> Option<ServerDiff> {
    let nothing = Value::Object(Map::new());
    let mut fields = Vec::new();
    let action = match (before, after) {
        (Some(_), None) => ChangeAction::Remove,
        (before, Some(after)) => {
            walk(String::new(), before.unwrap_or(&nothing), after, &mut fields);
            if before.is_none() { ChangeAction::Create } else { action }
        }
        (None, None) => return None,
    };
    let differs = action == ChangeAction::Remove || !fields.is_empty();
    differs.then(|| ServerDiff { instance: name.to_owned(), action, fields })
}

/// Goes as deep as both sides are objects; a duration, which is an object of two numbers, is one value.
fn walk(path: String, from: &Value, to: &Value, found: &mut Vec<FieldDiff>) {
    match (from, to) {
        (Value::Object(before), Value::Object(after)) if !before.contains_key("nanos") => {
            let keys: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
            for key in keys {
                let step = format!("{path}/{}", key.replace('~', "~0").replace('/', "~1"));
                let side = |of: &Map<String, Value>| of.get(key).cloned().unwrap_or_default();
                walk(step, &side(before), &side(after), found);
            }
        }
        (from, to) => {
            let (from, to) = (said(from), said(to));
            if from != to {
                found.push(FieldDiff { path, from, to });
            }
        }
    }
}

/// A value as people write it; nothing where it says no more than its absence does.
fn said(value: &Value) -> Option<Value> {
    let part = |name: &str| value.get(name).and_then(Value::as_u64);
    match value {
        Value::Null => None,
        Value::Array(items) if items.is_empty() => None,
        Value::Object(fields) if fields.is_empty() => None,
        Value::Object(_) => match (part("secs"), part("nanos")) {
            (Some(secs), Some(nanos)) => Some(format!("{} ms", secs * 1000 + nanos / 1_000_000).into()),
            (None, _) | (_, None) => Some(value.clone()),
        },
        Value::Array(_) | Value::Bool(_) | Value::Number(_) | Value::String(_) => Some(value.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn revision(generation: u64, servers: &Value, changes: &Value) -> RevisionView {
        serde_json::from_value(json!({"generation": generation, "at": "", "author": "a", "cause": "apply",
            "fate": "established", "current": false, "changes": changes, "spec": {"servers": servers}}))
        .unwrap()
    }

    fn web(version: &str, replicas: u32) -> Value {
        json!({"instance": "web", "environment": {"V": version}, "replicas": replicas, "args": [],
               "grace": {"secs": u64::from(replicas), "nanos": 5_000_000}})
    }

    fn kept() -> Vec<RevisionView> {
        let change = |action: &str| json!([{"instance": "web", "action": action}]);
        vec![
            revision(1, &json!([web("1", 1)]), &change("create")),
            revision(2, &json!([web("2", 1), {"instance": "db", "image": "x"}]), &change("replace")),
            revision(3, &json!([web("2", 3)]), &change("scale")),
        ]
    }

    fn lines(changes: &[ServerDiff]) -> Vec<String> {
        let field = |field: &FieldDiff| {
            let side = |value: &Option<Value>| value.as_ref().map_or("-".into(), Value::to_string);
            format!("{} {}>{}", field.path, side(&field.from), side(&field.to))
        };
        let line = |change: &ServerDiff| {
            let fields: Vec<String> = change.fields.iter().map(field).collect();
            format!("{} {}: {}", change.instance, change.action, fields.join(", "))
        };
        changes.iter().map(line).collect()
    }

    #[test]
    fn over_several_generations_only_what_differs_in_the_end_counts() {
        assert_eq!(
            lines(&between(&kept(), 0, 2)),
            ["web replace: /environment/V \"1\">\"2\", /grace \"1005 ms\">\"3005 ms\", /replicas 1>3"]
        );
    }

    #[test]
    fn backwards_what_was_added_goes() {
        assert_eq!(
            lines(&between(&kept(), 1, 0)),
            ["db remove: ", "web replace: /environment/V \"2\">\"1\""]
        );
        assert_eq!(
            lines(&between(&kept(), 2, 1)),
            [
                "db create: /image \"x\">-".replace("\"x\">-", "->\"x\"") + ", /instance ->\"db\"",
                "web scale: /grace \"3005 ms\">\"1005 ms\", /replicas 3>1".to_owned()
            ]
        );
    }

    #[test]
    fn neighbours_are_compared_by_the_daemon() {
        assert_eq!(lines(&between(&kept(), 1, 2)), ["web scale: "]);
        assert_eq!(between(&kept(), 1, 1), []);
    }
}
