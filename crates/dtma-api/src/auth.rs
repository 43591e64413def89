//! Who may ask for what: bearer tokens with scopes, and protection against other sites' pages.
//!
//! Tokens are kept as SHA-256 digests; a digest of what was sent is compared with each of them in constant time.
//! 256-bit random tokens need no slow hash. The daemon decides where tokens come from and may
//! [`replace`](Auth::replace) them while requests are served.

mod challenge;
mod hosts;
mod scope;

pub use hosts::Hosts;
pub use scope::{Scope, UnknownScope};

pub(crate) use check::{Guard, Standing, Stranger, authorise};
pub(crate) use scope::Access;

mod check;

use dtma_core::Timestamp;
use dtma_core::connection::{Agent, TokenDigest};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::sync::Arc;
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};
use tokio::sync::watch;

/// A token that is known, by its digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// Its name in logs, never the token.
    pub name: String,
    /// SHA-256 of the token.
    pub digest: [u8; 32],
    /// What it opens.
    pub scopes: BTreeSet<Scope>,
    /// From then on it opens nothing.
    pub expires_at: Option<Timestamp>,
}

impl Token {
    /// Knows a token from its text from now on.
    pub fn new(name: impl Into<String>, token: &str, scopes: impl IntoIterator<Item = Scope>) -> Self {
        Self {
            name: name.into(),
            digest: digest(token),
            scopes: scopes.into_iter().collect(),
            expires_at: None,
        }
    }
}

impl Token {
    pub(crate) fn has_expired(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|at| at <= now)
    }

    /// Whoever administers reaches everything; connections are for the others.
    fn is_agent(&self) -> bool {
        !self.scopes.contains(&Scope::Admin)
    }
}

/// SHA-256 of a token's text.
#[must_use]
pub fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

/// Whoever asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Caller {
    /// The token's name.
    pub(crate) name: Arc<str>,
    /// By which its connections are found; `None` for whoever reaches everything whatever is granted.
    pub(crate) digest: Option<TokenDigest>,
    /// The token that was shown; `None` where none is asked for.
    pub(crate) bearer: Option<TokenDigest>,
}

/// How long a token opens the gateway, as far as that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lasts {
    pub(crate) until: Option<Timestamp>,
}

/// Tells of changes of what is known about tokens.
pub(crate) struct TokenChanges(Option<watch::Receiver<Arc<[Token]>>>);

impl TokenChanges {
    /// Waits for the next change since this was made, or since this returned. May be dropped and called again.
    pub(crate) async fn next(&mut self) {
        let changed = match &mut self.0 {
            Some(tokens) => tokens.changed().await.is_ok(),
            None => false,
        };
        if !changed {
            // Nothing changes, or nothing any more.
            std::future::pending::<()>().await;
        }
    }
}

/// What is known about tokens.
#[derive(Debug)]
pub struct Auth {
    /// `None`: nobody needs a token.
    tokens: Option<watch::Sender<Arc<[Token]>>>,
    connections: bool,
}

impl Auth {
    /// These tokens open the door.
    #[must_use]
    pub fn tokens(tokens: Vec<Token>) -> Self {
        Self { tokens: Some(watch::Sender::new(tokens.into())), connections: false }
    }

    /// Everybody may do everything. For development on loopback only; the daemon sees to that.
    #[must_use]
    pub fn disabled() -> Self {
        Self { tokens: None, connections: false }
    }

    /// Whether an agent needs a connection to reach anything; else one that never had any reaches everything.
    #[must_use]
    pub fn needing_connections(self, connections: bool) -> Self {
        Self { connections, ..self }
    }

    pub(crate) fn needs_connections(&self) -> bool {
        self.connections
    }

    /// Why a connection of this agent may not mean what it says, in a person's words.
    pub(crate) fn beyond_connections(&self, agent: &Agent) -> Option<String> {
        let Some(known) = &self.tokens else {
            return Some("no token is asked for (--dev-no-auth): everybody reaches everything".to_owned());
        };
        let known = Arc::clone(&known.borrow());
        let mut bearers = known.iter().filter(|token| match agent {
            Agent::Named(name) => token.name == *name,
            Agent::Digest(digest) => token.digest == digest.0,
        });
        let Some(token) = bearers.next() else { return Some("there is no such token yet".to_owned()) };
        let name = &token.name;
        if !token.is_agent() {
            return Some(format!("{name} has the scope admin: it reaches everything, whatever is granted"));
        }
        let reaches = scope::enough(&token.scopes, Scope::Gateway);
        (!reaches).then(|| format!("{name} lacks the scope gateway: it reaches nothing"))
    }

    /// True when a token is needed.
    #[must_use]
    pub fn is_required(&self) -> bool {
        self.tokens.is_some()
    }

    /// From now on these tokens and no others. Nothing happens when auth is disabled.
    pub fn replace(&self, tokens: Vec<Token>) {
        if let Some(known) = &self.tokens {
            known.send_replace(tokens.into());
        }
    }

    /// Tells of changes from now on.
    pub(crate) fn changes(&self) -> TokenChanges {
        TokenChanges(self.tokens.as_ref().map(watch::Sender::subscribe))
    }

    /// How long somebody who was let in to the gateway may stay there; `None`: no longer, or it is to ask again since its
    /// token opens something else now.
    pub(crate) fn lasts(&self, caller: &Caller, now: Timestamp) -> Option<Lasts> {
        let (Some(tokens), Some(bearer)) = (&self.tokens, &caller.bearer) else {
            return Some(Lasts { until: None });
        };
        let known = Arc::clone(&tokens.borrow());
        let token =
            known.iter().find(|token| token.digest == bearer.0).filter(|token| !token.has_expired(now))?;
        let holds =
            token.is_agent() == caller.digest.is_some() && scope::enough(&token.scopes, Scope::Gateway);
        holds.then_some(Lasts { until: token.expires_at })
    }

    /// The token of that text. Every known digest is compared, whether or not one fitted before.
    fn find(&self, presented: &str) -> Option<Token> {
        let known = Arc::clone(&self.tokens.as_ref()?.borrow());
        let digest = digest(presented);
        let mut found = u64::MAX;
        for (index, token) in (0_u64..).zip(known.iter()) {
            let fits: Choice = token.digest.ct_eq(&digest);
            found.conditional_assign(&index, fits);
        }
        usize::try_from(found).ok().and_then(|index| known.get(index)).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_found_by_its_text_only() {
        let auth =
            Auth::tokens(vec![Token::new("a", "one", [Scope::Read]), Token::new("b", "two", [Scope::Admin])]);
        let name = |text: &str| auth.find(text).map(|token| token.name);
        assert_eq!(name("one").as_deref(), Some("a"));
        assert_eq!(name("two").as_deref(), Some("b"));
        for wrong in ["", "on", "onee", "ONE", "three"] {
            assert_eq!(name(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn a_revoked_token_is_forgotten_at_once() {
        let auth = Auth::tokens(vec![Token::new("a", "one", [Scope::Read])]);
        auth.replace(vec![]);
        assert!(auth.find("one").is_none() && auth.is_required());
    }
}
