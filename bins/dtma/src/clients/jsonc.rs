//! The files that are JSON, with comments and commas at the end where somebody wrote them: only what is ours is written
//! anew, every other byte stays.

use super::Client;
use super::decide::{Order, Outcome, Step, decide};
use super::entry::{Entry, Field, OURS};
use crate::exit::Exit;
use crate::failure::Failure;
use jsonc_parser::ParseOptions;
use jsonc_parser::cst::{CstArray, CstInputValue, CstNode, CstObject, CstObjectProp, CstRootNode};
use jsonc_parser::json;
use serde_json::Value;
use std::collections::BTreeSet;

/// What people write into such files although it is no JSON; anything else is a mistake.
const LENIENT: ParseOptions = ParseOptions {
    allow_comments: true,
    allow_trailing_commas: true,
    allow_loose_object_property_names: false,
    allow_missing_commas: false,
    allow_single_quoted_strings: false,
    allow_hexadecimal_numbers: false,
    allow_unary_plus_numbers: false,
    allow_bare_decimal_point_numbers: false,
    allow_non_finite_numbers: false,
    allow_extended_string_escapes: false,
};
const MARK: char = '\u{feff}';
/// The list of what is asked of the user, and what we ask.
const INPUTS: &str = "inputs";
const INPUT: &str = "dtma-token";

pub(super) fn change(client: &Client, file: &str, text: &str, order: &Order<'_>) -> Result<Outcome, Failure> {
    let (mark, text) = text.strip_prefix(MARK).map_or(("", text), |text| ("\u{feff}", text));
    let root = CstRootNode::parse(text, &LENIENT).map_err(|error| {
        let place = format!("{file}:{}:{}", error.line_display(), error.column_display());
        Failure::new(Exit::Usage, format!("{place} is not JSON")).cause(error.kind().to_string())
    })?;
    let object = root.object_value_or_create().ok_or_else(|| wrong(file, "it", "is not an object"))?;
    let present = entries(&object, file, client.section)?;
    let (steps, outcome) = decide(file, &present, order)?;
    if !steps.is_empty() {
        carry_out(&object, client.section, &steps);
    }
    if client.asks {
        inputs(&object, client.section, file)?;
    }
    Ok(Outcome { text: format!("{mark}{root}"), ..outcome })
}

fn wrong(file: &str, what: &str, is: &str) -> Failure {
    Failure::new(Exit::Usage, format!("{file} is not such a file: {what} {is}"))
        .hint("mend it, or name another file with --file; nothing was written")
}

fn entries(object: &CstObject, file: &str, section: &str) -> Result<Vec<(String, Value)>, Failure> {
    once(object, file)?;
    let Some(property) = object.get(section) else { return Ok(Vec::new()) };
    let servers = property.object_value().ok_or_else(|| wrong(file, section, "is not an object"))?;
    once(&servers, file)?;
    let pair = |property: CstObjectProp| Some((property.decoded_name()?, property.to_serde_value()?));
    Ok(servers.properties().into_iter().filter_map(pair).collect())
}

/// Of two fields with one name nobody knows which one counts.
fn once(object: &CstObject, file: &str) -> Result<(), Failure> {
    let mut seen = BTreeSet::new();
    let names = object.properties().into_iter().filter_map(|property| property.decoded_name());
    match names.into_iter().find(|name| !seen.insert(name.clone())) {
        Some(name) => Err(wrong(file, &crate::output::text::line(&name), "is there twice")),
        None => Ok(()),
    }
}

fn carry_out(object: &CstObject, section: &str, steps: &[Step<'_>]) {
    let servers = object.object_value_or_set(section);
    for step in steps {
        match step {
            Step::Put(entry) => put(&servers, &entry.key, whole(entry)),
            Step::Renew(entry) => {
                if let Some(present) = servers.object_value(&entry.key) {
                    renew(&present, entry);
                }
            }
            Step::Remove(key) => remove(&servers, key),
        }
    }
    if servers.properties().is_empty() {
        remove(object, section);
    }
}

fn put(object: &CstObject, key: &str, value: CstInputValue) {
    match object.get(key) {
        Some(property) => property.set_value(value),
        None => drop(object.append(key, value)),
    }
}

fn remove(object: &CstObject, key: &str) {
    if let Some(property) = object.get(key) {
        property.remove();
    }
}

fn renew(present: &CstObject, entry: &Entry) {
    for name in OURS {
        let wanted = entry.fields.iter().find(|(field, _)| *field == name).map(|(_, field)| field);
        let is = present.get(name).and_then(|property| property.to_serde_value());
        match wanted {
            None => remove(present, name),
            Some(field) if is.as_ref() == Some(&field.value()) => {}
            Some(field) => put(present, name, input(field)),
        }
    }
}

fn whole(entry: &Entry) -> CstInputValue {
    let fields = entry.fields.iter().map(|(name, field)| ((*name).to_owned(), input(field)));
    CstInputValue::Object(fields.collect())
}

fn input(field: &Field) -> CstInputValue {
    let text = |text: &String| CstInputValue::String(text.clone());
    match field {
        Field::Text(value) => text(value),
        Field::List(values) => CstInputValue::Array(values.iter().map(text).collect()),
        Field::Table(pairs) => CstInputValue::Object(
            pairs.iter().map(|(name, value)| ((*name).to_owned(), text(value))).collect(),
        ),
    }
}

/// The token is asked for as long as a server needs it.
fn inputs(object: &CstObject, section: &str, file: &str) -> Result<(), Failure> {
    let is_needed = object
        .get(section)
        .and_then(|servers| servers.to_serde_value())
        .is_some_and(|servers| servers.to_string().contains(&format!("${{input:{INPUT}}}")));
    if object.get(INPUTS).is_some_and(|inputs| inputs.array_value().is_none()) {
        return Err(wrong(file, INPUTS, "is not a list"));
    }
    let list = object.array_value(INPUTS);
    let elements = list.iter().flat_map(CstArray::elements);
    let ours: Vec<_> =
        elements.filter(|one| one.to_serde_value().is_some_and(|one| one["id"] == INPUT)).collect();
    match (is_needed, ours.is_empty()) {
        (true, true) => drop(object.array_value_or_set(INPUTS).append(json!({
            "type": "promptString",
            "id": INPUT,
            "description": "Token for the MCP servers of DTMA",
            "password": true
        }))),
        (false, false) => {
            ours.into_iter().for_each(CstNode::remove);
            if list.is_some_and(|list| list.elements().is_empty()) {
                remove(object, INPUTS);
            }
        }
        (true, false) | (false, true) => {}
    }
    Ok(())
}
