//! A provider and a vault that fail in every way there is, with paused time and a seed.
//!
//! The provider is as strict as the strictest: it takes the token it proved last and the newest it gave for it, and when
//! it sees any other, it revokes the grant for ever (reuse detection). A client that uses a token before the vault has
//! it, tries tokens in the wrong order, or forgets the old one too early loses the grant sooner or later.

use async_trait::async_trait;
use dtma_core::Timestamp;
use dtma_credentials::refresh::{
    Failure, FailureKind, GrantParts, GrantVault, Proof, Provider, Record, Strategy, Tokens,
};
use secrecy::{ExposeSecret, SecretString};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Numbers that look random and are the same in every run.
#[derive(Debug)]
pub(crate) struct Dice(AtomicU64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(AtomicU64::new(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1))
    }

    pub(crate) fn below(&self, bound: u64) -> u64 {
        let mut x = self.0.load(Ordering::Relaxed);
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        self.0.store(x, Ordering::Relaxed);
        (x >> 11) % bound
    }

    pub(crate) fn share(&self) -> f64 {
        f64::from(u32::try_from(self.below(1 << 30)).unwrap()) / f64::from(1 << 30)
    }
}

#[derive(Debug, Default)]
struct State {
    proved: u64,
    pending: Option<u64>,
    newest: u64,
    access: u64,
    revoked: bool,
}

/// One grant's surroundings.
pub(crate) struct World {
    pub(crate) dice: Dice,
    state: Mutex<State>,
    vault: Mutex<Record>,
    rotates: bool,
    /// Nothing answers.
    pub(crate) down: AtomicBool,
    /// Nothing fails.
    pub(crate) healed: AtomicBool,
    busy: AtomicBool,
    pub(crate) asked: AtomicU64,
    pub(crate) refreshed: AtomicU64,
    pub(crate) kept: AtomicU64,
    began: Instant,
    /// Seconds by which the wall clock is wrong.
    pub(crate) leap: AtomicU64,
}

/// Says when two are at it.
struct Turn<'a>(&'a AtomicBool);

impl<'a> Turn<'a> {
    fn take(busy: &'a AtomicBool) -> Self {
        assert!(!busy.swap(true, Ordering::SeqCst), "two requests for one grant at a time");
        Self(busy)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::SeqCst);
    }
}

pub(crate) fn away(said: &str) -> Failure {
    Failure::new(FailureKind::Away, said)
}

impl World {
    pub(crate) fn new(seed: u64) -> Arc<Self> {
        let first = Record { refresh: Some("0".into()), previous: None, access: None };
        Arc::new(Self {
            dice: Dice::new(seed),
            state: Mutex::default(),
            vault: Mutex::new(first),
            rotates: !seed.is_multiple_of(4),
            down: AtomicBool::new(false),
            healed: AtomicBool::new(false),
            busy: AtomicBool::new(false),
            asked: AtomicU64::new(0),
            refreshed: AtomicU64::new(0),
            kept: AtomicU64::new(0),
            began: Instant::now(),
            leap: AtomicU64::new(0),
        })
    }

    pub(crate) fn parts(self: &Arc<Self>, strategy: Strategy) -> GrantParts {
        let (wall, dice) = (Arc::clone(self), Arc::clone(self));
        GrantParts {
            provider: Arc::clone(self) as Arc<dyn Provider>,
            vault: Arc::clone(self) as Arc<dyn GrantVault>,
            strategy,
            wall: Arc::new(move || wall.time()),
            dice: Box::new(move || dice.dice.share()),
        }
    }

    fn time(&self) -> Timestamp {
        let base = Timestamp::from_second(1_800_000_000).unwrap();
        base + self.began.elapsed() + Duration::from_secs(self.leap.load(Ordering::SeqCst))
    }

    pub(crate) fn revoked(&self) -> bool {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).revoked
    }

    /// Whether upstream would take this token.
    #[expect(clippy::disallowed_methods, reason = "tests look at what they made up")]
    pub(crate) fn takes(&self, token: &SecretString) -> bool {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        !state.revoked && token.expose_secret().parse::<u64>().is_ok_and(|token| token <= state.access)
    }

    /// Something goes wrong, or nothing; it may take its time.
    async fn trouble(&self) -> Result<(), Failure> {
        let healed = self.healed.load(Ordering::SeqCst);
        if self.down.load(Ordering::SeqCst) {
            return Err(away("connection refused"));
        }
        sleep(Duration::from_millis(self.dice.below(3000))).await;
        match self.dice.below(14) {
            _ if healed => Ok(()),
            0 => Err(away("answered with a page for people")),
            1 => Err(Failure {
                retry_after: Some(Duration::from_secs(self.dice.below(40))),
                ..away("too many requests")
            }),
            2 => {
                sleep(Duration::from_secs(3600)).await;
                Err(away("never"))
            }
            3 => Err(Failure::new(FailureKind::Refused, "temporarily_unavailable")),
            _ => Ok(()),
        }
    }

    #[expect(clippy::disallowed_methods, reason = "tests look at what they made up")]
    fn serve(&self, proof: &Proof) -> Result<Tokens, Failure> {
        let Proof::RefreshToken(token) = proof else { panic!("a grant with a refresh token") };
        let token: u64 = token.expose_secret().parse().unwrap();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.pending == Some(token) {
            (state.proved, state.pending) = (token, None);
        }
        if state.revoked || token != state.proved {
            state.revoked = true;
            return Err(Failure::new(FailureKind::Revoked, "invalid_grant"));
        }
        state.access += 1;
        let refresh = self.rotates.then(|| {
            state.newest += 1;
            state.pending = Some(state.newest);
            SecretString::from(state.newest.to_string())
        });
        let lives = [60.0, 300.0, 900.0, 3600.0, 3600.0, -7.0, 0.0];
        let expires_in = lives[usize::try_from(self.dice.below(7)).unwrap()];
        Ok(Tokens { access: state.access.to_string().into(), refresh, expires_in: Some(expires_in) })
    }
}

#[async_trait]
impl Provider for World {
    async fn refresh(&self, proof: &Proof) -> Result<Tokens, Failure> {
        let _turn = Turn::take(&self.busy);
        self.asked.fetch_add(1, Ordering::SeqCst);
        self.trouble().await?;
        let answer = self.serve(proof);
        // Done, but nobody may hear of it.
        self.trouble().await?;
        if answer.is_ok() {
            self.refreshed.fetch_add(1, Ordering::SeqCst);
        }
        answer
    }
}

#[async_trait]
impl GrantVault for World {
    async fn load(&self) -> Result<Record, Failure> {
        let _turn = Turn::take(&self.busy);
        self.kept.fetch_add(1, Ordering::SeqCst);
        self.trouble().await?;
        Ok(self.vault.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }

    async fn save(&self, record: &Record) -> Result<(), Failure> {
        let _turn = Turn::take(&self.busy);
        self.kept.fetch_add(1, Ordering::SeqCst);
        self.trouble().await?;
        *self.vault.lock().unwrap_or_else(PoisonError::into_inner) = record.clone();
        self.trouble().await
    }
}
