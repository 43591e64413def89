//! Where credentials are kept.

use crate::credential::{Credential, CredentialId};
use async_trait::async_trait;
use std::time::Duration;

/// Why a vault did not do what was asked: one variant for each thing that can be done about it. No text of an error ever
/// repeats what is secret, nor what a vault answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VaultError {
    /// There is none of that name. Somebody has to bring it there.
    #[error("there is no credential {id} in {vault}")]
    NotFound {
        /// The vault.
        vault: String,
        /// What was asked for.
        id: Box<CredentialId>,
    },
    /// The vault knows us and says no. Somebody has to allow it there.
    #[error("{vault} denies it: {problem}")]
    Denied {
        /// The vault.
        vault: String,
        /// What may not be done.
        problem: String,
    },
    /// The vault cannot be reached or cannot do it now. Later it may.
    #[error("{vault} is not available: {problem}")]
    Unavailable {
        /// The vault.
        vault: String,
        /// What the system said, or the status of the answer.
        problem: String,
        /// When the vault wants to be asked again, where it said so.
        retry_after: Option<Duration>,
    },
    /// The vault is locked for us: sealed, or our key does not fit. Somebody has to open it.
    #[error("{vault} is sealed: {problem}")]
    Sealed {
        /// The vault.
        vault: String,
        /// Why, and what opens it.
        problem: String,
    },
    /// What the vault holds or answered cannot be understood. Somebody has to look at it.
    #[error("{vault} holds what cannot be understood: {problem}")]
    Malformed {
        /// The vault.
        vault: String,
        /// Where, and what was expected there.
        problem: String,
    },
    /// The credential cannot be kept there as it is.
    #[error("{vault} cannot keep this: {problem}")]
    Refused {
        /// The vault.
        vault: String,
        /// Which bound it breaks.
        problem: String,
    },
    /// Not a thing this kind of vault does.
    #[error("{vault} cannot {operation}")]
    Unsupported {
        /// The vault.
        vault: String,
        /// `store`, `remove`, `list`.
        operation: &'static str,
    },
}

impl VaultError {
    /// True when trying the same again later may succeed without anybody changing anything.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unavailable { .. } => true,
            Self::NotFound { .. }
            | Self::Denied { .. }
            | Self::Sealed { .. }
            | Self::Malformed { .. }
            | Self::Refused { .. }
            | Self::Unsupported { .. } => false,
        }
    }
}

/// What a vault says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VaultInfo {
    /// What it is and where, as people read it in errors: `the vault /var/lib/dtma/credentials.vault`.
    pub name: String,
    /// Whether [`store`](SecretVault::store) and [`remove`](SecretVault::remove) do anything: a refresh token that was
    /// rotated can be kept.
    pub writable: bool,
    /// Whether [`list`](SecretVault::list) does anything: some vaults tell a credential only to who knows its name.
    pub listable: bool,
}

/// Where credentials are kept. What does not depend on a vault (retries, caches, who may have what) is not its matter.
///
/// A call whose future is dropped, and one that ends with an error, may still take effect. No credential is ever half the
/// old and half the new.
#[async_trait]
pub trait SecretVault: Send + Sync {
    /// Who are you? Asks nobody.
    fn info(&self) -> VaultInfo;
    /// A credential as it is now.
    async fn resolve(&self, id: &CredentialId) -> Result<Credential, VaultError>;
    /// Keeps a credential in place of the one of that name. When it returns, that survives a power cut of the vault.
    async fn store(&self, id: &CredentialId, credential: &Credential) -> Result<(), VaultError>;
    /// Forgets a credential. Unknown: no error.
    async fn remove(&self, id: &CredentialId) -> Result<(), VaultError>;
    /// What credentials there are, in the order of their ids.
    async fn list(&self) -> Result<Vec<CredentialId>, VaultError>;
}
