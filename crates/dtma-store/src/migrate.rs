//! Bringing a file of an older schema forward: a copy first, then every step in one transaction.

use crate::error::{explain, io};
use crate::table::Stored;
use crate::{file, meta};
use dtma_core::port::store::StoreError;
use dtma_core::record::Revision;
use redb::{Database, WriteTransaction};
use std::fs::File;
use std::path::{Path, PathBuf};

/// Changes what schema `n` wrote into what schema `n + 1` reads. The number itself is not its business.
pub(crate) type Step = fn(&WriteTransaction) -> Result<(), redb::Error>;

/// `STEPS[0]` leads from schema 1 to 2, and so on. A new one needs a fixture, see `tests/fixtures/README.md`.
pub(crate) const STEPS: &[Step] = &[updates];

/// Schema 2: revisions, updates under way, replicas. What schema 1 wrote is read as it stands; the number is for the
/// other direction, because a version of before would skip such a group as damaged.
fn updates(to: &WriteTransaction) -> Result<(), redb::Error> {
    to.open_table(Revision::TABLE)?;
    Ok(())
}

/// Copies of older files that are kept beside the state: the newest so many, by schema.
const COPIES_KEPT: usize = 2;

/// The schema that `steps` lead to.
pub(crate) const fn reached_by(steps: &[Step]) -> u32 {
    // A table that somebody wrote by hand is shorter than four billion lines.
    1 + steps.len() as u32
}

/// The same file, of the present schema.
///
/// A failure leaves it as it was.
pub(crate) fn forward(database: Database, path: &Path, steps: &[Step]) -> Result<Database, StoreError> {
    let found = meta::schema(&database, path, reached_by(steps))?;
    if found == reached_by(steps) {
        return Ok(database);
    }
    // Closed, so that the copy is a whole file.
    drop(database);
    let copy = keep_copy(path, found)?;
    let database = file::open(path)?;
    run(&database, found, steps).map_err(|error| explain(path, "bringing the state file forward", &error))?;
    let to = reached_by(steps);
    tracing::info!(from = found, to, copy = %copy.display(), "the state file was brought forward");
    Ok(database)
}

/// The steps that are left, and the new number, or nothing of it.
pub(crate) fn run(database: &Database, found: u32, steps: &[Step]) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    for step in steps.iter().skip(found.saturating_sub(1) as usize) {
        step(&transaction)?;
    }
    meta::write_schema(&transaction, reached_by(steps))?;
    Ok(transaction.commit()?)
}

/// `state.redb.schema1.bak`: whole and durable before it bears that name.
fn keep_copy(path: &Path, schema: u32) -> Result<PathBuf, StoreError> {
    let failed = |error| io("copying the state file before it is brought forward", error);
    let (copy, unfinished) = (copy_name(path, schema), path.with_extension("redb.new-copy"));
    std::fs::copy(path, &unfinished).map_err(failed)?;
    File::open(&unfinished).and_then(|file| file.sync_all()).map_err(failed)?;
    std::fs::rename(&unfinished, &copy).map_err(failed)?;
    if let Some(directory) = path.parent() {
        file::sync_directory(directory)?;
    }
    remove_older(path, schema);
    Ok(copy)
}

fn copy_name(path: &Path, schema: u32) -> PathBuf {
    path.with_extension(format!("redb.schema{schema}.bak"))
}

/// Copies beyond the bound; one that stays costs disk and nothing else.
fn remove_older(path: &Path, newest: u32) {
    for schema in (1..newest).rev().skip(COPIES_KEPT - 1) {
        match std::fs::remove_file(copy_name(path, schema)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                tracing::warn!(schema, %error, "an old copy of the state file stays");
            }
            Ok(()) | Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use redb::{ReadableDatabase, TableDefinition};

    const TABLE: TableDefinition<'_, &str, &str> = TableDefinition::new("sample");

    fn write(key: &'static str, to: &WriteTransaction) -> Result<(), redb::Error> {
        to.open_table(TABLE)?.insert(key, "written")?;
        Ok(())
    }

    const GOOD: [Step; 2] = [|to| write("second", to), |to| write("third", to)];
    const BAD: [Step; 2] = [|to| write("second", to), |_| Err(redb::Error::Corrupted("on purpose".into()))];

    /// A directory with a file of schema 1.
    fn first() -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(file::FILE_NAME);
        let database = file::open_or_make(directory.path()).unwrap();
        let transaction = database.begin_write().unwrap();
        meta::write_schema(&transaction, 1).unwrap();
        transaction.commit().unwrap();
        (directory, path)
    }

    fn keys(database: &Database) -> Vec<&'static str> {
        let transaction = database.begin_read().unwrap();
        let Ok(table) = transaction.open_table(TABLE) else { return Vec::new() };
        ["second", "third"].into_iter().filter(|key| table.get(*key).unwrap().is_some()).collect()
    }

    #[test]
    fn every_step_is_taken_once_and_the_former_file_is_kept() {
        let (_directory, path) = first();
        let database = forward(file::open(&path).unwrap(), &path, &GOOD).unwrap();
        assert_eq!(keys(&database), ["second", "third"]);
        assert_eq!(meta::schema(&database, &path, 3).unwrap(), 3);
        let copy = file::open(&copy_name(&path, 1)).unwrap();
        assert_eq!((meta::schema(&copy, &path, 3).unwrap(), keys(&copy).len()), (1, 0));
        let again = forward(database, &path, &GOOD).unwrap();
        assert_eq!(meta::schema(&again, &path, 3).unwrap(), 3);
        assert!(!copy_name(&path, 3).exists());
    }

    #[test]
    fn a_step_that_fails_leaves_the_file_as_it_was() {
        let (_directory, path) = first();
        let failed = forward(file::open(&path).unwrap(), &path, &BAD).unwrap_err();
        assert!(failed.to_string().contains("on purpose"), "{failed}");
        let database = file::open(&path).unwrap();
        assert_eq!((meta::schema(&database, &path, 1).unwrap(), keys(&database).len()), (1, 0));
    }

    #[test]
    fn a_newer_file_is_refused_and_not_copied() {
        let (_directory, path) = first();
        drop(forward(file::open(&path).unwrap(), &path, &GOOD).unwrap());
        let refused = forward(file::open(&path).unwrap(), &path, &[]).unwrap_err();
        assert!(refused.to_string().contains("has schema 3 and this version reads up to 1"), "{refused}");
        assert!(!copy_name(&path, 3).exists());
    }

    #[test]
    fn two_copies_are_kept() {
        let (directory, path) = first();
        (1..=4).for_each(|schema| drop(keep_copy(&path, schema).unwrap()));
        let names = std::fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<_> = names.map(|name| name.into_string().unwrap()).collect();
        names.sort();
        assert_eq!(names, ["state.redb", "state.redb.schema3.bak", "state.redb.schema4.bak"]);
    }
}
