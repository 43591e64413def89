//! Answers to questions with a key: by author and key to be found, by age so that dropping the oldest needs no search.

use dtma_core::Timestamp;
use dtma_core::idempotency::{KeptAnswer, REMEMBERED};
use redb::{
    Database, ReadableDatabase, ReadableTable, ReadableTableMetadata, TableDefinition, WriteTransaction,
};

/// From author and key to JSON.
const ANSWERS: TableDefinition<'static, (&'static str, &'static str), &'static [u8]> =
    TableDefinition::new("answers");
/// By the nanosecond they were given, author and key.
const BY_AGE: TableDefinition<'static, (i128, &'static str, &'static str), ()> =
    TableDefinition::new("answers-by-age");

/// So many are kept.
const KEPT: u64 = 1000;

/// Keeps an answer and forgets those that are too old or too many.
pub(crate) fn keep(to: &WriteTransaction, answer: &KeptAnswer) -> Result<(), redb::Error> {
    let name = (answer.author.as_str(), answer.key.key.as_str());
    let mut answers = to.open_table(ANSWERS)?;
    let mut ages = to.open_table(BY_AGE)?;
    let json = serde_json::to_vec(answer).map_err(|error| redb::Error::Io(error.into()))?;
    let earlier = answers.insert(name, json.as_slice())?.and_then(|old| decode(old.value()));
    if let Some(earlier) = earlier {
        ages.remove((earlier.at.as_nanosecond(), name.0, name.1))?;
    }
    ages.insert((answer.at.as_nanosecond(), name.0, name.1), ())?;
    let forgotten = forgotten_before(answer.at);
    loop {
        let oldest = ages.first()?.map(|(age, _)| age.value().0);
        if !oldest.is_some_and(|oldest| oldest < forgotten || ages.len().is_ok_and(|kept| kept > KEPT)) {
            return Ok(());
        }
        if let Some((age, _)) = ages.pop_first()? {
            let (_, author, key) = age.value();
            answers.remove((author, key))?;
        }
    }
}

/// The answer kept for this author's key. One that cannot be read is none: it is found again by its operation.
pub(crate) fn find(database: &Database, author: &str, key: &str) -> Result<Option<KeptAnswer>, redb::Error> {
    let transaction = database.begin_read()?;
    let Some(answers) = crate::table::unless_absent(transaction.open_table(ANSWERS))? else {
        return Ok(None);
    };
    Ok(answers.get((author, key))?.and_then(|json| decode(json.value())))
}

fn decode(json: &[u8]) -> Option<KeptAnswer> {
    serde_json::from_slice(json).ok()
}

fn forgotten_before(now: Timestamp) -> i128 {
    now.as_nanosecond().saturating_sub(i128::try_from(REMEMBERED.as_nanos()).unwrap_or(i128::MAX))
}
