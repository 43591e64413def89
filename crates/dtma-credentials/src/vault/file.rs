//! The vault in a file of its own: sealed as a whole, replaced as a whole. The format is described in `format.rs`.
//!
//! What is held in memory is the file as it is on the disk, and the key, which is kept from swap where the system allows
//! that. Credentials are unsealed for each question into memory of the same kind, which is overwritten after; whoever asked
//! gets values of `secrecy`, which are overwritten when they are dropped, but are ordinary memory until then: a system
//! with swap may write those to it.
//!
//! A second file, the witness, remembers the newest generation. An older vault in its place is refused, and so is one
//! whose witness is gone, but for a new one. Whoever puts back both has put back the whole directory: that is not found
//! out.
//!
//! One process at a time may have it; the lock of the state directory sees to that. A file that somebody else changed
//! meanwhile is not written over.

use super::disk::{self, ReadError, Step};
use super::format::{self, HEAD, Header, KeySource, MAX_FILE, Role, TAG};
use super::key::{self, KEY, KeyBytes, Keys, SALT, VaultKey};
use super::memory::LockedBytes;
use super::open::{OpenError, Rollback};
use super::records::{self, Records};
use async_trait::async_trait;
use dtma_core::credential::{Credential, CredentialId};
use dtma_core::port::vault::{SecretVault, VaultError, VaultInfo};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// Where the two files are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    /// The vault.
    pub vault: PathBuf,
    /// What remembers how new it was. On another disk it is a better witness.
    pub witness: PathBuf,
}

impl Places {
    /// `credentials.vault` and `credentials.witness` in a directory.
    #[must_use]
    pub fn within(directory: &Path) -> Self {
        Self { vault: directory.join("credentials.vault"), witness: directory.join("credentials.witness") }
    }
}

/// Asked before each step of a writing, so that a test can end it there.
type Steps = Box<dyn FnMut(Step) -> io::Result<()> + Send>;

/// Credentials in an encrypted file.
#[derive(Clone)]
pub struct FileVault {
    name: String,
    shared: Arc<Mutex<Shared>>,
}

struct Shared {
    places: Places,
    keys: Keys,
    /// The file as it is on the disk; `None` after a writing that failed, until it is read again.
    file: Option<Vec<u8>>,
    newest: u64,
    steps: Steps,
}

impl std::fmt::Debug for FileVault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FileVault").field("name", &self.name).finish_non_exhaustive()
    }
}

impl FileVault {
    /// Opens the vault, or makes an empty one where there is neither vault nor witness. Blocks: a passphrase takes a
    /// moment to become a key.
    ///
    /// # Errors
    /// [`OpenError`] says what to do. The files are as they were.
    pub fn open(places: Places, key: &VaultKey, rollback: Rollback) -> Result<Self, OpenError> {
        Self::open_with(places, key, rollback, Box::new(|_| Ok(())))
    }

    pub(super) fn open_with(
        places: Places,
        key: &VaultKey,
        rollback: Rollback,
        steps: Steps,
    ) -> Result<Self, OpenError> {
        let name = format!("the vault {}", places.vault.display());
        let there = places.vault.try_exists().unwrap_or(true) || places.witness.try_exists().unwrap_or(true);
        let shared = if there { open(places, key, rollback, steps)? } else { make(places, key, steps)? };
        if !shared.keys.seal.is_locked() {
            tracing::warn!("the key of {name} may be written to swap: RLIMIT_MEMLOCK is too low");
        }
        Ok(Self { name, shared: Arc::new(Mutex::new(shared)) })
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Shared) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, VaultError> {
        let shared = Arc::clone(&self.shared);
        let done = tokio::task::spawn_blocking(move || {
            // A panic leaves the file as it is held or as it is read again: neither is in half.
            work(&mut shared.lock().unwrap_or_else(PoisonError::into_inner))
        });
        let done = done.await.unwrap_or(Err(Failure::Later("a call of it broke off".to_owned())));
        done.map_err(|failure| failure.told(&self.name))
    }
}

/// Why a call failed, before it is known how the vault is called.
enum Failure {
    Missing(CredentialId),
    Later(String),
    Damaged(String),
    TooLarge,
}

impl Failure {
    fn told(self, name: &str) -> VaultError {
        let vault = name.to_owned();
        match self {
            Self::Missing(id) => VaultError::NotFound { vault, id: Box::new(id) },
            Self::Later(problem) => VaultError::Unavailable { vault, problem, retry_after: None },
            Self::Damaged(problem) => VaultError::Malformed { vault, problem },
            Self::TooLarge => {
                let problem = format!("with it the vault would have more than {MAX_FILE} bytes");
                VaultError::Refused { vault, problem }
            }
        }
    }
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Read(ReadError::Io { .. }) | OpenError::Make { .. } => Self::Later(error.to_string()),
            OpenError::Read(_)
            | OpenError::WrongKey { .. }
            | OpenError::WrongKind { .. }
            | OpenError::NoKey { .. }
            | OpenError::Foreign { .. }
            | OpenError::Newer { .. }
            | OpenError::Damaged { .. }
            | OpenError::RolledBack { .. } => Self::Damaged(error.to_string()),
        }
    }
}

/// Makes an empty vault with its witness.
fn make(places: Places, key: &VaultKey, steps: Steps) -> Result<Shared, OpenError> {
    let path = places.vault.display().to_string();
    let mut salt = [0; SALT];
    getrandom::fill(&mut salt).map_err(|_| OpenError::NoKey { problem: "the system has no randomness" })?;
    let source = match key {
        VaultKey::Passphrase { cost, .. } => KeySource::Passphrase(*cost),
        VaultKey::Bytes(_) => KeySource::Bytes,
    };
    let keys = keys(key, source, &salt, &path)?;
    let mut shared = Shared { places, keys, file: None, newest: 0, steps };
    let header = shared.header(source, salt);
    let made = shared.write(&header, &Records::new());
    made.map_err(|failure| OpenError::Make { path, source: failure.into_io() })?;
    Ok(shared)
}

impl Failure {
    fn into_io(self) -> io::Error {
        match self {
            Self::Later(problem) | Self::Damaged(problem) => io::Error::other(problem),
            Self::Missing(_) | Self::TooLarge => io::ErrorKind::FileTooLarge.into(),
        }
    }
}

/// Opens what is there. Nothing is written, but for a rollback that is accepted and a witness that lags behind.
fn open(places: Places, key: &VaultKey, rollback: Rollback, steps: Steps) -> Result<Shared, OpenError> {
    let path = places.vault.display().to_string();
    let file = match disk::read_private(&places.vault, MAX_FILE) {
        Err(ReadError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            let problem = format!("it is gone, and its witness {} is there", places.witness.display());
            return Err(OpenError::RolledBack { path, problem });
        }
        file => file?.to_vec(),
    };
    let header = header_of(&file, Role::Vault, &path)?;
    let keys = keys(key, header.source, &header.salt, &path)?;
    if keys.check != header.check {
        return Err(OpenError::WrongKey { path });
    }
    unsealed(&file, &keys, &path)?;
    let mut shared = Shared { places, keys, newest: header.generation, file: Some(file), steps };
    let witnessed = shared.witnessed(&header, rollback)?;
    if witnessed != Some(header.generation) {
        let made = shared.write_witness(&header);
        made.map_err(|source| OpenError::Make { path: shared.places.witness.display().to_string(), source })?;
    }
    Ok(shared)
}

fn keys(key: &VaultKey, source: KeySource, salt: &[u8; SALT], path: &str) -> Result<Keys, OpenError> {
    let wrong = |wanted| Err(OpenError::WrongKind { path: path.to_owned(), wanted });
    let keys = match (key, source) {
        (VaultKey::Passphrase { passphrase, .. }, KeySource::Passphrase(cost)) => {
            key::root(passphrase, cost, salt).and_then(|root| Keys::of(&root, salt))
        }
        (VaultKey::Bytes(KeyBytes(root)), KeySource::Bytes) => Keys::of(root, salt),
        (VaultKey::Bytes(_), KeySource::Passphrase(_)) => return wrong("a passphrase"),
        (VaultKey::Passphrase { .. }, KeySource::Bytes) => return wrong("a key file"),
    };
    keys.ok_or(OpenError::NoKey { problem: "the cost of the passphrase is out of bounds" })
}

fn header_of(file: &[u8], role: Role, path: &str) -> Result<Header, OpenError> {
    let (header, _) = format::parse(file).map_err(|error| OpenError::of(error, path))?;
    if header.role != role {
        return Err(OpenError::Foreign { path: path.to_owned() });
    }
    Ok(header)
}

fn unsealed(file: &[u8], keys: &Keys, path: &str) -> Result<Records, OpenError> {
    let damaged = |problem| OpenError::Damaged { path: path.to_owned(), problem };
    let (header, sealed) = format::parse(file).map_err(|error| OpenError::of(error, path))?;
    let plain = format::unseal(file, &header, sealed, keys);
    let plain = plain.ok_or_else(|| damaged("it was changed since it was written"))?;
    records::read(&plain).map_err(|_| damaged("what is sealed in it cannot be understood"))
}

impl Shared {
    fn header(&self, source: KeySource, salt: [u8; SALT]) -> Header {
        let check: [u8; KEY] = self.keys.check;
        Header { role: Role::Vault, source, salt, check, generation: 0, nonce: [0; 24], sealed: 0 }
    }

    fn path(&self) -> String {
        self.places.vault.display().to_string()
    }

    /// The generation that the witness remembers of this vault, when that is no newer.
    fn witnessed(&self, vault: &Header, rollback: Rollback) -> Result<Option<u64>, OpenError> {
        let rolled_back = |problem| match rollback {
            Rollback::Accept => Ok(None),
            Rollback::Refuse => Err(OpenError::RolledBack { path: self.path(), problem }),
        };
        let place = self.places.witness.display().to_string();
        let file = match disk::read_private(&self.places.witness, (HEAD + TAG) as u64) {
            // The daemon was killed between the two files, the first time.
            Err(ReadError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                let new = vault.generation <= 1;
                return if new { Ok(None) } else { rolled_back(format!("its witness {place} is gone")) };
            }
            file => file?,
        };
        let ours = header_of(&file, Role::Witness, &place)
            .ok()
            .filter(|witness| witness.salt == vault.salt && self.is_sealed(&file, witness));
        match ours {
            None => rolled_back(format!("its witness {place} is damaged or another vault's")),
            Some(witness) if witness.generation > vault.generation => rolled_back(format!(
                "it is of generation {}, and was of {}",
                vault.generation, witness.generation
            )),
            Some(witness) => Ok(Some(witness.generation)),
        }
    }

    fn is_sealed(&self, file: &[u8], header: &Header) -> bool {
        let sealed = file.get(HEAD..).unwrap_or_default();
        format::unseal(file, header, sealed, &self.keys).is_some()
    }

    /// The file as it is held, read again where a writing failed.
    fn file(&mut self) -> Result<&[u8], Failure> {
        if self.file.is_none() {
            let file = disk::read_private(&self.places.vault, MAX_FILE).map_err(OpenError::from)?;
            let header = header_of(&file, Role::Vault, &self.path())?;
            unsealed(&file, &self.keys, &self.path())?;
            if header.generation < self.newest {
                return Err(Failure::Damaged("it is older than it was".to_owned()));
            }
            self.file = Some(file.to_vec());
        }
        Ok(self.file.as_deref().unwrap_or_default())
    }

    fn records(&mut self) -> Result<Records, Failure> {
        let path = self.path();
        self.file()?;
        let file = self.file.as_deref().unwrap_or_default();
        Ok(unsealed(file, &self.keys, &path)?)
    }

    /// Changes all there is in one writing.
    fn change(&mut self, change: impl FnOnce(&mut Records) -> bool) -> Result<(), Failure> {
        let mut records = self.records()?;
        if !change(&mut records) {
            return Ok(());
        }
        let on_disk = disk::read_private(&self.places.vault, MAX_FILE).map_err(OpenError::from)?;
        let path = self.path();
        let held = self.file()?;
        let header = header_of(held, Role::Vault, &path)?;
        if *on_disk != held {
            let problem = "somebody else changed it: restart the daemon to use it as it is now";
            return Err(Failure::Damaged(problem.to_owned()));
        }
        self.write(&header, &records)
    }

    fn write(&mut self, last: &Header, records: &Records) -> Result<(), Failure> {
        let size = records::size(records);
        if (size + HEAD + TAG) as u64 > MAX_FILE {
            return Err(Failure::TooLarge);
        }
        let header = Header { generation: last.generation + 1, ..last.clone() };
        let mut plain = LockedBytes::new(size);
        records::write(records, &mut plain);
        let file = format::seal(header.clone(), &self.keys, plain).ok_or_else(no_randomness)?;
        self.file = None;
        let written = disk::replace(&self.places.vault, &file, &mut *self.steps);
        written
            .and_then(|()| self.write_witness(&header))
            .map_err(|error| Failure::Later(error.to_string()))?;
        self.newest = header.generation;
        self.file = Some(file);
        Ok(())
    }

    fn write_witness(&mut self, vault: &Header) -> io::Result<()> {
        let header = Header { role: Role::Witness, ..vault.clone() };
        let file = format::seal(header, &self.keys, LockedBytes::new(0))
            .ok_or_else(|| io::Error::other("no randomness"))?;
        disk::replace(&self.places.witness, &file, &mut *self.steps)
    }
}

fn no_randomness() -> Failure {
    Failure::Later("the system has no randomness".to_owned())
}

#[async_trait]
impl SecretVault for FileVault {
    fn info(&self) -> VaultInfo {
        VaultInfo { name: self.name.clone(), writable: true, listable: true }
    }

    async fn resolve(&self, id: &CredentialId) -> Result<Credential, VaultError> {
        let id = id.clone();
        self.run(move |shared| shared.records()?.remove(&id).ok_or(Failure::Missing(id))).await
    }

    async fn store(&self, id: &CredentialId, credential: &Credential) -> Result<(), VaultError> {
        let (id, credential) = (id.clone(), credential.clone());
        let insert = move |records: &mut Records| {
            records.insert(id, credential);
            true
        };
        self.run(move |shared| shared.change(insert)).await
    }

    async fn remove(&self, id: &CredentialId) -> Result<(), VaultError> {
        let id = id.clone();
        self.run(move |shared| shared.change(|records| records.remove(&id).is_some())).await
    }

    async fn list(&self) -> Result<Vec<CredentialId>, VaultError> {
        self.run(|shared| Ok(shared.records()?.into_keys().collect())).await
    }
}

#[cfg(test)]
mod tests;
