//! How the MCP servers of a group look as one: which of them are part of it, which of their tools, under which names. A
//! server's own door is not touched by it.
//!
//! A tool is meant by `SERVER__TOOL`, both as they are called themselves. So what is said of a tool depends on nothing
//! that happens to run, nor on how a group writes names that clients would not take.

use crate::connection::Pattern;
use crate::id::InstanceName;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Between a server and its tool.
pub const SEPARATOR: &str = "__";

/// Tools that a group has itself.
pub const FIND_TOOLS: &str = "find_tools";
/// The other one.
pub const CALL_TOOL: &str = "call_tool";

/// A group as one server. By default all of it, under the names that follow from those of its servers.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct GatewaySpec {
    /// Names of the servers that are part of it; `None`: every one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub servers: Option<Vec<Pattern>>,
    /// Tools that are part of it; `None`: every one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow: Option<Vec<Pattern>>,
    /// Tools that are not, whatever `allow` says.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub deny: Vec<Pattern>,
    /// What tools are called instead; no two alike, and none of them with [`SEPARATOR`] in it, so that none can be what
    /// another tool is called anyhow.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub rename: BTreeMap<String, String>,
}

impl GatewaySpec {
    /// True when it says nothing.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Whether a server is part of it.
    #[must_use]
    pub fn has_server(&self, server: &InstanceName) -> bool {
        self.servers.as_ref().is_none_or(|servers| fits_any(servers, server.as_str()))
    }

    /// Whether a tool of a server that is part of it is, too.
    #[must_use]
    pub fn has_tool(&self, server: &InstanceName, tool: &str) -> bool {
        if self.allow.is_none() && self.deny.is_empty() {
            return true;
        }
        let name = named(server, tool);
        self.allow.as_ref().is_none_or(|allow| fits_any(allow, &name)) && !fits_any(&self.deny, &name)
    }

    /// What a tool is called instead; `None`: as it is by itself.
    #[must_use]
    pub fn new_name(&self, server: &InstanceName, tool: &str) -> Option<&str> {
        if self.rename.is_empty() {
            return None;
        }
        self.rename.get(&named(server, tool)).map(String::as_str)
    }

    /// The tool of that server that is called so instead.
    #[must_use]
    pub fn renamed_tool(&self, server: &InstanceName, new: &str) -> Option<&str> {
        let renames = self.rename.iter().filter(|(_, name)| *name == new);
        renames.map(|(old, _)| old).find_map(|old| tool_of(old, server))
    }

    /// The tools of a server that are called otherwise: their own names and the new ones.
    pub fn renames_of<'a>(&'a self, server: &'a InstanceName) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.rename.iter().filter_map(|(old, new)| Some((tool_of(old, server)?, new.as_str())))
    }
}

/// How a tool of a server is meant.
fn named(server: &InstanceName, tool: &str) -> String {
    format!("{server}{SEPARATOR}{tool}")
}

/// The tool that is meant, if it can be one of that server.
#[must_use]
pub fn tool_of<'a>(name: &'a str, server: &InstanceName) -> Option<&'a str> {
    name.strip_prefix(server.as_str())?.strip_prefix(SEPARATOR).filter(|tool| !tool.is_empty())
}

fn fits_any(patterns: &[Pattern], name: &str) -> bool {
    patterns.iter().any(|pattern| pattern.fits(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patterns(texts: &[&str]) -> Vec<Pattern> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn server(name: &str) -> InstanceName {
        name.parse().unwrap()
    }

    #[test]
    fn by_default_everything_is_part_of_it_as_it_is() {
        let all = GatewaySpec::default();
        assert!(all.is_default() && all.has_server(&server("a")) && all.has_tool(&server("a"), "x"));
        assert_eq!(all.new_name(&server("a"), "x"), None);
        assert_eq!(serde_json::to_string(&all).unwrap(), "{}");
        assert_eq!(serde_json::from_str::<GatewaySpec>("{}").unwrap(), all);
    }

    #[test]
    fn what_is_denied_is_denied_whatever_is_allowed() {
        let spec = GatewaySpec {
            servers: Some(patterns(&["git-*"])),
            allow: Some(patterns(&["git-a__*", "git-b__log"])),
            deny: patterns(&["*__delete_*"]),
            ..GatewaySpec::default()
        };
        assert!(spec.has_server(&server("git-a")) && !spec.has_server(&server("time")));
        for (instance, tool, part) in [
            ("git-a", "log", true),
            ("git-a", "delete_all", false),
            ("git-b", "log", true),
            ("git-b", "status", false),
        ] {
            assert_eq!(spec.has_tool(&server(instance), tool), part, "{instance} {tool}");
        }
        let denies = GatewaySpec { deny: patterns(&["a__x"]), ..GatewaySpec::default() };
        assert!(!denies.has_tool(&server("a"), "x") && denies.has_tool(&server("a"), "y"));
    }

    #[test]
    fn a_renamed_tool_is_found_by_either_name() {
        let rename = [("git.main__admin.list", "admins"), ("a_____x", "x")];
        let rename = rename.map(|(old, new)| (old.to_owned(), new.to_owned())).into();
        let spec = GatewaySpec { rename, ..GatewaySpec::default() };
        assert_eq!(spec.new_name(&server("git.main"), "admin.list"), Some("admins"));
        assert_eq!(spec.renamed_tool(&server("git.main"), "admins"), Some("admin.list"));
        assert_eq!(spec.renamed_tool(&server("git"), "admins"), None);
        assert_eq!(spec.new_name(&server("a_"), "__x"), Some("x"));
        assert_eq!(spec.renames_of(&server("git.main")).collect::<Vec<_>>(), [("admin.list", "admins")]);
        assert_eq!(tool_of("a__", &server("a")), None);
    }
}
