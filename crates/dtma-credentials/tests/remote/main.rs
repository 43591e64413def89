//! Vaults over HTTP: the vault's suite over servers that do what their documentation says, and every fault of a server.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod kv;
mod postgrest;
#[path = "../oauth/provider.rs"]
mod provider;
mod server;

use async_trait::async_trait;
use dtma_core::credential::CredentialId;
use dtma_core::port::vault::{SecretVault, VaultError};
use dtma_credentials::vault::{
    BackendQuestion, BackendVault, HashiParts, HashiVault, KvVersion, Login, SupabaseVault,
};
use dtma_testing::sample::{self, told};
use dtma_testing::suite::vault::VaultHarness;
use kv::Kv;
use provider::{Scripted, web};
use serde_json::json;
use server::Server;
use std::time::Duration;

fn token() -> Login {
    Login::Token("root".into())
}

fn app_role(secret: &str) -> Login {
    Login::AppRole { mount: "approle".to_owned(), role: "role".to_owned(), secret: secret.into() }
}

fn hashi(base: &str, version: KvVersion, login: Login) -> HashiVault {
    let mount = match version {
        KvVersion::One => "kv1",
        KvVersion::Two => "kv2",
    };
    let parts = HashiParts {
        address: base.to_owned(),
        namespace: Some("team/a".to_owned()),
        mount: mount.to_owned(),
        prefix: "/our/dtma".to_owned(),
        version,
        login,
    };
    HashiVault::new(web(), parts).unwrap()
}

fn supabase(base: &str, key: &str) -> SupabaseVault {
    SupabaseVault::new(web(), base, &key.into(), "dtma").unwrap()
}

fn question(id: &CredentialId) -> Option<BackendQuestion> {
    (id.name.as_str() == "github").then(|| BackendQuestion {
        agent_id: "agent-1".to_owned(),
        account_tool_instance_id: id.owner.instance().to_string(),
        oauth_connection_ids: Vec::new(),
        required_scopes: vec!["repo".to_owned()],
    })
}

fn backend(base: &str) -> BackendVault {
    BackendVault::new(web(), base, &"key".into(), Box::new(question)).unwrap()
}

fn github() -> CredentialId {
    sample::credential_id("server", "github")
}

struct OfKv(Kv, KvVersion);

#[async_trait]
impl VaultHarness for OfKv {
    async fn open(&self) -> Box<dyn SecretVault> {
        Box::new(hashi(&self.0.server.base, self.1, app_role("proof")))
    }
}

struct OfSupabase(Server);

#[async_trait]
impl VaultHarness for OfSupabase {
    async fn open(&self) -> Box<dyn SecretVault> {
        Box::new(supabase(&self.0.base, "service"))
    }
}

mod hashi_one {
    use super::*;
    dtma_testing::vault_suite!(OfKv(Kv::start().await, KvVersion::One));
}

mod hashi_two {
    use super::*;
    dtma_testing::vault_suite!(OfKv(Kv::start().await, KvVersion::Two));
}

mod rest {
    use super::*;
    dtma_testing::vault_suite!(OfSupabase(postgrest::start().await));
}

#[tokio::test]
async fn of_two_writers_the_second_is_told_and_then_follows() {
    let kv = Kv::start().await;
    let [ours, theirs] = [(), ()].map(|()| hashi(&kv.server.base, KvVersion::Two, token()));
    let key = |text| sample::api_key(text);
    ours.store(&github(), &key("first")).await.unwrap();
    theirs.resolve(&github()).await.unwrap();
    theirs.store(&github(), &key("second")).await.unwrap();
    let refused = ours.store(&github(), &key("third")).await.unwrap_err();
    assert!(refused.is_transient() && refused.to_string().contains("somebody else"), "{refused}");
    assert_eq!(told(&ours.resolve(&github()).await.unwrap()), told(&key("second")));
    ours.store(&github(), &key("third")).await.unwrap();
    assert_eq!(told(&theirs.resolve(&github()).await.unwrap()), told(&key("third")));
}

#[tokio::test]
async fn what_somebody_brought_is_read_and_what_they_deleted_can_be_written_again() {
    let kv = Kv::start().await;
    let (vault, path) = (hashi(&kv.server.base, KvVersion::Two, token()), "our/dtma/servers/server/github");
    kv.put(path, json!({"GITHUB_TOKEN": "t", "PORT": 1}));
    let found = format!("{:?}", told(&vault.resolve(&github()).await.unwrap()));
    assert!(found.contains(r#"("field GITHUB_TOKEN", "t"), ("field PORT", "1")"#), "{found}");
    kv.delete(path);
    let gone = vault.resolve(&github()).await.unwrap_err();
    assert!(matches!(gone, VaultError::NotFound { .. }), "{gone}");
    vault.store(&github(), &sample::api_key("k")).await.unwrap();
    assert_eq!(told(&vault.resolve(&github()).await.unwrap()), told(&sample::api_key("k")));
    assert_eq!(kv.with(|state| state.namespace.clone()), "team/a");
}

#[tokio::test]
async fn one_login_serves_all_and_a_token_that_is_gone_is_replaced_once() {
    let kv = Kv::start().await;
    let vault = hashi(&kv.server.base, KvVersion::Two, app_role("proof"));
    vault.store(&github(), &sample::api_key("k")).await.unwrap();
    vault.resolve(&github()).await.unwrap();
    assert_eq!(kv.with(|state| state.logins), 1);
    kv.with(|state| state.tokens.clear());
    vault.resolve(&github()).await.unwrap();
    assert_eq!(kv.with(|state| state.logins), 2, "after the vault has forgotten the token");
    kv.with(|state| state.denies = true);
    for _ in 0..5 {
        let denied = vault.resolve(&github()).await.unwrap_err();
        assert!(matches!(denied, VaultError::Denied { .. }), "{denied}");
    }
    assert_eq!(kv.with(|state| state.logins), 2, "who may not gets no further by logging in");
}

#[tokio::test]
async fn a_wrong_secret_of_a_role_is_told_as_denied() {
    let kv = Kv::start().await;
    let denied =
        hashi(&kv.server.base, KvVersion::Two, app_role("canary")).resolve(&github()).await.unwrap_err();
    assert!(matches!(denied, VaultError::Denied { .. }), "{denied}");
    assert!(!format!("{denied:?}").contains("canary"), "{denied:?}");
}

#[tokio::test]
async fn a_token_serves_as_long_as_it_lives_when_there_is_no_other() {
    let server = Scripted::start().await;
    let kept = r#"{"data": {"data": {"A": "1"}, "metadata": {"version": 1}}}"#;
    let vault = hashi(&server.base, KvVersion::Two, app_role("proof"));
    server.says("200 OK", r#"{"auth": {"client_token": "t", "lease_duration": 900, "renewable": false}}"#);
    server.says("200 OK", kept);
    vault.resolve(&github()).await.unwrap();
    later(Duration::from_secs(601)).await;
    server.says("503 Sealed", "{}");
    server.says("200 OK", kept);
    vault.resolve(&github()).await.unwrap();
    assert_eq!(server.asked().len(), 4, "a login was tried and the old token used");
    later(Duration::from_secs(300)).await;
    server.says("503 Sealed", "{}");
    let error = vault.resolve(&github()).await.unwrap_err();
    assert_eq!(told_as(&error), Told::Away(None), "{error}");
}

/// So much later, without waiting.
async fn later(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

#[tokio::test]
async fn a_token_is_renewed_before_it_ends_though_nobody_asks() {
    let kv = Kv::start().await;
    kv.with(|state| state.lease = 2);
    let vault = hashi(&kv.server.base, KvVersion::Two, app_role("proof"));
    let renewed = async {
        while kv.with(|state| state.renewals) < 2 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::select! {
        _ = vault.keep_alive() => unreachable!(),
        done = tokio::time::timeout(Duration::from_secs(120), renewed) => done.expect("it is renewed twice"),
    }
}

#[tokio::test]
async fn the_backend_is_asked_as_the_contract_says() {
    let asked = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let heard = std::sync::Arc::clone(&asked);
    let server = Server::start(move |request| {
        heard.lock().unwrap().push((
            request.path.clone(),
            request.header("authorization").to_owned(),
            request.body,
        ));
        (200, json!({"secrets": {"GITHUB_TOKEN": "t", "OTHER": null}}))
    });
    let server = server.await;
    let vault = backend(&format!("{}/functions/v1/", server.base));
    let found = told(&vault.resolve(&github()).await.unwrap());
    assert_eq!(found[1..], [("field GITHUB_TOKEN".to_owned(), "t".to_owned())]);
    let body = json!({"agentId": "agent-1", "accountToolInstanceId": "server", "requiredScopes": ["repo"]});
    let expected = ("/functions/v1/get-agent-tool-credentials".to_owned(), "Bearer key".to_owned(), body);
    assert_eq!(*asked.lock().unwrap(), [expected]);
    let unknown = vault.resolve(&sample::credential_id("server", "unknown")).await.unwrap_err();
    assert!(matches!(unknown, VaultError::NotFound { .. }), "{unknown}");
    assert!(!vault.info().writable && vault.list().await.is_err());
    assert!(
        vault.store(&github(), &sample::api_key("k")).await.is_err()
            && vault.remove(&github()).await.is_err()
    );
}

/// What a fault is told as.
#[derive(Debug, PartialEq)]
enum Told {
    Away(Option<u64>),
    Denied,
    Malformed,
    Missing,
}

fn told_as(error: &VaultError) -> Told {
    match error {
        VaultError::Unavailable { retry_after, .. } => Told::Away(retry_after.map(|wish| wish.as_secs())),
        VaultError::Denied { .. } => Told::Denied,
        VaultError::Malformed { .. } => Told::Malformed,
        VaultError::NotFound { .. } => Told::Missing,
        VaultError::Refused { .. } | VaultError::Sealed { .. } | VaultError::Unsupported { .. } => {
            panic!("{error}")
        }
    }
}

/// Answers, byte by byte, and what they are told as.
fn faults() -> Vec<(String, Told)> {
    let with = |head: &str, body: &str| {
        format!("HTTP/1.1 {head}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len())
    };
    vec![
        (with("200 OK", "<html>canary</html>"), Told::Away(None)),
        (with("200 OK", r#"{"data": {"data": {"canary": "can"#), Told::Malformed),
        (with("200 OK", r#""canary""#), Told::Malformed),
        (with("200 OK", ""), Told::Malformed),
        ("HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n{\"canary\": ".to_owned(), Told::Away(None)),
        (
            format!("HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n{}", "x".repeat(300_000)),
            Told::Away(None),
        ),
        ("canary\r\n\r\n".to_owned(), Told::Away(None)),
        (String::new(), Told::Away(None)),
        (with("429 Slow\r\nRetry-After: 7", r#"{"errors": ["canary"]}"#), Told::Away(Some(7))),
        (with("473 Standby", "canary"), Told::Away(None)),
        (with("503 Sealed\r\nRetry-After: 30", r#"{"errors": ["Vault is sealed"]}"#), Told::Away(Some(30))),
        (with("500 Error", "canary"), Told::Away(None)),
        (with("307 Elsewhere\r\nLocation: http://127.0.0.1:1/canary", ""), Told::Away(None)),
        (with("403 No", r#"{"errors": ["canary"]}"#), Told::Denied),
        (with("401 No", "canary"), Told::Denied),
        (with("418 What", "canary"), Told::Malformed),
    ]
}

/// The faults a vault has in common, met after as many good answers as are needed before a credential is asked for.
async fn meets_faults(make: impl Fn(&str) -> Box<dyn SecretVault>, before: &[&str]) {
    for (answer, expected) in faults() {
        let server = Scripted::start().await;
        before.iter().for_each(|body| server.says("200 OK", body));
        server.say(answer.clone());
        let error = make(&server.base).resolve(&github()).await.expect_err(&answer);
        assert_eq!(told_as(&error), expected, "{error} after {answer:.60}");
        assert!(!format!("{error} {error:?}").contains("canary"), "{error:?}");
        assert_eq!(server.asked().len(), before.len() + 1, "asked once, and nobody else: {answer:.60}");
    }
}

#[tokio::test]
async fn every_fault_of_a_vault_is_told_for_what_it_is() {
    let endless = r#"{"data": {"ttl": 0}}"#;
    let make = |base: &str| Box::new(hashi(base, KvVersion::Two, token())) as Box<dyn SecretVault>;
    meets_faults(make, &[endless]).await;
}

#[tokio::test]
async fn every_fault_of_a_project_is_told_for_what_it_is() {
    meets_faults(|base| Box::new(supabase(base, "service")), &[]).await;
}

#[tokio::test]
async fn every_fault_of_the_backend_is_told_for_what_it_is() {
    meets_faults(|base| Box::new(backend(base)), &[]).await;
}

#[tokio::test(start_paused = true)]
async fn a_vault_that_never_answers_is_waited_for_no_longer_than_its_time() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let base = format!("http://{}", silent.local_addr().unwrap());
    let begin = tokio::time::Instant::now();
    let error = supabase(&base, "service").resolve(&github()).await.unwrap_err();
    assert!(told_as(&error) == Told::Away(None) && error.to_string().contains("within 20 s"), "{error}");
    assert!(begin.elapsed() < Duration::from_secs(21), "{:?}", begin.elapsed());
}

#[tokio::test]
async fn nobody_there_is_told_as_away_and_nothing_shows_who_asks() {
    let vaults: [Box<dyn SecretVault>; 3] = [
        Box::new(hashi("http://127.0.0.1:1", KvVersion::One, Login::Token("canary".into()))),
        Box::new(SupabaseVault::new(web(), "http://127.0.0.1:1", &"canary".into(), "dtma").unwrap()),
        Box::new(
            BackendVault::new(web(), "http://127.0.0.1:1", &"canary".into(), Box::new(question)).unwrap(),
        ),
    ];
    for vault in vaults {
        let error = vault.resolve(&github()).await.unwrap_err();
        assert_eq!(told_as(&error), Told::Away(None), "{error}");
        assert!(!format!("{error:?}").contains("canary"), "{error:?}");
    }
    let shown = (
        hashi("http://127.0.0.1:1", KvVersion::One, Login::Token("canary".into())),
        SupabaseVault::new(web(), "http://127.0.0.1:1", &"canary".into(), "dtma").unwrap(),
        BackendVault::new(web(), "http://127.0.0.1:1", &"canary".into(), Box::new(question)).unwrap(),
    );
    assert!(!format!("{shown:?}").contains("canary"), "{shown:?}");
}

#[test]
fn what_is_wrong_with_the_configuration_is_said() {
    let parts = |address: &str, mount: &str, prefix: &str| {
        let (address, mount, prefix) = (address.to_owned(), mount.to_owned(), prefix.to_owned());
        let parts =
            HashiParts { address, namespace: None, mount, prefix, version: KvVersion::Two, login: token() };
        HashiVault::new(web(), parts).map(drop)
    };
    assert_eq!(parts("https://vault.example:8200/", "secret", ""), Ok(()));
    for (address, mount, prefix, word) in [
        ("http://vault.example", "secret", "", "https"),
        ("https://vault.example/?x=y", "secret", "", "query"),
        ("https://vault.example", "", "", "mount"),
        ("https://vault.example", "secret/../sys", "", "mount"),
        ("https://vault.example", "secret", "a b", "prefix"),
    ] {
        let error = parts(address, mount, prefix).expect_err(address);
        assert!(error.contains(word), "{error}");
    }
    let remote = "http://project.supabase.co";
    assert!(SupabaseVault::new(web(), remote, &"k".into(), "dtma").is_err());
    assert!(SupabaseVault::new(web(), "https://p.supabase.co", &"k".into(), "a*").is_err());
    assert!(BackendVault::new(web(), remote, &"k".into(), Box::new(question)).is_err());
    assert!(BackendVault::new(web(), "https://b.example", &"k\n".into(), Box::new(question)).is_err());
}
