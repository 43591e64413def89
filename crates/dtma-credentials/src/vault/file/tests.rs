//! The vault in a file: the suite of every vault, and what only a file can suffer.

use super::*;
use crate::vault::PassphraseCost;
use dtma_testing::sample::{self, told};
use dtma_testing::suite::vault::VaultHarness;
use proptest::prelude::*;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicUsize, Ordering};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// The least that argon2id does: a test is about the way, not about the cost.
const CHEAP: PassphraseCost = PassphraseCost { memory_kib: 8, passes: 1, lanes: 1 };

fn bytes_key(first: u8) -> VaultKey {
    let mut key = LockedBytes::copy(&[7; 32]);
    key[0] = first;
    VaultKey::Bytes(KeyBytes(key))
}

fn passphrase(text: &str) -> VaultKey {
    VaultKey::Passphrase { passphrase: text.into(), cost: CHEAP }
}

fn open_at(dir: &TempDir, key: &VaultKey) -> Result<FileVault, OpenError> {
    FileVault::open(Places::within(dir.path()), key, Rollback::Refuse)
}

fn vault_file(dir: &TempDir) -> PathBuf {
    Places::within(dir.path()).vault
}

fn put_back(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

struct OnDisk(TempDir);

#[async_trait]
impl VaultHarness for OnDisk {
    async fn open(&self) -> Box<dyn SecretVault> {
        Box::new(open_at(&self.0, &bytes_key(1)).expect("the vault opens"))
    }
}

dtma_testing::vault_suite!(OnDisk(tempfile::tempdir().unwrap()));

#[tokio::test]
async fn a_passphrase_opens_what_it_made_and_another_does_not() {
    let (dir, id) = (tempfile::tempdir().unwrap(), sample::credential_id("server", "github"));
    let vault = open_at(&dir, &passphrase("correct horse")).unwrap();
    vault.store(&id, &sample::api_key("key")).await.unwrap();
    let before = fs::read(vault_file(&dir)).unwrap();

    let wrong = open_at(&dir, &passphrase("battery staple")).unwrap_err();
    assert!(matches!(wrong, OpenError::WrongKey { .. }), "{wrong}");
    assert!(wrong.to_string().contains("another key or passphrase"), "{wrong}");
    let wrong = open_at(&dir, &bytes_key(1)).unwrap_err();
    assert!(matches!(wrong, OpenError::WrongKind { wanted: "a passphrase", .. }), "{wrong}");
    assert_eq!(fs::read(vault_file(&dir)).unwrap(), before, "the file is as it was");

    // What it costs stands in the file, whatever is asked for now.
    let dear = PassphraseCost { memory_kib: 64, ..CHEAP };
    let again = VaultKey::Passphrase { passphrase: "correct horse".into(), cost: dear };
    let vault = open_at(&dir, &again).unwrap();
    assert_eq!(told(&vault.resolve(&id).await.unwrap()), told(&sample::api_key("key")));
}

#[test]
fn another_key_file_is_a_wrong_key_and_no_damage() {
    let dir = tempfile::tempdir().unwrap();
    open_at(&dir, &bytes_key(1)).unwrap();
    let wrong = open_at(&dir, &bytes_key(2)).unwrap_err();
    assert!(matches!(wrong, OpenError::WrongKey { .. }), "{wrong}");
    let wrong = open_at(&dir, &passphrase("any")).unwrap_err();
    assert!(matches!(wrong, OpenError::WrongKind { wanted: "a key file", .. }), "{wrong}");
}

#[tokio::test]
async fn files_are_their_owners_alone_and_others_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    open_at(&dir, &bytes_key(1)).unwrap();
    let places = Places::within(dir.path());
    for file in [&places.vault, &places.witness] {
        assert_eq!(fs::metadata(file).unwrap().permissions().mode() & 0o7777, 0o600);
    }
    fs::set_permissions(&places.vault, fs::Permissions::from_mode(0o640)).unwrap();
    let refused = open_at(&dir, &bytes_key(1)).unwrap_err().to_string();
    assert!(refused.contains("mode 0640") && refused.contains("chmod 600"), "{refused}");
}

#[tokio::test]
async fn no_byte_of_either_file_can_change_and_none_can_be_missing() {
    let dir = tempfile::tempdir().unwrap();
    let vault = open_at(&dir, &bytes_key(1)).unwrap();
    vault.store(&sample::credential_id("server", "github"), &sample::api_key("key")).await.unwrap();
    let places = Places::within(dir.path());
    for file in [&places.vault, &places.witness] {
        let sound = fs::read(file).unwrap();
        let flipped = (0..sound.len()).map(|at| {
            let mut bytes = sound.clone();
            bytes[at] ^= 1 << (at % 8);
            bytes
        });
        let cut = (0..sound.len()).step_by(7).map(|length| sound[..length].to_vec());
        let longer = [[&sound[..], &[0]].concat()];
        for bytes in flipped.chain(cut).chain(longer) {
            put_back(file, &bytes);
            let refused = open_at(&dir, &bytes_key(1)).unwrap_err();
            assert!(!matches!(refused, OpenError::WrongKey { .. }), "{refused}");
            assert_eq!(fs::read(file).unwrap(), bytes, "what is damaged is left as it is");
        }
        put_back(file, &sound);
        open_at(&dir, &bytes_key(1)).unwrap();
    }
}

#[tokio::test]
async fn an_older_file_is_refused_until_it_is_accepted() {
    let (dir, id) = (tempfile::tempdir().unwrap(), sample::credential_id("server", "github"));
    let vault = open_at(&dir, &bytes_key(1)).unwrap();
    vault.store(&id, &sample::api_key("old")).await.unwrap();
    let old = fs::read(vault_file(&dir)).unwrap();
    vault.remove(&id).await.unwrap();
    put_back(&vault_file(&dir), &old);

    let beneath = vault.store(&id, &sample::api_key("new")).await.unwrap_err();
    assert!(beneath.to_string().contains("somebody else changed it"), "{beneath}");
    let refused = open_at(&dir, &bytes_key(1)).unwrap_err();
    assert!(matches!(refused, OpenError::RolledBack { .. }), "{refused}");
    assert!(refused.to_string().contains("of generation 2, and was of 3"), "{refused}");

    let vault = FileVault::open(Places::within(dir.path()), &bytes_key(1), Rollback::Accept).unwrap();
    assert_eq!(told(&vault.resolve(&id).await.unwrap()), told(&sample::api_key("old")));
    open_at(&dir, &bytes_key(1)).expect("it was accepted once and for all");
}

#[tokio::test]
async fn neither_file_can_be_taken_away_unnoticed() {
    let dir = tempfile::tempdir().unwrap();
    let vault = open_at(&dir, &bytes_key(1)).unwrap();
    vault.store(&sample::credential_id("server", "github"), &sample::api_key("key")).await.unwrap();
    let places = Places::within(dir.path());
    for file in [&places.vault, &places.witness] {
        let bytes = fs::read(file).unwrap();
        fs::remove_file(file).unwrap();
        let refused = open_at(&dir, &bytes_key(1)).unwrap_err();
        assert!(matches!(refused, OpenError::RolledBack { .. }), "{refused}");
        put_back(file, &bytes);
    }
}

#[tokio::test]
async fn nothing_secret_stands_in_the_files_in_any_spelling() {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD_NO_PAD;
    let canary = "canary-5f1e0d";
    let dir = tempfile::tempdir().unwrap();
    let vault = open_at(&dir, &bytes_key(1)).unwrap();
    for (index, credential) in sample::credentials(canary).into_iter().enumerate() {
        vault.store(&sample::credential_id("server", &format!("c{index}")), &credential).await.unwrap();
    }
    let hex: String = canary.bytes().map(|byte| format!("{byte:02x}")).collect();
    let mut spellings = vec![canary.as_bytes().to_vec(), hex.to_uppercase().into_bytes(), hex.into_bytes()];
    // In base64 a text looks in three ways, by where it begins; of each the middle is the same whatever surrounds it.
    for before in ["", "x", "xy"] {
        let encoded = STANDARD_NO_PAD.encode(format!("{before}{canary}"));
        spellings.push(encoded.as_bytes()[4..encoded.len() - 2].to_vec());
    }
    let found =
        |bytes: &[u8]| spellings.iter().any(|sought| bytes.windows(sought.len()).any(|at| at == sought));
    assert!(
        found(format!("a {canary}").as_bytes())
            && found(STANDARD_NO_PAD.encode(format!("ab{canary}z")).as_bytes())
    );
    for entry in fs::read_dir(dir.path()).unwrap() {
        assert!(!found(&fs::read(entry.unwrap().path()).unwrap()));
    }
    assert!(!found(format!("{vault:?}").as_bytes()));
}

/// Ends a writing before its so-many-th step.
fn crash_after(steps: usize) -> (Steps, Arc<AtomicUsize>) {
    let done = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&done);
    let step = move |step| {
        let count = counted.fetch_add(1, Ordering::Relaxed);
        if count < steps { Ok(()) } else { Err(io::Error::other(format!("a crash before {step:?}"))) }
    };
    (Box::new(step), done)
}

#[tokio::test]
async fn a_crash_at_any_step_leaves_the_old_or_the_new_whole() {
    let (id, large) = (sample::credential_id("server", "github"), sample::api_key(&"new".repeat(5000)));
    let (mut olds, mut news) = (0, 0);
    for steps in 0.. {
        let dir = tempfile::tempdir().unwrap();
        open_at(&dir, &bytes_key(1)).unwrap().store(&id, &sample::api_key("old")).await.unwrap();
        let (crash, done) = crash_after(steps);
        let places = Places::within(dir.path());
        let vault = FileVault::open_with(places, &bytes_key(1), Rollback::Refuse, crash).unwrap();
        let stored = vault.store(&id, &large).await;
        // The same vault and the next one tell the same, and it is one of the two.
        let here = told(&vault.resolve(&id).await.unwrap());
        drop(vault);
        let next = open_at(&dir, &bytes_key(1)).unwrap();
        assert_eq!(told(&next.resolve(&id).await.unwrap()), here, "after {steps} steps");
        olds += usize::from(here == told(&sample::api_key("old")));
        news += usize::from(here == told(&large));
        next.store(&id, &sample::api_key("next")).await.expect("what was left behind is in nobody's way");
        if stored.is_ok() {
            assert_eq!((done.load(Ordering::Relaxed), olds + news), (steps, steps + 1));
            break;
        }
    }
    assert!(olds > 5 && news > 3, "{olds} {news}: crashes before and after the new one had the name");
}

#[test]
fn a_crash_while_it_is_made_leaves_nothing_or_an_empty_vault() {
    for steps in 0.. {
        let dir = tempfile::tempdir().unwrap();
        let crash = crash_after(steps).0;
        let made = FileVault::open_with(Places::within(dir.path()), &bytes_key(1), Rollback::Refuse, crash);
        let runtime = Runtime::new().unwrap();
        let vault = open_at(&dir, &bytes_key(1)).unwrap();
        assert_eq!(runtime.block_on(vault.list()), Ok(vec![]));
        if made.is_ok() {
            assert!(steps > 5);
            break;
        }
    }
}

#[derive(Debug, Clone)]
enum Deed {
    Store(u8, String),
    Remove(u8),
    /// The next writing ends before this step.
    Crash(usize),
    Reopen,
}

fn deeds() -> impl Strategy<Value = Vec<Deed>> {
    let deed = prop_oneof![
        4 => (0..4_u8, ".{0,20}").prop_map(|(id, text)| Deed::Store(id, text)),
        2 => (0..4_u8).prop_map(Deed::Remove),
        2 => (0..12_usize).prop_map(Deed::Crash),
        1 => Just(Deed::Reopen),
    ];
    proptest::collection::vec(deed, 1..20)
}

/// What a vault holds, by a model: for each id what it may be, one value when all is known.
fn play(deeds: &[Deed]) {
    let runtime = Runtime::new().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let crash = Arc::new(Mutex::new(None::<usize>));
    let open = || {
        let crash = Arc::clone(&crash);
        let step = move |step| match &mut *crash.lock().unwrap() {
            Some(0) => Err(io::Error::other(format!("a crash before {step:?}"))),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        };
        FileVault::open_with(Places::within(dir.path()), &bytes_key(1), Rollback::Refuse, Box::new(step))
            .unwrap()
    };
    let mut vault = open();
    let mut model = std::collections::BTreeMap::<u8, String>::new();
    let id = |id: u8| sample::credential_id("server", &format!("c{id}"));
    for deed in deeds {
        let mut wanted = model.clone();
        let done = match deed {
            Deed::Store(which, text) => {
                wanted.insert(*which, text.clone());
                runtime.block_on(vault.store(&id(*which), &sample::api_key(text)))
            }
            Deed::Remove(which) => {
                wanted.remove(which);
                runtime.block_on(vault.remove(&id(*which)))
            }
            Deed::Crash(steps) => {
                *crash.lock().unwrap() = Some(*steps);
                continue;
            }
            Deed::Reopen => Ok(()),
        };
        if done.is_err() || matches!(deed, Deed::Reopen) {
            *crash.lock().unwrap() = None;
            vault = open();
        }
        let seen = |vault: &FileVault| -> std::collections::BTreeMap<u8, _> {
            let resolved = |which| Some((which, told(&runtime.block_on(vault.resolve(&id(which))).ok()?)));
            (0..4).filter_map(resolved).collect()
        };
        let told_of = |model: &std::collections::BTreeMap<u8, String>| -> std::collections::BTreeMap<u8, _> {
            model.iter().map(|(which, text)| (*which, told(&sample::api_key(text)))).collect()
        };
        let seen = seen(&vault);
        if seen == told_of(&wanted) {
            model = wanted;
        } else {
            assert!(done.is_err(), "{deed:?} was said to be done");
            assert_eq!(seen, told_of(&model), "{deed:?} is done by half");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn writes_interleaved_with_crashes_lose_nothing_that_was_said_to_be_done(deeds in deeds()) {
        play(&deeds);
    }

    #[test]
    fn whatever_is_kept_comes_back(texts in proptest::collection::vec(any::<String>(), 0..6), archive: Vec<u8>, nanos: i64) {
        let at = dtma_core::Timestamp::from_nanosecond(i128::from(nanos)).unwrap();
        let text = |index: usize| texts.get(index).cloned().unwrap_or_default();
        let mut tokens = sample::oauth_tokens(&text(0), 1);
        tokens.obtained_at = Some(at);
        tokens.scopes = texts.iter().cloned().collect();
        let pkcs12 = dtma_core::credential::Certificate::Pkcs12 { archive: archive.into(), password: Some(text(1).into()) };
        use dtma_core::credential::Secret;
        let fields = texts.iter().map(|text| (text.clone(), text.as_str().into())).collect();
        let secrets = [Secret::OAuth(tokens), Secret::Certificate(pkcs12), Secret::Fields(fields), Secret::ApiKey(text(2).into())];
        let attributes: std::collections::BTreeMap<_, _> = texts.iter().map(|text| (text.clone(), text.clone())).collect();
        let mut kept = Records::new();
        for (index, secret) in secrets.into_iter().enumerate() {
            let credential = Credential { secret, attributes: attributes.clone() };
            kept.insert(sample::credential_id("server", &format!("c{index}")), credential);
        }
        let mut bytes = vec![0; records::size(&kept)];
        records::write(&kept, &mut bytes);
        let read = records::read(&bytes).unwrap();
        prop_assert_eq!(read.len(), kept.len());
        for (id, credential) in &kept {
            prop_assert_eq!(told(&read[id]), told(credential));
        }
    }
}
