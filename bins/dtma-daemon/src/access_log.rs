//! `--access-log FILE`: one JSON object a line for each request, in a file of bounded size.
//!
//! The door hands lines over without waiting; where the disk cannot keep up, lines are left out and counted.

use crate::log_file::{Bounds, LogFile};
use anyhow::{Context, Result};
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use tokio::sync::mpsc::Receiver;

/// Lines that wait to be written; further ones are left out.
pub(crate) const WAITING: usize = 8192;
/// Old files that are kept, as `FILE.1` (the newest) to `FILE.5`.
const KEPT: u32 = 5;

/// The file, and what is to be written into it.
pub(crate) struct AccessLog {
    lines: Receiver<String>,
    file: Arc<LogFile>,
}

impl AccessLog {
    pub(crate) fn open(path: &Path, biggest: u64, lines: Receiver<String>) -> Result<Self> {
        let file = LogFile::open(path, Bounds { size: biggest, files: KEPT })
            .with_context(|| format!("cannot write the access log {}", path.display()))?;
        Ok(Self { lines, file: Arc::new(file) })
    }

    /// The file, for the day it is to be opened anew.
    pub(crate) fn file(&self) -> Arc<LogFile> {
        Arc::clone(&self.file)
    }

    /// Writes what comes, for as long as it is polled.
    pub(crate) async fn keep(&mut self) {
        let mut batch = Vec::new();
        loop {
            // Nothing is lost when this is dropped: what was received is written before the next wait.
            if self.lines.recv_many(&mut batch, WAITING).await == 0 {
                return;
            }
            self.write(&mut batch);
        }
    }

    /// Writes what waits, at the end.
    pub(crate) fn finish(mut self) {
        let mut batch: Vec<String> = std::iter::from_fn(|| self.lines.try_recv().ok()).collect();
        self.write(&mut batch);
    }

    fn write(&mut self, batch: &mut Vec<String>) {
        let text: String = batch.drain(..).flat_map(|line| [line, "\n".to_owned()]).collect();
        // A full disk must not end the daemon, nor fill its other log.
        if let Err(error) = (&*self.file).write_all(text.as_bytes()) {
            tracing::debug!(%error, "the access log cannot be written");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_waits_is_written_at_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("access.log");
        std::fs::write(&path, "before\n").unwrap();
        let (sender, lines) = tokio::sync::mpsc::channel(WAITING);
        let log = AccessLog::open(&path, 1 << 20, lines).unwrap();
        sender.try_send("after".into()).unwrap();
        log.finish();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "before\nafter\n");
    }

    #[tokio::test]
    async fn a_big_file_makes_room_and_one_that_was_moved_away_is_made_anew() {
        let dir = tempfile::tempdir().unwrap();
        let (path, moved) = (dir.path().join("access.log"), dir.path().join("moved"));
        let (_sender, lines) = tokio::sync::mpsc::channel(WAITING);
        let mut log = AccessLog::open(&path, 10, lines).unwrap();
        for line in 0..3 {
            log.write(&mut vec![format!("line {line}")]);
        }
        let text = |path: &Path| std::fs::read_to_string(path).unwrap();
        assert_eq!(
            (text(&path), text(&dir.path().join("access.log.2"))),
            ("line 2\n".into(), "line 0\n".into())
        );
        std::fs::rename(&path, &moved).unwrap();
        log.file().reopen().unwrap();
        log.write(&mut vec!["line 3".to_owned()]);
        assert_eq!((text(&path), text(&moved)), ("line 3\n".into(), "line 2\n".into()));
    }
}
