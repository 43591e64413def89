//! What a caller may reach of a group as one: of each server what its connections grant there, asked anew each time.

use super::access;
use crate::app::App;
use crate::auth::Caller;
use crate::error::ApiError;
use dtma_core::connection::{Access, Reach};
use dtma_core::id::{GroupId, InstanceName};
use dtma_manager::ManagerError;
use dtma_mcp::GroupFilter;
use std::collections::BTreeSet;

/// Of which group, and for whom.
#[derive(Clone)]
pub(crate) struct OfGroup {
    app: App,
    caller: Caller,
    group: GroupId,
}

impl OfGroup {
    /// A group of which nothing is granted is as if it were not there.
    pub(super) fn look(app: &App, caller: &Caller, group: &GroupId) -> Result<Self, ApiError> {
        let of = Self { app: app.clone(), caller: caller.clone(), group: group.clone() };
        let access = access(app, caller);
        if access.is_nothing() {
            return Err(ApiError::NoConnection);
        }
        let is_there = app.manager().mcp_group(group).is_some();
        match is_there && (matches!(access, Access::Everything) || !of.servers().is_empty()) {
            true => Ok(of),
            false => Err(ManagerError::NoSuchGroup(group.clone()).into()),
        }
    }

    /// Whether it is somebody who may be kept from anything at all.
    pub(super) fn limits(&self) -> bool {
        self.caller.digest.is_some()
    }

    fn all(&self) -> BTreeSet<InstanceName> {
        let together = self.app.manager().mcp_group(&self.group);
        together.into_iter().flat_map(|together| together.servers()).collect()
    }

    /// The servers that may be reached.
    pub(super) fn servers(&self) -> BTreeSet<InstanceName> {
        let access = access(&self.app, &self.caller);
        let may = |server: &InstanceName| access.to(server, || Some(self.group.clone())).is_some();
        self.all().into_iter().filter(may).collect()
    }

    /// Whether one of these is there and may not be reached any more.
    pub(super) fn lost(&self, before: &BTreeSet<InstanceName>) -> bool {
        let (all, now) = (self.all(), self.servers());
        before.iter().any(|server| all.contains(server) && !now.contains(server))
    }

    /// What of one of its servers may be reached.
    pub(super) fn reach(&self, server: &InstanceName) -> Option<Reach> {
        access(&self.app, &self.caller).to(server, || Some(self.group.clone()))
    }
}

impl GroupFilter for OfGroup {
    fn shows_server(&self, server: &InstanceName) -> bool {
        self.reach(server).is_some()
    }

    fn shows_tool(&self, server: &InstanceName, tool: &str) -> bool {
        self.reach(server).is_some_and(|reach| reach.allows(tool))
    }
}
