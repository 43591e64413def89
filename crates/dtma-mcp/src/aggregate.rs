//! A group of servers as one: what each offers under names that begin with its own, every request taken to the server
//! that it is about.
//!
//! ```text
//!              client session ── Session ──┬── seat: a session at the door of `fs`
//!   POST, GET ─┤                           ├── seat: a session at the door of `git`
//!              stateless request ──────────┴── the stateless way of the door it is about
//! ```
//!
//! It is a client of the doors of its servers, one for each of its own clients, and nothing else: what a door does for
//! its clients (ids, progress, questions, processes that come and go, tools in quarantine) is done there and not again.
//! Here names are prefixed ([`names`]), what is said is prefixed back ([`rewrite`]), lists are put together
//! ([`gather`], [`page`]).

mod call;
mod demand;
mod find;
mod gather;
mod hello;
mod levels;
mod listen;
mod lists;
mod members;
mod names;
mod nearby;
mod page;
mod post;
mod rewrite;
mod sessions;
mod stateless;
#[cfg(test)]
mod tests;
mod way;

use self::members::{Member, Members};
use self::page::List;
use self::sessions::Sessions;
use crate::door::unused::LOOKS;
use crate::{Door, Limits, SessionError};
use dtma_core::id::{GroupId, InstanceName};
use dtma_core::spec::GatewaySpec;
use std::sync::Arc;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Tools that a group may offer before a client is shown how to find them instead, where it says nothing else.
pub const MOST_TOOLS: usize = 40;

/// Judges what one client may see of a group, and use.
pub trait GroupFilter: Send + Sync {
    /// Whether that server is there for the client at all.
    fn shows_server(&self, server: &InstanceName) -> bool;

    /// Whether that tool of such a server is. `tool` is its name at the server.
    fn shows_tool(&self, server: &InstanceName, tool: &str) -> bool;
}

/// What a tool, a prompt or a resource of a group says about whose it is: the server's name, or what stands for that where
/// models would not take it. Whether there is such a server, it does not say.
#[must_use]
pub fn named_server(name: &str) -> Option<&str> {
    names::split_uri(name).or_else(|| names::split(name)).map(|(server, _)| server)
}

/// What things of a group are called at a moment.
#[derive(Clone)]
pub struct Naming(Arc<Members>);

impl Naming {
    /// Whose tool, prompt or resource bears that name. `None`: no server of the group has such names.
    #[must_use]
    pub fn server_of(&self, name: &str) -> Option<&InstanceName> {
        let by_address = || self.0.named(names::split_uri(name)?.0);
        let by_alias = || self.0.owner(name).map(|(member, _)| member);
        let renamed = self.0.renamed(name).map(|(member, _)| member);
        renamed.or_else(by_address).or_else(by_alias).map(|member| &member.name)
    }
}

impl std::fmt::Debug for Naming {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Naming")
    }
}

/// A group as one server. Cheap to clone; a clone may be narrower than the others.
#[derive(Clone)]
pub struct Aggregate {
    inner: Arc<Inner>,
    /// See [`seen_by`](Self::seen_by).
    filter: Option<Arc<dyn GroupFilter>>,
    most_tools: usize,
}

struct Inner {
    group: GroupId,
    limits: Limits,
    members: watch::Sender<Arc<Members>>,
    sessions: Sessions,
    closed: CancellationToken,
}

impl Aggregate {
    /// A group without servers.
    #[must_use]
    pub fn new(group: GroupId, limits: Limits) -> Self {
        let (members, _) = watch::channel(Arc::default());
        let (sessions, closed) = (Sessions::default(), CancellationToken::new());
        let inner = Inner { group, limits, members, sessions, closed };
        Self { inner: Arc::new(inner), filter: None, most_tools: MOST_TOOLS }
    }

    /// From now on it is these servers, as far as `gateway` has them, and as it says. Clients that listen are told when
    /// that is different from before.
    pub fn set_servers(&self, doors: impl IntoIterator<Item = Door>, gateway: &GatewaySpec) {
        let members = Members::new(doors, gateway);
        self.inner.members.send_if_modified(|held| {
            let differs = !held.are(&members);
            if differs {
                *held = Arc::new(members);
            }
            differs
        });
    }

    /// The same group as far as that client may see it. Say so at each of its requests.
    #[must_use]
    pub fn seen_by(&self, filter: Arc<dyn GroupFilter>) -> Self {
        Self { filter: Some(filter), ..self.clone() }
    }

    /// The same group for a client that wants to see at most so many tools at once; where there are more, it is shown
    /// how to find them.
    #[must_use]
    pub fn with_most_tools(&self, most_tools: usize) -> Self {
        Self { most_tools, ..self.clone() }
    }

    /// Which group.
    #[must_use]
    pub fn group(&self) -> &GroupId {
        &self.inner.group
    }

    /// The servers that are part of it, by name.
    #[must_use]
    pub fn servers(&self) -> Vec<InstanceName> {
        self.inner.members.borrow().iter().map(|member| member.name.clone()).collect()
    }

    /// What things of the group are called now.
    #[must_use]
    pub fn naming(&self) -> Naming {
        Naming(Arc::clone(&self.inner.members.borrow()))
    }

    /// How many sessions there are.
    #[must_use]
    pub fn sessions(&self) -> usize {
        self.inner.sessions.len()
    }

    /// As [`Door::end_unused`], for clients of the whole group.
    pub async fn end_unused(&self) -> usize {
        self.inner.sessions.end_unused(LOOKS).await
    }

    /// How many sessions were ended because nobody used them.
    #[must_use]
    pub fn expired(&self) -> u64 {
        self.inner.sessions.expired()
    }

    /// Ends a session and those that it has at servers (DELETE).
    ///
    /// # Errors
    /// [`SessionError::Unknown`] when there is no such session.
    pub async fn close_session(&self, session: &str) -> Result<(), SessionError> {
        if self.inner.sessions.end(session).await { Ok(()) } else { Err(SessionError::Unknown) }
    }

    /// Whether there is such a session. Counts as a use of it.
    ///
    /// # Errors
    /// [`SessionError`] when there is none, or when the group is removed.
    pub fn session(&self, session: &str) -> Result<(), SessionError> {
        if self.inner.closed.is_cancelled() {
            return Err(SessionError::Closed);
        }
        self.inner.sessions.using(session).map(drop).ok_or(SessionError::Unknown)
    }

    /// The group is removed: streams end, nothing is answered any more.
    pub fn close(&self) {
        self.inner.closed.cancel();
    }

    /// Its servers, as far as this client sees them.
    fn members(&self) -> Vec<Arc<Member>> {
        let members = Arc::clone(&self.inner.members.borrow());
        members.iter().filter(|member| self.shows_server(&member.name)).cloned().collect()
    }

    fn named(&self, name: &str) -> Option<Arc<Member>> {
        let members = Arc::clone(&self.inner.members.borrow());
        members.named(name).filter(|member| self.shows_server(&member.name)).cloned()
    }

    /// Whose tool or prompt this is, and what follows the alias.
    fn owner<'a>(&self, exposed: &'a str) -> Option<(Arc<Member>, &'a str)> {
        let members = Arc::clone(&self.inner.members.borrow());
        let (member, part) = members.owner(exposed)?;
        self.shows_server(&member.name).then(|| (Arc::clone(member), part))
    }

    /// Whose tool was given this name by the group's spec, and what it is called there.
    fn renamed(&self, new: &str) -> Option<(Arc<Member>, String)> {
        let members = Arc::clone(&self.inner.members.borrow());
        let (member, own) = members.renamed(new)?;
        self.shows_server(&member.name).then(|| (Arc::clone(member), own.to_owned()))
    }

    fn shows_server(&self, server: &InstanceName) -> bool {
        self.filter.as_ref().is_none_or(|filter| filter.shows_server(server))
    }

    /// By the group's spec, and for this client.
    fn shows_tool(&self, member: &Member, tool: &str) -> bool {
        member.offers(tool) && self.filter.as_ref().is_none_or(|filter| filter.shows_tool(&member.name, tool))
    }

    /// Whether an element of a server's list is told.
    fn shows(&self, list: &List, member: &Member, element: &[u8]) -> bool {
        list.method != page::TOOLS.method
            || page::name_of(element).is_some_and(|tool| self.shows_tool(member, &tool))
    }
}
