//! What a change of a group's spec means for each of its servers, for people to read before and after.

use crate::graph::Graph;
use crate::hash::shape;
use crate::id::InstanceName;
use crate::record::{Previous, ServerRecord};
use crate::spec::{GroupSpec, ServerSpec, UpdateOrder};
use serde_json::Value;
use std::collections::BTreeSet;

/// What happens to one server.
#[derive(Debug, Clone, PartialEq)]
pub struct ServerChange {
    /// The server.
    pub instance: InstanceName,
    /// What happens to it.
    pub kind: ChangeKind,
    /// Which parts of its spec differ.
    pub fields: Vec<FieldChange>,
}

/// What happens to a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeKind {
    /// It is new.
    Create,
    /// Its containers are replaced.
    Replace,
    /// Its processes begin anew in the containers they are in.
    Restart,
    /// It gets more or fewer replicas.
    Scale,
    /// It is treated differently; its containers stay.
    Update,
    /// It goes.
    Remove,
}

impl ChangeKind {
    /// The word on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Replace => "replace",
            Self::Restart => "restart",
            Self::Scale => "scale",
            Self::Update => "update",
            Self::Remove => "remove",
        }
    }
}

/// One difference.
#[derive(Debug, Clone, PartialEq)]
pub struct FieldChange {
    /// JSON pointer into the server's spec.
    pub path: String,
    /// Before, absent when it was not there.
    pub from: Option<Value>,
    /// After, absent when it is gone.
    pub to: Option<Value>,
}

/// Every server that `to` treats differently from `from`, by name. Whether containers are replaced is known only
/// where both were rendered; see [`rendered`].
#[must_use]
pub fn between(from: Option<&GroupSpec>, to: &GroupSpec) -> Vec<ServerChange> {
    compare(from, to, |before, after| {
        let ServerSpec { replicas, session, update, pinning, idle, .. } = *after;
        let same = ServerSpec { replicas, session, update, pinning, idle, ..before.clone() };
        (same != *after).then_some(ChangeKind::Replace)
    })
}

/// The same for two rendered generations. Containers that an earlier version made are replaced even so.
#[must_use]
pub fn rendered(from: &Previous, to: &Previous) -> Vec<ServerChange> {
    let graph = Graph::unchecked(&to.spec.servers);
    compare(Some(&from.spec), &to.spec, |_, after| {
        let (before, now) = (from.servers.get(&after.instance), to.servers.get(&after.instance));
        if before.map(|server| &server.config_hash) == now.map(|server| &server.config_hash) {
            return None;
        }
        let shape = |server: Option<&ServerRecord>| shape(&server?.config);
        let alone = after.update_order() == UpdateOrder::StopFirst && !graph.runs_once(&after.instance);
        let renewed = alone && shape(now).is_some() && shape(now) == shape(before);
        Some(if renewed { ChangeKind::Restart } else { ChangeKind::Replace })
    })
}

fn compare(
    from: Option<&GroupSpec>,
    to: &GroupSpec,
    touches: impl Fn(&ServerSpec, &ServerSpec) -> Option<ChangeKind>,
) -> Vec<ServerChange> {
    let of =
        |spec: &GroupSpec| spec.servers.iter().map(|server| server.instance.clone()).collect::<BTreeSet<_>>();
    let names = from.map(of).unwrap_or_default().union(&of(to)).cloned().collect::<Vec<_>>();
    let change = |instance: InstanceName| {
        let before = from.and_then(|from| from.server(&instance));
        let after = to.server(&instance);
        let kind = match (before, after) {
            (None, None) => return None,
            (None, Some(_)) => ChangeKind::Create,
            (Some(_), None) => ChangeKind::Remove,
            (Some(before), Some(after)) => match touches(before, after) {
                Some(kind) => kind,
                None if before == after => return None,
                None if before.replicas != after.replicas => ChangeKind::Scale,
                None => ChangeKind::Update,
            },
        };
        let fields = if after.is_some() { fields(before, after) } else { Vec::new() };
        Some(ServerChange { instance, kind, fields })
    };
    names.into_iter().filter_map(change).collect()
}

fn fields(before: Option<&ServerSpec>, after: Option<&ServerSpec>) -> Vec<FieldChange> {
    let json = |spec: Option<&ServerSpec>| {
        spec.and_then(|spec| serde_json::to_value(spec).ok())
            .unwrap_or_else(|| Value::Object(Default::default()))
    };
    let mut found = Vec::new();
    walk("", json(before), json(after), &mut found);
    found
}

/// Goes as deep as both sides are objects; a duration, which is an object of two numbers, is one value.
fn walk(path: &str, from: Value, to: Value, found: &mut Vec<FieldChange>) {
    if from == to {
        return;
    }
    match (from, to) {
        (Value::Object(mut from), Value::Object(to)) if !from.contains_key("nanos") => {
            for (key, after) in to {
                let before = from.remove(&key).unwrap_or_default();
                walk(&format!("{path}/{}", escaped(&key)), before, after, found);
            }
            for (key, before) in from {
                walk(&format!("{path}/{}", escaped(&key)), before, Value::Null, found);
            }
        }
        (from, to) => {
            let present = |value: Value| (!is_nothing(&value)).then_some(value);
            let (from, to) = (present(from), present(to));
            if from != to {
                found.push(FieldChange { path: path.to_owned(), from, to });
            }
        }
    }
}

/// What says no more than an absent field does.
fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

/// RFC 6901.
fn escaped(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::ServerKind;

    fn group(servers: Vec<ServerSpec>) -> GroupSpec {
        GroupSpec::new("g".parse().unwrap(), servers)
    }

    fn server(name: &str) -> ServerSpec {
        ServerSpec::new(name.parse().unwrap(), ServerKind::Tool, "i".into())
    }

    #[track_caller]
    fn check(from: ServerSpec, to: ServerSpec, expected: &str) {
        let changes = between(Some(&group(vec![from])), &group(vec![to]));
        let text = |value: &Option<Value>| value.as_ref().map_or("-".to_owned(), ToString::to_string);
        let line = |change: &ServerChange| {
            let fields =
                change.fields.iter().map(|f| format!("{} {}>{}", f.path, text(&f.from), text(&f.to)));
            format!("{} {}", change.kind.as_str(), fields.collect::<Vec<_>>().join(" "))
        };
        assert_eq!(changes.iter().map(line).collect::<Vec<_>>().join("; "), expected);
    }

    #[test]
    fn differences_are_named_by_their_place() {
        let mut changed = server("a");
        check(server("a"), changed.clone(), "");
        changed.environment.insert("A/B".to_owned(), "1".to_owned());
        check(server("a"), changed.clone(), "replace /environment/A~1B ->\"1\"");
        check(changed, server("a"), "replace /environment/A~1B \"1\">-");
        check(server("a"), ServerSpec { replicas: 3, ..server("a") }, "scale /replicas 1>3");
    }

    #[test]
    fn servers_come_and_go() {
        let changes = between(Some(&group(vec![server("a")])), &group(vec![server("b")]));
        let kinds: Vec<_> = changes.iter().map(|change| (change.instance.as_str(), change.kind)).collect();
        assert_eq!(kinds, [("a", ChangeKind::Remove), ("b", ChangeKind::Create)]);
        assert!(
            between(None, &group(vec![server("b")]))[0].fields.iter().any(|field| field.path == "/image")
        );
    }
}
