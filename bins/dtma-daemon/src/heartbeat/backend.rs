//! The backend: where it is, whom we believe to be it, and what its answers mean.

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, LOCATION, RETRY_AFTER, USER_AGENT};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Client, Error as ClientError};
use hyper_util::rt::TokioExecutor;
use rustls::ClientConfig;
use std::path::PathBuf;
use std::time::Duration;

/// A report takes no longer, from the name's resolution to the end of the answer's head.
const DEADLINE: Duration = Duration::from_secs(10);
/// Of an answer that says no, so many characters are kept.
const SAID: usize = 300;

/// Where reports go and what proves who sends them.
#[derive(Debug, Clone)]
pub(crate) struct Address {
    pub(crate) uri: Uri,
    pub(crate) tls: ClientConfig,
    pub(crate) token: TokenSource,
}

/// Read anew for each report, so that a token can be exchanged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TokenSource {
    /// A file with nothing but the token.
    File(PathBuf),
    /// The original's file of settings.
    Conf(PathBuf),
}

/// Why a report was not taken.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error("no answer within {} s", DEADLINE.as_secs())]
    Slow,
    #[error("it cannot be reached: {}", chain(.0))]
    Unreachable(ClientError),
    #[error("the token cannot be read: {0}")]
    Token(String),
    #[error("it answered {status} and points to {to:?}; redirects are not followed, give the right address")]
    Redirect { status: StatusCode, to: String },
    #[error("it answered {0} with a page for people; is the address right?")]
    Page(StatusCode),
    #[error("it answered {status}: {said}")]
    Refused { status: StatusCode, said: String, retry_after: Option<Duration> },
}

impl Failure {
    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused { retry_after, .. } => *retry_after,
            Self::Slow | Self::Unreachable(_) | Self::Token(_) | Self::Redirect { .. } | Self::Page(_) => {
                None
            }
        }
    }
}

/// hyper's errors say the interesting part at the end of their chain.
fn chain(error: &ClientError) -> String {
    let mut last: &dyn std::error::Error = error;
    while let Some(source) = last.source() {
        last = source;
    }
    last.to_string()
}

/// Takes reports.
pub(super) struct Backend {
    address: Address,
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

impl Backend {
    pub(super) fn new(address: &Address) -> Self {
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_nodelay(true);
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(address.tls.clone())
            .https_or_http()
            .enable_http1()
            .wrap_connector(http);
        // A connection that idles for a minute is closed by whatever stands between; each report has its own.
        let client = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector);
        Self { address: address.clone(), client }
    }

    /// Sends one report.
    ///
    /// # Errors
    /// [`Failure`].
    pub(super) async fn post(&self, body: Bytes) -> Result<(), Failure> {
        let request = self.request(body)?;
        let exchange = async {
            let response = self.client.request(request).await.map_err(Failure::Unreachable)?;
            judge(response).await
        };
        tokio::time::timeout(DEADLINE, exchange).await.unwrap_or(Err(Failure::Slow))
    }

    fn request(&self, body: Bytes) -> Result<Request<Full<Bytes>>, Failure> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = http::Method::POST;
        *request.uri_mut() = self.address.uri.clone();
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(USER_AGENT, HeaderValue::from_static(concat!("dtma/", env!("CARGO_PKG_VERSION"))));
        if let Some(authorization) = self.address.token.authorization()? {
            headers.insert(AUTHORIZATION, authorization);
        }
        Ok(request)
    }
}

impl TokenSource {
    /// None when the original's file has none.
    fn authorization(&self) -> Result<Option<HeaderValue>, Failure> {
        let token = match self {
            Self::File(path) => std::fs::read_to_string(path)
                .map(Some)
                .map_err(|error| Failure::Token(format!("{}: {error}", path.display())))?,
            Self::Conf(path) => crate::tokens::conf_value(path, crate::tokens::CONF_KEY)
                .map_err(|error| Failure::Token(format!("{error:#}")))?,
        };
        let Some(token) = token.as_deref().map(str::trim).filter(|token| !token.is_empty()) else {
            return Ok(None);
        };
        let mut value = HeaderValue::try_from(format!("Bearer {token}"))
            .map_err(|_| Failure::Token("it has characters that no header can hold".to_owned()))?;
        value.set_sensitive(true);
        Ok(Some(value))
    }
}

/// The head decides. A body is read only to say why not, and never to its end.
async fn judge(response: Response<Incoming>) -> Result<(), Failure> {
    let (head, body) = response.into_parts();
    let status = head.status;
    let is_page = text(&head.headers, CONTENT_TYPE).starts_with("text/html");
    match status {
        _ if status.is_redirection() => {
            Err(Failure::Redirect { status, to: short(&text(&head.headers, LOCATION)) })
        }
        _ if is_page => Err(Failure::Page(status)),
        StatusCode::OK | StatusCode::NO_CONTENT => Ok(()),
        _ => Err(Failure::Refused {
            status,
            said: beginning(body).await,
            retry_after: retry_after(&head.headers),
        }),
    }
}

fn text(headers: &HeaderMap, name: http::HeaderName) -> String {
    headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).unwrap_or_default()
}

fn short(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(SAID).collect()
}

/// What comes until there is enough of it.
async fn beginning(mut body: Incoming) -> String {
    let mut said = Vec::new();
    while said.len() < SAID * 4 {
        match body.frame().await {
            Some(Ok(frame)) => said.extend(frame.into_data().unwrap_or_default().iter().take(SAID * 4)),
            Some(Err(_)) | None => break,
        }
    }
    short(&String::from_utf8_lossy(&said))
}

/// In seconds. A date is compared with the answer's own, so that no clock needs to be right.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let said = text(headers, RETRY_AFTER);
    if let Ok(seconds) = said.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let until = date(&said)?.duration_since(date(&text(headers, http::header::DATE))?);
    Duration::try_from(until).ok()
}

/// The date of RFC 9110, which is one of RFC 5322 with an old name of its zone.
fn date(text: &str) -> Option<dtma_core::Timestamp> {
    jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text.trim()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wish_is_seconds_or_a_date() {
        let wish = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, HeaderValue::from_str(value).unwrap());
            headers.insert(http::header::DATE, HeaderValue::from_static("Sat, 21 Nov 2026 12:00:00 GMT"));
            retry_after(&headers).map(|wish| wish.as_secs())
        };
        assert_eq!(wish("120"), Some(120));
        assert_eq!(wish("Sat, 21 Nov 2026 12:01:30 GMT"), Some(90));
        for none in ["Sat, 21 Nov 2026 11:00:00 GMT", "soon", "-5", ""] {
            assert_eq!(wish(none), None, "{none}");
        }
        assert_eq!(retry_after(&HeaderMap::new()), None);
    }
}
