//! One client of one provider: asks for tokens in every way there is, and ends them.

use super::authorize::{Authorization, CallbackError, Pending, Verifier};
use super::metadata::{Metadata, places};
use super::reply::{DeviceCode, Polled, Reply};
use crate::refresh::{Failure, FailureKind, Proof, Provider, Tokens};
use crate::web::{Page, Silence, Web};
use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Uri};
use http_body_util::Full;
use secrecy::{ExposeSecret, SecretString};
use std::future::Future;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// A device that is told to slow down waits so much longer from then on (RFC 8628).
const SLOWER: Duration = Duration::from_secs(5);
/// Nobody is asked more rarely for a device's tokens.
const SLOWEST: Duration = Duration::from_secs(60);

/// How a client proves who it is.
#[derive(Debug, Clone)]
pub enum ClientAuth {
    /// Not at all; PKCE protects it.
    Public,
    /// In a header (`client_secret_basic`).
    Basic(SecretString),
    /// In the form (`client_secret_post`).
    Post(SecretString),
}

/// What makes a client.
#[derive(Debug, Clone)]
pub struct ClientParts {
    /// The provider's endpoints: discovered, of a preset, or configured.
    pub provider: Metadata,
    /// The client's id.
    pub id: String,
    /// How it proves itself.
    pub auth: ClientAuth,
    /// Scopes, written as the provider wants them.
    pub scope: String,
    /// What tokens are for (RFC 8707).
    pub resource: Option<String>,
    /// What this provider wants to know when a person is sent to it.
    pub extra: Vec<(String, String)>,
}

/// Why a return did not become tokens.
#[derive(Debug, thiserror::Error)]
pub enum ExchangeError {
    /// The return is not believed.
    #[error(transparent)]
    Callback(#[from] CallbackError),
    /// The provider does not exchange its code.
    #[error(transparent)]
    Provider(#[from] Failure),
}

/// A client.
#[derive(Debug, Clone)]
pub struct Client {
    web: Web,
    parts: ClientParts,
}

/// A request in the making: what may be seen and what may not.
struct Form<'a> {
    plain: Vec<(&'a str, &'a str)>,
    secret: Vec<(&'a str, &'a SecretString)>,
}

impl Form<'_> {
    #[expect(clippy::disallowed_methods, reason = "secrets go into the body of a request")]
    fn encoded(&self) -> String {
        let secret = self.secret.iter().map(|(name, value)| (*name, value.expose_secret()));
        let pairs = self.plain.iter().copied().chain(secret);
        form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
    }

    /// A provider may repeat in its error what it was sent.
    #[expect(clippy::disallowed_methods, reason = "secrets are searched for in a text, to be masked there")]
    fn masked(&self, mut failure: Failure) -> Failure {
        for (_, secret) in &self.secret {
            let secret = secret.expose_secret();
            if !secret.is_empty() {
                failure.said = failure.said.replace(secret, "***");
            }
        }
        failure
    }
}

/// Finds out what a provider says of itself.
///
/// # Errors
/// [`Failure`]: away, or refused when what it says cannot be believed.
pub async fn discover(web: &Web, issuer: &str) -> Result<Metadata, Failure> {
    let refused = |said: String| Failure::new(FailureKind::Refused, said);
    for place in places(issuer).map_err(refused)? {
        let page = web.send(&place, Request::default()).await?;
        match page.status {
            404 => {}
            200 => {
                return Metadata::read(issuer, &page.body)
                    .map_err(|error| refused(format!("{place}: {error}")));
            }
            _ => return Err(page.unusable(&place)),
        }
    }
    Err(refused(format!("{issuer} says nothing of itself; configure its endpoints")))
}

impl From<Silence> for Failure {
    fn from(silence: Silence) -> Self {
        Self { kind: FailureKind::Away, retry_after: silence.retry_after, said: silence.said }
    }
}

fn posted(form: String, authorization: Option<HeaderValue>) -> Request<Full<Bytes>> {
    let mut request = Request::new(Full::new(Bytes::from(form)));
    *request.method_mut() = Method::POST;
    let form = HeaderValue::from_static("application/x-www-form-urlencoded");
    request.headers_mut().insert(CONTENT_TYPE, form);
    if let Some(authorization) = authorization {
        request.headers_mut().insert(AUTHORIZATION, authorization);
    }
    request
}

impl Page {
    fn reply(&self) -> Reply<'_> {
        Reply { status: self.status, retry_after: self.retry_after, body: &self.body }
    }

    fn unusable(&self, place: &Uri) -> Failure {
        Failure {
            retry_after: self.retry_after,
            ..Failure::new(FailureKind::Away, format!("{place} answered {}", self.status))
        }
    }
}

impl Client {
    /// A client that sends with `web`.
    #[must_use]
    pub fn new(web: Web, parts: ClientParts) -> Self {
        Self { web, parts }
    }

    /// A new access token for a refresh token.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn refreshed(&self, token: &SecretString) -> Result<Tokens, Failure> {
        let plain = vec![("grant_type", "refresh_token")];
        self.tokens(Form { plain, secret: vec![("refresh_token", token)] }).await
    }

    /// An access token for the client itself.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn own(&self) -> Result<Tokens, Failure> {
        let mut plain = vec![("grant_type", "client_credentials")];
        plain.extend(self.scope());
        self.tokens(Form { plain, secret: Vec::new() }).await
    }

    /// Where to send a person; `None` when the provider has no page for that. `state` are 16 random bytes.
    #[must_use]
    pub fn begin(&self, redirect_uri: &str, verifier: Verifier, state: [u8; 16]) -> Option<Pending> {
        let provider = &self.parts.provider;
        let authorization = Authorization {
            endpoint: provider.authorization.as_ref()?,
            client_id: &self.parts.id,
            redirect_uri,
            scope: &self.parts.scope,
            resource: self.parts.resource.as_deref(),
            extra: &self.parts.extra,
            issuer: provider.issuer.as_deref().map(|issuer| (issuer, provider.returns_issuer)),
        };
        Some(authorization.begin(verifier, state))
    }

    /// The tokens for a person's return, from the query of the address it came back to.
    ///
    /// # Errors
    /// [`ExchangeError`].
    pub async fn exchange(&self, pending: &Pending, query: &str) -> Result<Tokens, ExchangeError> {
        let code = pending.code(query)?;
        let plain = vec![("grant_type", "authorization_code"), ("redirect_uri", code.redirect_uri)];
        let secret = vec![("code", &code.code), ("code_verifier", code.verifier)];
        Ok(self.tokens(Form { plain, secret }).await?)
    }

    /// Codes for a person whose browser is on another machine.
    ///
    /// # Errors
    /// [`Failure`]; refused when the provider has no such way.
    pub async fn device(&self) -> Result<DeviceCode, Failure> {
        let none = || Failure::new(FailureKind::Refused, "the provider has no way for devices");
        let endpoint = self.parts.provider.device.as_ref().ok_or_else(none)?;
        let form = Form { plain: self.scope().into_iter().collect(), secret: Vec::new() };
        self.send(endpoint, form, |page| page.reply().device()).await
    }

    /// The tokens for a device, once its person is done.
    ///
    /// # Errors
    /// [`Failure`]: revoked when the person says no or the code is spent.
    pub async fn device_tokens(&self, code: &DeviceCode) -> Result<Tokens, Failure> {
        patiently(code, || self.poll(code)).await
    }

    async fn poll(&self, code: &DeviceCode) -> Result<Polled, Failure> {
        let plain = vec![("grant_type", "urn:ietf:params:oauth:grant-type:device_code")];
        let form = Form { plain, secret: vec![("device_code", &code.device_code)] };
        self.send(&self.parts.provider.token, form, |page| page.reply().polled()).await
    }

    /// Ends a refresh token, and with it what came from it (RFC 7009). `false` when the provider has no way to do so.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn revoke(&self, token: &SecretString) -> Result<bool, Failure> {
        let Some(endpoint) = &self.parts.provider.revocation else { return Ok(false) };
        let form = Form { plain: vec![("token_type_hint", "refresh_token")], secret: vec![("token", token)] };
        self.send(endpoint, form, |page| page.reply().done()).await.map(|()| true)
    }

    fn scope(&self) -> Option<(&str, &str)> {
        Some(("scope", &*self.parts.scope)).filter(|(_, scope)| !scope.is_empty())
    }

    async fn tokens(&self, mut form: Form<'_>) -> Result<Tokens, Failure> {
        form.plain.extend(self.parts.resource.as_deref().map(|resource| ("resource", resource)));
        self.send(&self.parts.provider.token, form, |page| page.reply().tokens()).await
    }

    async fn send<T>(
        &self,
        endpoint: &Uri,
        mut form: Form<'_>,
        read: impl FnOnce(&Page) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let mut authorization = None;
        match &self.parts.auth {
            ClientAuth::Public => form.plain.push(("client_id", &self.parts.id)),
            ClientAuth::Basic(secret) => authorization = Some(basic(&self.parts.id, secret)?),
            ClientAuth::Post(secret) => {
                form.plain.push(("client_id", &self.parts.id));
                form.secret.push(("client_secret", secret));
            }
        }
        let page = self.web.send(endpoint, posted(form.encoded(), authorization)).await;
        let mut answer =
            page.map_err(Failure::from).and_then(|page| read(&page)).map_err(|failure| form.masked(failure));
        if let (Err(failure), ClientAuth::Basic(secret)) = (&mut answer, &self.parts.auth) {
            let header = Form { plain: Vec::new(), secret: vec![("", secret)] };
            *failure = header.masked(failure.clone());
        }
        answer
    }
}

#[async_trait]
impl Provider for Client {
    async fn refresh(&self, proof: &Proof) -> Result<Tokens, Failure> {
        match proof {
            Proof::RefreshToken(token) => self.refreshed(token).await,
            Proof::Client => self.own().await,
        }
    }
}

/// Both are encoded as in a form first (RFC 6749, 2.3.1).
#[expect(clippy::disallowed_methods, reason = "the secret goes into a header that no log shows")]
fn basic(id: &str, secret: &SecretString) -> Result<HeaderValue, Failure> {
    let encoded = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let pair = STANDARD.encode(format!("{}:{}", encoded(id), encoded(secret.expose_secret())));
    let mut value = HeaderValue::try_from(format!("Basic {pair}"))
        .map_err(|_| Failure::new(FailureKind::Refused, "the client's secret fits into no header"))?;
    value.set_sensitive(true);
    Ok(value)
}

/// Asks until there are tokens, a refusal, or the code is spent. Who does not answer is asked again more rarely.
async fn patiently<F>(code: &DeviceCode, ask: impl Fn() -> F) -> Result<Tokens, Failure>
where
    F: Future<Output = Result<Polled, Failure>>,
{
    let (end, mut interval) = (Instant::now() + code.expires_in, code.interval);
    while Instant::now() + interval < end {
        sleep(interval).await;
        match ask().await {
            Ok(Polled::Tokens(tokens)) => return Ok(tokens),
            Ok(Polled::Pending) => {}
            Ok(Polled::SlowDown) => interval = (interval + SLOWER).min(SLOWEST),
            Err(failure) if failure.kind == FailureKind::Away => {
                let wish = failure.retry_after.unwrap_or_default();
                interval = (interval * 2).max(wish).min(SLOWEST);
            }
            Err(failure) => return Err(failure),
        }
    }
    Err(Failure::new(FailureKind::Revoked, "nobody used the code while it was valid"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    /// Answers in turn; the seconds at which they were asked for, and how it ended.
    async fn play(answers: Vec<Result<Polled, Failure>>) -> (Vec<u64>, Result<(), FailureKind>) {
        let code = DeviceCode {
            device_code: "d".into(),
            user_code: "U".to_owned(),
            verification_uri: "https://idp.example/".to_owned(),
            verification_uri_complete: None,
            interval: Duration::from_secs(5),
            expires_in: Duration::from_secs(900),
        };
        let (began, answers, asked) =
            (Instant::now(), Mutex::new(answers.into_iter()), Mutex::new(Vec::new()));
        let ask = || {
            asked.lock().unwrap().push(began.elapsed().as_secs());
            let answer = answers.lock().unwrap().next().unwrap_or(Ok(Polled::Pending));
            std::future::ready(answer)
        };
        let ended = patiently(&code, ask).await.map(|_| ()).map_err(|failure| failure.kind);
        (asked.into_inner().unwrap(), ended)
    }

    fn done() -> Result<Polled, Failure> {
        Ok(Polled::Tokens(Tokens { access: "a".into(), refresh: None, expires_in: None }))
    }

    #[tokio::test(start_paused = true)]
    async fn a_device_asks_as_often_as_it_may_and_more_rarely_when_told() {
        let away = || Err(Failure::new(FailureKind::Away, ""));
        assert_eq!(
            play(vec![Ok(Polled::Pending), Ok(Polled::SlowDown), done()]).await,
            (vec![5, 10, 20], Ok(()))
        );
        assert_eq!(play(vec![away(), away(), done()]).await, (vec![5, 15, 35], Ok(())));
    }

    #[tokio::test(start_paused = true)]
    async fn a_device_gives_up_when_it_is_refused_or_its_code_is_spent() {
        let no = Err(Failure::new(FailureKind::Revoked, "access_denied"));
        assert_eq!(play(vec![no]).await, (vec![5], Err(FailureKind::Revoked)));
        let (asked, ended) = play(Vec::new()).await;
        assert_eq!((asked.len(), ended), (179, Err(FailureKind::Revoked)));
    }
}
