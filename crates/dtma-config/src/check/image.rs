//! Whether an image is written as an engine can read it: `[host[:port]/]path[:tag][@digest]`, or an id.

use crate::report::{Report, shown};
use crate::rule;
use dtma_core::id::ImageRef;

/// Longest reference: the limit of the distribution specification for a name, with room for tag and digest.
const MAX_LENGTH: usize = 512;

pub(crate) fn image(report: &mut Report, at: &str, image: &ImageRef) {
    if let Some(problem) = problem(image.as_str()) {
        let message = format!("{} is not an image reference: {problem}", shown(image.as_str()));
        report.refuse_with(at, rule::IMAGE_SYNTAX, message, "write it as name:tag, name@sha256:… or an id");
    }
}

fn problem(text: &str) -> Option<&'static str> {
    if text.is_empty() {
        return Some("it is empty");
    }
    if text.len() > MAX_LENGTH {
        return Some("it is longer than 512 characters");
    }
    if text.strip_prefix("sha256:").is_some_and(is_sha256) {
        return None;
    }
    let (name, digest) = split(text, text.find('@'));
    if digest.is_some_and(|digest| !digest.strip_prefix("sha256:").is_some_and(is_sha256)) {
        return Some("the digest is not sha256: and 64 hex digits");
    }
    let after_slash = name.rfind('/').map_or(0, |slash| slash + 1);
    let (name, tag) = split(name, name[after_slash..].find(':').map(|colon| after_slash + colon));
    if tag.is_some_and(|tag| !is_tag(tag)) {
        return Some("the tag is not made of letters, digits, '_', '.' and '-'");
    }
    path_problem(name)
}

fn split(text: &str, at: Option<usize>) -> (&str, Option<&str>) {
    at.map_or((text, None), |at| (&text[..at], Some(&text[at + 1..])))
}

fn is_sha256(hex: &str) -> bool {
    hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

fn is_tag(tag: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    (1..=128).contains(&tag.len())
        && tag.bytes().next().is_some_and(word)
        && tag.bytes().all(|b| word(b) || b".-".contains(&b))
}

fn path_problem(name: &str) -> Option<&'static str> {
    let mut parts: Vec<_> = name.split('/').collect();
    // As engines tell a host from a folder: it has a dot or a port, or is `localhost`.
    if parts.len() > 1
        && parts.first().is_some_and(|first| first.contains(['.', ':']) || *first == "localhost")
    {
        let host = parts.remove(0);
        if !is_host(host) {
            return Some("the registry's host is not one");
        }
    }
    if parts.iter().all(|part| is_component(part)) {
        return None;
    }
    Some("a name is made of lower-case letters and digits, with '.', '_' or '-' between them")
}

fn is_host(text: &str) -> bool {
    let (host, port) = split(text, text.rfind(':').filter(|_| !text.ends_with(']')));
    let label = |label: &str| {
        let ends = [label.bytes().next(), label.bytes().next_back()];
        ends.into_iter().all(|end| end.is_some_and(|b| b.is_ascii_alphanumeric()))
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    let address = |inner: &str| inner.parse::<std::net::Ipv6Addr>().is_ok();
    let v6 = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).is_some_and(address);
    port.is_none_or(|port| port.parse::<u16>().is_ok()) && (v6 || host.split('.').all(label))
}

fn is_component(part: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let ends = [part.bytes().next(), part.bytes().next_back()];
    ends.into_iter().all(|end| end.is_some_and(inner))
        && part.bytes().all(|b| inner(b) || b"._-".contains(&b))
}

/// True when the reference can mean another image tomorrow.
pub(crate) fn is_unpinned(image: &ImageRef) -> bool {
    let text = image.as_str();
    if text.contains('@') || text.starts_with("sha256:") {
        return false;
    }
    let name = text.rsplit('/').next().unwrap_or(text);
    name.split_once(':').is_none_or(|(_, tag)| tag == "latest")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_that_engines_take() {
        let digest = format!("busybox@sha256:{}", "0".repeat(64));
        let both = format!("localhost:5000/a/b:1@sha256:{}", "a".repeat(64));
        let id = format!("sha256:{}", "f".repeat(64));
        for good in
            ["busybox", "busybox:1.36", "dtma/mcp-server-time:dev", "ghcr.io/Org_1/x".to_lowercase().as_str()]
                .into_iter()
                .chain([
                    "localhost/x",
                    "[::1]:5000/x",
                    "[::1]/x",
                    "reg.example.com:5000/team/x_y.z--q:v1.0_2",
                    &digest,
                    &both,
                    &id,
                ])
        {
            assert_eq!(problem(good), None, "{good}");
        }
    }

    #[test]
    fn references_that_engines_refuse() {
        let long = "a".repeat(513);
        for bad in
            ["", " ", "a b", "a\n", "A", "a/", "/a", "a//b", "../a", "a:", "a:b c", "a@", "a@sha256:12", "-a"]
                .into_iter()
                .chain([
                    "a:b/c:d:e",
                    "a.:1/x",
                    "h:99999/x",
                    "[x]/y",
                    "http://x/y",
                    "a\u{0}",
                    "é",
                    "a_",
                    "a:.x",
                    long.as_str(),
                ])
        {
            assert!(problem(bad).is_some(), "{bad:?}");
        }
    }

    #[test]
    fn a_moving_tag_is_told_from_a_fixed_one() {
        for (text, moves) in
            [("a", true), ("a:latest", true), ("h:5000/a", true), ("a:1", false), ("a@sha256:0", false)]
        {
            assert_eq!(is_unpinned(&text.into()), moves, "{text}");
        }
    }
}
