//! How the things of one server are told apart from those of another: `server__name` for tools and prompts,
//! `dtma://server/…` for resources, `"server__17"` for the ids of what a server asks. Pure.
//!
//! A name depends on its own server and on which servers there are, never on which of them answer: a tool bears the
//! same name whoever is down. What models commonly take for a name is `[A-Za-z0-9_-]{1,64}`; where a name would be
//! anything else it is made into such a one, with a digest of the whole at its end. An address is prefixed as it is, so
//! that nothing has to be remembered to take the prefix off again, and a template stays a template.

use crate::rpc;
use dtma_core::id::InstanceName;
use dtma_core::spec::gateway::SEPARATOR;
use sha2::{Digest, Sha256};
use std::fmt::Write;

/// Longest name of a tool or prompt.
const LONGEST: usize = 64;
/// Longest name of a server in one.
const LONGEST_ALIAS: usize = 30;
/// Digits of a digest.
const DIGITS: usize = 8;
/// Before the address of a resource.
const SCHEME: &str = "dtma://";

/// What each of these servers is called in the names of its tools and prompts, in the same order. No alias has two
/// underscores in a row or one at its end, so the first two in a row end it.
pub(super) fn aliases(names: &[&InstanceName]) -> Vec<String> {
    let plain: Vec<String> = names.iter().map(|name| plain_alias(name.as_str())).collect();
    let others = |at: usize| plain.iter().enumerate().filter(move |(other, _)| *other != at);
    let alias = |(at, name): (usize, &&InstanceName)| {
        let own = &plain[at];
        let altered = own != name.as_str();
        let taken = altered && others(at).any(|(_, other)| other == own);
        if taken || own.len() > LONGEST_ALIAS {
            with_digest(own, name.as_str(), LONGEST_ALIAS, '-')
        } else {
            own.clone()
        }
    };
    names.iter().enumerate().map(alias).collect()
}

fn plain_alias(name: &str) -> String {
    let dashed = name.replace('.', "-");
    let body = dashed.trim_end_matches('_');
    format!("{body}{}", "-".repeat(dashed.len() - body.len()))
}

/// What a tool or prompt is called.
pub(super) fn exposed(alias: &str, name: &str) -> String {
    let whole = format!("{alias}{SEPARATOR}{name}");
    if !name.is_empty() && name.bytes().all(is_plain) && whole.len() <= LONGEST {
        return whole;
    }
    let cleaned: String =
        name.chars().map(|c| if c.is_ascii() && is_plain(c as u8) { c } else { '_' }).collect();
    let room = LONGEST - alias.len() - SEPARATOR.len();
    format!("{alias}{SEPARATOR}{}", with_digest(&cleaned, name, room, '_'))
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-'
}

/// ASCII text, cut so that a digest of the whole fits behind it.
fn with_digest(text: &str, whole: &str, longest: usize, between: char) -> String {
    let mut out: String = text.chars().take(longest - DIGITS - 1).collect();
    out.push(between);
    for byte in &Sha256::digest(whole)[..DIGITS / 2] {
        // Writing into a string cannot fail.
        let _ = write!(out, "{byte:02x}");
    }
    out
}

/// The alias of a server and what follows it.
pub(super) fn split(name: &str) -> Option<(&str, &str)> {
    name.split_once(SEPARATOR)
}

/// Whether what follows an alias may be another name than the server's own.
pub(super) fn may_be_altered(part: &str) -> bool {
    let digest = part.rsplit_once('_').map(|(_, digest)| digest);
    digest.is_some_and(|digest| digest.len() == DIGITS && digest.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// An address (or the template of one) with its server in front; `raw` is a JSON string, and so is the result. What is
/// no string is left as it is.
pub(super) fn prefixed(server: &InstanceName, raw: &[u8]) -> Vec<u8> {
    match raw.strip_prefix(b"\"") {
        Some(rest) => [b"\"", SCHEME.as_bytes(), server.as_str().as_bytes(), b"/", rest].concat(),
        None => raw.to_vec(),
    }
}

/// The name of a server and its own address of a resource.
pub(super) fn split_uri(uri: &str) -> Option<(&str, &str)> {
    uri.strip_prefix(SCHEME)?.split_once('/')
}

/// An id (or token) that a server's door gave, so that no other's is like it: a JSON string. What is none of a door's
/// stays as it is.
pub(super) fn question(server: &InstanceName, raw: &[u8]) -> Vec<u8> {
    match rpc::own_id(raw) {
        Some(id) => format!("\"{server}{SEPARATOR}{id}\"").into_bytes(),
        None => raw.to_vec(),
    }
}

/// The name of a server and its door's id, raw.
pub(super) fn split_question(raw: &[u8]) -> Option<(String, String)> {
    let text: String = serde_json::from_slice(raw).ok()?;
    let (server, id) = text.rsplit_once(SEPARATOR)?;
    rpc::own_id(id.as_bytes())?;
    Some((server.to_owned(), id.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn names(names: &[&str]) -> Vec<InstanceName> {
        names.iter().map(|name| name.parse().unwrap()).collect()
    }

    fn aliased(list: &[&str]) -> Vec<String> {
        let names = names(list);
        aliases(&names.iter().collect::<Vec<_>>())
    }

    #[test]
    fn a_server_is_called_by_its_name_where_models_take_that() {
        assert_eq!(aliased(&["time", "git-main", "a_b"]), ["time", "git-main", "a_b"]);
        assert_eq!(aliased(&["git.main", "a_"]), ["git-main", "a-"]);
        let both = aliased(&["git-main", "git.main"]);
        assert_eq!(both[0], "git-main");
        assert!(both[1].starts_with("git-main-") && both[1].len() == 17, "{both:?}");
        let long = "x".repeat(63);
        let alias = aliased(&[&long]).remove(0);
        assert_eq!((alias.len(), &alias[..21]), (30, &long[..21]));
    }

    #[test]
    fn a_name_is_prefixed_and_only_what_no_model_takes_is_altered() {
        assert_eq!(exposed("time", "get_current_time"), "time__get_current_time");
        assert!(exposed("x", "admin.list").starts_with("x__admin_list_"));
        assert_ne!(exposed("x", "a.b"), exposed("x", "a/b"));
        let long = exposed("x", &"y".repeat(200));
        assert!(long.len() == LONGEST && may_be_altered(split(&long).unwrap().1), "{long}");
        assert!(!may_be_altered("get_current_time") && !may_be_altered(""));
    }

    #[test]
    fn an_address_comes_back_as_it_was() {
        let server = "fs".parse().unwrap();
        for uri in ["file:///a/../b?x#y", "memo://", "test://x/{id}", "nothing"] {
            let raw = prefixed(&server, format!("\"{uri}\"").as_bytes());
            let text: String = serde_json::from_slice(&raw).unwrap();
            assert_eq!(split_uri(&text), Some(("fs", uri)));
        }
        assert_eq!(prefixed(&server, b"17"), b"17");
        assert_eq!(split_uri("file:///x"), None);
    }

    #[test]
    fn a_question_comes_back_to_whom_it_is_of() {
        let server: InstanceName = "a_".parse().unwrap();
        let id = question(&server, b"17");
        assert_eq!(split_question(&id), Some(("a_".to_owned(), "17".to_owned())));
        for foreign in [&b"17"[..], b"\"17\"", b"\"a__b\"", b"\"a__\"", b"null"] {
            assert_eq!(split_question(foreign), None);
        }
    }

    proptest! {
        #[test]
        fn whatever_servers_and_tools_are_called_names_are_short_and_lead_back(
            servers in proptest::collection::btree_set("[A-Za-z0-9]([A-Za-z0-9.-]|_[a-z]){0,30}_?", 1..5),
            tool in "\\PC{0,80}",
        ) {
            let servers: Vec<InstanceName> = servers.iter().filter_map(|name| name.parse().ok()).collect();
            let aliases = aliases(&servers.iter().collect::<Vec<_>>());
            for (at, alias) in aliases.iter().enumerate() {
                let name = exposed(alias, &tool);
                prop_assert!(name.len() <= LONGEST && name.bytes().all(is_plain), "{}", name);
                let (found, part) = split(&name).unwrap();
                prop_assert_eq!(aliases.iter().position(|alias| alias == found), Some(at));
                prop_assert!(part == tool || may_be_altered(part), "{}", name);
            }
        }
    }
}
