//! A log file of bounded size: full, it becomes `FILE.1`, that `FILE.2`, and the oldest goes.
//!
//! It can be opened anew, so that somebody else's rotation works too. Where it cannot be written a line is lost, for
//! there is nowhere else to say so.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// How much is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bounds {
    /// Bytes of one file.
    pub(crate) size: u64,
    /// Full ones kept beside it.
    pub(crate) files: u32,
}

/// An open log file.
#[derive(Debug)]
pub(crate) struct LogFile {
    path: PathBuf,
    bounds: Bounds,
    open: Mutex<Open>,
}

#[derive(Debug)]
struct Open {
    file: File,
    written: u64,
}

impl LogFile {
    /// Goes on with the file, or makes it (0640).
    pub(crate) fn open(path: &Path, bounds: Bounds) -> io::Result<Self> {
        let open = Mutex::new(Open::at(path)?);
        Ok(Self { path: path.to_owned(), bounds, open })
    }

    /// Opens the file of that name, whichever that is now.
    pub(crate) fn reopen(&self) -> io::Result<()> {
        *self.lock() = Open::at(&self.path)?;
        Ok(())
    }

    fn rotate(&self, open: &mut Open) -> io::Result<()> {
        for number in (1..self.bounds.files).rev() {
            replace(&numbered(&self.path, number), &numbered(&self.path, number + 1))?;
        }
        if self.bounds.files > 0 {
            replace(&self.path, &numbered(&self.path, 1))?;
        } else {
            std::fs::remove_file(&self.path)?;
        }
        *open = Open::at(&self.path)?;
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    fn at(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).mode(0o640).open(path)?;
        let written = file.metadata()?.len();
        Ok(Self { file, written })
    }
}

fn numbered(path: &Path, number: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    name.into()
}

fn replace(from: &Path, to: &Path) -> io::Result<()> {
    match std::fs::rename(from, to) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

impl Write for &LogFile {
    /// One event at a time, whole: an event never lies in two files.
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let mut open = self.lock();
        let after = open.written.saturating_add(event.len() as u64);
        if open.written > 0 && after > self.bounds.size {
            self.rotate(&mut open)?;
        }
        open.file.write_all(event)?;
        open.written += event.len() as u64;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.lock().file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(mut log: &LogFile, line: &str) {
        log.write_all(line.as_bytes()).unwrap();
    }

    fn read(path: &Path) -> String {
        std::fs::read_to_string(path).unwrap()
    }

    #[test]
    fn a_full_file_makes_room_and_the_oldest_goes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("dtma.log");
        let log = LogFile::open(&path, Bounds { size: 10, files: 2 }).unwrap();
        ["first\n", "second\n", "third\n", "4\n", "fifth\n"].iter().for_each(|line| write(&log, line));
        assert_eq!(read(&path), "fifth\n");
        assert_eq!(read(&numbered(&path, 1)), "third\n4\n");
        assert_eq!(read(&numbered(&path, 2)), "second\n");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 3);
    }

    #[test]
    fn a_daemon_that_comes_back_goes_on_where_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("dtma.log");
        let bounds = Bounds { size: 10, files: 1 };
        write(&LogFile::open(&path, bounds).unwrap(), "first\n");
        let log = LogFile::open(&path, bounds).unwrap();
        write(&log, "second\n");
        assert_eq!((read(&path), read(&numbered(&path, 1))), ("second\n".into(), "first\n".into()));
    }

    #[test]
    fn a_file_that_somebody_moved_away_is_made_anew() {
        let dir = tempfile::tempdir().unwrap();
        let (path, moved) = (dir.path().join("dtma.log"), dir.path().join("moved"));
        let log = LogFile::open(&path, Bounds { size: 100, files: 1 }).unwrap();
        write(&log, "first\n");
        std::fs::rename(&path, &moved).unwrap();
        write(&log, "second\n");
        log.reopen().unwrap();
        write(&log, "third\n");
        assert_eq!((read(&moved), read(&path)), ("first\nsecond\n".into(), "third\n".into()));
    }
}
