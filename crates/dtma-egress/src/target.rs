//! Where a request wants to go, read from its first line alone: other headers are the client's word about itself.

use crate::port::Way;
use dtma_core::egress::{Authority, HostError};
use http::{Method, Uri, Version};

/// Why a request names no place to go to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Misdirected {
    #[error("this is a proxy, and the request names no host: ask for http://host/path, or CONNECT host:port")]
    NoHost,
    #[error("{scheme} is not forwarded: ask with CONNECT host:port and speak {scheme} through the tunnel")]
    Scheme { scheme: String },
    #[error("TRACE is not forwarded")]
    Trace,
    #[error("{version:?} is not spoken here: use HTTP/1.1")]
    Version { version: Version },
    #[error("{0}")]
    Form(#[from] HostError),
}

/// How it wants to get out.
pub(crate) fn way(method: &Method) -> Way {
    if method == Method::CONNECT { Way::Connect } else { Way::Http }
}

/// Where to.
pub(crate) fn of(method: &Method, uri: &Uri, version: Version) -> Result<Authority, Misdirected> {
    if !matches!(version, Version::HTTP_10 | Version::HTTP_11) {
        return Err(Misdirected::Version { version });
    }
    if method == Method::TRACE {
        return Err(Misdirected::Trace);
    }
    let authority = uri.authority().ok_or(Misdirected::NoHost)?.as_str();
    match (way(method), uri.scheme_str()) {
        (Way::Connect, None) => Ok(Authority::parse(authority, None)?),
        (Way::Connect, Some(_)) | (Way::Http, None) => Err(Misdirected::NoHost),
        (Way::Http, Some("http")) => Ok(Authority::parse(authority, Some(80))?),
        (Way::Http, Some(scheme)) => Err(Misdirected::Scheme { scheme: scheme.chars().take(20).collect() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(method: &str, uri: &str) -> String {
        let Ok(uri) = uri.parse() else { return "no request".to_owned() };
        match of(&method.parse().unwrap(), &uri, Version::HTTP_11) {
            Ok(authority) => authority.to_string(),
            Err(problem) => problem.to_string(),
        }
    }

    #[test]
    fn the_first_line_says_where_to() {
        for (method, uri, words) in [
            ("CONNECT", "example.org:443", "example.org:443"),
            ("CONNECT", "EXAMPLE.org.:443", "example.org:443"),
            ("CONNECT", "[2001:db8::1]:443", "[2001:db8::1]:443"),
            ("CONNECT", "example.org", "port is missing"),
            ("CONNECT", "user@example.org:443", "user name"),
            ("CONNECT", "0x7f.1:443", "four decimal numbers"),
            ("CONNECT", "http://example.org/", "names no host"),
            ("CONNECT", "/", "names no host"),
            ("GET", "http://example.org", "example.org:80"),
            ("GET", "http://example.org:8080/a?b", "example.org:8080"),
            ("GET", "http://[::1]/", "[::1]:80"),
            ("POST", "http://good.example@evil.example/", "user name"),
            ("POST", "http://good.example:80@evil.example/", "user name"),
            ("GET", "http://good.example:443:80/", "no request"),
            ("GET", "http://good.example%2eevil.example/", "no request"),
            ("GET", "http://2130706433/", "four decimal numbers"),
            ("GET", "https://example.org/", "https is not forwarded: ask with CONNECT"),
            ("GET", "ftp://example.org/", "ftp is not forwarded"),
            ("GET", "/", "names no host"),
            ("OPTIONS", "*", "names no host"),
            ("GET", "example.org:80", "names no host"),
            ("TRACE", "http://example.org/", "TRACE is not forwarded"),
        ] {
            assert!(said(method, uri).contains(words), "{method} {uri}: {}", said(method, uri));
        }
    }

    #[test]
    fn only_http_1_is_spoken() {
        let uri = "http://example.org/".parse().unwrap();
        assert!(of(&Method::GET, &uri, Version::HTTP_2).unwrap_err().to_string().contains("HTTP/2.0"));
    }
}
