//! One process for each state directory. Whoever comes second is told who is there.
//!
//! The kernel gives the lock back when its holder ends, however it ends; the file itself stays, because removing it
//! would let two processes hold two files of one name.

use crate::error::io;
use crate::file::FILE_NAME;
use dtma_core::port::store::StoreError;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// The lock's name inside the state directory; it holds the process id of its present or last holder.
pub const LOCK_NAME: &str = "state.lock";

/// Held for as long as it lives.
#[derive(Debug)]
pub(crate) struct StateLock {
    _file: File,
}

impl StateLock {
    /// Takes the lock of a directory that is there.
    pub(crate) fn take(state_dir: &Path) -> Result<Self, StoreError> {
        let failed = |error| io("locking the state directory", error);
        let path = state_dir.join(LOCK_NAME);
        let mut options = OpenOptions::new();
        let file = options.create(true).truncate(false).read(true).write(true).mode(0o600).open(path);
        let file = file.map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(held(state_dir, &file)),
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        say_who(&file);
        Ok(Self { _file: file })
    }
}

fn held(state_dir: &Path, file: &File) -> StoreError {
    StoreError::InUse { path: state_dir.join(FILE_NAME).display().to_string(), holder: holder(file) }
}

fn holder(mut file: &File) -> Option<u32> {
    let mut text = String::new();
    file.read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

/// The id is for people; the lock holds without it, so that a full disk is no reason not to start.
fn say_who(mut file: &File) {
    let written = file.set_len(0).and_then(|()| file.rewind());
    let written = written.and_then(|()| writeln!(file, "{}", std::process::id()));
    if let Err(error) = written {
        tracing::debug!(%error, "the lock of the state directory does not say who holds it");
    }
}
