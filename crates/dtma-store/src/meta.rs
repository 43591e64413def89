//! What the file says about itself: whose it is, which schema, which installation.

use crate::error::{explain, refused};
use crate::file::foreign;
use dtma_core::id::OwnerId;
use dtma_core::port::store::StoreError;
use redb::{Database, ReadableDatabase, TableDefinition};
use std::cmp::Ordering;
use std::path::Path;
use uuid::Uuid;

/// The schema this version writes and reads. A new number needs a fixture, see `tests/fixtures/README.md`.
pub const SCHEMA: u32 = 1;

const META: TableDefinition<'_, &str, &str> = TableDefinition::new("meta");
const APPLICATION: &str = "application";
const OURS: &str = "dtma";

/// Writes schema and a new owner into an empty file.
pub(crate) fn initialise(database: &Database, path: &Path) -> Result<(), StoreError> {
    write(database).map_err(|error| explain(path, "making the state file", &error))
}

fn write(database: &Database) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    {
        let mut meta = transaction.open_table(META)?;
        meta.insert(APPLICATION, OURS)?;
        meta.insert("schema", SCHEMA.to_string().as_str())?;
        meta.insert("owner", Uuid::new_v4().to_string().as_str())?;
    }
    transaction.commit()?;
    Ok(())
}

/// Reads the owner of a file that is ours and of our schema.
pub(crate) fn check(database: &Database, path: &Path) -> Result<OwnerId, StoreError> {
    let read = |key| read(database, key).map_err(|error| explain(path, "reading the state file", &error));
    match read(APPLICATION)?.as_deref() {
        Some(OURS) => {}
        Some(_) | None => return Err(foreign(path, "it is the database of another program")),
    }
    check_schema(path, read("schema")?.as_deref())?;
    match read("owner")?.map(|owner| Uuid::parse_str(&owner)) {
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

fn check_schema(path: &Path, found: Option<&str>) -> Result<(), StoreError> {
    let Some(schema) = found.and_then(|text| text.parse::<u32>().ok()) else {
        return Err(foreign(path, "its schema number cannot be read"));
    };
    match schema.cmp(&SCHEMA) {
        Ordering::Equal => Ok(()),
        Ordering::Greater => Err(refused(
            path,
            format!(
                "it has schema {schema} and this version reads up to {SCHEMA}; start the newer version that \
                 wrote it, or move the file away"
            ),
        )),
        Ordering::Less => Err(foreign(path, "its schema number was never used")),
    }
}
