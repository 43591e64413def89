//! Every table as rows of text and JSON, whatever its records are: what backups are made of.

use crate::journal::ENDED;
use crate::table::{ByName, NAMES};
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition, TableHandle, WriteTransaction};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// A record and where it stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Row {
    /// The parts of its key.
    pub(crate) key: Vec<String>,
    pub(crate) value: Value,
}

/// Rows by table.
pub(crate) type Rows = BTreeMap<String, Vec<Row>>;

impl Row {
    /// How messages name it: by the last part, the name or id.
    pub(crate) fn name(&self) -> &str {
        self.key.last().map_or("", String::as_str)
    }
}

/// What the file says about itself, and answers remembered for a while: a key that is sent again after a restore has
/// its effect again, as after that while.
const LEFT_OUT: [&str; 3] = [crate::meta::TABLE_NAME, "answers", "answers-by-age"];

/// Every row of every table of records. One that is no JSON is left out: it is reported as damaged elsewhere.
pub(crate) fn read(database: &Database) -> Result<Rows, redb::Error> {
    let transaction = database.begin_read()?;
    let tables: Vec<String> = transaction.list_tables()?.map(|table| table.name().to_owned()).collect();
    let mut rows = Rows::new();
    for name in tables.into_iter().filter(|name| !LEFT_OUT.contains(&name.as_str())) {
        let found = if name == ENDED.name() {
            let table = transaction.open_table(ENDED)?;
            collect(&table, |(nanosecond, id)| vec![nanosecond.to_string(), id.to_owned()])?
        } else {
            collect(&transaction.open_table(ByName::new(&name))?, |key| vec![key.to_owned()])?
        };
        rows.insert(name, found);
    }
    Ok(rows)
}

fn collect<K: redb::Key + 'static>(
    table: &impl ReadableTable<K, &'static [u8]>,
    key: impl Fn(K::SelfType<'_>) -> Vec<String>,
) -> Result<Vec<Row>, redb::Error> {
    let mut rows = Vec::new();
    for entry in table.iter()? {
        let (at, value) = entry?;
        if let Ok(value) = serde_json::from_slice(value.value()) {
            rows.push(Row { key: key(at.value()), value });
        }
    }
    Ok(rows)
}

/// Writes rows as they are.
///
/// # Errors
/// A table or a key that there cannot be, in words; or what redb says.
pub(crate) fn write(to: &WriteTransaction, rows: &Rows) -> Result<(), WriteError> {
    for (table, rows) in rows {
        if !NAMES.contains(&table.as_str()) {
            return Err(WriteError::Content(format!("this version knows no table {table:?}")));
        }
        for row in rows {
            write_row(to, table, row)?;
        }
    }
    Ok(())
}

fn write_row(to: &WriteTransaction, table: &str, row: &Row) -> Result<(), WriteError> {
    let json = row.value.to_string();
    match row.key.as_slice() {
        [name] if table != ENDED.name() => {
            let definition: TableDefinition<'_, &str, &[u8]> = TableDefinition::new(table);
            to.open_table(definition)?.insert(name.as_str(), json.as_bytes())?;
        }
        [nanosecond, id] if table == ENDED.name() => {
            let nanosecond = nanosecond.parse().map_err(|_| bad_key(table, row))?;
            to.open_table(ENDED)?.insert((nanosecond, id.as_str()), json.as_bytes())?;
        }
        _ => return Err(bad_key(table, row)),
    }
    Ok(())
}

fn bad_key(table: &str, row: &Row) -> WriteError {
    WriteError::Content(format!("{table}: {:?} is no key of this table", row.key))
}

/// Why rows could not be written.
pub(crate) enum WriteError {
    Content(String),
    Redb(redb::Error),
}

impl<E: Into<redb::Error>> From<E> for WriteError {
    fn from(error: E) -> Self {
        Self::Redb(error.into())
    }
}
