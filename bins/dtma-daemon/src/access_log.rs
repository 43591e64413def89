//! `--access-log FILE`: one JSON object a line for each request, in a file that is renamed when it is big.
//!
//! The door hands lines over without waiting; where the disk cannot keep up, lines are left out and counted.

use anyhow::{Context, Result};
use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use tokio::sync::mpsc::Receiver;

/// Lines that wait to be written; further ones are left out.
pub(crate) const WAITING: usize = 8192;
/// Old files that are kept, as `FILE.1` (the newest) to `FILE.5`.
const KEPT: usize = 5;

/// The file, and what is to be written into it.
pub(crate) struct AccessLog {
    lines: Receiver<String>,
    file: Rotated,
}

impl AccessLog {
    pub(crate) fn open(path: &Path, biggest: u64, lines: Receiver<String>) -> Result<Self> {
        let file = Rotated::open(path, biggest)
            .with_context(|| format!("cannot write the access log {}", path.display()))?;
        Ok(Self { lines, file })
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
        if let Err(error) = self.file.write(text.as_bytes()) {
            tracing::debug!(%error, "the access log cannot be written");
        }
    }
}

/// A file that is renamed before it grows beyond a size.
struct Rotated {
    path: PathBuf,
    file: File,
    size: u64,
    biggest: u64,
}

impl Rotated {
    fn open(path: &Path, biggest: u64) -> io::Result<Self> {
        let file = open(path)?;
        let size = file.metadata()?.len();
        Ok(Self { path: path.to_owned(), file, size, biggest })
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let more = bytes.len() as u64;
        if self.size > 0 && self.size + more > self.biggest {
            self.rotate()?;
        }
        self.file.write_all(bytes)?;
        self.size += more;
        Ok(())
    }

    fn rotate(&mut self) -> io::Result<()> {
        for index in (1..KEPT).rev() {
            // One that is not there yet is no reason to stop.
            let _ = std::fs::rename(self.old(index), self.old(index + 1));
        }
        std::fs::rename(&self.path, self.old(1))?;
        self.file = open(&self.path)?;
        self.size = 0;
        Ok(())
    }

    fn old(&self, index: usize) -> PathBuf {
        let mut name = OsString::from(&self.path);
        name.push(format!(".{index}"));
        name.into()
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).mode(0o640).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_big_file_is_renamed_and_only_so_many_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("access.log");
        let mut file = Rotated::open(&path, 10).unwrap();
        for line in 0..20 {
            file.write(format!("line {line:02}\n").as_bytes()).unwrap();
        }
        let text = |path: PathBuf| std::fs::read_to_string(path).unwrap();
        assert_eq!(
            (text(path), text(file.old(1)), text(file.old(5))),
            ("line 19\n".into(), "line 18\n".into(), "line 14\n".into())
        );
        assert!(!file.old(6).exists());
    }

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
}
