//! The client itself: where the daemon is, how to prove who asks, and how long to wait.

use crate::error::Error;
use crate::tls::Trust;
use bytes::Bytes;
use http::header::HeaderValue;
use http_body_util::Full;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use secrecy::SecretString;
use std::time::Duration;

pub(crate) type Pool = hyper_util::client::legacy::Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// Talks to one daemon. Cheap to clone; clones share connections.
#[derive(Clone)]
pub struct Client {
    pub(crate) pool: Pool,
    pub(crate) base: String,
    pub(crate) authorization: Option<HeaderValue>,
    pub(crate) timeout: Duration,
}

/// Makes a [`Client`].
#[derive(Debug, Clone)]
pub struct ClientBuilder {
    url: String,
    token: Option<SecretString>,
    timeout: Duration,
    connect_timeout: Duration,
    trust: Trust,
}

impl ClientBuilder {
    /// Proves who asks.
    #[must_use]
    pub fn token(mut self, token: SecretString) -> Self {
        self.token = Some(token);
        self
    }

    /// How long to wait for an answer (30 s). A mutation's own waiting time comes on top.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// How long to wait for a connection (5 s).
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// Believes daemons whose certificate one of these authorities signed (PEM). `https://` needs it; the
    /// system's own authorities are not asked.
    #[must_use]
    pub fn certificate_authority(mut self, pem: Vec<u8>) -> Self {
        self.trust.ca = Some(pem);
        self
    }

    /// Shows this certificate to a daemon that asks for one (PEM, with its private key).
    #[must_use]
    pub fn identity(mut self, certificate: Vec<u8>, key: Vec<u8>) -> Self {
        self.trust.identity = Some((certificate, key));
        self
    }

    /// The client. Nothing is sent yet.
    ///
    /// # Errors
    /// [`Error::Url`], [`Error::Token`] or [`Error::Tls`].
    pub fn build(self) -> Result<Client, Error> {
        let base = base(&self.url)?;
        if base.starts_with("https:") && self.trust.ca.is_none() {
            return Err(Error::NoAuthority { url: base });
        }
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(self.connect_timeout));
        connector.enforce_http(false);
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(self.trust.config()?)
            .https_or_http()
            .enable_http1()
            .wrap_connector(connector);
        Ok(Client {
            pool: hyper_util::client::legacy::Client::builder(TokioExecutor::new())
                .pool_timer(TokioTimer::new())
                .pool_idle_timeout(Duration::from_secs(20))
                .build(connector),
            base,
            authorization: self.token.as_ref().map(authorization).transpose()?,
            timeout: self.timeout,
        })
    }
}

impl Client {
    /// A client of the daemon at `url`, such as `http://127.0.0.1:30000`.
    pub fn builder(url: impl Into<String>) -> ClientBuilder {
        ClientBuilder {
            url: url.into(),
            token: None,
            timeout: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(5),
            trust: Trust::default(),
        }
    }

    /// The daemon's address, without a slash at its end.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.base
    }
}

fn base(url: &str) -> Result<String, Error> {
    let refuse = |problem: &str| Error::Url { url: url.to_owned(), problem: problem.to_owned() };
    let parsed: http::Uri =
        url.parse().map_err(|problem: http::uri::InvalidUri| refuse(&problem.to_string()))?;
    if !matches!(parsed.scheme_str(), Some("http" | "https")) {
        return Err(refuse("it must begin with http:// or https://"));
    }
    if parsed.query().is_some() {
        return Err(refuse("it must not have a query"));
    }
    if parsed.authority().is_none_or(|authority| authority.as_str().contains('@')) {
        return Err(refuse("it must name a host, and no user"));
    }
    Ok(url.trim_end_matches('/').to_owned())
}

fn authorization(token: &SecretString) -> Result<HeaderValue, Error> {
    #[expect(
        clippy::disallowed_methods,
        reason = "the token goes into the Authorization header, nowhere else"
    )]
    let text = format!("Bearer {}", secrecy::ExposeSecret::expose_secret(token).trim());
    let mut value = HeaderValue::try_from(text).map_err(|_| Error::Token)?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_http_addresses_are_taken() {
        assert_eq!(base("https://x:1/").unwrap(), "https://x:1");
        assert_eq!(base("http://127.0.0.1:30000/").unwrap(), "http://127.0.0.1:30000");
        assert_eq!(base("http://[::1]:1/prefix").unwrap(), "http://[::1]:1/prefix");
        for bad in ["", "127.0.0.1:30000", "ftp://x", "http://u:p@x", "http://x?y=1", "http://"] {
            assert!(base(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn https_needs_to_know_whom_to_believe() {
        let built = |url: &str, ca: Option<&str>| {
            let builder = Client::builder(url);
            match ca {
                Some(ca) => builder.certificate_authority(ca.into()).build(),
                None => builder.build(),
            }
        };
        assert!(matches!(built("https://x", None).err(), Some(Error::NoAuthority { .. })));
        assert!(matches!(built("https://x", Some("no pem")).err(), Some(Error::Tls { .. })));
        assert!(built("http://x", None).is_ok());
    }

    #[test]
    fn a_token_is_never_shown() {
        let builder = Client::builder("http://x").token("s3cret".into());
        let client = builder.clone().build().unwrap();
        let shown = format!("{builder:?} {:?}", client.authorization);
        assert!(!shown.contains("s3cret"), "{shown}");
    }
}
