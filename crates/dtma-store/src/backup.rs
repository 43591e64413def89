//! Looking at a state file without touching it, writing it down as one portable file, and making one from that.
//!
//! Everything that only looks works on a copy in memory, taken under the lock of the state directory: neither a
//! repair nor a step to a newer schema reaches the disk.

use crate::error::{explain, io, unusable};
use crate::lock::StateLock;
use crate::rows::{Row, Rows, WriteError};
use crate::{file, load, meta, migrate, rows, strict};
use dtma_core::port::store::{DamagedRecord, LoadedState, StoreError};
use dtma_core::record::GroupRecord;
use redb::backends::InMemoryBackend;
use redb::{Database, StorageBackend};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};

const FORMAT: &str = "dtma-state";
/// Of the file's outer form; its content has the schema of the state it was made from.
const VERSION: u32 = 1;
/// What an import with `replace` keeps.
const REPLACED: &str = "state.redb.replaced";

/// A copy of a state file in memory, of the present schema.
#[derive(Debug)]
pub struct StateCopy {
    path: PathBuf,
    database: Database,
    /// The schema of the file on disk.
    pub found_schema: u32,
    /// What could be read of it, and what could not.
    pub state: LoadedState,
}

/// Why a backup could not be made or used.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The state itself.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Some records cannot be read, so a backup would silently lack them.
    #[error("{} damaged record(s), of which no backup can be made: {}", .0.len(), list(.0))]
    Damaged(Vec<DamagedRecord>),
    /// Not a backup, a damaged one, or one whose content cannot be a state.
    #[error("the backup cannot be used: {0}; nothing was changed")]
    Unusable(String),
    /// There is a state where one was to be made.
    #[error("{} is there already; nothing was changed", .0.display())]
    Exists(PathBuf),
}

fn list(damaged: &[DamagedRecord]) -> String {
    let named = |record: &DamagedRecord| format!("{} {:?} ({})", record.table, record.key, record.problem);
    damaged.iter().map(named).collect::<Vec<_>>().join(", ")
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Backup {
    format: String,
    version: u32,
    schema: u32,
    /// Of `content`, as it stands in the file.
    sha256: String,
    content: Box<RawValue>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    owner: String,
    tables: Rows,
}

impl StateCopy {
    /// Reads the state file of a directory that no daemon uses at the moment.
    ///
    /// # Errors
    /// [`StoreError::InUse`] while a daemon runs, [`StoreError::Unusable`] when there is no file or it cannot be read
    /// as a whole.
    pub fn take(state_dir: &Path) -> Result<Self, StoreError> {
        let path = state_dir.join(file::FILE_NAME);
        if !path.try_exists().map_err(|error| io("looking for the state file", error))? {
            return Err(StoreError::Unusable {
                path: path.display().to_string(),
                problem: "there is none; name the directory with --state-dir".to_owned(),
            });
        }
        let lock = StateLock::take(state_dir)?;
        let bytes = std::fs::read(&path).map_err(|error| io("reading the state file", error))?;
        drop(lock);
        let database = in_memory(&path, &bytes)?;
        Self::of(path, database)
    }

    fn of(path: PathBuf, database: Database) -> Result<Self, StoreError> {
        let failed = |error: redb::Error| explain(&path, "reading the state file", &error);
        let found_schema = meta::schema(&database, &path, meta::SCHEMA)?;
        if found_schema < meta::SCHEMA {
            migrate::run(&database, found_schema, migrate::STEPS).map_err(failed)?;
        }
        let mut state = load::load(&database, meta::owner(&database, &path)?).map_err(failed)?;
        state.damaged.extend(load::damaged_revisions(&database).map_err(failed)?);
        Ok(Self { path, database, found_schema, state })
    }

    /// Everything as JSON for people: tables, by key; and what is damaged.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn dump(&self) -> Result<serde_json::Value, StoreError> {
        let by_key = |rows: Vec<Row>| -> serde_json::Map<_, _> {
            rows.into_iter().map(|row| (row.name().to_owned(), row.value)).collect()
        };
        let tables: serde_json::Map<_, _> =
            self.rows()?.into_iter().map(|(table, rows)| (table, by_key(rows).into())).collect();
        let damaged = |record: &DamagedRecord| serde_json::json!({"table": record.table, "key": record.key, "problem": record.problem});
        Ok(serde_json::json!({
            "schema": self.found_schema,
            "owner": self.state.owner,
            "tables": tables,
            "damaged": self.state.damaged.iter().map(damaged).collect::<Vec<_>>(),
        }))
    }

    /// The backup: one JSON file with schema and checksum.
    ///
    /// # Errors
    /// [`BackupError::Damaged`] unless the damaged records are to be left out.
    pub fn export(&self, skip_damaged: bool) -> Result<Vec<u8>, BackupError> {
        let damaged = &self.state.damaged;
        if !damaged.is_empty() && !skip_damaged {
            return Err(BackupError::Damaged(damaged.clone()));
        }
        let mut tables = self.rows()?;
        for (table, rows) in &mut tables {
            rows.retain(|row| !damaged.iter().any(|bad| bad.table == *table && bad.key == row.name()));
        }
        let content = Content { owner: self.state.owner.as_str().to_owned(), tables };
        let failed = |error: serde_json::Error| io("writing the backup", error);
        let content = serde_json::value::to_raw_value(&content).map_err(failed)?;
        let (format, sha256) = (FORMAT.to_owned(), checksum(&content));
        let backup = Backup { format, version: VERSION, schema: meta::SCHEMA, sha256, content };
        Ok(serde_json::to_vec(&backup).map_err(failed)?)
    }

    fn rows(&self) -> Result<Rows, StoreError> {
        rows::read(&self.database).map_err(|error| explain(&self.path, "reading the state file", &error))
    }
}

fn in_memory(path: &Path, bytes: &[u8]) -> Result<Database, StoreError> {
    let failed = |error| io("reading the state file", error);
    if bytes.is_empty() {
        return Err(unusable(path, "it is empty"));
    }
    let memory = InMemoryBackend::new();
    memory.set_len(bytes.len() as u64).map_err(failed)?;
    memory.write(0, bytes).map_err(failed)?;
    file::guarded(path, || {
        let mut database = file::builder().create_with_backend(memory)?;
        database.check_integrity()?;
        Ok(database)
    })
}

fn checksum(content: &RawValue) -> String {
    Sha256::digest(content.get().as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// How a backup is taken in.
pub struct Import<'a> {
    /// Replace a state that is there; it is kept as `state.redb.replaced`.
    pub replace: bool,
    /// What is wrong with a group, beyond its being readable.
    pub judge: &'a dyn Fn(&GroupRecord) -> Vec<String>,
}

/// Makes the state of a directory from a backup of this or an older schema: all of it, or nothing.
///
/// # Errors
/// See [`BackupError`]; in every case the directory's state is what it was.
pub fn import(state_dir: &Path, backup: &[u8], how: &Import<'_>) -> Result<LoadedState, BackupError> {
    let (schema, content) = opened(backup)?;
    file::make_directory(state_dir)?;
    let _lock = StateLock::take(state_dir)?;
    let path = state_dir.join(file::FILE_NAME);
    let there = path.try_exists().map_err(|error| io("looking for the state file", error))?;
    if there && !how.replace {
        return Err(BackupError::Exists(path));
    }
    let new = file::unfinished(state_dir);
    let imported = fill(&new, schema, &content, how.judge).and_then(|state| {
        put_in_place(&new, &path, there)?;
        Ok(state)
    });
    if imported.is_err() {
        // It never bore the real name; what stays is swept at the next start.
        let _ = std::fs::remove_file(&new);
    }
    imported
}

/// Schema and content of a backup that is whole and not from the future.
fn opened(backup: &[u8]) -> Result<(u32, Content), BackupError> {
    let refused = |problem: String| BackupError::Unusable(problem);
    let backup: Backup = serde_json::from_slice(backup)
        .map_err(|error| refused(format!("it is no backup of a state: {error}")))?;
    if backup.format != FORMAT {
        return Err(refused(format!("its format is {:?} and not {FORMAT:?}", backup.format)));
    }
    if backup.version != VERSION || !(1..=meta::SCHEMA).contains(&backup.schema) {
        return Err(refused(format!(
            "it has version {} and schema {}, and this program reads version {VERSION} and schemas up to {}; use the \
             newer program that made it",
            backup.version,
            backup.schema,
            meta::SCHEMA
        )));
    }
    if checksum(&backup.content) != backup.sha256 {
        return Err(refused("its checksum is another: it was damaged or changed".to_owned()));
    }
    let content = serde_json::from_str(backup.content.get()).map_err(|error| refused(error.to_string()))?;
    Ok((backup.schema, content))
}

/// A complete state file under a name of its own.
fn fill(
    new: &Path,
    schema: u32,
    content: &Content,
    judge: &dyn Fn(&GroupRecord) -> Vec<String>,
) -> Result<LoadedState, BackupError> {
    let database = file::create(new)?;
    let failed = |error: redb::Error| explain(new, "writing the state file", &error);
    let transaction = database.begin_write().map_err(|error| failed(error.into()))?;
    meta::write(&transaction, schema, &content.owner).map_err(failed)?;
    rows::write(&transaction, &content.tables).map_err(|error| match error {
        WriteError::Content(problem) => BackupError::Unusable(problem),
        WriteError::Redb(error) => failed(error).into(),
    })?;
    transaction.commit().map_err(|error| failed(error.into()))?;
    let copy = StateCopy::of(new.to_owned(), database)?;
    let mut problems: Vec<_> = copy.state.damaged.iter().map(|bad| list(std::slice::from_ref(bad))).collect();
    problems.extend(strict::unknown_fields(&copy.rows()?));
    problems.extend(copy.state.groups.iter().flat_map(judge));
    if problems.is_empty() { Ok(copy.state) } else { Err(BackupError::Unusable(problems.join("; "))) }
}

fn put_in_place(new: &Path, path: &Path, there: bool) -> Result<(), StoreError> {
    let failed = |error| io("putting the state file in place", error);
    if there {
        let kept = path.with_file_name(REPLACED);
        match std::fs::remove_file(&kept) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
            Ok(()) | Err(_) => {}
        }
        std::fs::hard_link(path, &kept).map_err(failed)?;
    }
    std::fs::rename(new, path).map_err(failed)?;
    path.parent().map_or(Ok(()), file::sync_directory)
}
