//! Which container was given which version of the shim: those that no container has any more are removed. A container
//! keeps the version that it was made with, and cannot be started again without it.
//!
//! Beside `shim/<sha256>`, which is what containers are given, `shim/<sha256>.of` holds an empty file for each of them.
//! Of a container that is noted nowhere (it came from an older daemon, or the note was lost with the machine's power) it
//! is not known what it has: then everything stays.

use crate::error::OpenError;
use crate::key::Key;
use crate::program::{self, SHA256};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

const NOTES: &str = ".of";

pub(crate) struct Versions {
    root: PathBuf,
    /// Where the present version lies.
    present: PathBuf,
}

impl Versions {
    /// Lays the present version below the state directory.
    pub(crate) fn open(state_dir: &Path) -> Result<Self, OpenError> {
        let (present, root) = (program::install(state_dir)?, program::root(state_dir));
        let notes = root.join(format!("{SHA256}{NOTES}"));
        fs::create_dir_all(&notes).map_err(|source| OpenError::Directory { path: notes, source })?;
        Ok(Self { root, present })
    }

    /// What a new container is given.
    pub(crate) fn present(&self) -> PathBuf {
        self.present.clone()
    }

    /// Notes, before it is made, that the container of this key is given the present version.
    pub(crate) fn note(&self, key: &Key) -> io::Result<()> {
        File::create(self.notes_of(SHA256).join(key.as_str())).map(drop)
    }

    /// Removes the notes of containers that are gone, and versions that had none left the last time: one that was being
    /// made then, and was not listed yet, is seen by now. `seen` are all containers with a shim.
    pub(crate) fn clear_away(&self, seen: &BTreeSet<Key>, has: impl Fn(&Key) -> bool) -> io::Result<()> {
        let versions = self.noted()?;
        let known = |key: &Key| versions.values().any(|keys| keys.contains(key));
        if !seen.iter().all(known) {
            return Ok(());
        }
        for (version, keys) in &versions {
            if version != SHA256 && keys.is_empty() {
                tracing::info!(version, "no container has this shim any more");
                self.remove(version)?;
                continue;
            }
            for gone in keys.iter().filter(|key| !has(key)) {
                remove_file(&self.notes_of(version).join(gone.as_str()))?;
            }
        }
        Ok(())
    }

    /// The program before its notes: what is interrupted is found again.
    fn remove(&self, version: &str) -> io::Result<()> {
        match fs::remove_dir_all(self.root.join(version)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => fs::remove_dir_all(self.notes_of(version)),
        }
    }

    fn notes_of(&self, version: &str) -> PathBuf {
        self.root.join(format!("{version}{NOTES}"))
    }

    /// Versions of which it is known who has them, and who that is.
    fn noted(&self) -> io::Result<BTreeMap<String, BTreeSet<Key>>> {
        let mut noted = BTreeMap::new();
        for name in names(&self.root)? {
            if let Some(version) = name.strip_suffix(NOTES) {
                let keys = names(&self.notes_of(version))?;
                let keys = keys.iter().filter_map(|key| Key::of_directory(key)).collect();
                noted.insert(version.to_owned(), keys);
            }
        }
        Ok(noted)
    }
}

fn names(dir: &Path) -> io::Result<Vec<String>> {
    let entries = fs::read_dir(dir)?.collect::<io::Result<Vec<_>>>()?;
    Ok(entries.iter().filter_map(|entry| entry.file_name().into_string().ok()).collect())
}

fn remove_file(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: u8) -> Key {
        Key::of_directory(&format!("{number:016x}")).unwrap()
    }

    /// An earlier version that these containers were given.
    fn earlier(versions: &Versions, name: &str, keys: &[Key]) -> PathBuf {
        fs::create_dir_all(versions.root.join(name)).unwrap();
        fs::create_dir_all(versions.notes_of(name)).unwrap();
        keys.iter().for_each(|key| drop(File::create(versions.notes_of(name).join(key.as_str())).unwrap()));
        versions.root.join(name)
    }

    fn clear_away(versions: &Versions, seen: &[Key]) {
        let seen: BTreeSet<Key> = seen.iter().cloned().collect();
        versions.clear_away(&seen, |key| seen.contains(key)).unwrap();
    }

    #[test]
    fn a_version_stays_as_long_as_one_container_has_it() {
        let state = tempfile::tempdir().unwrap();
        let versions = Versions::open(state.path()).unwrap();
        let old = earlier(&versions, "old", &[key(1), key(2)]);
        versions.note(&key(3)).unwrap();
        clear_away(&versions, &[key(1), key(2), key(3)]);
        assert!(old.exists());
        clear_away(&versions, &[key(2), key(3)]);
        assert!(old.exists());
        clear_away(&versions, &[key(3)]);
        assert!(old.exists());
        clear_away(&versions, &[key(3)]);
        assert!(!old.exists() && !versions.notes_of("old").exists());
        clear_away(&versions, &[]);
        assert!(versions.present().join("dtma-shim").exists(), "the present one always stays");
        assert!(versions.noted().unwrap()[SHA256].is_empty(), "no note outlives its container");
    }

    #[test]
    fn while_a_container_is_noted_nowhere_everything_stays() {
        let state = tempfile::tempdir().unwrap();
        let versions = Versions::open(state.path()).unwrap();
        let (old, unknown) = (earlier(&versions, "old", &[key(1)]), versions.root.join("unknown"));
        fs::create_dir(&unknown).unwrap();
        for _ in 0..3 {
            clear_away(&versions, &[key(9)]);
            assert!(old.exists());
        }
        clear_away(&versions, &[]);
        // It was not listed the last time.
        clear_away(&versions, &[key(1)]);
        assert!(old.exists());
        clear_away(&versions, &[]);
        assert!(!old.exists());
        assert!(unknown.exists(), "of this one nobody knows who has it");
    }

    #[test]
    fn a_removal_that_was_interrupted_is_done_again() {
        let state = tempfile::tempdir().unwrap();
        let versions = Versions::open(state.path()).unwrap();
        fs::remove_dir(earlier(&versions, "old", &[])).unwrap();
        clear_away(&versions, &[]);
        assert!(!versions.notes_of("old").exists());
    }
}
