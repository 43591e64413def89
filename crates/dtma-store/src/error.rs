//! What redb says, in the words of the port.

use dtma_core::port::store::StoreError;
use std::io::ErrorKind;
use std::path::Path;

const WHAT_TO_DO: &str = "stop the daemon, move the file away and put back a copy, or start without one: then \
                          nothing of what runs is known to the daemon any more";

/// The file is there and cannot be trusted.
pub(crate) fn unusable(path: &Path, problem: impl std::fmt::Display) -> StoreError {
    StoreError::Unusable { path: path.display().to_string(), problem: format!("{problem}; {WHAT_TO_DO}") }
}

/// The file is there and fine, but not for this program.
pub(crate) fn refused(path: &Path, problem: String) -> StoreError {
    StoreError::Unusable { path: path.display().to_string(), problem }
}

/// The system or the disk said no.
pub(crate) fn io(operation: &'static str, problem: impl std::fmt::Display) -> StoreError {
    StoreError::Io { operation, problem: problem.to_string() }
}

/// Which of the three a failure of redb is.
pub(crate) fn explain(path: &Path, operation: &'static str, error: &redb::Error) -> StoreError {
    match error {
        redb::Error::DatabaseAlreadyOpen => {
            StoreError::InUse { path: path.display().to_string(), holder: None }
        }
        redb::Error::Io(cause) if damage(cause.kind()) => unusable(path, cause),
        redb::Error::Corrupted(_)
        | redb::Error::UpgradeRequired(_)
        | redb::Error::RepairAborted
        | redb::Error::TableDoesNotExist(_)
        | redb::Error::TableTypeMismatch { .. }
        | redb::Error::TableIsMultimap(_)
        | redb::Error::TypeDefinitionChanged { .. } => unusable(path, error),
        // Theirs, and open-ended: whatever else there is or will be, the call did not succeed.
        other => io(operation, other),
    }
}

/// What reading a file that is too short, or not redb's, ends with.
fn damage(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::InvalidData | ErrorKind::UnexpectedEof)
}
