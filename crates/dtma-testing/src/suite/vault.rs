//! What every [`SecretVault`] that can be written does.

use crate::sample::{self, told};
use async_trait::async_trait;
use dtma_core::connection::Agent;
use dtma_core::credential::{Credential, CredentialId, CredentialOwner};
use dtma_core::port::vault::{SecretVault, VaultError};
use futures_util::future::join_all;

/// A place where credentials are kept, empty at first.
#[async_trait]
pub trait VaultHarness: Send + Sync {
    /// Opens the vault there, as a daemon does at its start. The suite drops the vault it got before first: an
    /// implementation may allow one at a time.
    async fn open(&self) -> Box<dyn SecretVault>;
}

/// Lists every case of [`suite::vault`](crate::suite::vault) as a `#[tokio::test]`. The argument is an expression that
/// makes a [`VaultHarness`] on a place of its own; it may await.
#[macro_export]
macro_rules! vault_suite {
    ($harness:expr) => {
        $crate::__cases! { vault, $harness, ();
            a_new_vault_is_empty_and_says_what_it_is
            a_credential_of_every_kind_comes_back_as_it_was
            a_credential_is_replaced_by_the_next_of_its_name
            what_is_not_there_is_not_found_and_named
            what_was_removed_is_gone_and_removing_it_again_is_fine
            owners_do_not_see_each_others_credentials
            credentials_are_listed_in_order
            concurrent_writers_lose_nothing
            everything_survives_together
            an_error_repeats_nothing_secret
        }
    };
}

async fn resolved(vault: &dyn SecretVault, id: &CredentialId) -> Credential {
    vault.resolve(id).await.expect("it is there")
}

async fn keep(vault: &dyn SecretVault, id: &CredentialId, credential: &Credential) {
    vault.store(id, credential).await.expect("the vault keeps it");
}

/// Credentials of every kind, each with an id of its own.
fn of_every_kind() -> Vec<(CredentialId, Credential)> {
    let named = |(index, credential)| (sample::credential_id("server", &format!("c{index}")), credential);
    sample::credentials("canary").into_iter().enumerate().map(named).collect()
}

/// Before anybody brought something.
pub async fn a_new_vault_is_empty_and_says_what_it_is(harness: impl VaultHarness) {
    let vault = harness.open().await;
    let info = vault.info();
    assert!(info.writable && info.listable && !info.name.is_empty(), "{info:?}");
    assert_eq!(vault.list().await, Ok(vec![]));
}

/// Values, times, scopes and attributes.
pub async fn a_credential_of_every_kind_comes_back_as_it_was(harness: impl VaultHarness) {
    let vault = harness.open().await;
    for (id, credential) in of_every_kind() {
        keep(&*vault, &id, &credential).await;
        assert_eq!(told(&resolved(&*vault, &id).await), told(&credential));
    }
}

/// Nothing of the old one is left, also where it was of another kind.
pub async fn a_credential_is_replaced_by_the_next_of_its_name(harness: impl VaultHarness) {
    let (vault, id) = (harness.open().await, sample::credential_id("server", "github"));
    for (_, credential) in of_every_kind() {
        keep(&*vault, &id, &credential).await;
        assert_eq!(told(&resolved(&*vault, &id).await), told(&credential));
    }
    assert_eq!(vault.list().await, Ok(vec![id]));
}

/// Whoever reads the error knows what to bring where.
pub async fn what_is_not_there_is_not_found_and_named(harness: impl VaultHarness) {
    let (vault, id) = (harness.open().await, sample::credential_id("server", "github"));
    let error = vault.resolve(&id).await.expect_err("there is none");
    assert_eq!(error, VaultError::NotFound { vault: vault.info().name, id: Box::new(id.clone()) });
    assert!(error.to_string().contains(&id.to_string()), "{error}");
}

/// And the others stay.
pub async fn what_was_removed_is_gone_and_removing_it_again_is_fine(harness: impl VaultHarness) {
    let vault = harness.open().await;
    let [(gone, first), (stays, second), ..] = &of_every_kind()[..] else { panic!("two kinds at least") };
    keep(&*vault, gone, first).await;
    keep(&*vault, stays, second).await;
    for _ in 0..2 {
        assert_eq!(vault.remove(gone).await, Ok(()));
        assert!(matches!(vault.resolve(gone).await, Err(VaultError::NotFound { .. })));
    }
    assert_eq!(told(&resolved(&*vault, stays).await), told(second));
    assert_eq!(vault.list().await, Ok(vec![stays.clone()]));
}

fn ids_of_several_owners() -> Vec<CredentialId> {
    let name = || "github".parse().expect("a valid name");
    let instances = ["a", "b"].map(sample::instance);
    let owners = instances.into_iter().flat_map(|instance| {
        let digest = "ab".repeat(32).parse().expect("a digest");
        let agents = [Agent::Named("alice".into()), Agent::Named("bob".into()), Agent::Digest(digest)];
        let of_agents = agents.map(|agent| CredentialOwner::Agent { instance: instance.clone(), agent });
        std::iter::once(CredentialOwner::Instance(instance)).chain(of_agents)
    });
    owners.map(|owner| CredentialId { owner, name: name() }).collect()
}

/// One name, eight owners.
pub async fn owners_do_not_see_each_others_credentials(harness: impl VaultHarness) {
    let (vault, ids) = (harness.open().await, ids_of_several_owners());
    for id in &ids {
        assert!(
            matches!(vault.resolve(id).await, Err(VaultError::NotFound { .. })),
            "{id} before it is there"
        );
        keep(&*vault, id, &sample::api_key(&id.to_string())).await;
    }
    for id in &ids {
        assert_eq!(told(&resolved(&*vault, id).await), told(&sample::api_key(&id.to_string())));
    }
}

/// Whatever the order they came in.
pub async fn credentials_are_listed_in_order(harness: impl VaultHarness) {
    let (vault, mut ids) = (harness.open().await, ids_of_several_owners());
    for id in ids.iter().rev() {
        keep(&*vault, id, &sample::api_key("key")).await;
    }
    ids.sort();
    assert_eq!(vault.list().await, Ok(ids));
}

/// Each writes one of its own.
pub async fn concurrent_writers_lose_nothing(harness: impl VaultHarness) {
    let vault = harness.open().await;
    let ids: Vec<_> = (10..26).map(|index| sample::credential_id("server", &format!("c{index}"))).collect();
    let writes = ids.iter().map(|id| async { keep(&*vault, id, &sample::api_key(id.name.as_str())).await });
    join_all(writes).await;
    assert_eq!(vault.list().await, Ok(ids.clone()));
    for id in &ids {
        assert_eq!(told(&resolved(&*vault, id).await), told(&sample::api_key(id.name.as_str())));
    }
}

/// The daemon ends and begins.
pub async fn everything_survives_together(harness: impl VaultHarness) {
    let vault = harness.open().await;
    for (id, credential) in of_every_kind() {
        keep(&*vault, &id, &credential).await;
    }
    drop(vault);
    let vault = harness.open().await;
    for (id, credential) in of_every_kind() {
        assert_eq!(told(&resolved(&*vault, &id).await), told(&credential));
    }
}

/// Nor does what a vault says about itself.
pub async fn an_error_repeats_nothing_secret(harness: impl VaultHarness) {
    let vault = harness.open().await;
    for (id, credential) in of_every_kind() {
        keep(&*vault, &id, &credential).await;
    }
    let unknown = vault.resolve(&sample::credential_id("server", "unknown")).await;
    let said = format!("{unknown:?} {:?} {:?}", vault.list().await, vault.info());
    assert!(!said.contains("canary"), "{said}");
}
