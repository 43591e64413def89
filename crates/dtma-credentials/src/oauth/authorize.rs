//! The way through a person's browser: the address it is sent to and what comes back (OAuth 2.1 with PKCE S256,
//! RFC 9207). Pure; chance is an argument.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::Uri;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use std::borrow::Cow;
use subtle::ConstantTimeEq;

/// What proves that whoever exchanges a code is who asked for it.
#[derive(Debug, Clone)]
pub struct Verifier(SecretString);

impl Verifier {
    /// From 32 random bytes.
    #[must_use]
    pub fn new(random: [u8; 32]) -> Self {
        Self(URL_SAFE_NO_PAD.encode(random).into())
    }

    #[expect(clippy::disallowed_methods, reason = "a digest is taken of it")]
    fn challenge(&self) -> String {
        URL_SAFE_NO_PAD.encode(Sha256::digest(self.0.expose_secret().as_bytes()))
    }

    pub(super) fn secret(&self) -> &SecretString {
        &self.0
    }
}

/// What is asked of a person.
#[derive(Debug, Clone)]
pub struct Authorization<'a> {
    /// The provider's page.
    pub endpoint: &'a Uri,
    /// Who asks.
    pub client_id: &'a str,
    /// Where the browser comes back to.
    pub redirect_uri: &'a str,
    /// Scopes, written as the provider wants them.
    pub scope: &'a str,
    /// What the tokens are for (RFC 8707).
    pub resource: Option<&'a str>,
    /// What this provider wants besides.
    pub extra: &'a [(String, String)],
    /// Who has to answer, when that is known (RFC 9207), and whether it says so itself.
    pub issuer: Option<(&'a str, bool)>,
}

/// A person was sent away and is waited for.
#[derive(Debug, Clone)]
pub struct Pending {
    /// Where to send the person.
    pub url: String,
    verifier: Verifier,
    state: String,
    redirect_uri: String,
    issuer: Option<(String, bool)>,
}

/// Why a return is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallbackError {
    /// Nobody was sent away with this.
    #[error("this return belongs to no request of ours, or was forged")]
    State,
    /// Another provider answers than was asked.
    #[error("another issuer answers than was asked")]
    Issuer,
    /// The person or the provider said no.
    #[error("the provider refused: {0}")]
    Refused(String),
    /// Neither a code nor an error came back.
    #[error("the return has no code")]
    NoCode,
    /// A field came twice.
    #[error("the return says something twice")]
    Doubled,
}

/// A code and what it can be exchanged with.
#[derive(Debug)]
pub(super) struct Code<'a> {
    pub(super) code: SecretString,
    pub(super) verifier: &'a SecretString,
    pub(super) redirect_uri: &'a str,
}

impl Authorization<'_> {
    /// Where to send the person. `state` are 16 random bytes.
    #[must_use]
    pub fn begin(&self, verifier: Verifier, state: [u8; 16]) -> Pending {
        let state = URL_SAFE_NO_PAD.encode(state);
        let challenge = verifier.challenge();
        let mut fields = vec![
            ("response_type", "code"),
            ("client_id", self.client_id),
            ("redirect_uri", self.redirect_uri),
            ("state", &state),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
        ];
        fields.extend((!self.scope.is_empty()).then_some(("scope", self.scope)));
        fields.extend(self.resource.map(|resource| ("resource", resource)));
        fields.extend(self.extra.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let mark = if self.endpoint.query().is_some() { '&' } else { '?' };
        Pending {
            url: format!("{}{mark}{query}", self.endpoint),
            verifier,
            state,
            redirect_uri: self.redirect_uri.to_owned(),
            issuer: self.issuer.map(|(issuer, says)| (issuer.to_owned(), says)),
        }
    }
}

impl Pending {
    /// The code of a return, from the query of its address.
    pub(super) fn code(&self, query: &str) -> Result<Code<'_>, CallbackError> {
        let state = field(query, "state")?.unwrap_or_default();
        if !bool::from(state.as_bytes().ct_eq(self.state.as_bytes())) {
            return Err(CallbackError::State);
        }
        self.check_issuer(field(query, "iss")?.as_deref())?;
        if let Some(error) = field(query, "error")? {
            let description = field(query, "error_description")?.unwrap_or_default();
            return Err(CallbackError::Refused(crate::web::shown(&format!("{error} {description}"))));
        }
        let code = field(query, "code")?.filter(|code| !code.is_empty()).ok_or(CallbackError::NoCode)?;
        let code = SecretString::from(code.into_owned());
        Ok(Code { code, verifier: self.verifier.secret(), redirect_uri: &self.redirect_uri })
    }

    fn check_issuer(&self, said: Option<&str>) -> Result<(), CallbackError> {
        let good = match (&self.issuer, said) {
            (Some((issuer, _)), Some(said)) => issuer == said,
            (Some((_, says)), None) => !says,
            (None, _) => true,
        };
        good.then_some(()).ok_or(CallbackError::Issuer)
    }
}

fn field<'a>(query: &'a str, name: &str) -> Result<Option<Cow<'a, str>>, CallbackError> {
    let mut found = form_urlencoded::parse(query.as_bytes()).filter(|(key, _)| key == name);
    let first = found.next();
    if found.next().is_some() { Err(CallbackError::Doubled) } else { Ok(first.map(|(_, value)| value)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pending(issuer: Option<(&str, bool)>) -> Pending {
        let endpoint = Uri::from_static("https://idp.example/authorize?tenant=1");
        let authorization = Authorization {
            endpoint: &endpoint,
            client_id: "dtma",
            redirect_uri: "http://127.0.0.1:7000/back",
            scope: "repo read:org",
            resource: Some("https://mcp.example/"),
            extra: &[("access_type".to_owned(), "offline".to_owned())],
            issuer,
        };
        authorization.begin(Verifier::new([7; 32]), [1; 16])
    }

    #[test]
    fn the_challenge_is_that_of_the_standards_own_example() {
        let verifier = Verifier("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk".into());
        assert_eq!(verifier.challenge(), "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
    }

    #[test]
    fn a_person_is_sent_with_everything_the_provider_needs_and_no_secret() {
        let pending = pending(None);
        let challenge = pending.verifier.challenge();
        let state = URL_SAFE_NO_PAD.encode([1; 16]);
        assert_eq!(
            pending.url,
            format!(
                "https://idp.example/authorize?tenant=1&response_type=code&client_id=dtma&redirect_uri=http%3A%2F%2F127.0.0.1%3A7000%2Fback&state={state}&code_challenge={challenge}&code_challenge_method=S256&scope=repo+read%3Aorg&resource=https%3A%2F%2Fmcp.example%2F&access_type=offline"
            )
        );
        let verifier = URL_SAFE_NO_PAD.encode([7; 32]);
        assert!(!format!("{pending:?}").contains(&verifier));
    }

    #[test]
    fn only_an_answer_to_what_was_asked_by_whom_was_asked_counts() {
        let state = URL_SAFE_NO_PAD.encode([1; 16]);
        let check = |pending: &Pending, query: &str| pending.code(&query.replace("GOOD", &state)).map(|_| ());
        let (free, known, strict) =
            (pending(None), pending(Some(("https://i", false))), pending(Some(("https://i", true))));
        assert_eq!(check(&free, "code=c&state=GOOD"), Ok(()));
        assert_eq!(check(&free, "code=c&state=bad"), Err(CallbackError::State));
        assert_eq!(check(&free, "code=c"), Err(CallbackError::State));
        assert_eq!(check(&free, "code=c&code=d&state=GOOD"), Err(CallbackError::Doubled));
        assert_eq!(check(&free, "code=&state=GOOD"), Err(CallbackError::NoCode));
        let no = check(&free, "error=access_denied&error_description=a%0Ab&state=GOOD");
        assert_eq!(no, Err(CallbackError::Refused("access_denied ab".to_owned())));
        assert_eq!(check(&free, "error=access_denied"), Err(CallbackError::State));
        assert_eq!(check(&known, "code=c&state=GOOD"), Ok(()));
        assert_eq!(check(&known, "code=c&state=GOOD&iss=https%3A%2F%2Fevil"), Err(CallbackError::Issuer));
        assert_eq!(check(&strict, "code=c&state=GOOD"), Err(CallbackError::Issuer));
        assert_eq!(check(&strict, "code=c&state=GOOD&iss=https%3A%2F%2Fi"), Ok(()));
    }
}
