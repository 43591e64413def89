//! What a server may name: hosts and ports, both with a star.

use super::host::{Authority, Host, number, split};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// `api.example.org:443`, `*.example.org:443` (every name below `example.org`, however deep, not itself),
/// `example.org:*` (every port), `192.0.2.1:443`, `[2001:db8::1]:443`, `*:443` (every host).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EgressRule {
    hosts: Hosts,
    /// `None`: every port.
    port: Option<u16>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Hosts {
    Every,
    /// Below this name.
    Below(String),
    Only(Host),
}

/// Why a text is no rule, and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} names no host and port: {problem}")]
pub struct EgressRuleError {
    text: String,
    problem: String,
}

impl EgressRule {
    /// Whether it lets a server reach this.
    #[must_use]
    pub fn matches(&self, target: &Authority) -> bool {
        let host = match (&self.hosts, &target.host) {
            (Hosts::Every, _) => true,
            (Hosts::Below(suffix), Host::Name(name)) => is_below(name, suffix),
            (Hosts::Below(_), Host::Address(_)) => false,
            (Hosts::Only(only), host) => only == host,
        };
        host && self.port.is_none_or(|port| port == target.port)
    }

    /// Whether it lets a server reach all that `other` does.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        let hosts = match (&self.hosts, &other.hosts) {
            (Hosts::Every, _) => true,
            (_, Hosts::Every) => false,
            (Hosts::Below(wide), Hosts::Below(narrow)) => wide == narrow || is_below(narrow, wide),
            (Hosts::Below(suffix), Hosts::Only(Host::Name(name))) => is_below(name, suffix),
            (Hosts::Below(_), Hosts::Only(Host::Address(_))) | (Hosts::Only(_), Hosts::Below(_)) => false,
            (Hosts::Only(one), Hosts::Only(other)) => one == other,
        };
        hosts && (self.port.is_none() || self.port == other.port)
    }

    /// Whether it names no host at all: `*:443`.
    #[must_use]
    pub fn is_every_host(&self) -> bool {
        self.hosts == Hosts::Every
    }

    /// The host, when it names a single one.
    #[must_use]
    pub fn host(&self) -> Option<&Host> {
        match &self.hosts {
            Hosts::Only(host) => Some(host),
            Hosts::Every | Hosts::Below(_) => None,
        }
    }
}

/// Whether `name` is `label.suffix`, with one label or more.
fn is_below(name: &str, suffix: &str) -> bool {
    name.strip_suffix(suffix).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
}

impl FromStr for EgressRule {
    type Err = EgressRuleError;

    fn from_str(text: &str) -> Result<Self, EgressRuleError> {
        let refuse = |problem| EgressRuleError { text: text.chars().take(80).collect(), problem };
        rule(text).map_err(refuse)
    }
}

fn rule(text: &str) -> Result<EgressRule, String> {
    if let Some((scheme, rest)) = text.split_once("://") {
        let port = if scheme.eq_ignore_ascii_case("http") { 80 } else { 443 };
        let host = rest.split(['/', ':', '?', '#']).next().filter(|host| Host::parse(host).is_ok());
        let host = host.unwrap_or("example.org");
        return Err(format!("it is an address of the web; write the host and the port only, {host}:{port}"));
    }
    if text.contains('/') {
        return Err("paths and ranges cannot be named; write a host and a port, example.org:443".to_owned());
    }
    let (host, port) = split(text);
    let hosts = hosts(host)?;
    let port = match port {
        None => return Err(format!("the port is missing; write {host}:443, or {host}:* for every port")),
        Some("*") => None,
        Some(digits) => Some(number(digits)?),
    };
    Ok(EgressRule { hosts, port })
}

fn hosts(text: &str) -> Result<Hosts, String> {
    let host = |text| Host::parse(text).map_err(|error| error.problem().to_owned());
    if text == "*" {
        return Ok(Hosts::Every);
    }
    let Some(suffix) = text.strip_prefix("*.") else {
        if text.contains('*') {
            return Err("a star stands for whole labels at the beginning: *.example.org:443".to_owned());
        }
        return host(text).map(Hosts::Only);
    };
    match host(suffix) {
        Ok(Host::Name(name)) => Ok(Hosts::Below(name)),
        Ok(Host::Address(_)) => Err("nothing stands below an address".to_owned()),
        Err(_) if suffix.contains('*') => {
            Err("one star is enough: it stands for any number of labels".to_owned())
        }
        Err(problem) => Err(problem),
    }
}

impl TryFrom<String> for EgressRule {
    type Error = EgressRuleError;

    fn try_from(text: String) -> Result<Self, EgressRuleError> {
        text.parse()
    }
}

impl From<EgressRule> for String {
    fn from(rule: EgressRule) -> Self {
        rule.to_string()
    }
}

impl fmt::Display for EgressRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.hosts {
            Hosts::Every => f.write_str("*")?,
            Hosts::Below(suffix) => write!(f, "*.{suffix}")?,
            Hosts::Only(host) => host.fmt(f)?,
        }
        match self.port {
            None => f.write_str(":*"),
            Some(port) => write!(f, ":{port}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rule(text: &str) -> EgressRule {
        text.parse().unwrap()
    }

    fn target(text: &str) -> Authority {
        Authority::parse(text, None).unwrap()
    }

    #[test]
    fn a_rule_is_shown_in_one_form() {
        for (text, shown) in [
            ("API.example.org.:443", "api.example.org:443"),
            ("*.Example.org:443", "*.example.org:443"),
            ("example.org:*", "example.org:*"),
            ("*:443", "*:443"),
            ("*:*", "*:*"),
            ("192.0.2.1:443", "192.0.2.1:443"),
            ("[2001:db8::1]:*", "[2001:db8::1]:*"),
        ] {
            assert_eq!(rule(text).to_string(), shown);
            assert_eq!(rule(shown), rule(text));
        }
    }

    #[test]
    fn a_mistake_is_named_with_what_to_write_instead() {
        for (text, words) in [
            ("", "the host is missing"),
            ("example.org", "write example.org:443, or example.org:*"),
            ("*.example.org", "write *.example.org:443"),
            ("https://example.org/v1", "write the host and the port only, example.org:443"),
            ("http://example.org:8080", "example.org:80"),
            ("ftp://-bad", "example.org:443"),
            ("10.0.0.0/8:443", "ranges cannot be named"),
            ("example.org/x:443", "paths"),
            ("foo*.example.org:443", "whole labels at the beginning"),
            ("a.*.example.org:443", "whole labels at the beginning"),
            ("*example.org:443", "whole labels at the beginning"),
            ("*.*.example.org:443", "one star is enough"),
            ("*.10.0.0.1:443", "below an address"),
            ("*.:443", "host is missing"),
            ("127.1:80", "four decimal numbers"),
            ("::1:80", "in brackets"),
            ("[::1]", "the port is missing"),
            ("example.org:0", "from 1 to 65535"),
            ("example.org:443-445", "from 1 to 65535"),
            ("user@example.org:443", "user name"),
            ("bücher.example:443", "punycode"),
        ] {
            let error = text.parse::<EgressRule>().unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn a_rule_matches_what_it_names_and_nothing_beside_it() {
        let cases: &[(&str, &[&str], &[&str])] = &[
            (
                "example.org:443",
                &["example.org:443", "EXAMPLE.org.:443"],
                &["example.org:80", "a.example.org:443", "example.org.evil.net:443", "xexample.org:443"],
            ),
            (
                "*.example.org:443",
                &["a.example.org:443", "a.b.example.org:443"],
                &["example.org:443", "xexample.org:443", "a.example.org:80", "a.example.org.evil.net:443"],
            ),
            ("example.org:*", &["example.org:1", "example.org:65535"], &["a.example.org:1"]),
            ("*:443", &["a.b:443", "192.0.2.1:443", "[2001:db8::1]:443"], &["a.b:80"]),
            ("192.0.2.1:443", &["192.0.2.1:443", "[::ffff:192.0.2.1]:443"], &["192.0.2.2:443", "a.b:443"]),
            ("[2001:db8::1]:443", &["[2001:db8::1]:443"], &["[2001:db8::2]:443"]),
        ];
        for (text, inside, outside) in cases {
            inside.iter().for_each(|name| assert!(rule(text).matches(&target(name)), "{text} {name}"));
            outside.iter().for_each(|name| assert!(!rule(text).matches(&target(name)), "{text} {name}"));
        }
    }

    #[test]
    fn a_wider_rule_covers_a_narrower_one() {
        for (wide, narrow) in [
            ("*:*", "*:443"),
            ("*:443", "192.0.2.1:443"),
            ("*.org:443", "*.example.org:443"),
            ("*.example.org:*", "a.example.org:443"),
            ("example.org:443", "example.org:443"),
        ] {
            assert!(rule(wide).covers(&rule(narrow)), "{wide} {narrow}");
            assert!(wide == narrow || !rule(narrow).covers(&rule(wide)), "{narrow} {wide}");
        }
        assert!(!rule("*.example.org:443").covers(&rule("example.org:443")));
        assert!(!rule("*.1e100.net:443").covers(&rule("192.0.2.1:443")));
    }

    fn host() -> impl Strategy<Value = String> {
        prop_oneof!["(a|b|\\*)(\\.(a|b)){0,3}", Just("192.0.2.1".to_owned()), Just("*".to_owned()),]
    }

    fn some_rule() -> impl Strategy<Value = EgressRule> {
        (host(), prop_oneof![Just("*"), Just("1"), Just("2")])
            .prop_filter_map("no rule", |(host, port)| format!("{host}:{port}").parse().ok())
    }

    proptest! {
        #[test]
        fn what_is_covered_reaches_nothing_more(
            wide in some_rule(), narrow in some_rule(), name in "(a|b)(\\.(a|b)){0,4}", port in 1_u16..3,
        ) {
            let target = target(&format!("{name}:{port}"));
            if wide.covers(&narrow) && narrow.matches(&target) {
                prop_assert!(wide.matches(&target), "{} {} {}", wide, narrow, target);
            }
        }

        #[test]
        fn a_rule_survives_being_written_and_read(rule in some_rule()) {
            let text = serde_json::to_string(&rule).unwrap();
            prop_assert_eq!(serde_json::from_str::<EgressRule>(&text).unwrap(), rule);
        }
    }
}
