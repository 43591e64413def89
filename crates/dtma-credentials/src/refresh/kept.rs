//! A grant as a credential of a vault.

use super::pace::{Failure, FailureKind};
use super::record::{Record, StoredAccess, lifetime, same};
use super::task::{GrantVault, Wall};
use async_trait::async_trait;
use dtma_core::Timestamp;
use dtma_core::credential::{Credential, CredentialId, OAuthTokens, Secret};
use dtma_core::port::{SecretVault, VaultError};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// What stands beside the tokens and is written back with them.
#[derive(Debug, Clone, Default)]
pub struct Beside {
    /// The credential's attributes.
    pub attributes: BTreeMap<String, String>,
    /// The token's scopes.
    pub scopes: BTreeSet<String>,
}

/// One grant in a vault.
pub struct KeptGrant {
    vault: Arc<dyn SecretVault>,
    id: CredentialId,
    wall: Wall,
    /// As it was read last.
    beside: Mutex<Beside>,
}

impl KeptGrant {
    /// The grant of that name; `beside` counts until it was read.
    #[must_use]
    pub fn new(vault: Arc<dyn SecretVault>, id: CredentialId, beside: Beside, wall: Wall) -> Self {
        Self { vault, id, wall, beside: Mutex::new(beside) }
    }
}

#[async_trait]
impl GrantVault for KeptGrant {
    async fn load(&self) -> Result<Record, Failure> {
        let Credential { secret, attributes } =
            self.vault.resolve(&self.id).await.map_err(|error| failure(&error))?;
        let kind = secret.kind();
        let Secret::OAuth(tokens) = secret else {
            return Err(Failure::new(FailureKind::Refused, format!("{} is no grant, but: {kind}", self.id)));
        };
        let scopes = tokens.scopes.clone();
        *self.beside.lock().unwrap_or_else(PoisonError::into_inner) = Beside { attributes, scopes };
        Ok(record(tokens, (self.wall)()))
    }

    async fn save(&self, record: &Record) -> Result<(), Failure> {
        let beside = self.beside.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let secret = Secret::OAuth(tokens(record, beside.scopes));
        let credential = Credential { secret, attributes: beside.attributes };
        self.vault.store(&self.id, &credential).await.map_err(|error| failure(&error))
    }
}

fn record(tokens: OAuthTokens, now: Timestamp) -> Record {
    // A grant that was given without an access token has an empty one.
    let access = (!same(Some(&tokens.access), Some(&"".into()))).then(|| {
        let (obtained, lifetime) = times(tokens.obtained_at, tokens.expires_at, now);
        StoredAccess { token: tokens.access, obtained, lifetime }
    });
    Record { refresh: tokens.refresh, previous: tokens.previous_refresh, access }
}

/// When a token was got and how long it lives. Of one whose beginning nobody knows only the end counts.
fn times(
    obtained: Option<Timestamp>,
    end: Option<Timestamp>,
    now: Timestamp,
) -> (Timestamp, Option<Duration>) {
    let Some(end) = end else { return (obtained.unwrap_or(now), None) };
    let shortest = lifetime(Some(0.0)).unwrap_or_default();
    let latest = end.checked_sub(shortest).unwrap_or(Timestamp::MIN);
    let obtained = obtained.unwrap_or_else(|| now.min(latest));
    (obtained, lifetime(Some(end.duration_since(obtained).as_secs_f64())))
}

fn tokens(record: &Record, scopes: BTreeSet<String>) -> OAuthTokens {
    let access = record.access.as_ref();
    let expires_at = access.and_then(|access| access.obtained.checked_add(access.lifetime?).ok());
    OAuthTokens {
        access: access.map_or_else(|| "".into(), |access| access.token.clone()),
        refresh: record.refresh.clone(),
        previous_refresh: record.previous.clone(),
        scopes,
        obtained_at: access.map(|access| access.obtained),
        expires_at,
    }
}

fn failure(error: &VaultError) -> Failure {
    let (kind, retry_after) = match error {
        VaultError::Unavailable { retry_after, .. } => (FailureKind::Away, *retry_after),
        // Somebody has to open a sealed vault, and then at once all want to come in.
        VaultError::Sealed { .. } => (FailureKind::Away, None),
        VaultError::NotFound { .. }
        | VaultError::Denied { .. }
        | VaultError::Malformed { .. }
        | VaultError::Refused { .. }
        | VaultError::Unsupported { .. } => (FailureKind::Refused, None),
    };
    Failure { kind, retry_after, said: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_record_comes_back_as_it_was_written() {
        let access =
            StoredAccess { token: "a".into(), obtained: at(1000), lifetime: Some(Duration::from_secs(3600)) };
        let full = Record { refresh: Some("r2".into()), previous: Some("r1".into()), access: Some(access) };
        let read = record(tokens(&full, BTreeSet::new()), at(9));
        assert!(
            same(read.refresh.as_ref(), Some(&"r2".into()))
                && same(read.previous.as_ref(), Some(&"r1".into()))
        );
        let access = read.access.unwrap();
        assert_eq!((access.obtained, access.lifetime), (at(1000), Some(Duration::from_secs(3600))));
        let empty = Record { refresh: Some("r".into()), previous: None, access: None };
        assert!(record(tokens(&empty, BTreeSet::new()), at(9)).access.is_none());
    }

    #[test]
    fn a_token_whose_beginning_nobody_knows_ends_when_it_ends() {
        let seconds = |life: Option<Duration>| life.map(|life| life.as_secs());
        for (end, obtained, life) in [(5000, 1000, 4000), (1010, 950, 60), (10, -50, 60)] {
            let (since, lives) = times(None, Some(at(end)), at(1000));
            assert_eq!((since, seconds(lives)), (at(obtained), Some(life)), "{end}");
        }
        assert_eq!(times(None, None, at(1000)), (at(1000), None));
        let (since, lives) = times(Some(at(900)), Some(at(800)), at(1000));
        assert_eq!((since, seconds(lives)), (at(900), Some(60)), "an end before the beginning");
        times(None, Some(Timestamp::MIN), at(0));
        times(Some(Timestamp::MIN), Some(Timestamp::MAX), at(0));
    }
}
