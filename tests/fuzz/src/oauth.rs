//! Answers of OAuth providers: what comes out is within bounds, and a token a decoder sees is found.

use dtma_credentials::oauth::{Metadata, Polled, Reply};
use dtma_credentials::refresh::{Failure, Tokens};
use dtma_credentials::web::{address, retry_after};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use std::time::Duration;

const STATUSES: [u16; 8] = [200, 200, 200, 400, 401, 429, 503, 302];
const ISSUER: &str = "https://idp.example";

/// The first byte chooses the status.
pub(crate) fn reply(input: &[u8]) {
    let (first, body) = input.split_first().unwrap_or((&0, &[]));
    let status = STATUSES[usize::from(*first) % STATUSES.len()];
    let reply = Reply { status, retry_after: None, body };
    tokens(&reply);
    device(&reply);
    if let Ok(Polled::Tokens(found)) = harmless(reply.polled()) {
        usable(&found);
    }
    let _ = harmless(reply.done());
    metadata(body);
    let text = String::from_utf8_lossy(body);
    let _ = retry_after(&text, "Sat, 21 Nov 2026 12:00:00 GMT");
    let _ = retry_after("Sat, 21 Nov 2026 12:00:00 GMT", &text);
}

fn tokens(reply: &Reply<'_>) {
    let found = harmless(reply.tokens());
    if let Ok(tokens) = &found {
        usable(tokens);
        assert_eq!(reply.status, 200);
    }
    if let Some(token) = decoded(reply.body).filter(|_| reply.status == 200) {
        let tokens = found.expect("a decoder sees a token and no error");
        assert_eq!(revealed(&tokens.access), token);
    }
}

/// The token in plain JSON that says no error.
fn decoded(body: &[u8]) -> Option<String> {
    let value: Value = serde_json::from_slice(body).ok()?;
    let refused = value.get("ok") == Some(&Value::Bool(false));
    let error = value.get("error").and_then(Value::as_str).is_some_and(|error| !error.is_empty());
    let token = value.as_object()?.get("access_token")?.as_str()?;
    let is_token = !token.is_empty() && token.bytes().all(|byte| (0x20..0x7f).contains(&byte));
    (is_token && !refused && !error).then(|| token.to_owned())
}

fn usable(tokens: &Tokens) {
    let token = revealed(&tokens.access);
    assert!(!token.is_empty() && token.bytes().all(|byte| (0x20..0x7f).contains(&byte)), "{token:?}");
}

fn device(reply: &Reply<'_>) {
    let Ok(code) = harmless(reply.device()) else { return };
    let between = |time: Duration, least, most| (least..=most).contains(&time.as_secs());
    assert!(between(code.interval, 1, 60) && between(code.expires_in, 60, 3600), "{code:?}");
    assert!(!code.user_code.contains(char::is_control));
    let pages = [Some(&code.verification_uri), code.verification_uri_complete.as_ref()];
    assert!(pages.into_iter().flatten().all(|page| page.starts_with("http")), "{code:?}");
}

/// What is said of a failure can be shown.
fn harmless<T>(result: Result<T, Failure>) -> Result<T, Failure> {
    if let Err(failure) = &result {
        assert!(failure.said.chars().count() < 500 && !failure.said.contains(char::is_control), "{failure}");
    }
    result
}

fn metadata(body: &[u8]) {
    let Ok(known) = Metadata::read(ISSUER, body) else { return };
    assert_eq!(known.issuer.as_deref(), Some(ISSUER));
    let others = [known.authorization, known.device, known.revocation];
    for endpoint in others.into_iter().flatten().chain([known.token]) {
        assert!(address(&endpoint.to_string()).is_ok(), "{endpoint}");
    }
}

#[expect(clippy::disallowed_methods, reason = "a made-up token is looked at")]
fn revealed(secret: &SecretString) -> &str {
    secret.expose_secret()
}
