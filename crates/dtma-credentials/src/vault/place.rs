//! Where a credential is in a vault of paths: `servers/SERVER/NAME` and `agents/SERVER/AGENT/NAME`.
//!
//! An agent is `name.` and its name, or `sha256.` and the digest of its token. Of its name letters, digits, `-` and `_`
//! stand for themselves, every other byte is `=` and two hex digits, so that no name is a step to another directory.

use dtma_core::connection::Agent;
use dtma_core::credential::{CredentialId, CredentialOwner};

/// Directories that hold others, as deep as credentials are.
pub(super) const ROOTS: [&str; 2] = ["servers/", "agents/"];

/// The path of a credential.
pub(super) fn path(id: &CredentialId) -> String {
    let name = id.name.as_str();
    match &id.owner {
        CredentialOwner::Instance(instance) => format!("servers/{instance}/{name}"),
        CredentialOwner::Agent { instance, agent } => {
            format!("agents/{instance}/{}/{name}", segment(agent))
        }
    }
}

/// The credential at a path; `None` where we keep none.
pub(super) fn id(path: &str) -> Option<CredentialId> {
    let segments: Vec<_> = path.split('/').collect();
    let (owner, name) = match segments[..] {
        ["servers", instance, name] => (CredentialOwner::Instance(instance.parse().ok()?), name),
        ["agents", instance, of, name] => {
            (CredentialOwner::Agent { instance: instance.parse().ok()?, agent: agent(of)? }, name)
        }
        _ => return None,
    };
    Some(CredentialId { owner, name: name.parse().ok()? })
}

/// Whether a directory can hold credentials or directories of ours.
pub(super) fn is_ours(directory: &str) -> bool {
    let depth = directory.matches('/').count();
    (directory.starts_with("servers/") && depth <= 2) || (directory.starts_with("agents/") && depth <= 3)
}

fn segment(agent: &Agent) -> String {
    match agent {
        Agent::Digest(digest) => format!("sha256.{digest}"),
        Agent::Named(name) => {
            let byte = |byte: u8| match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => char::from(byte).to_string(),
                _ => format!("={byte:02X}"),
            };
            format!("name.{}", name.bytes().map(byte).collect::<String>())
        }
    }
}

fn agent(of: &str) -> Option<Agent> {
    let agent = match of.split_once('.')? {
        ("sha256", digest) => Agent::Digest(digest.parse().ok()?),
        ("name", name) => Agent::Named(decoded(name)?),
        _ => return None,
    };
    (segment(&agent) == of).then_some(agent)
}

fn decoded(name: &str) -> Option<String> {
    let mut pieces = name.split('=');
    let mut bytes = pieces.next()?.as_bytes().to_vec();
    for piece in pieces {
        let (hex, rest) = piece.split_at_checked(2)?;
        bytes.push(u8::from_str_radix(hex, 16).ok()?);
        bytes.extend_from_slice(rest.as_bytes());
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use dtma_testing::sample;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_agent_has_a_path_of_its_own(name in ".{0,20}") {
            let owner = CredentialOwner::Agent { instance: sample::instance("s"), agent: Agent::Named(name) };
            let of = CredentialId { owner, name: "n".parse().unwrap() };
            let path = path(&of);
            prop_assert!(path.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.=/".contains(&byte)));
            prop_assert_eq!(path.matches('/').count(), 3);
            prop_assert_eq!(id(&path), Some(of));
        }

        #[test]
        fn a_path_that_is_read_is_the_one_that_is_written(text in "(servers|agents)(/[a-z=.0-9A-F]{1,6}){2,3}") {
            if let Some(of) = id(&text) {
                prop_assert_eq!(path(&of), text);
            }
        }
    }
}
