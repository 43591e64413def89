//! A [`SecretVault`] in memory that can be away, slow, sealed, or lose its answers, as its remote control says.

use async_trait::async_trait;
use dtma_core::credential::{Credential, CredentialId};
use dtma_core::port::vault::{SecretVault, VaultError, VaultInfo};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

/// How the fake is called in errors.
const NAME: &str = "the fake vault";

/// One call of the port, with what it was about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VaultCall {
    /// `resolve`.
    Resolve(CredentialId),
    /// `store`.
    Store(CredentialId),
    /// `remove`.
    Remove(CredentialId),
    /// `list`.
    List,
}

/// What goes wrong with one call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VaultFault {
    /// Nothing is done, and this is the answer.
    Refused(VaultError),
    /// It is done, and the answer is this nevertheless.
    AnswerLost(VaultError),
}

impl VaultFault {
    /// The vault is away for this call.
    #[must_use]
    pub fn away() -> Self {
        Self::Refused(unavailable())
    }

    /// It is done, and then the connection breaks.
    #[must_use]
    pub fn answer_lost() -> Self {
        Self::AnswerLost(unavailable())
    }
}

fn unavailable() -> VaultError {
    let (vault, problem) = (NAME.to_owned(), "the connection broke".to_owned());
    VaultError::Unavailable { vault, problem, retry_after: None }
}

#[derive(Debug, Default)]
struct Shared {
    kept: BTreeMap<CredentialId, Credential>,
    calls: Vec<VaultCall>,
    coming: VecDeque<VaultFault>,
    lasting: Option<VaultFault>,
    delay: Duration,
    read_only: bool,
}

type Vault = Arc<Mutex<Shared>>;

fn lock(vault: &Vault) -> MutexGuard<'_, Shared> {
    vault.lock().expect("no test panics while it holds the vault")
}

/// A vault in memory.
#[derive(Debug)]
pub struct FakeVault {
    vault: Vault,
}

/// Scripts a [`FakeVault`] and tells what was asked of it.
#[derive(Debug, Clone)]
pub struct FakeVaultRemote {
    vault: Vault,
}

impl FakeVault {
    /// An empty vault, and its remote control.
    #[must_use]
    pub fn new() -> (Self, FakeVaultRemote) {
        let vault = Vault::default();
        (Self { vault: Arc::clone(&vault) }, FakeVaultRemote { vault })
    }

    /// Notes the call, waits as long as calls take, and does it, unless a fault says otherwise.
    async fn call<T>(
        &self,
        call: VaultCall,
        work: impl FnOnce(&mut Shared) -> Result<T, VaultError> + Send,
    ) -> Result<T, VaultError> {
        let delay = {
            let mut shared = lock(&self.vault);
            shared.calls.push(call);
            shared.delay
        };
        tokio::time::sleep(delay).await;
        let mut shared = lock(&self.vault);
        let fault = shared.coming.pop_front().or_else(|| shared.lasting.clone());
        match fault {
            Some(VaultFault::Refused(error)) => Err(error),
            Some(VaultFault::AnswerLost(error)) => work(&mut shared).and(Err(error)),
            None => work(&mut shared),
        }
    }
}

impl Shared {
    fn writing(
        &mut self,
        operation: &'static str,
    ) -> Result<&mut BTreeMap<CredentialId, Credential>, VaultError> {
        if self.read_only {
            return Err(VaultError::Unsupported { vault: NAME.to_owned(), operation });
        }
        Ok(&mut self.kept)
    }
}

#[async_trait]
impl SecretVault for FakeVault {
    fn info(&self) -> VaultInfo {
        VaultInfo { name: NAME.to_owned(), writable: !lock(&self.vault).read_only, listable: true }
    }

    async fn resolve(&self, id: &CredentialId) -> Result<Credential, VaultError> {
        let missing = || VaultError::NotFound { vault: NAME.to_owned(), id: Box::new(id.clone()) };
        let work = |shared: &mut Shared| shared.kept.get(id).cloned().ok_or_else(missing);
        self.call(VaultCall::Resolve(id.clone()), work).await
    }

    async fn store(&self, id: &CredentialId, credential: &Credential) -> Result<(), VaultError> {
        let work = |shared: &mut Shared| {
            shared.writing("store")?.insert(id.clone(), credential.clone());
            Ok(())
        };
        self.call(VaultCall::Store(id.clone()), work).await
    }

    async fn remove(&self, id: &CredentialId) -> Result<(), VaultError> {
        let work = |shared: &mut Shared| {
            shared.writing("remove")?.remove(id);
            Ok(())
        };
        self.call(VaultCall::Remove(id.clone()), work).await
    }

    async fn list(&self) -> Result<Vec<CredentialId>, VaultError> {
        self.call(VaultCall::List, |shared| Ok(shared.kept.keys().cloned().collect())).await
    }
}

impl FakeVaultRemote {
    /// Another vault over the same credentials: what a daemon finds after a restart.
    #[must_use]
    pub fn reopen(&self) -> FakeVault {
        FakeVault { vault: Arc::clone(&self.vault) }
    }

    /// Somebody brings a credential there.
    pub fn put(&self, id: &CredentialId, credential: impl Into<Credential>) {
        lock(&self.vault).kept.insert(id.clone(), credential.into());
    }

    /// What is kept there now.
    #[must_use]
    pub fn kept(&self, id: &CredentialId) -> Option<Credential> {
        lock(&self.vault).kept.get(id).cloned()
    }

    /// The next calls meet these, one each.
    pub fn fail_next(&self, faults: impl IntoIterator<Item = VaultFault>) {
        lock(&self.vault).coming.extend(faults);
    }

    /// Every call meets this until [`recover`](Self::recover).
    pub fn fail(&self, fault: VaultFault) {
        lock(&self.vault).lasting = Some(fault);
    }

    /// No call meets anything any more.
    pub fn recover(&self) {
        let mut shared = lock(&self.vault);
        shared.lasting = None;
        shared.coming.clear();
    }

    /// Every call takes so long, in tokio's time.
    pub fn slow_down(&self, delay: Duration) {
        lock(&self.vault).delay = delay;
    }

    /// From now on it keeps nothing new.
    pub fn make_read_only(&self) {
        lock(&self.vault).read_only = true;
    }

    /// What was asked so far, oldest first, refused calls included.
    #[must_use]
    pub fn calls(&self) -> Vec<VaultCall> {
        lock(&self.vault).calls.clone()
    }
}
