//! What providers answer, read as bytes by pure functions that believe nothing.
//!
//! Providers differ: GitHub answers form-encoded and says errors with 200, Slack says `ok: false`, Google calls an URI an
//! URL, some write numbers as strings. All of that is read the same way, whoever sent it. What a provider says of an error
//! is shortened and cleaned of control characters; secrets in it are masked by who knows them.

mod fields;

use crate::refresh::{Failure, FailureKind, Tokens};
use crate::web::shown;
use fields::Fields;
use std::time::Duration;

/// Between two questions for a device's tokens, when the provider says nothing (RFC 8628), and within these bounds.
const INTERVAL: (f64, f64, f64) = (5.0, 1.0, 60.0);
/// A device's code lives so long when the provider says nothing sensible, and within these bounds.
const CODE_LIFE: (f64, f64, f64) = (900.0, 60.0, 3600.0);

/// An answer as it came.
#[derive(Debug, Clone)]
pub struct Reply<'a> {
    /// The HTTP status.
    pub status: u16,
    /// `Retry-After`, already read.
    pub retry_after: Option<Duration>,
    /// The body.
    pub body: &'a [u8],
}

/// What a person is to do for a device, and what we ask with meanwhile.
#[derive(Debug, Clone)]
pub struct DeviceCode {
    /// Ours; whoever has it gets the tokens.
    pub device_code: secrecy::SecretString,
    /// What the person types.
    pub user_code: String,
    /// Where the person types it.
    pub verification_uri: String,
    /// The same with the code in it.
    pub verification_uri_complete: Option<String>,
    /// Between two questions.
    pub interval: Duration,
    /// From now on.
    pub expires_in: Duration,
}

/// What became of a question for a device's tokens.
#[derive(Debug)]
pub enum Polled {
    /// The person is not done.
    Pending,
    /// Ask 5 s more rarely from now on.
    SlowDown,
    /// These are they.
    Tokens(Tokens),
}

impl Reply<'_> {
    /// Tokens, from the token endpoint.
    ///
    /// # Errors
    /// [`Failure`]: revoked, refused or away.
    pub fn tokens(&self) -> Result<Tokens, Failure> {
        let fields = self.fields()?;
        self.accept(&fields)?;
        fields.tokens().ok_or_else(|| self.away("there is no token in its answer"))
    }

    /// A device's codes (RFC 8628).
    ///
    /// # Errors
    /// [`Failure`].
    pub fn device(&self) -> Result<DeviceCode, Failure> {
        let fields = self.fields()?;
        self.accept(&fields)?;
        let missing = || self.away("there are no codes for a device in its answer");
        let verification_uri = fields.text("verification_uri").or_else(|| fields.text("verification_url"));
        Ok(DeviceCode {
            device_code: fields.text("device_code").ok_or_else(missing)?.into(),
            user_code: fields.text("user_code").map(|code| shown(&code)).ok_or_else(missing)?,
            verification_uri: verification_uri.and_then(page).ok_or_else(missing)?,
            verification_uri_complete: fields.text("verification_uri_complete").and_then(page),
            interval: within(fields.number("interval"), INTERVAL),
            expires_in: within(fields.number("expires_in"), CODE_LIFE),
        })
    }

    /// The answer to a question for a device's tokens.
    ///
    /// # Errors
    /// [`Failure`]; [`FailureKind::Revoked`] when the person said no or was too late.
    pub fn polled(&self) -> Result<Polled, Failure> {
        match self.fields().ok().and_then(|fields| fields.error()).as_deref() {
            Some("authorization_pending") => return Ok(Polled::Pending),
            Some("slow_down") => return Ok(Polled::SlowDown),
            _ => {}
        }
        self.tokens().map(Polled::Tokens)
    }

    /// An answer of which only matters whether it is a yes (RFC 7009).
    ///
    /// # Errors
    /// [`Failure`].
    pub fn done(&self) -> Result<(), Failure> {
        match self.fields() {
            Ok(fields) => self.accept(&fields),
            Err(_) if self.status == 200 => Ok(()),
            Err(failure) => Err(failure),
        }
    }

    fn fields(&self) -> Result<Fields, Failure> {
        if (300..400).contains(&self.status) {
            return Err(self.away("it points elsewhere; redirects are not followed, give the right address"));
        }
        Fields::read(self.body).map_err(|what| self.away(what))
    }

    fn accept(&self, fields: &Fields) -> Result<(), Failure> {
        let error = fields.error();
        let is_ok = (200..300).contains(&self.status) && error.is_none();
        if is_ok {
            return Ok(());
        }
        let kind = self.kind(error.as_deref().unwrap_or_default());
        let description = fields.text("error_description").unwrap_or_default();
        let said = format!("{} {}", error.unwrap_or_default(), description);
        Err(Failure {
            kind,
            retry_after: self.retry_after,
            said: format!("it answered {}: {}", self.status, shown(&said)),
        })
    }

    fn kind(&self, error: &str) -> FailureKind {
        match error {
            _ if self.status >= 500 || self.status == 429 => FailureKind::Away,
            "temporarily_unavailable" | "server_error" | "slow_down" | "ratelimited" | "internal_error" => {
                FailureKind::Away
            }
            // RFC 6749 and 8628; GitHub; Slack; Microsoft, where a person has to come again.
            "invalid_grant"
            | "access_denied"
            | "expired_token"
            | "bad_refresh_token"
            | "bad_verification_code"
            | "invalid_refresh_token"
            | "token_revoked"
            | "token_expired"
            | "invalid_code"
            | "invalid_auth"
            | "interaction_required"
            | "consent_required"
            | "login_required" => FailureKind::Revoked,
            _ => FailureKind::Refused,
        }
    }

    fn away(&self, what: &str) -> Failure {
        let said = format!("it answered {}, but {what}", self.status);
        Failure { kind: FailureKind::Away, retry_after: self.retry_after, said }
    }
}

/// What a person may be sent to: a page, and no script.
fn page(uri: String) -> Option<String> {
    let is_page = uri.starts_with("https://") || uri.starts_with("http://");
    (is_page && uri.len() < 2048 && uri.chars().all(|c| c.is_ascii_graphic())).then_some(uri)
}

fn within(number: Option<f64>, (usual, least, most): (f64, f64, f64)) -> Duration {
    let seconds = number.filter(|seconds| seconds.is_finite() && *seconds > 0.0).unwrap_or(usual);
    Duration::from_secs_f64(seconds.clamp(least, most))
}

#[cfg(test)]
mod tests;
