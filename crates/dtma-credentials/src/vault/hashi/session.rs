//! Who we are to a vault: a token, got by a login or given, kept alive, and got anew when it is no good any more.

use super::Login;
use super::lease::{Lease, Step};
use super::reply::{self, Term};
use crate::vault::document::Outgoing;
use crate::vault::remote::{Remote, body, is_yes, prove};
use crate::web::Page;
use bytes::Bytes;
use dtma_core::port::vault::VaultError;
use http::{HeaderMap, Method};
use secrecy::SecretString;
use serde::Serialize;
use std::convert::Infallible;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};

/// Between two logins that an answer of 403 brings about.
const ONCE: Duration = Duration::from_secs(60);
/// A token that lives for ever is looked at so often.
const RARELY: Duration = Duration::from_secs(3600);
/// After failures, from and to.
const PATIENCE: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(300));

/// The way to a vault.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) remote: Remote,
    headers: HeaderMap,
    login: Login,
    /// Held while a token is got, so that one login is under way whoever asks.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    lease: Option<Lease>,
    /// When the last login was that an answer of 403 brought about.
    forced: Option<Instant>,
    /// Counts tokens.
    number: u64,
}

#[derive(Serialize)]
struct AppRole<'a> {
    role_id: &'a str,
    secret_id: Outgoing<'a>,
}

impl Session {
    pub(super) fn new(remote: Remote, headers: HeaderMap, login: Login) -> Self {
        Self { remote, headers, login, state: Mutex::default() }
    }

    /// Asks with the token. When that is no good any more, once again with a new one.
    pub(super) async fn ask(&self, method: Method, path: &str, body: Bytes) -> Result<Page, VaultError> {
        let (token, number) = self.token().await?;
        let page = self.send(&token, method.clone(), path, body.clone()).await?;
        if page.status != 403 || !self.forget(number).await {
            return Ok(page);
        }
        let (token, _) = self.token().await?;
        self.send(&token, method, path, body).await
    }

    async fn send(
        &self,
        token: &SecretString,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<Page, VaultError> {
        let mut headers = self.headers.clone();
        let proved = prove(&mut headers, "x-vault-token", "", token);
        proved.map_err(|problem| self.remote.refused(&problem))?;
        self.remote.ask(method, path, headers, body).await
    }

    /// Whether it is worth while to come again with another token than that one: 403 is also the answer to who may not.
    async fn forget(&self, number: u64) -> bool {
        let mut state = self.state.lock().await;
        if state.number != number {
            return true;
        }
        let now = Instant::now();
        let recently = state.forced.is_some_and(|forced| now < forced + ONCE);
        if recently || matches!(self.login, Login::Token(_)) {
            return false;
        }
        state.forced = Some(now);
        state.lease = None;
        true
    }

    /// A token that can be used, and which one it is.
    async fn token(&self) -> Result<(SecretString, u64), VaultError> {
        let mut state = self.state.lock().await;
        let step = state.lease.as_ref().map_or(Step::Login, |lease| lease.step(Instant::now()));
        match (step, state.lease.clone()) {
            (Step::Use, _) => {}
            (Step::Renew, Some(lease)) => self.renew(&mut state, lease).await?,
            (Step::Renew | Step::Login, _) => self.replace(&mut state).await?,
        }
        let token = state.lease.as_ref().map(|lease| lease.token.clone()).unwrap_or_default();
        Ok((token, state.number))
    }

    async fn renew(&self, state: &mut State, mut lease: Lease) -> Result<(), VaultError> {
        let page =
            self.send(&lease.token, Method::POST, "/v1/auth/token/renew-self", Bytes::from_static(b"{}"));
        let renewed = match page.await {
            Ok(page) if is_yes(&page) => self.read(reply::login(&page.body)),
            Ok(page) => Err(self.remote.fault(&page)),
            Err(error) => Err(error),
        };
        match renewed {
            Ok((token, term)) => lease = lease.renewed(token, term, Instant::now()),
            Err(error) if error.is_transient() => lease.later(Instant::now()),
            Err(_) => return self.replace(state).await,
        }
        state.lease = Some(lease);
        Ok(())
    }

    /// Another token. While there is none the old one serves as long as it lives.
    async fn replace(&self, state: &mut State) -> Result<(), VaultError> {
        let got = self.log_in().await;
        let now = Instant::now();
        match (got, state.lease.as_mut().filter(|lease| lease.lives(now))) {
            (Ok(lease), _) => {
                state.lease = Some(lease);
                state.number += 1;
            }
            (Err(error), Some(lease)) => {
                tracing::warn!("the token of {} ends soon and there is no other: {error}", self.remote.name);
                lease.later(now);
            }
            (Err(error), None) => return Err(error),
        }
        Ok(())
    }

    async fn log_in(&self) -> Result<Lease, VaultError> {
        let (token, term) = match &self.login {
            Login::Token(token) => (token.clone(), self.term(token).await?),
            Login::AppRole { mount, role, secret } => self.app_role(mount, role, secret).await?,
        };
        Ok(Lease::new(token, term, Instant::now()))
    }

    /// Not every policy lets a token ask about itself: then the vault's answers will tell when it ends.
    async fn term(&self, token: &SecretString) -> Result<Term, VaultError> {
        let page = self.send(token, Method::GET, "/v1/auth/token/lookup-self", Bytes::new()).await?;
        match page.status {
            403 => Ok(Term { lasts: None, renewable: false }),
            _ if is_yes(&page) => self.read(reply::lookup(&page.body)),
            _ => Err(self.remote.fault(&page)),
        }
    }

    async fn app_role(
        &self,
        mount: &str,
        role: &str,
        secret: &SecretString,
    ) -> Result<(SecretString, Term), VaultError> {
        let path = format!("/v1/auth/{}/login", mount.trim_matches('/'));
        let body = body(&AppRole { role_id: role, secret_id: Outgoing::Borrowed(secret) });
        let page = self.remote.ask(Method::POST, &path, self.headers.clone(), body).await?;
        match page.status {
            // A role or its secret that nobody knows.
            400 => Err(VaultError::Denied {
                vault: self.remote.name.clone(),
                problem: "it answered the login with 400: the role or its secret is wrong or spent"
                    .to_owned(),
            }),
            _ if is_yes(&page) => self.read(reply::login(&page.body)),
            _ => Err(self.remote.fault(&page)),
        }
    }

    fn read<T>(&self, read: Result<T, crate::vault::reply::Unreadable>) -> Result<T, VaultError> {
        read.map_err(|error| self.remote.unreadable(error))
    }

    pub(super) async fn keep_alive(&self) -> Infallible {
        let mut patience = PATIENCE.0;
        loop {
            let wait = match self.token().await {
                Ok(_) => {
                    patience = PATIENCE.0;
                    self.until_due().await
                }
                Err(error) => {
                    tracing::warn!("no token: {error}");
                    let wait = patience;
                    patience = (patience * 2).min(PATIENCE.1);
                    wait
                }
            };
            sleep(wait).await;
        }
    }

    async fn until_due(&self) -> Duration {
        let state = self.state.lock().await;
        let due = state.lease.as_ref().and_then(Lease::due);
        let wait = due.map_or(RARELY, |due| due.saturating_duration_since(Instant::now()));
        wait.clamp(Duration::from_secs(1), RARELY)
    }
}
