//! What the file says about itself: whose it is, which schema, which installation.

use crate::error::{explain, refused};
use crate::file::foreign;
use crate::migrate;
use dtma_core::id::OwnerId;
use dtma_core::port::store::StoreError;
use redb::{Database, ReadableDatabase, TableDefinition, WriteTransaction};
use std::path::Path;
use uuid::Uuid;

/// The schema this version writes and reads: one for each step that led there.
pub const SCHEMA: u32 = migrate::reached_by(migrate::STEPS);

/// The table that says what the file is.
pub(crate) const TABLE_NAME: &str = "meta";
const META: TableDefinition<'_, &str, &str> = TableDefinition::new(TABLE_NAME);
const APPLICATION: &str = "application";
const OURS: &str = "dtma";

/// Writes schema and a new owner into an empty file.
pub(crate) fn initialise(database: &Database, path: &Path) -> Result<(), StoreError> {
    let made = || {
        let transaction = database.begin_write()?;
        write(&transaction, SCHEMA, &Uuid::new_v4().to_string())?;
        Ok(transaction.commit()?)
    };
    made().map_err(|error: redb::Error| explain(path, "making the state file", &error))
}

/// Makes the file ours.
pub(crate) fn write(to: &WriteTransaction, schema: u32, owner: &str) -> Result<(), redb::Error> {
    let mut meta = to.open_table(META)?;
    meta.insert(APPLICATION, OURS)?;
    meta.insert("schema", schema.to_string().as_str())?;
    meta.insert("owner", owner)?;
    Ok(())
}

/// Says in the file which schema it is of.
pub(crate) fn write_schema(to: &WriteTransaction, schema: u32) -> Result<(), redb::Error> {
    to.open_table(META)?.insert("schema", schema.to_string().as_str())?;
    Ok(())
}

/// The schema of a file that is ours, `newest` at most.
pub(crate) fn schema(database: &Database, path: &Path, newest: u32) -> Result<u32, StoreError> {
    let read = |key| read(database, key).map_err(|error| explain(path, "reading the state file", &error));
    match read(APPLICATION)?.as_deref() {
        Some(OURS) => {}
        Some(_) | None => return Err(foreign(path, "it is the database of another program")),
    }
    known(path, read("schema")?.as_deref(), newest)
}

/// Whose the file is.
pub(crate) fn owner(database: &Database, path: &Path) -> Result<OwnerId, StoreError> {
    let owner = read(database, "owner").map_err(|error| explain(path, "reading the state file", &error))?;
    match owner.map(|owner| Uuid::parse_str(&owner)) {
        Some(Ok(owner)) => Ok(OwnerId(owner.to_string())),
        Some(Err(_)) | None => Err(foreign(path, "it does not say which installation it belongs to")),
    }
}

fn read(database: &Database, key: &str) -> Result<Option<String>, redb::Error> {
    let transaction = database.begin_read()?;
    let meta = match transaction.open_table(META) {
        Ok(meta) => meta,
        Err(redb::TableError::TableDoesNotExist(_)) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    Ok(meta.get(key)?.map(|value| value.value().to_owned()))
}

fn known(path: &Path, found: Option<&str>, newest: u32) -> Result<u32, StoreError> {
    let Some(schema) = found.and_then(|text| text.parse::<u32>().ok()) else {
        return Err(foreign(path, "its schema number cannot be read"));
    };
    match schema {
        0 => Err(foreign(path, "its schema number was never used")),
        newer if newer > newest => Err(refused(
            path,
            format!(
                "it has schema {newer} and this version reads up to {newest}; start the newer version that \
                 wrote it, or move the file away"
            ),
        )),
        known => Ok(known),
    }
}
