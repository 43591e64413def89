//! What a provider gives and what a vault keeps of a grant.

use dtma_core::Timestamp;
use secrecy::{ExposeSecret, SecretString};
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
    fn nothing_shows_a_token() {
        let record =
            Record::after(&Proof::RefreshToken("r1".into()), &tokens(Some("r2")), Timestamp::UNIX_EPOCH);
        let said = format!("{record:?}");
        assert!(!said.contains("r1") && !said.contains("r2") && !said.contains("a1"), "{said}");
    }
}
