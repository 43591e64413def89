//! Reading a client's file and putting another text in its place: whole or not at all, through symbolic links, with the
//! mode and owner it had.
//!
//! No copy of the old file is kept: what is added is taken out again by `--remove`, nothing else is touched, and such a
//! file may hold other people's secrets, which should not lie about twice.

use crate::exit::Exit;
use crate::failure::Failure;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// No client's file is longer, in bytes.
const MOST: u64 = 16 << 20;

/// A file as it was found.
#[derive(Debug)]
pub(crate) struct Found {
    /// Where it really is.
    path: PathBuf,
    /// What it says; nothing when it is not there.
    text: Option<String>,
}

impl Found {
    /// What it says.
    pub(crate) fn text(&self) -> &str {
        self.text.as_deref().unwrap_or_default()
    }
}

/// Reads the file; one that is not there says nothing.
pub(crate) fn read(path: &Path) -> Result<Found, Failure> {
    let path = followed(path)?;
    let text = match std::fs::File::open(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => return Err(unreadable(&path, &error.to_string())),
        Ok(file) => Some(text(&path, file)?),
    };
    Ok(Found { path, text })
}

/// Where a symbolic link leads: that is written to, and the link stays.
fn followed(path: &Path) -> Result<PathBuf, Failure> {
    match std::fs::canonicalize(path) {
        Ok(path) => Ok(path),
        Err(error) if error.kind() == ErrorKind::NotFound && !path.is_symlink() => Ok(path.to_owned()),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            Err(unreadable(path, "it is a symbolic link to what is not there"))
        }
        Err(error) => Err(unreadable(path, &error.to_string())),
    }
}

fn text(path: &Path, file: std::fs::File) -> Result<String, Failure> {
    let mut text = String::new();
    let read = file.take(MOST + 1).read_to_string(&mut text);
    read.map_err(|error| unreadable(path, &error.to_string()))?;
    if text.len() as u64 > MOST {
        return Err(unreadable(path, &format!("it is longer than {MOST} bytes")));
    }
    Ok(text)
}

fn unreadable(path: &Path, problem: &str) -> Failure {
    Failure::new(Exit::Usage, format!("{} cannot be read", path.display())).cause(problem)
}

/// Puts this text in the place of what was found.
pub(crate) fn write(found: &Found, text: &str) -> Result<(), Failure> {
    let unwritable = |error: std::io::Error| {
        Failure::new(Exit::Usage, format!("{} cannot be written", found.path.display()))
            .cause(error.to_string())
    };
    let fresh = prepare(&found.path, text).map_err(unwritable)?;
    let replaced = unchanged(found).and_then(|()| std::fs::rename(&fresh, &found.path).map_err(unwritable));
    if replaced.is_err() {
        // What could not be put in its place is of no use to anybody.
        let _ = std::fs::remove_file(&fresh);
    }
    replaced
}

/// Another program may have written meanwhile; its words are not lost.
fn unchanged(found: &Found) -> Result<(), Failure> {
    if read(&found.path)?.text == found.text {
        return Ok(());
    }
    let message = format!("{} was changed by somebody else this moment", found.path.display());
    Err(Failure::new(Exit::Conflict, message).hint("nothing was written; try again"))
}

fn prepare(path: &Path, text: &str) -> std::io::Result<PathBuf> {
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let fresh = folder.join(format!(".{name}.{}.new", std::process::id()));
    // A new file's mode is what the user's umask leaves.
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).open(&fresh)?;
    let written = as_before(path, &file).and_then(|()| file.write_all(text.as_bytes()));
    let written = written.and_then(|()| file.sync_all());
    if let Err(error) = written {
        // The failure is what counts.
        let _ = std::fs::remove_file(&fresh);
        return Err(error);
    }
    Ok(fresh)
}

fn as_before(path: &Path, file: &std::fs::File) -> std::io::Result<()> {
    let Ok(before) = std::fs::metadata(path) else { return Ok(()) };
    let now = file.metadata()?;
    if (before.uid(), before.gid()) != (now.uid(), now.gid()) {
        std::os::unix::fs::fchown(file, Some(before.uid()), Some(before.gid()))?;
    }
    file.set_permissions(before.permissions())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn files(folder: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<String> = entries.map(|name| name.to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_link_is_followed_and_the_mode_stays() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("real.json"), folder.path().join("link.json"));
        std::fs::write(&file, "{}").unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).unwrap();
        symlink("real.json", &link).unwrap();
        write(&read(&link).unwrap(), "{\"a\": 1}").unwrap();
        assert!(link.is_symlink());
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "{\"a\": 1}");
        assert_eq!(std::fs::metadata(&file).unwrap().mode() & 0o777, 0o640);
        assert_eq!(files(folder.path()), ["link.json", "real.json"]);
    }

    #[test]
    fn folders_are_made_and_a_link_to_nothing_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a/b/c.json");
        let found = read(&file).unwrap();
        assert_eq!(found.text(), "");
        write(&found, "{}").unwrap();
        assert_eq!(read(&file).unwrap().text(), "{}");
        let link = folder.path().join("link");
        symlink("nowhere", &link).unwrap();
        assert_eq!(read(&link).unwrap_err().exit(), Some(Exit::Usage));
    }

    #[test]
    fn what_somebody_else_wrote_meanwhile_stays() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("c.json");
        std::fs::write(&file, "{}").unwrap();
        let found = read(&file).unwrap();
        std::fs::write(&file, "[]").unwrap();
        assert_eq!(write(&found, "{\"a\": 1}").unwrap_err().exit(), Some(Exit::Conflict));
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "[]");
        assert_eq!(files(folder.path()), ["c.json"]);
    }

    #[test]
    fn what_is_no_text_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("c.json");
        std::fs::write(&file, [0xff, 0xfe]).unwrap();
        assert_eq!(read(&file).unwrap_err().exit(), Some(Exit::Usage));
        assert_eq!(read(folder.path()).unwrap_err().exit(), Some(Exit::Usage));
    }
}
