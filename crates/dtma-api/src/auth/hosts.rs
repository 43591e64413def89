//! Protection against other sites' pages: a browser that was talked into sending requests here tells us so by its
//! `Origin`, and one whose name was re-bound to our address by its `Host`.

use http::HeaderMap;
use http::header::{HOST, ORIGIN};
use std::net::{IpAddr, SocketAddr};

/// The host names by which the daemon may be called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hosts {
    /// Names besides those of loopback.
    allowed: Vec<String>,
    /// False when the daemon listens beyond loopback and nobody said by which names it is called there.
    check_host: bool,
}

impl Hosts {
    /// For a daemon that listens on `listen` and is also called by the names `allowed`.
    #[must_use]
    pub fn new(listen: SocketAddr, allowed: impl IntoIterator<Item = String>) -> Self {
        let mut allowed: Vec<String> = allowed.into_iter().map(|name| name.to_ascii_lowercase()).collect();
        let check_host = listen.ip().is_loopback() || !allowed.is_empty();
        if !listen.ip().is_unspecified() {
            allowed.push(listen.ip().to_string());
        }
        Self { allowed, check_host }
    }

    /// Refuses a request that comes from a page of another site.
    ///
    /// # Errors
    /// The header at fault and its value.
    pub(crate) fn check(&self, headers: &HeaderMap) -> Result<(), (&'static str, String)> {
        let text =
            |name| headers.get(name).map(|value: &http::HeaderValue| value.to_str().unwrap_or("").to_owned());
        let host = text(HOST);
        if let Some(host) = host.as_deref().filter(|host| self.check_host && !self.knows(name_of(host))) {
            return Err(("Host", host.to_owned()));
        }
        match text(ORIGIN) {
            Some(origin) if !self.is_ours(&origin, host.as_deref()) => Err(("Origin", origin)),
            Some(_) | None => Ok(()),
        }
    }

    /// A page is ours when it came from a host we are called by, or from the very address the request went to.
    fn is_ours(&self, origin: &str, host: Option<&str>) -> bool {
        let Some((_, authority)) = origin.split_once("://") else { return false };
        self.knows(name_of(authority)) || (!self.check_host && host == Some(authority))
    }

    fn knows(&self, name: &str) -> bool {
        let name = name.to_ascii_lowercase();
        let loopback = name == "localhost"
            || name.ends_with(".localhost")
            || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
        loopback || self.allowed.contains(&name)
    }
}

/// The name in `name`, `name:port` or `[address]:port`.
fn name_of(authority: &str) -> &str {
    if let Some(rest) = authority.strip_prefix('[') {
        return rest.split(']').next().unwrap_or(rest);
    }
    authority.split(':').next().unwrap_or(authority)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(listen: &str, allowed: &[&str], host: &str, origin: Option<&str>, expected: Option<&str>) {
        let hosts = Hosts::new(listen.parse().unwrap(), allowed.iter().map(|name| (*name).to_owned()));
        let mut headers = HeaderMap::new();
        headers.insert(HOST, host.parse().unwrap());
        if let Some(origin) = origin {
            headers.insert(ORIGIN, origin.parse().unwrap());
        }
        let refused = hosts.check(&headers).err().map(|(header, _)| header);
        assert_eq!(refused, expected, "{listen} {host} {origin:?}");
    }

    #[test]
    fn on_loopback_only_loopback_names_are_ours() {
        let listen = "127.0.0.1:30000";
        for host in ["127.0.0.1:30000", "localhost", "LOCALHOST:1", "[::1]:30000", "127.8.8.8", "a.localhost"]
        {
            check(listen, &[], host, None, None);
        }
        for host in ["evil.example", "127.0.0.1.evil.example", "10.0.0.1", "localhost.evil.example", ""] {
            check(listen, &[], host, None, Some("Host"));
        }
    }

    #[test]
    fn pages_of_other_sites_are_refused() {
        let listen = "127.0.0.1:30000";
        check(listen, &[], "localhost", Some("http://localhost:8080"), None);
        check(listen, &[], "localhost", Some("http://[::1]:8080"), None);
        for origin in ["http://evil.example", "null", "", "https://localhost.evil.example", "file://"] {
            check(listen, &[], "localhost", Some(origin), Some("Origin"));
        }
    }

    #[test]
    fn further_names_are_a_setting() {
        check("127.0.0.1:1", &["tools.example"], "Tools.Example:443", Some("https://tools.example"), None);
        check("0.0.0.0:1", &["tools.example"], "other.example", None, Some("Host"));
    }

    #[test]
    fn beyond_loopback_without_names_only_the_same_origin_is_ours() {
        check("0.0.0.0:1", &[], "box:1", None, None);
        check("0.0.0.0:1", &[], "box:1", Some("http://box:1"), None);
        check("0.0.0.0:1", &[], "box:1", Some("http://evil.example"), Some("Origin"));
    }
}
