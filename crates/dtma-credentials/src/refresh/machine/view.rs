//! What others see of a grant.

use super::{Flight, Machine, Standing};
use dtma_core::Timestamp;
use secrecy::SecretString;
use std::time::Duration;

/// A token to use.
#[derive(Debug, Clone)]
pub struct Access {
    /// The token.
    pub token: SecretString,
    /// Rises with every new token; whoever is refused upstream names it.
    pub generation: u64,
    /// How long it can be used; `None` when nobody knows.
    pub expires_in: Option<Duration>,
}

/// What somebody who needs a token gets now.
#[derive(Debug)]
pub enum Answer {
    /// This.
    Token(Access),
    /// Nothing yet; it is being seen to.
    Wait,
    /// Nothing, and waiting does not help.
    Not(Unavailable),
}

/// Why there is no token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    /// The grant is not valid any more.
    #[error("the grant is not valid any more, connect again: {said}")]
    AuthFailed {
        /// The provider's words.
        said: String,
    },
    /// It could not be had; another attempt follows.
    #[error("no token for now: {said}")]
    Later {
        /// What went wrong last.
        said: String,
        /// When the next attempt is made; `None` when only a further wish brings one.
        retry_in: Option<Duration>,
    },
    /// More wait for it than may.
    #[error("too many wait for this token")]
    Busy,
    /// The daemon is shutting down.
    #[error("tokens are not served any more")]
    Stopped,
}

/// How a grant does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// The vault has not been read yet.
    Pending,
    /// All is well.
    Valid,
    /// A refresh failed, others follow.
    Failing {
        /// What went wrong last.
        said: String,
        /// How often in a row.
        failures: u32,
    },
    /// Nothing is tried until somebody connects again.
    AuthFailed {
        /// Since when.
        since: Timestamp,
        /// The provider's words.
        said: String,
    },
}

/// All that may be shown of a grant. No secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// How it does.
    pub health: Health,
    /// The number of its token.
    pub generation: u64,
    /// A token can be had now.
    pub usable: bool,
    /// How long the token lives from now on; `None` without a token, or when nobody knows.
    pub expires_in: Option<Duration>,
    /// The last one that succeeded.
    pub last_refresh: Option<Timestamp>,
    /// When the next is planned; `None` when none is.
    pub next_refresh_in: Option<Duration>,
    /// Since the daemon began.
    pub refreshes: u64,
    /// Since the daemon began.
    pub failures: u64,
}

impl Machine {
    /// The token that may be handed out now.
    pub(super) fn current(&self) -> Option<Access> {
        let at = self.timeline.at();
        let Standing::Held(held) = &self.standing else { return None };
        held.usable(at).map(|served| Access {
            token: served.token.clone(),
            generation: served.generation,
            expires_in: served.end.map(|end| end.saturating_sub(at)),
        })
    }

    /// What somebody gets who was served generation `past` before and needs a later one (0: any).
    #[must_use]
    pub fn answer(&self, past: u64) -> Answer {
        if let Standing::AuthFailed { said, .. } = &self.standing {
            return Answer::Not(Unavailable::AuthFailed { said: said.clone() });
        }
        if let Some(access) = self.current().filter(|access| access.generation > past) {
            return Answer::Token(access);
        }
        if self.reconnected.is_some() || self.is_sought() {
            return Answer::Wait;
        }
        Answer::Not(Unavailable::Later { said: self.said(), retry_in: self.patience() })
    }

    /// A write that keeps nobody from asking is no reason to wait.
    fn is_sought(&self) -> bool {
        match self.flight {
            Some(Flight::Load | Flight::Ask(_)) => true,
            Some(Flight::Save) => self.wish,
            None => false,
        }
    }

    fn said(&self) -> String {
        let last = self.provider.last().or(self.vault.last());
        last.map_or_else(|| "upstream refuses a new token, too".to_owned(), |failure| failure.said.clone())
    }

    fn patience(&self) -> Option<Duration> {
        let rejected = self.rejections.until.saturating_sub(self.timeline.at());
        if self.wish { self.wait() } else { Some(rejected).filter(|wait| !wait.is_zero()).or(self.wait()) }
    }

    /// What may be shown.
    #[must_use]
    pub fn view(&self) -> View {
        let at = self.timeline.at();
        let (end, due) = match &self.standing {
            Standing::Held(held) => (held.served.as_ref().and_then(|served| served.end), held.due),
            Standing::Unread | Standing::AuthFailed { .. } => (None, None),
        };
        View {
            health: self.health(),
            generation: self.generation,
            usable: self.current().is_some(),
            expires_in: end.map(|end| end.saturating_sub(at)),
            last_refresh: self.last_refresh,
            next_refresh_in: if self.wish { self.wait() } else { due.map(|due| due.saturating_sub(at)) },
            refreshes: self.refreshes,
            failures: self.failures,
        }
    }

    fn health(&self) -> Health {
        let failing = self.provider.failures().max(self.vault.failures());
        match &self.standing {
            Standing::AuthFailed { since, said } => Health::AuthFailed { since: *since, said: said.clone() },
            _ if failing > 0 => Health::Failing { said: self.said(), failures: failing },
            Standing::Unread => Health::Pending,
            Standing::Held(_) => Health::Valid,
        }
    }
}
