//! What is to be done to a file that has these entries: pure, and the same for every syntax.

use super::Aim;
use super::entry::{Daemon, Entry};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::text::line;
use serde_json::Value;

/// What is ordered.
#[derive(Debug)]
pub(crate) enum Order<'a> {
    /// These entries are to be there.
    Put { daemon: &'a Daemon<'a>, entries: &'a [Entry], force: bool },
    /// The entries of this daemon are to go: those that lead to one of these, or all.
    Take { daemon: &'a Daemon<'a>, aims: Option<&'a [Aim]> },
}

/// What became of it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// The file's new text.
    pub(crate) text: String,
    pub(crate) added: Vec<String>,
    pub(crate) replaced: Vec<String>,
    pub(crate) unchanged: Vec<String>,
    pub(crate) removed: Vec<String>,
    /// What of this daemon other entries lead to.
    pub(crate) others: Vec<(String, Aim)>,
}

/// One change of a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step<'a> {
    /// A new entry, or one that is not ours and gives way.
    Put(&'a Entry),
    /// One of ours: what its user added stays.
    Renew(&'a Entry),
    Remove(String),
}

/// The steps that lead to what is ordered, and what they come to.
pub(super) fn decide<'a>(
    file: &str,
    present: &[(String, Value)],
    order: &Order<'a>,
) -> Result<(Vec<Step<'a>>, Outcome), Failure> {
    match order {
        Order::Put { daemon, entries, force } => {
            let strange = strange(daemon, present, entries);
            match strange.as_slice() {
                [] => Ok(put(daemon, present, entries)),
                _ if *force => Ok(put(daemon, present, entries)),
                names => Err(taken(file, names)),
            }
        }
        Order::Take { daemon, aims } => Ok(take(daemon, present, *aims)),
    }
}

fn found<'a>(present: &'a [(String, Value)], key: &str) -> Option<&'a Value> {
    present.iter().find(|(name, _)| name == key).map(|(_, value)| value)
}

fn strange<'a>(daemon: &Daemon<'_>, present: &[(String, Value)], entries: &'a [Entry]) -> Vec<&'a str> {
    let is_strange = |entry: &&Entry| {
        let there = found(present, &entry.key);
        there.is_some_and(|value| daemon.leads_to(value).as_ref() != Some(&entry.aim))
    };
    entries.iter().filter(is_strange).map(|entry| entry.key.as_str()).collect()
}

fn taken(file: &str, names: &[&str]) -> Failure {
    let names: Vec<String> = names.iter().map(|name| line(name)).collect();
    let message = format!("{file} has other servers by the name of {}", names.join(", "));
    Failure::new(Exit::Conflict, message).hint("rename them there, or say --force, which replaces them")
}

fn put<'a>(
    daemon: &Daemon<'_>,
    present: &[(String, Value)],
    entries: &'a [Entry],
) -> (Vec<Step<'a>>, Outcome) {
    let (mut steps, mut outcome) = (Vec::new(), Outcome::default());
    for entry in entries {
        let key = entry.key.clone();
        match found(present, &entry.key) {
            None => {
                steps.push(Step::Put(entry));
                outcome.added.push(key);
            }
            Some(value) if daemon.leads_to(value).as_ref() != Some(&entry.aim) => {
                steps.push(Step::Put(entry));
                outcome.replaced.push(key);
            }
            Some(value) if is_as_wanted(value, entry) => outcome.unchanged.push(key),
            Some(_) => {
                steps.push(Step::Renew(entry));
                outcome.replaced.push(key);
            }
        }
    }
    let is_wanted = |key: &str| entries.iter().any(|entry| entry.key == key);
    let others = present.iter().filter(|(key, _)| !is_wanted(key));
    outcome.others = others.filter_map(|(key, value)| Some((key.clone(), daemon.leads_to(value)?))).collect();
    (steps, outcome)
}

/// True when every field of ours is as it would be written.
fn is_as_wanted(value: &Value, entry: &Entry) -> bool {
    super::entry::OURS.iter().all(|field| {
        let wanted = entry.fields.iter().find(|(name, _)| name == field).map(|(_, field)| field.value());
        value.get(field) == wanted.as_ref()
    })
}

fn take<'a>(
    daemon: &Daemon<'_>,
    present: &[(String, Value)],
    aims: Option<&[Aim]>,
) -> (Vec<Step<'a>>, Outcome) {
    let meant = |aim: &Aim| aims.is_none_or(|meant| meant.contains(aim));
    let ours = present.iter().filter(|(_, value)| daemon.leads_to(value).as_ref().is_some_and(meant));
    let removed: Vec<String> = ours.map(|(key, _)| key.clone()).collect();
    let steps = removed.iter().map(|key| Step::Remove(key.clone())).collect();
    (steps, Outcome { removed, ..Outcome::default() })
}
