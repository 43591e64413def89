//! Which images this installation fetched, and as what: a small file, because engines do not remember who pulled.
//!
//! It is written after a pull. A daemon that is killed in between, or whose file is lost, knows of too few images, and
//! those stay.

use dtma_core::id::{ImageId, ImageRef};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

type Entries = BTreeMap<ImageId, BTreeSet<ImageRef>>;

/// The images fetched, by their content hash.
#[derive(Debug)]
pub(crate) struct Ledger {
    /// `None`: it is forgotten with the process.
    path: Option<PathBuf>,
    entries: Mutex<Entries>,
}

impl Ledger {
    /// Reads the file when it is there. One that cannot be read is as good as none.
    pub(crate) fn open(path: Option<PathBuf>) -> Self {
        let entries = path.as_deref().map_or_else(|| Ok(Entries::new()), read).unwrap_or_else(|error| {
            tracing::warn!(?path, %error, "the list of fetched images cannot be read: none of them will be removed");
            Entries::new()
        });
        Self { path, entries: Mutex::new(entries) }
    }

    /// As what this image was fetched.
    pub(crate) fn fetched_as(&self, id: &ImageId) -> BTreeSet<ImageRef> {
        self.entries().get(id).cloned().unwrap_or_default()
    }

    /// Takes in a pull; one that brought nothing fresh makes no image ours.
    pub(crate) async fn note(self: &Arc<Self>, id: &ImageId, image: &ImageRef, fresh: bool) {
        let new = {
            let mut entries = self.entries();
            (fresh || entries.contains_key(id))
                && entries.entry(id.clone()).or_default().insert(image.clone())
        };
        if new {
            self.keep().await;
        }
    }

    /// The images that are known to be fetched.
    pub(crate) fn ids(&self) -> BTreeSet<ImageId> {
        self.entries().keys().cloned().collect()
    }

    /// Forgets images that the engine does not have any more.
    pub(crate) async fn forget(self: &Arc<Self>, gone: impl Iterator<Item = &ImageId>) {
        let forgotten = {
            let mut entries = self.entries();
            gone.filter(|id| entries.remove(*id).is_some()).count()
        };
        if forgotten > 0 {
            self.keep().await;
        }
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn keep(self: &Arc<Self>) {
        let ledger = Arc::clone(self);
        let kept = tokio::task::spawn_blocking(move || ledger.write()).await;
        if let Err(error) = kept.unwrap_or_else(|join| Err(io::Error::other(join))) {
            tracing::warn!(path = ?self.path, %error, "the list of fetched images cannot be kept");
        }
    }

    /// Under the lock, so that of two at once the later one says more.
    fn write(&self) -> io::Result<()> {
        let Some(path) = &self.path else { return Ok(()) };
        let entries = self.entries();
        let unfinished = path.with_extension("new");
        let mut file = File::create(&unfinished)?;
        file.write_all(serde_json::to_string_pretty(&*entries)?.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&unfinished, path)
    }
}

fn read(path: &Path) -> io::Result<Entries> {
    match std::fs::read(path) {
        Ok(json) => Ok(serde_json::from_slice(&json)?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Entries::new()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_was_fetched_is_known_to_the_next_process_until_it_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let open = || Arc::new(Ledger::open(Some(dir.path().join("images.json"))));
        let (a, b) = (ImageId::from("sha256:a"), ImageId::from("sha256:b"));
        let ledger = open();
        for (id, name) in [(&a, "one:1"), (&a, "two:1"), (&b, "three:1")] {
            ledger.note(id, &name.into(), true).await;
        }
        assert_eq!(open().fetched_as(&a), ["one:1".into(), "two:1".into()].into());
        open().forget([a.clone()].iter()).await;
        assert_eq!(
            (open().fetched_as(&a), open().fetched_as(&b)),
            (BTreeSet::new(), ["three:1".into()].into())
        );
    }

    #[tokio::test]
    async fn what_was_there_before_is_not_ours_and_what_is_ours_may_get_names() {
        let ledger = Arc::new(Ledger::open(None));
        let id = ImageId::from("sha256:a");
        for (fresh, expected) in [(false, &[][..]), (true, &["one:1"]), (false, &["one:1"])] {
            ledger.note(&id, &"one:1".into(), fresh).await;
            assert_eq!(ledger.fetched_as(&id), expected.iter().map(|name| ImageRef::from(*name)).collect());
        }
        ledger.note(&id, &"two:1".into(), false).await;
        assert_eq!(ledger.fetched_as(&id), ["one:1".into(), "two:1".into()].into());
    }

    #[tokio::test]
    async fn a_file_that_cannot_be_read_is_none_and_written_anew() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("images.json");
        std::fs::write(&path, "{").unwrap();
        let ledger = Arc::new(Ledger::open(Some(path.clone())));
        ledger.note(&"sha256:a".into(), &"one:1".into(), true).await;
        assert_eq!(Ledger::open(Some(path)).fetched_as(&"sha256:a".into()), ["one:1".into()].into());
    }
}
