//! Revisions: a group's accepted generations, by group and number, so that one group's stand side by side in order.

use crate::table::{Stored, decode, put, unless_absent};
use dtma_core::id::GroupId;
use dtma_core::port::store::MAX_REVISIONS;
use dtma_core::record::Revision;
use redb::{Database, ReadableDatabase, ReadableTable, WriteTransaction};
use std::ops::Range;

/// `group/00000000000000000007`: no name contains a slash, and the zeros keep the order.
pub(crate) fn key(revision: &Revision) -> String {
    format!("{}/{:020}", revision.spec.group_id, revision.generation.0)
}

/// Every key of this group: `0` is what follows `/`.
fn of(group: &GroupId) -> (String, String) {
    (format!("{group}/"), format!("{group}0"))
}

fn range((from, to): &(String, String)) -> Range<&str> {
    from.as_str()..to.as_str()
}

/// Keeps a revision; the oldest make way.
pub(crate) fn keep(to: &WriteTransaction, revision: &Revision) -> Result<(), redb::Error> {
    put(to, &key(revision), revision)?;
    let mut table = to.open_table(Revision::TABLE)?;
    let bounds = of(&revision.spec.group_id);
    let keys: Result<Vec<String>, redb::Error> =
        table.range(range(&bounds))?.map(|entry| Ok(entry?.0.value().to_owned())).collect();
    let keys = keys?;
    for old in keys.iter().take(keys.len().saturating_sub(MAX_REVISIONS)) {
        table.remove(old.as_str())?;
    }
    Ok(())
}

/// Forgets all revisions of a group.
pub(crate) fn forget(from: &WriteTransaction, group: &GroupId) -> Result<(), redb::Error> {
    let bounds = of(group);
    from.open_table(Revision::TABLE)?.retain_in(range(&bounds), |_, _| false)?;
    Ok(())
}

/// The revisions of a group, the oldest first. One that cannot be read is skipped and told.
pub(crate) fn load(database: &Database, group: &GroupId) -> Result<Vec<Revision>, redb::Error> {
    let transaction = database.begin_read()?;
    let Some(table) = unless_absent(transaction.open_table(Revision::TABLE))? else { return Ok(Vec::new()) };
    let bounds = of(group);
    let mut revisions = Vec::new();
    for entry in table.range(range(&bounds))? {
        let (key, value) = entry?;
        match decode(key.value(), value.value()) {
            Ok(revision) => revisions.push(revision),
            Err(problem) => tracing::warn!(key = key.value(), problem, "a damaged revision was skipped"),
        }
    }
    Ok(revisions)
}
