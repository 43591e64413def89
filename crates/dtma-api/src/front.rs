//! How the daemon is called from outside: the beginning of every absolute URL it tells, and who gives out tokens for it.

use axum::extract::Request;
use http::header::HOST;
use http::uri::Authority;
use http::{Extensions, HeaderMap};
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// What is told about the daemon's own address.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Front {
    /// What its URLs begin with. Without it that is what the client called it by, which behind a proxy for TLS is
    /// wrong.
    pub public: Option<WebUrl>,
    /// Who gives out tokens that are known here.
    pub authorization_servers: Vec<WebUrl>,
}

/// An absolute URL that clients may be sent to: `https`, or `http` on loopback; without query and fragment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebUrl(String);

impl FromStr for WebUrl {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let uri: http::Uri = text.parse().map_err(|_| "it is no URL")?;
        let host = uri.host().ok_or("it is not absolute: begin with https://")?;
        match uri.scheme_str() {
            Some("https") => {}
            Some("http") if is_loopback(host) => {}
            Some("http") => return Err("tokens would travel in clear: begin with https://"),
            Some(_) | None => return Err("begin with https://"),
        }
        if uri.query().is_some() || text.contains('#') {
            return Err("it has a query or a fragment");
        }
        Ok(Self(text.trim_end_matches('/').to_owned()))
    }
}

impl fmt::Display for WebUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Marks a request that came over TLS.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Secure;

/// The URL under which one client knows the daemon.
#[derive(Debug, Clone)]
pub(crate) struct Base(String);

impl Base {
    pub(crate) fn of(front: &Front, request: &Request) -> Self {
        Self::from_parts(front, request.headers(), request.extensions())
    }

    pub(crate) fn from_parts(front: &Front, headers: &HeaderMap, extensions: &Extensions) -> Self {
        if let Some(public) = &front.public {
            return Self(public.to_string());
        }
        let scheme = if extensions.get::<Secure>().is_some() { "https" } else { "http" };
        let host = headers.get(HOST).and_then(|host| host.to_str().ok()?.parse::<Authority>().ok());
        let host = host.filter(|host| !host.as_str().contains('@'));
        Self(format!("{scheme}://{}", host.as_ref().map_or("localhost", Authority::as_str)))
    }

    /// The URL of a path, which begins with a slash.
    pub(crate) fn url(&self, path: impl fmt::Display) -> String {
        format!("{}{path}", self.0)
    }

    /// The host's name, without its port.
    pub(crate) fn host(&self) -> String {
        let uri: Option<http::Uri> = self.0.parse().ok();
        let host = uri.and_then(|uri| uri.host().map(str::to_ascii_lowercase));
        host.unwrap_or_else(|| "localhost".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base(front: &Front, host: &'static str, secure: bool) -> Base {
        let (mut headers, mut extensions) = (HeaderMap::new(), Extensions::new());
        headers.insert(HOST, http::HeaderValue::from_static(host));
        if secure {
            extensions.insert(Secure);
        }
        Base::from_parts(front, &headers, &extensions)
    }

    #[test]
    fn urls_begin_as_the_client_called_or_as_the_operator_said() {
        let front = Front::default();
        assert_eq!(base(&front, "box:1", false).url("/a"), "http://box:1/a");
        assert_eq!(base(&front, "[::1]:1", true).url("/a"), "https://[::1]:1/a");
        for odd in ["", "a b", "a/b", "user@box"] {
            assert_eq!(base(&front, odd, false).url("/a"), "http://localhost/a", "{odd:?}");
        }
        let public = "https://tools.example/dtma/".parse().ok();
        let said = base(&Front { public, ..front }, "box:1", false);
        assert_eq!(
            (said.url("/a"), said.host()),
            ("https://tools.example/dtma/a".into(), "tools.example".into())
        );
        assert_eq!(base(&Front::default(), "BOX:1", false).host(), "box");
    }

    #[test]
    fn only_urls_that_may_be_followed_are_taken() {
        for good in ["https://a.example", "https://a.example/x", "http://localhost:8080", "http://[::1]:1/"] {
            assert!(good.parse::<WebUrl>().is_ok(), "{good}");
        }
        for bad in
            ["", "a.example", "http://a.example", "ftp://a.example", "https://a/?q", "https://a/#f", "/x"]
        {
            assert!(bad.parse::<WebUrl>().is_err(), "{bad}");
        }
    }
}
