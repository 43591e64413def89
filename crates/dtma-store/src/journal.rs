//! Operations: those under way by id, those that ended by age, so that dropping the oldest needs no search.

use crate::table::{Stored, encode, put, remove};
use dtma_core::record::Operation;
use redb::{ReadableTableMetadata, TableDefinition, WriteTransaction};

/// Ended operations, by the nanosecond of their acceptance and their id.
pub(crate) const ENDED: TableDefinition<'static, (i128, &'static str), &'static [u8]> =
    TableDefinition::new("operations-ended");

/// So many ended operations are kept; an older one is forgotten when a newer one ends.
pub(crate) const ENDED_KEPT: u64 = 1000;

/// Keeps an operation where it belongs by its outcome.
pub(crate) fn keep(to: &WriteTransaction, operation: &Operation) -> Result<(), redb::Error> {
    if operation.outcome.is_none() {
        to.open_table(ENDED)?.remove(age_key(operation))?;
        return put(to, operation.id.as_str(), operation);
    }
    remove::<Operation>(to, operation.id.as_str())?;
    let mut ended = to.open_table(ENDED)?;
    ended.insert(age_key(operation), encode(operation)?.as_slice())?;
    while ended.len()? > ENDED_KEPT {
        ended.pop_first()?;
    }
    Ok(())
}

/// Where an operation stands once it has ended.
pub(crate) fn age_key(operation: &Operation) -> (i128, &str) {
    (operation.accepted_at.as_nanosecond(), operation.id.as_str())
}

/// What is wrong with finding this operation among the ended ones under this key.
pub(crate) fn contradiction(operation: &Operation, key: (i128, &str)) -> Option<String> {
    if operation.accepted_at.as_nanosecond() != key.0 {
        return Some(format!("it says that it was accepted at {}", operation.accepted_at));
    }
    operation.contradiction(key.1)
}
