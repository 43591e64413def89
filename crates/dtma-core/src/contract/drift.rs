//! What differs between a contract and what a server offers now, in lines that a person can judge.

use super::{Contract, pinned_tools};
use crate::change::FieldChange;
use serde_json::Value;
use std::collections::BTreeSet;

/// Most characters of a value that a line shows.
const SHOWN: usize = 200;

/// One tool that is not what was approved.
#[derive(Debug, Clone, PartialEq)]
pub struct Drift {
    /// Its name.
    pub tool: String,
    /// What became of it.
    pub kind: Kind,
}

/// What became of a tool.
#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    /// It was not there.
    Added,
    /// It is not there any more.
    Removed,
    /// It is another, in these places.
    Changed(Vec<FieldChange>),
}

impl Kind {
    /// The word on the wire.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Removed => "removed",
            Self::Changed(_) => "changed",
        }
    }
}

impl Drift {
    /// The lines of it: the tool, and a line for each field that differs.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let name = Value::from(self.tool.as_str());
        match &self.kind {
            Kind::Added => vec![format!("+ tool {name} is new")],
            Kind::Removed => vec![format!("- tool {name} is gone")],
            Kind::Changed(fields) => {
                let head = std::iter::once(format!("~ tool {name} is another"));
                head.chain(fields.iter().map(line)).collect()
            }
        }
    }
}

fn line(field: &FieldChange) -> String {
    let place = &field.path;
    match (&field.from, &field.to) {
        (None, Some(to)) => format!("    {place}: new, {}", shown(to)),
        (Some(from), None) => format!("    {place}: gone, was {}", shown(from)),
        (Some(from), Some(to)) => format!("    {place}: {} -> {}", shown(from), shown(to)),
        (None, None) => format!("    {place}"),
    }
}

fn shown(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(SHOWN) {
        Some((at, _)) => format!("{}…", text.get(..at).unwrap_or_default()),
        None => text,
    }
}

/// Every tool of `raw`, a list as the server sent it, that is not as approved, and those that are missing there; by name.
#[must_use]
pub fn drift(contract: &Contract, raw: &[String]) -> Vec<Drift> {
    let now = pinned_tools(raw);
    let names: BTreeSet<&String> = contract.tools.keys().chain(now.keys()).collect();
    let judge = |name: &String| {
        let kind = match (contract.tools.get(name), now.get(name)) {
            (Some(before), Some(now)) if before == now => return None,
            (Some(before), Some(now)) => Kind::Changed(fields(before, now)),
            (None, _) => Kind::Added,
            (Some(_), None) => Kind::Removed,
        };
        Some(Drift { tool: name.clone(), kind })
    };
    names.into_iter().filter_map(judge).collect()
}

fn fields(before: &str, now: &str) -> Vec<FieldChange> {
    let value = |text: &str| serde_json::from_str::<Value>(text).ok();
    let mut found = Vec::new();
    walk(String::new(), value(before), value(now), &mut found);
    found
}

/// Goes as deep as both sides are objects.
fn walk(path: String, from: Option<Value>, to: Option<Value>, found: &mut Vec<FieldChange>) {
    if from == to {
        return;
    }
    match (from, to) {
        (Some(Value::Object(mut from)), Some(Value::Object(mut to))) => {
            let names: BTreeSet<String> = from.keys().chain(to.keys()).cloned().collect();
            for name in names {
                let at = format!("{path}/{}", name.replace('~', "~0").replace('/', "~1"));
                walk(at, from.remove(&name), to.remove(&name), found);
            }
        }
        (from, to) => found.push(FieldChange { path, from, to }),
    }
}
