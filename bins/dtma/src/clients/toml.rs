//! The files that are TOML: comments, order and layout of everything that is not ours stay.

use super::Client;
use super::decide::{Order, Outcome, Step, decide};
use super::entry::{Entry, Field, OURS};
use crate::exit::Exit;
use crate::failure::Failure;
use serde_json::Value;
use toml_edit::{Array, DocumentMut, InlineTable, Item, Table, TableLike, TomlError};

pub(super) fn change(client: &Client, file: &str, text: &str, order: &Order<'_>) -> Result<Outcome, Failure> {
    let mut document: DocumentMut = text.parse().map_err(|error| unreadable(file, text, &error))?;
    let present = entries(&document, file, client.section)?;
    let (steps, outcome) = decide(file, &present, order)?;
    if !steps.is_empty() {
        carry_out(&mut document, file, client.section, &steps)?;
    }
    Ok(Outcome { text: document.to_string(), ..outcome })
}

fn unreadable(file: &str, text: &str, error: &TomlError) -> Failure {
    let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().map_or(0, |line| line.chars().count()) + 1;
    let message = error.message().lines().next().unwrap_or_default().to_owned();
    Failure::new(Exit::Usage, format!("{file}:{line}:{column} is not TOML")).cause(message)
}

fn wrong(file: &str, section: &str) -> Failure {
    Failure::new(Exit::Usage, format!("{file} is not such a file: {section} is not a table"))
        .hint("mend it, or name another file with --file; nothing was written")
}

fn entries(document: &DocumentMut, file: &str, section: &str) -> Result<Vec<(String, Value)>, Failure> {
    let Some(item) = document.get(section) else { return Ok(Vec::new()) };
    let servers = item.as_table_like().ok_or_else(|| wrong(file, section))?;
    Ok(servers.iter().map(|(key, item)| (key.to_owned(), value(item))).collect())
}

/// As far as an entry of ours can be told by it.
fn value(item: &Item) -> Value {
    if let Some(table) = item.as_table_like() {
        return Value::Object(table.iter().map(|(key, item)| (key.to_owned(), value(item))).collect());
    }
    if let Some(list) = item.as_array() {
        return list.iter().map(|one| value(&Item::Value(one.clone()))).collect();
    }
    item.as_str().map_or(Value::Null, Value::from)
}

fn carry_out(
    document: &mut DocumentMut,
    file: &str,
    section: &str,
    steps: &[Step<'_>],
) -> Result<(), Failure> {
    let item = document.entry(section).or_insert_with(|| {
        let mut table = Table::new();
        // Its head says nothing that those of the servers do not.
        table.set_implicit(true);
        Item::Table(table)
    });
    let inline = item.is_inline_table();
    let servers = item.as_table_like_mut().ok_or_else(|| wrong(file, section))?;
    for step in steps {
        match step {
            Step::Put(entry) => put(servers, entry, inline),
            Step::Renew(entry) => {
                if let Some(present) = servers.get_mut(&entry.key).and_then(Item::as_table_like_mut) {
                    renew(present, entry);
                }
            }
            Step::Remove(key) => drop(servers.remove(key)),
        }
    }
    if servers.is_empty() {
        document.remove(section);
    }
    Ok(())
}

fn put(servers: &mut dyn TableLike, entry: &Entry, inline: bool) {
    let fields = entry.fields.iter().map(|(name, field)| (*name, written(field)));
    let item = if inline {
        Item::Value(fields.collect::<InlineTable>().into())
    } else {
        let mut table = Table::new();
        table.extend(fields);
        Item::Table(table)
    };
    servers.insert(&entry.key, item);
}

fn renew(present: &mut dyn TableLike, entry: &Entry) {
    for name in OURS {
        let wanted = entry.fields.iter().find(|(field, _)| *field == name).map(|(_, field)| field);
        match (wanted, present.get_mut(name)) {
            (None, _) => drop(present.remove(name)),
            (Some(field), Some(item)) if value(item) == field.value() => {}
            (Some(field), Some(item)) => *item = written(field).into(),
            (Some(field), None) => drop(present.insert(name, written(field).into())),
        }
    }
}

fn written(field: &Field) -> toml_edit::Value {
    match field {
        Field::Text(text) => text.as_str().into(),
        Field::List(texts) => texts.iter().collect::<Array>().into(),
        Field::Table(pairs) => {
            pairs.iter().map(|(name, text)| (*name, text.as_str())).collect::<InlineTable>().into()
        }
    }
}
