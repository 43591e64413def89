//! Files that only their owner may read, and how one is replaced so that after a crash the old or the new is there whole.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Bytes written between two steps.
const PIECE: usize = 4096;

/// How far a replacement is: what is next to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Making the new file beside the old one.
    Create,
    /// Writing a piece of it.
    Write,
    /// Bringing it to the disk.
    Sync,
    /// Giving it the name.
    Rename,
    /// Bringing the name to the disk.
    SyncDirectory,
}

/// Asked before each step; an error ends the replacement there, as a crash does.
pub(super) type Steps<'a> = &'a mut dyn FnMut(Step) -> io::Result<()>;

/// Why a file that holds secrets was not read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The system says no.
    #[error("reading {path} failed: {source}")]
    Io {
        /// The file.
        path: String,
        /// What it said.
        source: io::Error,
    },
    /// Others may read or write it.
    #[error("{path} is open to others (mode {mode:04o}): its owner alone may read it (`chmod 600 {path}`)")]
    Open {
        /// The file.
        path: String,
        /// Its permissions.
        mode: u32,
    },
    /// It is a directory, a pipe, a device.
    #[error("{path} is not a plain file")]
    NotPlain {
        /// The file.
        path: String,
    },
    /// It is larger than what is meant to be there.
    #[error("{path} is larger than {limit} bytes")]
    TooLarge {
        /// The file.
        path: String,
        /// The bound.
        limit: u64,
    },
}

/// Reads a plain file that nobody but its owner may read or write.
pub(super) fn read_private(path: &Path, limit: u64) -> Result<Zeroizing<Vec<u8>>, ReadError> {
    let name = || path.display().to_string();
    let io = |source| ReadError::Io { path: name(), source };
    // Looked at before it is opened, because opening a pipe waits for somebody at its other end, and after, because it
    // may be another one by then.
    plain(path, &fs::metadata(path).map_err(io)?)?;
    let mut file = File::open(path).map_err(io)?;
    let metadata = file.metadata().map_err(io)?;
    plain(path, &metadata)?;
    let mode = metadata.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(ReadError::Open { path: name(), mode });
    }
    let length = metadata.len();
    if length > limit {
        return Err(ReadError::TooLarge { path: name(), limit });
    }
    let mut bytes = Zeroizing::new(vec![0; usize::try_from(length).unwrap_or_default()]);
    file.read_exact(&mut bytes).map_err(io)?;
    Ok(bytes)
}

fn plain(path: &Path, metadata: &fs::Metadata) -> Result<(), ReadError> {
    let not_plain = || ReadError::NotPlain { path: path.display().to_string() };
    metadata.is_file().then_some(()).ok_or_else(not_plain)
}

/// Puts `bytes` in the place of a file, readable by its owner alone. When it returns that survives a power cut; an error
/// leaves the old or the new one, and perhaps an unfinished file beside it that the next replacement takes away.
pub(super) fn replace(path: &Path, bytes: &[u8], steps: Steps<'_>) -> io::Result<()> {
    let (unfinished, directory) = (unfinished(path), directory(path));
    steps(Step::Create)?;
    make_directory(directory)?;
    remove(&unfinished)?;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished)?;
    for piece in bytes.chunks(PIECE) {
        steps(Step::Write)?;
        file.write_all(piece)?;
    }
    steps(Step::Sync)?;
    file.sync_all()?;
    steps(Step::Rename)?;
    fs::rename(&unfinished, path)?;
    steps(Step::SyncDirectory)?;
    File::open(directory)?.sync_all()
}

fn unfinished(path: &Path) -> PathBuf {
    path.with_added_extension("new")
}

fn directory(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn make_directory(directory: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(directory)
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
