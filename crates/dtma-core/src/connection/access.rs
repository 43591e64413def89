//! What follows from all connections of one agent: together they grant what any of them grants.

use super::{Agent, Connection};
use crate::Timestamp;
use crate::id::{GroupId, InstanceName};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// An agent that has, or had, a connection: it reaches what its connections grant and nothing else, also when none is
/// left. Kept for good, so that taking an agent's last connection away does not open everything to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Governed {
    /// Who.
    pub agent: Agent,
    /// Since when.
    pub since: Timestamp,
}

/// What an agent may reach.
#[derive(Debug, Clone)]
pub enum Access {
    /// Every server, every tool.
    Everything,
    /// What these grant; none of them has expired.
    Granted(Vec<Arc<Connection>>),
}

/// What of one server an agent may reach.
#[derive(Debug, Clone)]
pub enum Reach {
    /// All of it, as often as anybody.
    Whole,
    /// What these connections grant, of which there is at least one.
    Granted(Arc<Part>),
}

/// What connections grant of one server.
#[derive(Debug, Clone)]
pub struct Part {
    /// Which server.
    pub instance: InstanceName,
    /// Its group.
    pub group: Option<GroupId>,
    connections: Vec<Arc<Connection>>,
}

impl Access {
    /// Nothing at all is granted, or nothing any more.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        matches!(self, Self::Granted(connections) if connections.is_empty())
    }

    /// What of a server may be reached; `None`: it is as if it were not there.
    #[must_use]
    pub fn to(&self, instance: &InstanceName, group: impl FnOnce() -> Option<GroupId>) -> Option<Reach> {
        let Self::Granted(connections) = self else { return Some(Reach::Whole) };
        let group = group();
        let covering = connections.iter().filter(|one| one.covers(instance, group.as_ref()));
        let connections: Vec<_> = covering.cloned().collect();
        let is_some = !connections.is_empty();
        let part = || Arc::new(Part { instance: instance.clone(), group, connections });
        is_some.then(|| Reach::Granted(part()))
    }

    /// When the first of the connections ends, if any does: what may be reached is to be asked again then.
    #[must_use]
    pub fn until(&self) -> Option<Timestamp> {
        match self {
            Self::Everything => None,
            Self::Granted(connections) => connections.iter().filter_map(|one| one.terms.expires_at).min(),
        }
    }
}

impl Reach {
    /// What limits it, if anything does.
    #[must_use]
    pub fn part(&self) -> Option<&Arc<Part>> {
        match self {
            Self::Whole => None,
            Self::Granted(part) => Some(part),
        }
    }

    /// Whether a tool of the server may be listed and called.
    #[must_use]
    pub fn allows(&self, tool: &str) -> bool {
        self.part().is_none_or(|part| part.allows(tool))
    }
}

impl Part {
    /// Whether a tool may be listed and called.
    #[must_use]
    pub fn allows(&self, tool: &str) -> bool {
        self.granting(Some(tool)).next().is_some()
    }

    /// True when every tool is granted, whatever its name.
    #[must_use]
    pub fn allows_all(&self) -> bool {
        let grants = self.connections.iter().flat_map(|one| &one.terms.grants);
        let mut covering = grants.filter(|grant| grant.covers(&self.instance, self.group.as_ref()));
        covering.any(|grant| grant.tools.is_none())
    }

    /// The connections that grant a call: of a tool, or (`None`) of anything else that the server offers. The call counts
    /// for one of them.
    pub fn granting<'a>(&'a self, tool: Option<&'a str>) -> impl Iterator<Item = &'a Arc<Connection>> {
        self.connections
            .iter()
            .filter(move |one| tool.is_none_or(|tool| one.allows(&self.instance, self.group.as_ref(), tool)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection::{Grant, Servers, Terms};

    fn grant(servers: &str, tools: &[&str]) -> Grant {
        let servers = match servers.strip_prefix("group:") {
            Some(group) => Servers::Group(group.parse().unwrap()),
            None => Servers::Named(servers.parse().unwrap()),
        };
        let patterns = || tools.iter().map(|tool| tool.parse().unwrap()).collect();
        Grant { servers, tools: (!tools.is_empty()).then(patterns) }
    }

    fn connection(id: &str, grants: Vec<Grant>) -> Arc<Connection> {
        let agent = Agent::Named("a".to_owned());
        Arc::new(Connection {
            id: id.parse().unwrap(),
            terms: Terms { agent, grants, expires_at: None, rate: None },
            revision: 1,
            author: "ops".to_owned(),
            created_at: Timestamp::UNIX_EPOCH,
            updated_at: Timestamp::UNIX_EPOCH,
        })
    }

    fn reach(access: &Access, instance: &str, group: &str) -> Option<Reach> {
        access.to(&instance.parse().unwrap(), || Some(group.parse().unwrap()))
    }

    #[test]
    fn who_is_not_governed_reaches_everything() {
        let reach = reach(&Access::Everything, "time", "g").unwrap();
        assert!(reach.part().is_none() && reach.allows("anything"));
        assert!(!Access::Everything.is_nothing() && Access::Granted(vec![]).is_nothing());
    }

    #[test]
    fn servers_are_granted_by_name_pattern_and_group() {
        let grants = vec![grant("time", &[]), grant("git-*", &["log"]), grant("group:lab", &[])];
        let access = Access::Granted(vec![connection("c", grants)]);
        for (instance, group, there) in
            [("time", "g", true), ("git-a", "g", true), ("x", "lab", true), ("x", "g", false)]
        {
            assert_eq!(reach(&access, instance, group).is_some(), there, "{instance} of {group}");
        }
        assert!(access.to(&"x".parse().unwrap(), || None).is_none(), "what is nowhere is in no group");
    }

    #[test]
    fn several_connections_grant_what_any_of_them_does() {
        let (one, other) = (grant("time", &["get_*"]), grant("t*", &["set"]));
        let access = Access::Granted(vec![
            connection("one", vec![one]),
            connection("other", vec![other]),
            connection("elsewhere", vec![grant("git", &[])]),
        ]);
        let reach = reach(&access, "time", "g").unwrap();
        let part = reach.part().unwrap();
        assert!(reach.allows("get_x") && reach.allows("set") && !reach.allows("drop") && !part.allows_all());
        let granting = |tool| part.granting(tool).map(|one| one.id.to_string()).collect::<Vec<_>>();
        assert_eq!(granting(Some("set")), ["other"]);
        assert_eq!(granting(None), ["one", "other"]);
        assert_eq!(granting(Some("drop")), <[&str; 0]>::default());
    }

    #[test]
    fn a_grant_without_tools_is_of_all_of_them() {
        let access = Access::Granted(vec![connection("c", vec![grant("time", &["a"]), grant("*", &[])])]);
        let reach = reach(&access, "time", "g").unwrap();
        assert!(reach.allows("b") && reach.part().unwrap().allows_all());
    }

    #[test]
    fn the_first_end_counts() {
        let ends = |second: i64| {
            let mut one = Connection::clone(&connection("c", vec![]));
            one.terms.expires_at = Some(Timestamp::from_second(second).unwrap());
            Arc::new(one)
        };
        let access = Access::Granted(vec![connection("c", vec![]), ends(9), ends(5)]);
        assert_eq!(access.until(), Some(Timestamp::from_second(5).unwrap()));
        assert!(ends(5).has_expired(Timestamp::from_second(5).unwrap()));
        assert!(!ends(5).has_expired(Timestamp::from_second(4).unwrap()));
    }
}
