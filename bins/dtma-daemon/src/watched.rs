//! Files that are read again when they change.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::Duration;

/// How often they are looked at.
const FRESH: Duration = Duration::from_secs(1);

/// Inode, size and time of change; nothing where there is no file. Links are followed, so that one that is pointed
/// elsewhere counts too.
type Stamp = Option<(u64, u64, i64, i64)>;

/// Some files, and how they were before they were read last.
#[derive(Debug)]
pub(crate) struct Watched {
    paths: Vec<PathBuf>,
    seen: Vec<Stamp>,
}

impl Watched {
    /// Looks at them now: to be made before they are read, so that no change falls between.
    pub(crate) fn new(paths: impl IntoIterator<Item = PathBuf>) -> Self {
        let paths: Vec<_> = paths.into_iter().collect();
        let seen = stamps(&paths);
        Self { paths, seen }
    }

    /// Waits until one of them is not what it was.
    pub(crate) async fn changed(&mut self) {
        loop {
            tokio::time::sleep(FRESH).await;
            if self.look() {
                return;
            }
        }
    }

    fn look(&mut self) -> bool {
        let now = stamps(&self.paths);
        let changed = now != self.seen;
        self.seen = now;
        changed
    }
}

fn stamps(paths: &[PathBuf]) -> Vec<Stamp> {
    let of = |path| {
        let meta = fs::metadata(path).ok()?;
        Some((meta.ino(), meta.size(), meta.mtime(), meta.mtime_nsec()))
    };
    paths.iter().map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_written_replaced_or_gone_has_changed_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let mut watched = Watched::new([path.clone(), dir.path().join("never")]);
        assert!(!watched.look());
        fs::write(&path, "one").unwrap();
        assert!(watched.look() && !watched.look());
        // In the same instant of a coarse clock, too.
        fs::write(&path, "longer").unwrap();
        assert!(watched.look() && !watched.look());
        fs::remove_file(&path).unwrap();
        assert!(watched.look() && !watched.look());
    }

    #[tokio::test(start_paused = true)]
    async fn what_happens_before_anybody_waits_is_not_missed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let mut watched = Watched::new([path.clone()]);
        fs::write(&path, "one").unwrap();
        watched.changed().await;
        let again = tokio::time::timeout(5 * FRESH, watched.changed());
        assert!(again.await.is_err());
    }
}
