//! Groups in few words, and what a configurator says of them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::needless_pass_by_value,
    reason = "a broken test should stop where it broke, and cases are written in place"
)]
#![allow(dead_code, reason = "each test file uses its own part of it")]

use dtma_config::{Configurator, Policy, Rendered, Templates};
use dtma_core::id::OwnerId;
use dtma_core::spec::{GroupSpec, ServerKind, ServerSpec, Transport};
use dtma_core::violation::Violation;
use serde_json::Value;

pub(crate) const MIB: u64 = 1024 * 1024;

pub(crate) fn configurator() -> Configurator {
    Configurator::new(Templates::builtin(), Policy::default())
}

pub(crate) fn server(name: &str, kind: ServerKind) -> ServerSpec {
    ServerSpec::new(name.parse().unwrap(), kind, "dtma/example:1".into())
}

pub(crate) fn stdio(name: &str) -> ServerSpec {
    server(name, ServerKind::Mcp(Transport::Stdio))
}

pub(crate) fn tool(name: &str) -> ServerSpec {
    server(name, ServerKind::Tool)
}

pub(crate) fn group(servers: Vec<ServerSpec>) -> GroupSpec {
    let group_id = "demo".parse().unwrap();
    GroupSpec::new(group_id, servers)
}

/// `time`, an MCP server on stdio, and `web`, a tool.
pub(crate) fn pair() -> GroupSpec {
    group(vec![stdio("time"), tool("web")])
}

pub(crate) fn overridden(kind: ServerKind, overrides: Value) -> GroupSpec {
    let mut spec = server("a", kind);
    spec.overrides = Some(overrides.as_object().unwrap().clone());
    group(vec![spec])
}

pub(crate) fn owner() -> OwnerId {
    OwnerId::from("01234567-89ab-4cde-8f01-23456789abcd")
}

/// The configuration of a group's only (or first) server, by name.
#[track_caller]
pub(crate) fn rendered(group: &GroupSpec) -> Rendered {
    let all = configurator().render(group, &owner()).unwrap();
    all.into_values().next().unwrap()
}

/// Pointers and rules.
pub(crate) fn places(found: &[Violation]) -> Vec<(&str, &str)> {
    found.iter().map(|violation| (violation.pointer.as_str(), violation.rule.as_str())).collect()
}
