//! The servers of a group as they are told apart, in the order in which everything of theirs is told.

use super::names;
use crate::json::member;
use crate::{Door, ToolList};
use dtma_core::id::InstanceName;
use dtma_core::spec::GatewaySpec;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// One server.
pub(crate) struct Member {
    pub(crate) name: InstanceName,
    /// What it is called in the names of its tools and prompts.
    pub(crate) alias: String,
    pub(crate) door: Door,
    gateway: Arc<GatewaySpec>,
    /// It was logged which of its tools are to be renamed and are not there.
    told: AtomicBool,
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

    /// Whether a tool of its is part of the group, by the group's spec.
    pub(crate) fn offers(&self, tool: &str) -> bool {
        self.gateway.has_tool(&self.name, tool)
    }

    /// What its tool is called in the group.
    pub(crate) fn tool_name(&self, own: &str) -> String {
        let new = self.gateway.new_name(&self.name, own).map(str::to_owned);
        new.unwrap_or_else(|| names::exposed(&self.alias, own))
    }

    pub(crate) fn is_renamed(&self, own: &str) -> bool {
        self.gateway.new_name(&self.name, own).is_some()
    }

    /// Logs, once, which tools are to be renamed and are none of these.
    pub(crate) fn look_for_renamed(&self, listed: &[String]) {
        let renames = self.gateway.renames_of(&self.name);
        let unknown: Vec<&str> =
            renames.map(|(own, _)| own).filter(|own| !listed.iter().any(|one| one == own)).collect();
        if !unknown.is_empty() && !self.told.swap(true, Ordering::Relaxed) {
            tracing::warn!(server = %self.name, ?unknown, "tools that its group renames are not there");
        }
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

/// Those that are part of the group as one, by name.
#[derive(Default)]
pub(crate) struct Members {
    all: Vec<Arc<Member>>,
    gateway: Arc<GatewaySpec>,
}

impl Members {
    pub(crate) fn new(doors: impl IntoIterator<Item = Door>, gateway: &GatewaySpec) -> Self {
        let gateway = Arc::new(gateway.clone());
        let mut doors: Vec<Door> = doors.into_iter().collect();
        doors.sort_by(|a, b| a.instance().cmp(b.instance()));
        let names: Vec<InstanceName> = doors.iter().map(|door| door.instance().clone()).collect();
        let aliases = names::aliases(&names.iter().collect::<Vec<_>>());
        let all = names.into_iter().zip(aliases).zip(doors);
        // Its sessions end with those of the group.
        let member = |((name, alias), door): ((_, _), Door)| {
            let (door, gateway, told) = (door.passing(), Arc::clone(&gateway), AtomicBool::new(false));
            Arc::new(Member { name, alias, door, gateway, told })
        };
        // Named before some are left out, so that nobody is called otherwise for that.
        let all = all.map(member).filter(|member| gateway.has_server(&member.name)).collect();
        Self { all, gateway }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Member>> + Clone {
        self.all.iter()
    }

    /// Whether the very same servers are behind it, and look the same.
    pub(crate) fn are(&self, other: &Self) -> bool {
        let same = self.all.len() == other.all.len() && self.gateway == other.gateway;
        same && self.iter().zip(other.iter()).all(|(a, b)| a.door.is(&b.door))
    }

    pub(crate) fn named(&self, name: &str) -> Option<&Arc<Member>> {
        self.iter().find(|member| member.name.as_str() == name)
    }

    pub(crate) fn have(&self, door: &Door) -> bool {
        self.iter().any(|member| member.door.is(door))
    }

    /// Whose tool was given this name by the group's spec, and what it is called there.
    pub(crate) fn renamed(&self, new: &str) -> Option<(&Arc<Member>, &str)> {
        self.iter().find_map(|member| Some((member, self.gateway.renamed_tool(&member.name, new)?)))
    }

    /// Whose tool or prompt this is, and what follows the alias.
    pub(crate) fn owner<'a>(&self, exposed: &'a str) -> Option<(&Arc<Member>, &'a str)> {
        let (alias, part) = names::split(exposed)?;
        let member = self.iter().find(|member| member.alias == alias)?;
        Some((member, part))
    }
}
