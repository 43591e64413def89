//! The files of the audit log: their names, their rotation, and a look at all of them at one moment.

use super::AuditBounds;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// Where they are, and how many.
#[derive(Debug)]
pub(super) struct Files {
    dir: PathBuf,
    pub(super) bounds: AuditBounds,
    /// Held while names change and while all are opened.
    names: Mutex<()>,
}

impl Files {
    pub(super) fn new(dir: &Path, bounds: AuditBounds) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        Ok(Self { dir: dir.to_owned(), bounds, names: Mutex::new(()) })
    }

    /// The file that is written is number 0.
    pub(super) fn path(&self, number: u32) -> PathBuf {
        self.dir.join(if number == 0 { "audit.log".to_owned() } else { format!("audit.log.{number}") })
    }

    /// The file that is written, at its end, with its length. A last line that was torn is cut off: nobody was told
    /// that it had been written.
    pub(super) fn open(&self) -> io::Result<(File, u64)> {
        let mut options = OpenOptions::new();
        let mut file = options.create(true).append(true).read(true).mode(0o600).open(self.path(0))?;
        let length = file.metadata()?.len();
        let whole = end_of_last_line(&mut file, length)?;
        if whole < length {
            tracing::warn!(bytes = length - whole, "the audit log's last line was torn and is cut off");
            file.set_len(whole)?;
        }
        self.sync_names()?;
        Ok((file, whole))
    }

    /// Makes room: every file gets the next number, and the oldest goes.
    pub(super) fn rotate(&self) -> io::Result<()> {
        let _names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        let mut beyond = self.bounds.files.max(2) - 1;
        while remove(&self.path(beyond))? {
            beyond += 1;
        }
        for number in (0..self.bounds.files.max(2) - 1).rev() {
            replace(&self.path(number), &self.path(number + 1))?;
        }
        self.sync_names()
    }

    /// Every file with its present length, the newest first.
    pub(super) fn all(&self) -> io::Result<Vec<(File, u64)>> {
        let _names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        let mut found = Vec::new();
        for number in 0..self.bounds.files.max(2) {
            match File::open(self.path(number)) {
                Ok(file) => found.push((file.metadata()?.len(), file)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(found.into_iter().map(|(length, file)| (file, length)).collect())
    }

    fn sync_names(&self) -> io::Result<()> {
        File::open(&self.dir)?.sync_all()
    }
}

/// The place after the last newline.
fn end_of_last_line(file: &mut File, length: u64) -> io::Result<u64> {
    let mut end = length;
    let mut block = Vec::new();
    while end > 0 {
        let start = end.saturating_sub(4096);
        file.seek(SeekFrom::Start(start))?;
        block.clear();
        file.by_ref().take(end - start).read_to_end(&mut block)?;
        if let Some(index) = block.iter().rposition(|byte| *byte == b'\n') {
            return Ok(start + index as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

/// True when there was one.
fn remove(path: &Path) -> io::Result<bool> {
    match std::fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn replace(from: &Path, to: &Path) -> io::Result<()> {
    match std::fs::rename(from, to) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torn_line_is_cut_off_and_a_whole_one_stays() {
        let dir = tempfile::tempdir().unwrap();
        let files = Files::new(dir.path(), AuditBounds::default()).unwrap();
        let long = "x".repeat(10_000);
        for (before, after) in [("", 0), ("{}\n", 3), ("{}\n{\"a", 3), (&long, 0), (&format!("1\n{long}"), 2)]
        {
            std::fs::write(files.path(0), before).unwrap();
            assert_eq!(files.open().unwrap().1, after);
            assert_eq!(std::fs::metadata(files.path(0)).unwrap().len(), after);
        }
    }

    #[test]
    fn the_oldest_goes_and_so_do_those_beyond_a_lowered_bound() {
        let dir = tempfile::tempdir().unwrap();
        let files = Files::new(dir.path(), AuditBounds { size: 1, files: 3 }).unwrap();
        for number in 0..6 {
            std::fs::write(files.path(number), number.to_string()).unwrap();
        }
        files.rotate().unwrap();
        let read = |number| std::fs::read_to_string(files.path(number)).ok();
        let (none, text) = (None::<String>, |text: &str| Some(text.to_owned()));
        assert_eq!(
            [read(0), read(1), read(2), read(3), read(5)],
            [none.clone(), text("0"), text("1"), none.clone(), none]
        );
    }
}
