//! A grant kept as a credential of a vault, which is away for a while and loses an answer.

use crate::Running;
use crate::world::World;
use dtma_core::credential::{Credential, Secret};
use dtma_credentials::refresh::{Beside, GrantParts, KeptGrant, Strategy, Unavailable, grant};
use dtma_testing::sample::credential_id;
use dtma_testing::{FakeVault, VaultFault};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::sleep;

/// A grant that nobody has used yet, with the refresh token the world begins with.
fn given() -> Credential {
    let tokens = dtma_core::credential::OAuthTokens {
        access: "".into(),
        refresh: Some("0".into()),
        previous_refresh: None,
        scopes: BTreeSet::from(["repo".to_owned()]),
        obtained_at: None,
        expires_at: None,
    };
    let attributes = BTreeMap::from([("provider".to_owned(), "github".to_owned())]);
    Credential { secret: Secret::OAuth(tokens), attributes }
}

#[tokio::test(start_paused = true)]
async fn a_vault_gets_every_new_token_and_keeps_what_stands_beside_it() {
    let (vault, remote) = FakeVault::new();
    let id = credential_id("github", "oauth");
    remote.put(&id, given());
    remote.fail_next([VaultFault::away()]);
    let world = World::new(5);
    world.healed.store(true, Ordering::SeqCst);
    let parts = world.parts(Strategy::OnDemand);
    let kept = KeptGrant::new(Arc::new(vault), id.clone(), Beside::default(), Arc::clone(&parts.wall));
    let running = Running::of(grant(GrantParts { vault: Arc::new(kept), ..parts }));
    assert!(matches!(running.handle.access().await, Err(Unavailable::Later { .. })), "the vault is away");
    sleep(Duration::from_secs(15)).await;
    remote.fail_next([VaultFault::answer_lost()]);
    let access = running.handle.access().await;
    let access = match access {
        // The lost answer was that of a read.
        Err(Unavailable::Later { .. }) => {
            sleep(Duration::from_secs(30)).await;
            running.handle.access().await.unwrap()
        }
        other => other.unwrap(),
    };
    assert!(world.takes(&access.token));
    sleep(Duration::from_secs(60)).await;
    let Credential { secret, attributes } = remote.kept(&id).unwrap();
    let Secret::OAuth(tokens) = secret else { panic!("a grant became something else") };
    assert_eq!(attributes["provider"], "github");
    assert_eq!(tokens.scopes, BTreeSet::from(["repo".to_owned()]));
    assert!(
        tokens.refresh.is_some() && tokens.previous_refresh.is_some(),
        "both, until the new one has worked"
    );
    assert!(tokens.obtained_at.is_some());
    running.handle.refresh().await.unwrap();
    running.drain().await;
    assert!(!world.revoked());
}
