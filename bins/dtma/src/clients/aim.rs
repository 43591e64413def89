//! What an entry of a client's file leads to: one server, or all MCP servers of a group as one.

use std::fmt;

/// Which.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Aim {
    Server(String),
    Group(String),
}

impl Aim {
    /// The name of the server or of the group.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Server(name) | Self::Group(name) => name,
        }
    }

    /// The path of its door.
    pub(super) fn path(&self) -> String {
        match self {
            Self::Server(instance) => format!("/gateway/servers/{instance}/mcp"),
            Self::Group(group) => format!("/gateway/groups/{group}/mcp"),
        }
    }

    /// The other way round.
    pub(super) fn at(path: &str) -> Option<Self> {
        let (kind, name) = path.strip_prefix("/gateway/")?.strip_suffix("/mcp")?.split_once('/')?;
        let name = Some(name).filter(|name| !name.is_empty() && !name.contains('/'))?.to_owned();
        match kind {
            "servers" => Some(Self::Server(name)),
            "groups" => Some(Self::Group(name)),
            _ => None,
        }
    }

    /// What stands behind `dtma mcp connect`.
    pub(super) fn args(&self) -> Vec<String> {
        match self {
            Self::Server(instance) => vec![instance.clone()],
            Self::Group(group) => vec!["--group".to_owned(), group.clone()],
        }
    }

    /// The other way round.
    pub(super) fn of_args(args: &[&str]) -> Option<Self> {
        match args {
            ["--group", group, ..] => Some(Self::Group((*group).to_owned())),
            [instance, ..] => Some(Self::Server((*instance).to_owned())),
            [] => None,
        }
    }
}

impl fmt::Display for Aim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Server(instance) => f.write_str(instance),
            Self::Group(group) => write!(f, "group {group}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        for aim in [Aim::Server("git.main".into()), Aim::Group("lab".into())] {
            assert_eq!(Aim::at(&aim.path()), Some(aim.clone()));
            let args = aim.args();
            let args: Vec<&str> = args.iter().map(String::as_str).chain(["--url", "u"]).collect();
            assert_eq!(Aim::of_args(&args), Some(aim));
        }
        for foreign in ["/gateway/servers//mcp", "/gateway/servers/a/b/mcp", "/gateway/other/a/mcp", "/mcp"] {
            assert_eq!(Aim::at(foreign), None, "{foreign}");
        }
    }
}
