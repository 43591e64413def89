//! One MCP server as its clients see it, however many processes stand behind it: replicas, and old beside new
//! during a rolling update.
//!
//! Each process has an owner of its own, a *member*. A session lives at one member and goes there with everything
//! it sends; it goes to another when its own is drained, dismissed or down. The door knows all sessions and opens
//! one at a member when it is first used there, so moving it is a change of one entry: there is no instant at
//! which a session is nowhere known. Messages pass as they are; the way to the owner costs a look-up.
//!
//! Ids are given out for all members together, so a client that goes from one to another meets none twice. Calls
//! that no member has written yet are offered to the next; one that was written is answered by its member or ends
//! with an error that says so.

pub(crate) mod drain;
pub(crate) mod filter;
mod house;
mod logs;
pub(crate) mod member;
mod news;
mod opening;
mod own;
pub(crate) mod places;
mod post;
mod repeat;
pub(crate) mod rest;
mod sessions;
pub(crate) mod stateless;
mod table;
#[cfg(test)]
mod tests;
pub(crate) mod unused;
mod wait;
mod wishes;

use self::filter::ToolFilter;
use self::member::{Member, MemberId, MemberTaken};
use self::places::Places;
use self::table::{Entry, Table};
use crate::interleave;
use crate::server::host::{Host, Manners};
use crate::server::{Ids, Parts};
use crate::{Depth, ServerHandle, ServerState, SessionId, StdioServer};
use dtma_core::id::InstanceName;
use dtma_core::log::Origin;
use dtma_core::record::GatewaySession;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// One MCP server. Cheap to clone; when the last one is dropped, the owners of its members end.
#[derive(Clone)]
pub struct Door {
    inner: Arc<Inner>,
    /// Whether the sessions opened here outlive the daemon.
    durable: bool,
    /// What is kept from the client who comes in here, besides what is kept from all.
    kept_from: Option<Arc<dyn ToolFilter>>,
}

struct Inner {
    instance: InstanceName,
    parts: Parts,
    ids: Arc<Ids>,
    table: Mutex<Table>,
    places: Places,
    gate: filter::Gate,
    /// Calls of the stateless version that wait for their clients.
    held: stateless::Held,
    /// Sessions that were ended because nobody used them.
    expired: AtomicU64,
    rest: rest::Rest,
    manners: Arc<Manners>,
    /// Told when members come, go or change their part.
    changes: watch::Sender<()>,
}

impl Door {
    /// A server that no process serves yet.
    #[must_use]
    pub fn new(instance: InstanceName, parts: Parts) -> Self {
        let (table, changes) = (Mutex::new(Table::default()), watch::Sender::new(()));
        let gate = filter::Gate::default();
        let (held, rest, manners) = (stateless::Held::default(), rest::Rest::default(), Arc::default());
        let (ids, expired, places) = (Arc::new(Ids::new()), AtomicU64::new(0), Places::default());
        let inner =
            Inner { instance, parts, ids, table, places, gate, held, expired, rest, manners, changes };
        Self { inner: Arc::new(inner), durable: true, kept_from: None }
    }

    /// The same server for a client whose session ends with its connection: the store never hears of a session opened
    /// here, for after a restart of the daemon nobody could come back to it.
    #[must_use]
    pub fn passing(&self) -> Self {
        Self { durable: false, ..self.clone() }
    }

    /// The same server for one client: it lists and calls only tools that `filter` does not refuse, either.
    #[must_use]
    pub fn filtered_by(&self, filter: Arc<dyn ToolFilter>) -> Self {
        Self { kept_from: Some(filter), ..self.clone() }
    }

    /// How many sessions there are.
    #[must_use]
    pub fn sessions(&self) -> usize {
        let mut table = self.table();
        table.settle_openings();
        table.sessions.len()
    }

    /// How much all its processes together have to do.
    #[must_use]
    pub fn depth(&self) -> Depth {
        let table = self.table();
        let depths = table.members.values().map(|member| member.handle.shared().depth.get());
        depths.fold(Depth::default(), |all, one| Depth {
            calls: all.calls + one.calls,
            queued: all.queued + one.queued,
        })
    }

    /// Which server this is.
    #[must_use]
    pub fn instance(&self) -> &InstanceName {
        &self.inner.instance
    }

    /// Whether it is the very same server, not another of its name.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }

    /// A new member, which serves nobody yet. The caller runs the [`StdioServer`] and gives it processes; what it
    /// logs is part of [`logs`](Self::logs) at once, as lines of that `origin`.
    ///
    /// # Errors
    /// [`MemberTaken`] when there is a member of this name: dismiss that first.
    pub fn admit(
        &self,
        member: MemberId,
        origin: Origin,
    ) -> Result<(ServerHandle, StdioServer), MemberTaken> {
        self.admit_as(member, origin, Host::House)
    }

    /// The same of a member for one session, which serves nobody else: see [`places`](Self::places).
    ///
    /// # Errors
    /// As of [`admit`](Self::admit).
    pub fn admit_for_session(
        &self,
        member: MemberId,
        origin: Origin,
    ) -> Result<(ServerHandle, StdioServer), MemberTaken> {
        self.admit_as(member, origin, Host::session(Arc::clone(&self.inner.manners)))
    }

    fn admit_as(
        &self,
        member: MemberId,
        origin: Origin,
        host: Host,
    ) -> Result<(ServerHandle, StdioServer), MemberTaken> {
        let mut table = self.table();
        if table.members.contains_key(&member) {
            return Err(MemberTaken(member));
        }
        let Inner { instance, parts, ids, .. } = &*self.inner;
        let (handle, server) = StdioServer::pair(instance.clone(), parts.clone(), Arc::clone(ids), host);
        if table.closed {
            handle.close();
        }
        table.admitted += 1;
        let admitted = Arc::new(Member::new(table.admitted, origin, handle.clone()));
        table.members.insert(member, admitted);
        drop(table);
        self.changed();
        Ok((handle, server))
    }

    /// The member of this name.
    #[must_use]
    pub fn member(&self, member: &MemberId) -> Option<ServerHandle> {
        self.table().members.get(member).map(|member| member.handle.clone())
    }

    /// From now on new sessions and the house's own calls go to these members, to the one with the fewest first.
    /// Sessions of members not named any more stay there until those are drained, dismissed or down. A name that
    /// nobody has is passed over. Never blocks; saying it again changes nothing.
    pub fn serve(&self, members: &[MemberId]) {
        let mut table = self.table();
        let named = members.iter().filter_map(|name| {
            let member = table.members.get(name).cloned();
            if member.is_none() {
                tracing::warn!(server = %self.inner.instance, member = %name, "no such member can serve");
            }
            member
        });
        let mut serving: Vec<Arc<Member>> = named.collect();
        serving.sort_by_key(|member| member.number);
        serving.dedup_by_key(|member| member.number);
        serving.iter().for_each(|member| member.handle.set_draining(false));
        table.serving = serving;
        drop(table);
        self.changed();
    }

    /// Forgets a member: its owner ends and lets its process be. Calls still in flight there get the error that a
    /// lost process gives; its sessions go to serving members, or are kept until one serves; one that had it for
    /// itself ends. What it logged stays readable until two others have gone too. Unknown: nothing happens.
    pub fn dismiss(&self, member: &MemberId) {
        // In two steps: whatever is dropped here must not be dropped under the lock.
        let (gone, lodger) = self.table().dismiss(member).unzip();
        if let Some(gone) = gone {
            gone.handle.close();
            self.changed();
        }
        drop(lodger);
    }

    /// Takes back the sessions that the store kept, at start-up, before any client is let in. They are kept until
    /// a member serves and go to serving members as they are used. Those of other servers are ignored.
    pub fn restore(&self, sessions: impl IntoIterator<Item = GatewaySession>) {
        let mut table = self.table();
        for session in sessions.into_iter().filter(|session| session.instance == self.inner.instance) {
            match SessionId::parse(&session.id) {
                Some(id) => drop(table.sessions.insert(id, Entry::restored(Arc::new(session)))),
                None => tracing::warn!(server = %self.inner.instance, "a kept session has no usable id"),
            }
        }
    }

    /// Where the best of the serving members stands: ready if any is.
    #[must_use]
    pub fn state(&self) -> ServerState {
        self.table().state()
    }

    /// Whether a serving member answers right now. Cheaper than [`state`](Self::state).
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.table().serving.iter().any(|member| member.handle.is_ready())
    }

    /// Nobody will ever answer, as far as is known.
    pub(crate) fn is_over(&self) -> bool {
        self.table().is_over()
    }

    /// Ends all owners. Sessions stay in the store and processes are left running.
    pub fn close(&self) {
        let mut table = self.table();
        table.closed = true;
        table.members.values().for_each(|member| member.handle.close());
        drop(table);
        self.inner.places.close();
        self.changed();
    }

    fn changed(&self) {
        self.inner.changes.send_replace(());
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.inner.table()
    }
}

impl Inner {
    /// Held for look-ups only. Every change of the table is one assignment or can be repeated, so a panic under the
    /// lock leaves nothing half done that matters.
    fn table(&self) -> MutexGuard<'_, Table> {
        interleave::point();
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
