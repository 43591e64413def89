//! For development: credentials in a JSON document in the clear. Read only, and read anew for each question, so that what
//! is edited is seen at once. A file that others may read is refused.
//!
//! ```json
//! {"credentials": [
//!   {"server": "github-mcp", "name": "github", "api_key": "ghp_..."},
//!   {"server": "calendar", "agent": "alice", "name": "google",
//!    "oauth": {"access_token": "...", "refresh_token": "...", "scopes": ["calendar"]}},
//!   {"server": "search", "name": "keys", "fields": {"SEARCH_KEY": "...", "SEARCH_ID": "..."}}
//! ]}
//! ```

use super::disk::{self, ReadError};
use async_trait::async_trait;
use dtma_core::Timestamp;
use dtma_core::connection::Agent;
use dtma_core::credential::{Credential, CredentialId, CredentialOwner, OAuthTokens, Secret};
use dtma_core::id::{CredentialName, InstanceName};
use dtma_core::port::vault::{SecretVault, VaultError, VaultInfo};
use secrecy::SecretString;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The largest document that is read, in bytes.
const LIMIT: u64 = 1024 * 1024;

/// Credentials of a JSON document.
#[derive(Debug, Clone)]
pub struct PlainFileVault {
    path: Arc<PathBuf>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    credentials: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    server: InstanceName,
    agent: Option<String>,
    name: CredentialName,
    #[serde(flatten)]
    value: Value,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Value {
    ApiKey(SecretString),
    Oauth(Tokens),
    Fields(BTreeMap<String, SecretString>),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Tokens {
    access_token: SecretString,
    refresh_token: Option<SecretString>,
    #[serde(default)]
    scopes: BTreeSet<String>,
    obtained_at: Option<Timestamp>,
    expires_at: Option<Timestamp>,
}

impl PlainFileVault {
    /// The vault in this file, which is not looked at yet.
    #[must_use]
    pub fn new(path: &Path) -> Self {
        Self { path: Arc::new(path.to_owned()) }
    }

    fn name(&self) -> String {
        format!("the credentials file {}", self.path.display())
    }

    async fn read(&self) -> Result<BTreeMap<CredentialId, Credential>, VaultError> {
        let vault = self.clone();
        let read = tokio::task::spawn_blocking(move || vault.read_now()).await;
        read.unwrap_or_else(|_| Err(self.unavailable("reading it broke off".to_owned())))
    }

    fn unavailable(&self, problem: String) -> VaultError {
        VaultError::Unavailable { vault: self.name(), problem, retry_after: None }
    }

    fn read_now(&self) -> Result<BTreeMap<CredentialId, Credential>, VaultError> {
        let (vault, malformed) = (self.name(), |vault, problem| VaultError::Malformed { vault, problem });
        let bytes = disk::read_private(&self.path, LIMIT).map_err(|error| match error {
            ReadError::Io { .. } => self.unavailable(error.to_string()),
            ReadError::Open { .. } => VaultError::Denied { vault: self.name(), problem: error.to_string() },
            ReadError::NotPlain { .. } | ReadError::TooLarge { .. } => {
                malformed(self.name(), error.to_string())
            }
        })?;
        // What serde_json says may repeat a value; where it stopped does not.
        let document: Document = serde_json::from_slice(&bytes).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            malformed(
                vault,
                format!("line {line}, column {column}: not the JSON document that is wanted there"),
            )
        })?;
        let mut credentials = BTreeMap::new();
        for (id, credential) in document.credentials.into_iter().map(Entry::named) {
            if credentials.contains_key(&id) {
                return Err(malformed(self.name(), format!("there are two credentials {id}")));
            }
            credentials.insert(id, credential);
        }
        Ok(credentials)
    }

    fn unsupported<T>(&self, operation: &'static str) -> Result<T, VaultError> {
        Err(VaultError::Unsupported { vault: self.name(), operation })
    }
}

impl Entry {
    fn named(self) -> (CredentialId, Credential) {
        let instance = self.server;
        let owner = match self.agent {
            Some(name) => CredentialOwner::Agent { instance, agent: Agent::Named(name) },
            None => CredentialOwner::Instance(instance),
        };
        let secret = match self.value {
            Value::ApiKey(key) => Secret::ApiKey(key),
            Value::Fields(fields) => Secret::Fields(fields),
            Value::Oauth(tokens) => Secret::OAuth(OAuthTokens {
                access: tokens.access_token,
                refresh: tokens.refresh_token,
                previous_refresh: None,
                scopes: tokens.scopes,
                obtained_at: tokens.obtained_at,
                expires_at: tokens.expires_at,
            }),
        };
        (CredentialId { owner, name: self.name }, secret.into())
    }
}

#[async_trait]
impl SecretVault for PlainFileVault {
    fn info(&self) -> VaultInfo {
        VaultInfo { name: self.name(), writable: false, listable: true }
    }

    async fn resolve(&self, id: &CredentialId) -> Result<Credential, VaultError> {
        let missing = || VaultError::NotFound { vault: self.name(), id: Box::new(id.clone()) };
        self.read().await?.remove(id).ok_or_else(missing)
    }

    async fn store(&self, _id: &CredentialId, _credential: &Credential) -> Result<(), VaultError> {
        self.unsupported("store")
    }

    async fn remove(&self, _id: &CredentialId) -> Result<(), VaultError> {
        self.unsupported("remove")
    }

    async fn list(&self) -> Result<Vec<CredentialId>, VaultError> {
        Ok(self.read().await?.into_keys().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dtma_testing::sample::{self, told};
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;
    use tempfile::TempDir;

    const DOCUMENT: &str = r#"{"credentials": [
        {"server": "s", "name": "key", "api_key": "canary"},
        {"server": "s", "agent": "alice", "name": "google",
         "oauth": {"access_token": "canary-a", "refresh_token": "canary-r", "scopes": ["calendar"],
                   "expires_at": "2026-01-01T00:00:00Z"}},
        {"server": "s", "name": "keys", "fields": {"A": "canary-1", "B": "canary-2"}}]}"#;

    fn vault(text: &str, mode: u32) -> (TempDir, PlainFileVault) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("credentials.json");
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        let vault = PlainFileVault::new(&path);
        (dir, vault)
    }

    #[tokio::test]
    async fn every_kind_is_read_and_listed() {
        let (_dir, vault) = vault(DOCUMENT, 0o600);
        let key = vault.resolve(&sample::credential_id("s", "key")).await.unwrap();
        assert_eq!(told(&key), told(&sample::api_key("canary")));
        let ids = vault.list().await.unwrap();
        let named: Vec<_> = ids.iter().map(ToString::to_string).collect();
        assert_eq!(named, ["key of server s", "keys of server s", "google of agent name:alice at server s"]);
        let google = format!("{:?}", told(&vault.resolve(&ids[2]).await.unwrap()));
        assert!(
            ["canary-a", "canary-r", "calendar", "2026-01-01"].iter().all(|part| google.contains(part)),
            "{google}"
        );
        let missing = vault.resolve(&sample::credential_id("s", "google")).await.unwrap_err();
        assert!(matches!(missing, VaultError::NotFound { .. }), "{missing}");
        assert!(vault.store(&ids[0], &key).await.is_err() && vault.remove(&ids[0]).await.is_err());
    }

    #[tokio::test]
    async fn a_file_that_others_may_read_is_refused() {
        for mode in [0o640, 0o604, 0o620] {
            let (_dir, vault) = vault(DOCUMENT, mode);
            let refused = vault.list().await.unwrap_err();
            assert!(matches!(refused, VaultError::Denied { .. }), "{refused}");
            assert!(refused.to_string().contains("chmod 600"), "{refused}");
        }
    }

    #[tokio::test]
    async fn a_mistake_is_shown_by_its_place_and_never_by_its_text() {
        let twice = r#"{"credentials": [{"server": "s", "name": "n", "api_key": "canary"},
                        {"server": "s", "name": "n", "api_key": "canary"}]}"#;
        let mistakes = [
            r#"{"credentials": ["canary"]}"#,
            r#"{"credentials": [{"server": "s", "name": "n", "api_key": "canary"}], "canary": 1}"#,
            r#"{"credentials": [{"server": "s", "name": "n", "oauth": {"access_token": 1, "canary": 1}}]}"#,
            r#"{"credentials": [{"server": "s", "name": "n", "canary": "canary"}]}"#,
            r#"{"credentials": "canary""#,
            twice,
        ];
        for text in mistakes {
            let (_dir, vault) = vault(text, 0o600);
            let refused = vault.list().await.unwrap_err();
            assert!(matches!(refused, VaultError::Malformed { .. }), "{refused}");
            assert!(!format!("{refused} {refused:?}").contains("canary"), "{refused}");
        }
    }
}
