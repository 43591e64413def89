//! Opening the state file: making it whole or not at all, holding it alone, refusing what is not ours.

use crate::error::{explain, io, refused, unusable};
use crate::meta;
use dtma_core::port::store::StoreError;
use redb::{Builder, Database};
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use uuid::Uuid;

/// The state file's name inside the state directory.
pub const FILE_NAME: &str = "state.redb";
/// Begins the names under which new ones are made, so that a half-made one never bears the real name.
const UNFINISHED: &str = "state.redb.new-";
/// Desired state is a few hundred kilobytes; redb's default of a gibibyte is for others.
const CACHE_BYTES: usize = 4 * 1024 * 1024;

/// Opens the file in `state_dir`, making it when it is not there.
pub(crate) fn open_or_make(state_dir: &Path) -> Result<Database, StoreError> {
    let path = state_dir.join(FILE_NAME);
    if !path.try_exists().map_err(|error| io("looking for the state file", error))? {
        make(state_dir, &path)?;
    }
    let database = open(&path)?;
    sweep(state_dir);
    Ok(database)
}

/// Opens a file that must be there.
pub(crate) fn open(path: &Path) -> Result<Database, StoreError> {
    refuse_empty(path)?;
    guarded(path, || {
        let mut database = builder().open(path)?;
        if !database.check_integrity()? {
            tracing::warn!(path = %path.display(), "the state file was repaired; the last change may be lost");
        }
        Ok(database)
    })
}

/// An empty file is not "no file": something cut it, and what it held is missing.
fn refuse_empty(path: &Path) -> Result<(), StoreError> {
    let length = std::fs::metadata(path).map_err(|error| io("opening the state file", error))?.len();
    if length == 0 { Err(unusable(path, "it is empty")) } else { Ok(()) }
}

/// Runs redb over a file nobody has vouched for: some damage makes it panic instead of answer.
pub(crate) fn guarded(
    path: &Path,
    work: impl FnOnce() -> Result<Database, redb::DatabaseError>,
) -> Result<Database, StoreError> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(result) => result.map_err(|error| explain(path, "opening the state file", &error.into())),
        Err(_) => Err(unusable(path, "it is damaged beyond reading")),
    }
}

pub(crate) fn builder() -> Builder {
    let mut builder = Database::builder();
    builder.set_cache_size(CACHE_BYTES);
    builder
}

/// Makes the directory for nobody else's eyes; one that is there stays as it is.
pub(crate) fn make_directory(state_dir: &Path) -> Result<(), StoreError> {
    let failed = |error| io("making the state directory", error);
    if state_dir.is_dir() {
        return Ok(());
    }
    DirBuilder::new().recursive(true).mode(0o700).create(state_dir).map_err(failed)?;
    state_dir.parent().map_or(Ok(()), sync_directory)
}

/// Makes the file under a name of its own, with schema and owner in it, and links it to the real one: whoever is
/// killed in between leaves no half-made state behind, and of two who try at once one is second.
fn make(state_dir: &Path, path: &Path) -> Result<(), StoreError> {
    let new = unfinished(state_dir);
    let database = create(&new)?;
    meta::initialise(&database, path)?;
    match std::fs::hard_link(&new, path) {
        // Not found: the one who was first has swept ours away.
        Err(error) if !matches!(error.kind(), ErrorKind::AlreadyExists | ErrorKind::NotFound) => {
            return Err(io("making the state file", error));
        }
        Ok(()) | Err(_) => {}
    }
    sync_directory(state_dir)
}

/// A name that no start takes for the state's.
pub(crate) fn unfinished(state_dir: &Path) -> PathBuf {
    state_dir.join(format!("{UNFINISHED}{}", Uuid::new_v4()))
}

/// A file with nothing in it yet, for nobody else's eyes.
pub(crate) fn create(new: &Path) -> Result<Database, StoreError> {
    let mut options = OpenOptions::new();
    let file = options.read(true).write(true).create_new(true).mode(0o600).open(new);
    let file = file.map_err(|error| io("making the state file", error))?;
    guarded(new, || builder().create_file(file))
}

/// Removes what a killed first start left. Nothing depends on it, so a failure is worth no more than a line.
fn sweep(state_dir: &Path) {
    let entries = std::fs::read_dir(state_dir).into_iter().flatten().flatten();
    for entry in entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(UNFINISHED)) {
        if let Err(error) = std::fs::remove_file(entry.path()) {
            tracing::debug!(path = %entry.path().display(), %error, "an unfinished state file stays");
        }
    }
}

/// Makes names in a directory durable.
pub(crate) fn sync_directory(directory: &Path) -> Result<(), StoreError> {
    let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
    let opened = File::open(directory).and_then(|directory| directory.sync_all());
    opened.map_err(|error| io("making the state directory durable", error))
}

/// A file that redb understands and that is not ours.
pub(crate) fn foreign(path: &Path, problem: &str) -> StoreError {
    refused(path, format!("{problem}; it was not written by DTMA, choose another state directory"))
}
