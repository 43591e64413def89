//! The servers of a group as they are told apart, in the order in which everything of theirs is told.

use super::names;
use crate::json::member;
use crate::{Door, ToolList};
use dtma_core::id::InstanceName;
use std::sync::Arc;

/// One server.
pub(crate) struct Member {
    pub(crate) name: InstanceName,
    /// What it is called in the names of its tools and prompts.
    pub(crate) alias: String,
    pub(crate) door: Door,
}

impl Member {
    /// Whether it declared this capability the last time it shook hands, or may declare it; `None` while it does not answer
    /// and does not rest either.
    pub(crate) fn can(&self, capability: &str) -> Option<bool> {
        // A process that comes with its client's session is known when that has begun.
        let unknown = || self.door.serves_sessions_only().then_some(true);
        self.door.known().map(|ready| ready.greeting.can(capability)).or_else(unknown)
    }

    /// The names of its tools, as far as known.
    pub(crate) fn known_tools(&self) -> Vec<String> {
        self.listed_tools(|_| true)
    }

    /// The same of those that its clients see.
    pub(crate) fn tools(&self) -> Vec<String> {
        self.listed_tools(|raw| self.shows(raw))
    }

    fn listed_tools(&self, is_meant: impl Fn(&[u8]) -> bool) -> Vec<String> {
        let Some(ready) = self.door.known() else { return Vec::new() };
        let meant = ready.tools.known().iter().filter(|tool| is_meant(&tool.raw));
        meant.map(|tool| tool.name.clone()).collect()
    }

    fn shows(&self, raw: &[u8]) -> bool {
        let name = member(raw, "name").unwrap_or(b"null");
        let params = [br#"{"name":"#, name, b"}"].concat();
        self.door.refused("tools/call", Some(&params)).is_none()
    }

    /// Whether all its tools are known.
    pub(crate) fn is_listed(&self) -> bool {
        self.door.known().is_some_and(|ready| matches!(ready.tools, ToolList::Listed(_)))
    }
}

/// All of them, by name.
#[derive(Default)]
pub(crate) struct Members(Vec<Arc<Member>>);

impl Members {
    pub(crate) fn new(doors: impl IntoIterator<Item = Door>) -> Self {
        let mut doors: Vec<Door> = doors.into_iter().collect();
        doors.sort_by(|a, b| a.instance().cmp(b.instance()));
        let names: Vec<InstanceName> = doors.iter().map(|door| door.instance().clone()).collect();
        let aliases = names::aliases(&names.iter().collect::<Vec<_>>());
        let all = names.into_iter().zip(aliases).zip(doors);
        // Its sessions end with those of the group.
        let member = |((name, alias), door): ((_, _), Door)| Member { name, alias, door: door.passing() };
        Self(all.map(|one| Arc::new(member(one))).collect())
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Member>> + Clone {
        self.0.iter()
    }

    /// Whether the very same servers are behind it.
    pub(crate) fn are(&self, other: &Self) -> bool {
        self.0.len() == other.0.len() && self.iter().zip(other.iter()).all(|(a, b)| a.door.is(&b.door))
    }

    pub(crate) fn named(&self, name: &str) -> Option<&Arc<Member>> {
        self.iter().find(|member| member.name.as_str() == name)
    }

    /// Whose tool or prompt this is, and what follows the alias.
    pub(crate) fn owner<'a>(&self, exposed: &'a str) -> Option<(&Arc<Member>, &'a str)> {
        let (alias, part) = names::split(exposed)?;
        let member = self.iter().find(|member| member.alias == alias)?;
        Some((member, part))
    }
}
