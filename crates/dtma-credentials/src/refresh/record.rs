//! What a provider gives and what a vault keeps of a grant.

use dtma_core::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use subtle::ConstantTimeEq;

/// A token without an end that makes sense is believed to live so long at least: the next is not asked for sooner.
const SHORTEST_LIFE: Duration = Duration::from_secs(60);
/// However long a token lives, it is renewed so often that the refresh token is not forgotten for want of use.
const LONGEST_LIFE: Duration = Duration::from_secs(30 * 24 * 3600);

/// What proves the grant to the provider.
#[derive(Debug, Clone)]
pub enum Proof {
    /// A refresh token.
    RefreshToken(SecretString),
    /// Nothing but the client's own credentials.
    Client,
}

/// A provider's answer.
#[derive(Debug, Clone)]
pub struct Tokens {
    /// The new access token.
    pub access: SecretString,
    /// The new refresh token; `None` when the one that was used stays.
    pub refresh: Option<SecretString>,
    /// Seconds the provider says the access token lives, counted from now; whatever it says.
    pub expires_in: Option<f64>,
}

/// What the vault keeps of a grant.
#[derive(Debug, Clone)]
pub struct Record {
    /// The refresh token; `None` for a grant that needs none (`client_credentials`).
    pub refresh: Option<SecretString>,
    /// The one before it, until the other has worked.
    pub previous: Option<SecretString>,
    /// The access token, so that a start of the daemon needs no refresh.
    pub access: Option<StoredAccess>,
}

/// An access token with its times.
#[derive(Debug, Clone)]
pub struct StoredAccess {
    /// The token.
    pub token: SecretString,
    /// When it was answered, by the clock of whoever got it.
    pub obtained: Timestamp,
    /// How long it lives from then on; `None` when nobody said.
    pub lifetime: Option<Duration>,
}

/// A record in the vault is not one of ours. Says where, not what.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("what the vault holds is no grant: {0}")]
pub struct Unreadable(String);

/// A lifetime we can live with: what a provider says may be negative, zero, absurd or no number.
pub(super) fn lifetime(expires_in: Option<f64>) -> Option<Duration> {
    let seconds = expires_in.filter(|seconds| !seconds.is_nan())?;
    Some(Duration::from_secs_f64(seconds.clamp(SHORTEST_LIFE.as_secs_f64(), LONGEST_LIFE.as_secs_f64())))
}

/// Whether two secrets are one, told in constant time.
pub(super) fn same(a: Option<&SecretString>, b: Option<&SecretString>) -> bool {
    match (a, b) {
        (None, None) => true,
        (Some(a), Some(b)) => equal(a, b),
        (None, Some(_)) | (Some(_), None) => false,
    }
}

#[expect(clippy::disallowed_methods, reason = "two tokens are compared, neither leaves")]
fn equal(a: &SecretString, b: &SecretString) -> bool {
    a.expose_secret().as_bytes().ct_eq(b.expose_secret().as_bytes()).into()
}

impl Record {
    /// What follows on `proof` when the provider answered `tokens`: a rotated refresh token stands beside the one it came
    /// from, one that stayed has proved itself and needs none beside it.
    pub(super) fn after(proof: &Proof, tokens: &Tokens, now: Timestamp) -> Self {
        let used = match proof {
            Proof::RefreshToken(token) => Some(token.clone()),
            Proof::Client => None,
        };
        let rotated = tokens.refresh.as_ref().filter(|new| !same(Some(new), used.as_ref())).cloned();
        let (refresh, previous) = match rotated {
            Some(new) => (Some(new), used),
            None => (used, None),
        };
        let access = StoredAccess {
            token: tokens.access.clone(),
            obtained: now,
            lifetime: lifetime(tokens.expires_in),
        };
        Self { refresh, previous, access: Some(access) }
    }

    /// The text that a vault keeps.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the tokens go into a text that is a secret itself")]
    pub fn to_secret(&self) -> SecretString {
        let text = |secret: &SecretString| secret.expose_secret().to_owned();
        let access = self.access.as_ref();
        let written = Written {
            refresh_token: self.refresh.as_ref().map(text),
            previous_refresh_token: self.previous.as_ref().map(text),
            access_token: access.map(|access| text(&access.token)),
            obtained_at: access.map(|access| access.obtained),
            expires_in: access.and_then(|access| access.lifetime).map(|life| life.as_secs_f64()),
        };
        SecretString::from(serde_json::to_string(&written).unwrap_or_default())
    }

    /// Reads what [`Record::to_secret`] wrote.
    ///
    /// # Errors
    /// [`Unreadable`].
    #[expect(clippy::disallowed_methods, reason = "the text is taken apart into secrets")]
    pub fn from_secret(text: &SecretString) -> Result<Self, Unreadable> {
        let written: Written = serde_json::from_str(text.expose_secret())
            .map_err(|error| Unreadable(format!("line {}, column {}", error.line(), error.column())))?;
        Ok(written.record())
    }
}

/// The text in the vault, in the words of RFC 6749 where it has them.
#[derive(Serialize, Deserialize)]
struct Written {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    refresh_token: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    previous_refresh_token: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    access_token: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    obtained_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires_in: Option<f64>,
}

impl Written {
    fn record(self) -> Record {
        let access = self.access_token.zip(self.obtained_at).map(|(token, obtained)| StoredAccess {
            token: token.into(),
            obtained,
            lifetime: lifetime(self.expires_in),
        });
        Record {
            refresh: self.refresh_token.map(Into::into),
            previous: self.previous_refresh_token.map(Into::into),
            access,
        }
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests look at what they made up")]
mod tests {
    use super::*;

    fn tokens(refresh: Option<&str>) -> Tokens {
        Tokens { access: "a1".into(), refresh: refresh.map(Into::into), expires_in: Some(3600.0) }
    }

    fn shown(record: &Record) -> (Option<&str>, Option<&str>) {
        let text = |secret: &'_ Option<SecretString>| -> Option<String> {
            secret.as_ref().map(|secret| secret.expose_secret().to_owned())
        };
        let leak = |text: Option<String>| text.map(|text| &*text.leak());
        (leak(text(&record.refresh)), leak(text(&record.previous)))
    }

    #[test]
    fn lifetimes_are_between_a_minute_and_thirty_days_whatever_is_said() {
        for (said, seconds) in [(3600.0, 3600), (0.0, 60), (-1e300, 60), (1e300, 2_592_000)] {
            assert_eq!(lifetime(Some(said)), Some(Duration::from_secs(seconds)), "{said}");
        }
        assert_eq!(lifetime(Some(f64::INFINITY)), Some(LONGEST_LIFE));
        assert_eq!(lifetime(Some(f64::NAN)), None);
        assert_eq!(lifetime(None), None);
    }

    #[test]
    fn a_rotated_token_stands_beside_the_old_one_and_a_kept_one_alone() {
        let old = Proof::RefreshToken("r1".into());
        let after = |proof: &Proof, new| Record::after(proof, &tokens(new), Timestamp::UNIX_EPOCH);
        assert_eq!(shown(&after(&old, Some("r2"))), (Some("r2"), Some("r1")));
        assert_eq!(shown(&after(&old, Some("r1"))), (Some("r1"), None));
        assert_eq!(shown(&after(&old, None)), (Some("r1"), None));
        assert_eq!(shown(&after(&Proof::Client, None)), (None, None));
    }

    #[test]
    fn a_vault_gives_back_what_it_got_and_nothing_shows_a_token() {
        let record =
            Record::after(&Proof::RefreshToken("r1".into()), &tokens(Some("r2")), Timestamp::UNIX_EPOCH);
        let read = Record::from_secret(&record.to_secret()).unwrap();
        assert_eq!(shown(&read), (Some("r2"), Some("r1")));
        let access = read.access.as_ref().unwrap();
        assert_eq!(access.token.expose_secret(), "a1");
        assert_eq!(
            (access.obtained, access.lifetime),
            (Timestamp::UNIX_EPOCH, Some(Duration::from_secs(3600)))
        );
        let said = format!("{read:?} {:?}", Record::from_secret(&"{\"refresh_token\": r2".into()));
        assert!(!said.contains("r2") && !said.contains("a1"), "{said}");
    }
}
