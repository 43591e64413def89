//! A host, and a host with its port, as requests and rules name them.

use std::borrow::Cow;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Longest name, in bytes (RFC 1035).
const MAX_HOST: usize = 253;
/// Longest part of a name between dots.
const MAX_LABEL: usize = 63;

const IPV4_FORM: &str = "an IPv4 address is four decimal numbers without leading zeros; octal, hexadecimal and short forms are refused";

/// A name in small letters without the final dot, or an address.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Host {
    /// `api.example.org`.
    Name(String),
    /// An address; an IPv4 address in its IPv6 clothes (`::ffff:192.0.2.1`) is the IPv4 address.
    Address(IpAddr),
}

/// Why a text is no host. The offending text is shown escaped and shortened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a host and a port: {problem}")]
pub struct HostError {
    text: String,
    problem: Cow<'static, str>,
}

impl HostError {
    fn new(text: &str, problem: impl Into<Cow<'static, str>>) -> Self {
        Self { text: text.chars().take(80).collect(), problem: problem.into() }
    }

    /// What is wrong, without the text it is wrong with.
    #[must_use]
    pub fn problem(&self) -> &str {
        &self.problem
    }
}

impl Host {
    /// Reads a host as it stands before the colon of `host:port`: IPv6 in brackets.
    ///
    /// # Errors
    /// [`HostError`] when it is neither a name of letters, digits, `-` and `_`, nor an address in its canonical form.
    pub fn parse(text: &str) -> Result<Self, HostError> {
        host(text).map_err(|problem| HostError::new(text, problem))
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Address(IpAddr::V4(address)) => address.fmt(f),
            Self::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
        }
    }
}

fn host(text: &str) -> Result<Host, Cow<'static, str>> {
    if text.is_empty() {
        return Err("the host is missing".into());
    }
    if text.contains('@') {
        return Err("a user name has no place before a host".into());
    }
    if let Some(rest) = text.strip_prefix('[') {
        return bracketed(rest).map(|address| Host::Address(IpAddr::V6(address).to_canonical()));
    }
    if !text.is_ascii() {
        return Err("names with other letters are written in punycode (xn--...)".into());
    }
    let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
    if ends_in_a_number(&name) {
        // Held against the text as written: an address has no final dot.
        return text.parse::<Ipv4Addr>().map(|v4| Host::Address(v4.into())).map_err(|_| IPV4_FORM.into());
    }
    match name_problem(&name) {
        Some(problem) => Err(problem.into()),
        None => Ok(Host::Name(name)),
    }
}

fn bracketed(rest: &str) -> Result<Ipv6Addr, Cow<'static, str>> {
    let inner = rest.strip_suffix(']').ok_or("the bracket of an IPv6 address is not closed")?;
    if inner.contains('%') {
        return Err("an IPv6 address with a zone means something on one machine only".into());
    }
    let address: Ipv6Addr = inner.parse().map_err(|_| "what stands in brackets is not an IPv6 address")?;
    match address.to_string() {
        canonical if canonical == inner => Ok(address),
        canonical => Err(format!("this address is written [{canonical}]").into()),
    }
}

/// What the URL standard, and with it every browser, would read as an IPv4 address of some form.
fn ends_in_a_number(name: &str) -> bool {
    let last = name.rsplit('.').next().unwrap_or(name);
    let hexadecimal = last.strip_prefix("0x").is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_hexdigit()));
    hexadecimal || (!last.is_empty() && last.bytes().all(|b| b.is_ascii_digit()))
}

fn name_problem(name: &str) -> Option<&'static str> {
    if name.len() > MAX_HOST {
        return Some("a name has at most 253 characters");
    }
    let labels = || name.split('.');
    if labels().any(str::is_empty) {
        return Some("there is nothing between two dots, or before the first");
    }
    if labels().any(|label| label.len() > MAX_LABEL) {
        return Some("a part of a name has at most 63 characters");
    }
    if name.contains(':') {
        return Some("an IPv6 address stands in brackets: [2001:db8::1]");
    }
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte);
    if !name.bytes().all(|byte| byte == b'.' || allowed(byte)) {
        return Some("a name is made of letters, digits, '-', '_' and dots");
    }
    labels()
        .any(|label| label.starts_with('-') || label.ends_with('-'))
        .then_some("no part begins or ends with '-'")
}

/// A host and a port.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Authority {
    /// The host.
    pub host: Host,
    /// From 1.
    pub port: u16,
}

impl Authority {
    /// Reads `host:port`; where the port is left out it is `port`.
    ///
    /// # Errors
    /// [`HostError`] when there is no port, or either part is not one.
    pub fn parse(text: &str, port: Option<u16>) -> Result<Self, HostError> {
        // In `name:secret@host` what stands before the last colon is no host either.
        let (host, written) = if text.contains('@') { (text, None) } else { split(text) };
        let host = self::host(host).map_err(|problem| HostError::new(text, problem))?;
        let port = match written {
            Some(digits) => number(digits),
            None => port.ok_or("the port is missing"),
        };
        port.map(|port| Self { host, port }).map_err(|problem| HostError::new(text, problem))
    }
}

impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// What stands before the colon of the port and after it.
pub(super) fn split(text: &str) -> (&str, Option<&str>) {
    match text.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        Some(_) | None => (text, None),
    }
}

/// A port as digits, from 1, without a leading zero.
pub(super) fn number(digits: &str) -> Result<u16, &'static str> {
    let plain = digits.bytes().all(|b| b.is_ascii_digit()) && !digits.starts_with('0');
    let port = digits.parse().ok().filter(|_| plain);
    port.ok_or("the port is not a number from 1 to 65535")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn reads(text: &str, shown: &str) {
        assert_eq!(Host::parse(text).map(|host| host.to_string()).as_deref(), Ok(shown), "{text}");
    }

    #[track_caller]
    fn refuses(text: &str, words: &str) {
        match Host::parse(text) {
            Ok(host) => panic!("{text:?} was read as {host:?}"),
            Err(error) => assert!(error.to_string().contains(words), "{error}"),
        }
    }

    #[test]
    fn names_are_one_whatever_their_case_and_final_dot() {
        reads("api.example.org", "api.example.org");
        reads("API.Example.ORG.", "api.example.org");
        reads("xn--bcher-kva.example", "xn--bcher-kva.example");
        reads("_dmarc.example.org", "_dmarc.example.org");
        reads("1e100.net", "1e100.net");
        reads("0x7f.example", "0x7f.example");
        reads("localhost", "localhost");
        reads(&format!("{}.org", "a".repeat(63)), &format!("{}.org", "a".repeat(63)));
    }

    #[test]
    fn addresses_are_read_in_their_canonical_form_only() {
        reads("192.0.2.1", "192.0.2.1");
        reads("[2001:db8::1]", "[2001:db8::1]");
        reads("[::1]", "[::1]");
        reads("[::ffff:127.0.0.1]", "127.0.0.1");
        for short in [
            "127.1",
            "127.0.1",
            "2130706433",
            "0x7f000001",
            "0x7f.0.0.1",
            "0X7F.0.0.1",
            "127.0.0.0x1",
            "0177.0.0.1",
            "127.0.0.01",
            "127.0.0.1.",
            "1.2.3.4.5",
            "256.1.1.1",
            "foo.1",
            "0",
            "0x",
            "0.0.0.0x",
            "00000000177.0.0.1",
        ] {
            refuses(short, "four decimal numbers");
        }
        refuses("[2001:DB8::1]", "written [2001:db8::1]");
        refuses("[2001:db8:0::1]", "written [2001:db8::1]");
        refuses("[0:0:0:0:0:0:0:1]", "written [::1]");
        refuses("[::ffff:7f00:1]", "written [::ffff:127.0.0.1]");
        refuses("[::ffff:127.1]", "not an IPv6 address");
        refuses("[fe80::1%eth0]", "zone");
        refuses("[fe80::1%25eth0]", "zone");
        refuses("[::1", "not closed");
        refuses("[127.0.0.1]", "not an IPv6 address");
        refuses("::1", "in brackets");
        refuses("2001:db8::1", "in brackets");
    }

    #[test]
    fn what_is_neither_is_refused() {
        refuses("", "missing");
        refuses("user@example.org", "user name");
        refuses("example.org@[::1]", "user name");
        refuses("bücher.example", "punycode");
        refuses("example。org", "punycode");
        refuses(".example.org", "between two dots");
        refuses("example..org", "between two dots");
        refuses("example.org..", "between two dots");
        refuses(".", "between two dots");
        refuses("-a.example", "begins or ends");
        refuses("a-.example", "begins or ends");
        for odd in ["a b", "a%2eb", "a\\b", "a/b", "a?b", "a#b", "a,b", "*.a", "a\r\nb", "a\0b", "a;b"] {
            refuses(odd, "letters, digits");
        }
        refuses(&"a.".repeat(127).repeat(2), "253");
        refuses(&"a".repeat(64), "63");
    }

    #[test]
    fn an_authority_has_a_port() {
        let shown = |text: &str, port| Authority::parse(text, port).map(|authority| authority.to_string());
        assert_eq!(shown("Example.org.:443", None).as_deref(), Ok("example.org:443"));
        assert_eq!(shown("[::1]:80", None).as_deref(), Ok("[::1]:80"));
        assert_eq!(shown("[::1]", Some(80)).as_deref(), Ok("[::1]:80"));
        assert_eq!(shown("example.org", Some(80)).as_deref(), Ok("example.org:80"));
        for (text, words) in [
            ("example.org", "port is missing"),
            ("[::1]", "port is missing"),
            ("example.org:", "from 1 to 65535"),
            ("example.org:0", "from 1 to 65535"),
            ("example.org:65536", "from 1 to 65535"),
            ("example.org:+80", "from 1 to 65535"),
            ("example.org:080", "from 1 to 65535"),
            ("example.org:http", "from 1 to 65535"),
            (":443", "host is missing"),
            ("user:secret@example.org:443", "user name"),
            ("example.org:443@evil.example", "user name"),
            ("::1:443", "in brackets"),
        ] {
            let error = Authority::parse(text, None).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_read_is_read_again_as_the_same(text in "[a-zA-Z0-9._:%@\\[\\]-]{0,24}") {
            if let Ok(host) = Host::parse(&text) {
                prop_assert_eq!(Host::parse(&host.to_string()), Ok(host));
            }
        }

        #[test]
        fn every_address_is_read_in_the_form_it_is_shown_in(bits in any::<u128>()) {
            let address = IpAddr::V6(Ipv6Addr::from(bits));
            let shown = Host::Address(address).to_string();
            prop_assert_eq!(Host::parse(&shown), Ok(Host::Address(address.to_canonical())));
        }
    }
}
