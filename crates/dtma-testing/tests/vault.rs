//! The vault's suite over the vault in memory, and what only that one can do.

use async_trait::async_trait;
use dtma_core::port::vault::{SecretVault, VaultError};
use dtma_testing::suite::vault::VaultHarness;
use dtma_testing::{FakeVault, FakeVaultRemote, VaultCall, VaultFault, sample};
use std::time::Duration;
use tokio::time::Instant;

struct InMemory(FakeVaultRemote);

#[async_trait]
impl VaultHarness for InMemory {
    async fn open(&self) -> Box<dyn SecretVault> {
        Box::new(self.0.reopen())
    }
}

dtma_testing::vault_suite!(InMemory(FakeVault::new().1));

#[tokio::test]
async fn scripted_faults_meet_one_call_each_and_are_counted() {
    let ((vault, remote), id) = (FakeVault::new(), sample::credential_id("server", "github"));
    remote.fail_next([VaultFault::away(), VaultFault::answer_lost()]);
    let key = |text| sample::api_key(text);
    assert!(vault.store(&id, &key("first")).await.unwrap_err().is_transient());
    assert!(remote.kept(&id).is_none(), "it was away");
    assert!(vault.store(&id, &key("second")).await.unwrap_err().is_transient());
    assert_eq!(sample::told(&remote.kept(&id).unwrap()), sample::told(&key("second")), "the answer was lost");
    assert_eq!(vault.store(&id, &key("third")).await, Ok(()));
    assert_eq!(remote.calls(), vec![VaultCall::Store(id); 3]);
}

#[tokio::test]
async fn a_vault_that_is_away_stays_so_until_it_recovers() {
    let ((vault, remote), id) = (FakeVault::new(), sample::credential_id("server", "github"));
    remote.put(&id, sample::api_key("key"));
    remote.fail(VaultFault::away());
    for _ in 0..3 {
        assert!(vault.resolve(&id).await.is_err());
    }
    remote.recover();
    assert!(vault.resolve(&id).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_slow_vault_takes_its_time() {
    let (vault, remote) = FakeVault::new();
    remote.slow_down(Duration::from_secs(5));
    let begin = Instant::now();
    assert_eq!(vault.list().await, Ok(vec![]));
    assert_eq!(begin.elapsed(), Duration::from_secs(5));
}

#[tokio::test]
async fn a_read_only_vault_says_so_and_keeps_what_it_has() {
    let ((vault, remote), id) = (FakeVault::new(), sample::credential_id("server", "github"));
    remote.put(&id, sample::api_key("key"));
    remote.make_read_only();
    assert!(!vault.info().writable);
    let refused = vault.remove(&id).await;
    assert!(matches!(refused, Err(VaultError::Unsupported { operation: "remove", .. })), "{refused:?}");
    assert!(vault.store(&id, &sample::api_key("new")).await.is_err());
    assert!(vault.resolve(&id).await.is_ok());
}
