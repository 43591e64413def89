//! Requests to providers and vaults: no redirects, bounded answers, one deadline, `https` except to loopback.

use bytes::Bytes;
use http::header::{ACCEPT, DATE, HeaderName, RETRY_AFTER, USER_AGENT};
use http::{HeaderMap, HeaderValue, Request, Uri};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::ClientConfig;
use std::time::Duration;

/// From the name's resolution to the answer's last byte; below the deadline of a refresh.
const DEADLINE: Duration = Duration::from_secs(20);
/// No answer is longer: tokens of providers stay below 20 KiB, metadata below 50.
const LARGEST: usize = 256 * 1024;

/// So much of what others say is kept.
const SAID: usize = 300;

/// Sends requests to providers and vaults.
#[derive(Debug, Clone)]
pub struct Web {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

/// An answer with its body.
pub(crate) struct Page {
    pub(crate) status: u16,
    pub(crate) retry_after: Option<Duration>,
    /// May hold what is secret: nothing shows it.
    pub(crate) body: Bytes,
}

/// No answer, or none that came to its end: what was asked may have been done or not.
#[derive(Debug)]
pub(crate) struct Silence {
    pub(crate) retry_after: Option<Duration>,
    pub(crate) said: String,
}

/// An address that secrets may be sent to: `https`, or `http` to this machine's loopback.
///
/// # Errors
/// What is wrong with it, for whoever wrote it.
pub fn address(text: &str) -> Result<Uri, String> {
    let uri: Uri = text.parse().map_err(|_| format!("{text:?} is no address"))?;
    let host = uri.host().unwrap_or_default();
    let is_loopback = matches!(host, "localhost" | "127.0.0.1" | "[::1]");
    let has_user = uri.authority().is_some_and(|authority| authority.as_str().contains('@'));
    match uri.scheme_str() {
        _ if host.is_empty() || has_user => Err(format!("{text:?} does not name a host, or names a user")),
        Some("https") => Ok(uri),
        Some("http") if is_loopback => Ok(uri),
        _ => Err(format!("{text:?} is not https; no secret is sent there")),
    }
}

impl Web {
    /// Believes whom `tls` says.
    #[must_use]
    pub fn new(tls: ClientConfig) -> Self {
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_nodelay(true);
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .wrap_connector(http);
        // Hours lie between two requests to one provider.
        Self { client: Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector) }
    }

    /// Sends to this address what it is given, whatever address that names.
    pub(crate) async fn send(&self, uri: &Uri, mut request: Request<Full<Bytes>>) -> Result<Page, Silence> {
        *request.uri_mut() = uri.clone();
        let headers = request.headers_mut();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        headers.insert(USER_AGENT, HeaderValue::from_static(concat!("dtma/", env!("CARGO_PKG_VERSION"))));
        let late = || away(uri, &format!("no answer within {} s", DEADLINE.as_secs()));
        tokio::time::timeout(DEADLINE, self.exchange(uri, request)).await.unwrap_or_else(|_| Err(late()))
    }

    async fn exchange(&self, uri: &Uri, request: Request<Full<Bytes>>) -> Result<Page, Silence> {
        let response = self.client.request(request).await.map_err(|error| away(uri, &chain(&error)))?;
        let (head, body) = response.into_parts();
        let wish = retry_after(text(&head.headers, &RETRY_AFTER), text(&head.headers, &DATE));
        let body = Limited::new(body, LARGEST).collect().await.map_err(|error| {
            let is_large = error.is::<LengthLimitError>();
            let said = if is_large { "its answer is too large" } else { "its answer breaks off" };
            Silence { retry_after: wish, ..away(uri, said) }
        })?;
        Ok(Page { status: head.status.as_u16(), retry_after: wish, body: body.to_bytes() })
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// Names the host alone: the rest of an address may hold what nobody should see.
fn away(uri: &Uri, said: &str) -> Silence {
    let said = format!("{}: {}", uri.host().unwrap_or_default(), shown(said));
    Silence { retry_after: None, said }
}

/// hyper's errors say the interesting part at the end of their chain.
fn chain(error: &hyper_util::client::legacy::Error) -> String {
    let mut last: &dyn std::error::Error = error;
    while let Some(source) = last.source() {
        last = source;
    }
    last.to_string()
}

/// Foreign words as people may see them: none of them cut, for half a secret is not recognised as one.
pub(crate) fn shown(text: &str) -> String {
    let text: String = text.trim().chars().filter(|c| !c.is_control()).take(SAID + 1).collect();
    if text.chars().count() <= SAID {
        return text;
    }
    text.rsplit_once(' ').map_or_else(|| "words without end".to_owned(), |(whole, _)| format!("{whole} ..."))
}

/// `Retry-After` in seconds, or as a date that is compared with the answer's own, so that no clock needs to be right.
#[must_use]
pub fn retry_after(wish: &str, date: &str) -> Option<Duration> {
    if let Ok(seconds) = wish.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let time = |text: &str| jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text.trim()).ok();
    Duration::try_from(time(wish)?.duration_since(time(date)?)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_go_to_https_and_to_loopback_only() {
        for good in [
            "https://idp.example/token",
            "http://127.0.0.1:8080/token",
            "http://localhost/token",
            "http://[::1]/t",
        ] {
            assert!(address(good).is_ok(), "{good}");
        }
        for bad in [
            "http://idp.example/token",
            "/token",
            "ftp://idp.example/",
            "https://user:pw@idp.example/",
            "http://127.0.0.1.evil.example/",
            "",
        ] {
            assert!(address(bad).is_err(), "{bad}");
        }
    }
}
