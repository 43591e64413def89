//! Sessions with a process of their own. Such a session lives at one member and nowhere else: it goes to no other one
//! when that is drained or down, and ends when that is dismissed. Its process is greeted with what its client said, again
//! after each restart, and whatever it asks is asked of this client.

use super::Door;
use super::member::{Member, MemberId, Seat};
use super::places::{OwnProcesses, Place, Places, Ticket};
use super::post::{not_up, refuse};
use super::table::Entry;
use super::wait::Unserved;
use crate::envelope::Message;
use crate::json::{find, member};
use crate::server::command::Opened;
use crate::splice::{Edit, flatten, splice};
use crate::{Greeting, PostReply, ServerState, SessionId, rpc, version};
use bytes::Bytes;
use dtma_core::record::GatewaySession;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// When a client that found no place may try again.
const TRY_AGAIN: Duration = Duration::from_secs(5);

/// Between two looks for sessions that nobody uses.
const TEND: Duration = Duration::from_secs(1);

/// What a client is told who comes without a session where nobody is served without one.
pub(super) const ONLY_SESSIONS: &str =
    "each session has a process of its own here, and nobody is served without one: begin with initialize";

impl Door {
    /// From now on sessions have processes of their own, or share those that serve (`None`). Where they shared them so
    /// far, their sessions end, for nobody who wants isolation wants these to go on; they are given back, to be
    /// [forgotten](Self::forget_all). Sessions with a process keep it until they end.
    pub fn give_own(&self, own: Option<OwnProcesses>) -> Vec<SessionId> {
        let before = self.inner.places.set(own);
        if own.is_none() || before.is_some() {
            return Vec::new();
        }
        let ended: Vec<(SessionId, Entry)> =
            self.table().sessions.extract_if(|_, entry| entry.own.is_none()).collect();
        let end = |(session, entry): (SessionId, Entry)| {
            entry.everywhere().for_each(|member| member.handle.drop_session(session));
            session
        };
        ended.into_iter().map(end).collect()
    }

    /// Removes sessions that are over from the store.
    pub async fn forget_all(&self, sessions: Vec<SessionId>) {
        for session in sessions {
            self.forget(session).await;
        }
    }

    /// The places that its sessions have asked for.
    #[must_use]
    pub fn places(&self) -> Places {
        self.inner.places.clone()
    }

    /// Says which member stands in a place; a session that waits for it is told.
    pub fn assign(&self, ticket: Ticket, member: &MemberId) {
        if self.inner.places.assign(ticket, member) {
            self.changed();
        }
    }

    /// Waits until places are asked for or given back. Meanwhile sessions with a process of their own end that were not
    /// used for as long as they may be. `false`: the door is closed, and there will be nothing more.
    pub async fn await_places(&self, changes: &mut watch::Receiver<()>) -> bool {
        loop {
            if self.table().closed {
                return false;
            }
            tokio::select! {
                // Dropped: a change that was not seen is seen next time.
                changed = changes.changed() => return changed.is_ok(),
                // Dropped: whoever is to end ends next time.
                () = tokio::time::sleep(TEND), if self.inner.places.any() => self.end_idle().await,
            }
        }
    }

    async fn end_idle(&self) {
        let Some(own) = self.own() else { return };
        let lodgers: Vec<_> = self.table().lodgers().collect();
        for (session, member) in lodgers {
            let unused = member.handle.unused_for(session).await.ok().flatten();
            if unused.is_some_and(|unused| unused >= own.idle) {
                tracing::info!(server = %self.inner.instance, ?unused, "a session was not used and ends");
                let _over = self.end(session).await;
            }
        }
    }

    /// A session that ends with its process: the store never hears of it.
    pub(super) fn is_lodger(&self, session: &GatewaySession) -> bool {
        let id = SessionId::parse(&session.id);
        id.and_then(|id| self.table().sessions.get(&id).map(|entry| entry.own.is_some())).unwrap_or(false)
    }

    pub(super) fn own(&self) -> Option<OwnProcesses> {
        self.inner.places.own()
    }

    /// Whether nobody is served but sessions with a process of their own.
    pub(crate) fn serves_sessions_only(&self) -> bool {
        self.own().is_some_and(|own| own.only)
    }

    /// `initialize`: a process is made, greeted with what this client says, and answers it.
    pub(super) async fn open_own(&self, message: &Message, own: OwnProcesses) -> PostReply {
        let id = message.raw(message.envelope.id).unwrap_or(b"null");
        let Some(hello) = hello(message) else { return refuse(message, "initialize needs parameters") };
        let deadline = self.patience();
        loop {
            let Some(place) = self.inner.places.ask(own.most) else { return crowded(id, own.most) };
            if let Some(reply) = self.open_in(place, message, &hello, deadline).await {
                return reply;
            }
            if Instant::now() >= deadline {
                return PostReply::Body(not_up(id, "its process went before it answered"));
            }
        }
    }

    /// `None`: who stood there was taken away meanwhile.
    async fn open_in(
        &self,
        place: Place,
        message: &Message,
        hello: &Bytes,
        deadline: Instant,
    ) -> Option<PostReply> {
        let id = message.raw(message.envelope.id).unwrap_or(b"null");
        let at = match self.housed(&place, deadline).await {
            Ok(at) => at,
            Err(unserved) => return Some(unserved.reply(id)),
        };
        let session = SessionId::random();
        let kept = Arc::new(self.new_session(session, message, version::LATEST, &[]));
        self.table().sessions.insert(session, Entry::own(Arc::clone(&kept), Seat::at(&at), place));
        let Some(Opened::Here { .. }) = self.open_there(session, &at, kept, true).await else { return None };
        let mut moving = MovingIn { door: self, session, at: &at, done: false };
        at.handle.is_greeted_with(hello.clone());
        let greeting = match self.greeted(session, &at, deadline).await? {
            Ok(greeting) => greeting,
            Err(unserved) => return Some(unserved.reply(id)),
        };
        moving.done = self.has_moved_in(session, message, &greeting);
        let body = rpc::result(id, &greeting.raw);
        moving.done.then_some(PostReply::Opened { session, body })
    }

    /// The session is what was agreed with its process. `false`: it is over.
    fn has_moved_in(&self, session: SessionId, message: &Message, greeting: &Greeting) -> bool {
        let kept = self.new_session(session, message, &greeting.protocol_version, &greeting.list_changed);
        let mut table = self.table();
        let Some(entry) = table.sessions.get_mut(&session) else { return false };
        // Its own process was asked in its own name: what that agreed to holds.
        let protocol_version = greeting.protocol_version.clone();
        entry.kept = Arc::new(GatewaySession { protocol_version, ..kept });
        true
    }

    /// The member in that place, waited for.
    async fn housed(&self, place: &Place, deadline: Instant) -> Result<Arc<Member>, Unserved> {
        loop {
            // Before the look, so that no change after it is missed.
            let mut changes = self.inner.changes.subscribe();
            {
                let table = self.table();
                if table.closed {
                    return Err(Unserved::Closed);
                }
                if let Some(at) = place.member().and_then(|member| table.members.get(&member)) {
                    return Ok(Arc::clone(at));
                }
            }
            tokio::select! {
                // Dropped, both: it is looked again from the beginning.
                _ = changes.changed() => {}
                () = tokio::time::sleep_until(deadline) => {
                    return Err(Unserved::NotUp("no process was made for this session in time".to_owned()));
                }
            }
        }
    }

    /// What a session's process answered to its greeting. `None`: the session is over already.
    async fn greeted(
        &self,
        session: SessionId,
        at: &Arc<Member>,
        deadline: Instant,
    ) -> Option<Result<Arc<Greeting>, Unserved>> {
        let mut state = at.handle.state();
        loop {
            let mut changes = self.inner.changes.subscribe();
            if !self.table().sessions.contains_key(&session) {
                return None;
            }
            let why = match &*state.borrow_and_update() {
                ServerState::Ready(ready) => return Some(Ok(Arc::clone(&ready.greeting))),
                ServerState::Failed { reason, .. } => {
                    return Some(Err(Unserved::NotUp(reason.to_string())));
                }
                waiting @ (ServerState::Down { .. }
                | ServerState::Connecting { .. }
                | ServerState::Expecting { .. }
                | ServerState::Resting(_)) => waiting.why_not_ready().to_owned(),
            };
            tokio::select! {
                // Dropped, all: it is looked again from the beginning.
                changed = state.changed() => changed.ok()?,
                _ = changes.changed() => {}
                () = tokio::time::sleep_until(deadline) => return Some(Err(Unserved::NotUp(why))),
            }
        }
    }
}

/// A session whose client waits for its process. Also a client that has gone meanwhile ends it.
struct MovingIn<'a> {
    door: &'a Door,
    session: SessionId,
    at: &'a Arc<Member>,
    done: bool,
}

impl Drop for MovingIn<'_> {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        let entry = self.door.table().sessions.remove(&self.session);
        self.at.handle.drop_session(self.session);
        drop(entry);
        self.door.changed();
    }
}

/// What a process is greeted with: what its client says, asking for a version that is spoken here.
fn hello(message: &Message) -> Option<Bytes> {
    let params = message.raw(message.envelope.params).filter(|params| params.starts_with(b"{"))?;
    let asked = member(params, "protocolVersion").and_then(|raw| serde_json::from_slice::<String>(raw).ok());
    let unknown = asked.is_some_and(|asked| !version::is_known(&asked));
    let at = find(params, "protocolVersion").filter(|_| unknown);
    let latest = rpc::quoted(version::LATEST);
    let edit = at.map(|at| Edit { at, text: latest.as_bytes() });
    let mut hello = splice(params, &mut edit.into_iter().collect::<Vec<_>>(), 0);
    flatten(&mut hello);
    Some(hello.into())
}

fn crowded(id: &[u8], most: usize) -> PostReply {
    let why =
        format!("all {most} sessions that may have a process of their own here are in use; try again later");
    PostReply::Crowded { body: rpc::lost(id, &why, false), try_again: TRY_AGAIN }
}
