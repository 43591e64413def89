//! What clients do with their sessions besides posting, and how a session comes to the member where it is used.

use super::Door;
use super::member::Member;
use super::table::{Settled, Table, Unknown};
use super::wait::Unserved;
use crate::server::command::{Listening, Opened};
use crate::{Event, EventId, EventStream, MessageStream, SessionError, SessionId, version};
use bytes::Bytes;
use dtma_core::record::GatewaySession;
use futures_util::stream::{self, StreamExt};
use std::sync::Arc;
use tokio::time::Instant;

/// Every session of the member is in use.
pub(super) struct Full;

/// Why a session has no member to go to.
pub(super) enum Homeless {
    Unknown,
    Unserved(Unserved),
}

impl Door {
    /// The stream of a client's GET: what the server says that belongs to no call. A second one replaces the
    /// first, whose stream ends: the client that comes back after a broken connection must not be locked out by it.
    /// It ends too when the session goes to another member; the next one begins with what is different there.
    ///
    /// # Errors
    /// [`SessionError::Unknown`] when there is no such session, [`SessionError::Closed`] when nobody serves, or
    /// when every session of its member is in use.
    pub async fn listen(&self, session: &str) -> Result<MessageStream, SessionError> {
        self.listen_after(session, None).await.map(EventStream::messages)
    }

    /// The same for a client that can say up to where it heard the last stream: what was said after that comes first, as
    /// far as it is remembered (the last 256 messages and 256 KiB). It may have been said to another life of the
    /// daemon: a shim keeps the last of it. A client of 2025-11-25 is told at once where it stands.
    ///
    /// # Errors
    /// As of [`listen`](Self::listen).
    pub async fn listen_after(
        &self,
        session: &str,
        after: Option<EventId>,
    ) -> Result<EventStream, SessionError> {
        let session = SessionId::parse(session).ok_or(SessionError::Unknown)?;
        let deadline = self.patience();
        loop {
            let at = self.home(session, deadline, Table::place).await?;
            match at.handle.listen(session, after.clone()).await {
                Ok(Some(listening)) => return Ok(self.events(session, &at, listening)),
                Ok(None) => self.move_in(session, &at).await.map_err(|Full| SessionError::Closed)?,
                Err(_) if Instant::now() >= deadline => return Err(SessionError::Closed),
                Err(_) => {}
            }
        }
    }

    fn events(&self, session: SessionId, at: &Arc<Member>, listening: Listening) -> EventStream {
        let kept = self.table().sessions.get(&session).map(|entry| Arc::clone(&entry.kept));
        let primed = kept.is_some_and(|kept| kept.protocol_version.as_str() >= version::PRIMING);
        let primer = primed.then(|| Event { id: Some(listening.last), text: Bytes::new() });
        let events = stream::poll_fn({
            let mut events = listening.events;
            move |context| events.poll_recv(context)
        });
        EventStream::of(stream::iter(primer).chain(self.with_news(session, at, events.boxed())))
    }

    /// A session as it stands (its protocol version, for the check of the header). Counts as a use of it.
    ///
    /// # Errors
    /// [`SessionError`] when there is no such session, or when the server is removed.
    pub async fn session(&self, session: &str) -> Result<GatewaySession, SessionError> {
        let session = SessionId::parse(session).ok_or(SessionError::Unknown)?;
        let kept = self.table().sessions.get(&session).map(|entry| Arc::clone(&entry.kept));
        let kept = kept.ok_or(SessionError::Unknown)?;
        if self.touch(session).await { Ok(GatewaySession::clone(&kept)) } else { Err(SessionError::Closed) }
    }

    /// Ends a session (DELETE): its calls are cancelled, its streams end, the store forgets it.
    ///
    /// # Errors
    /// [`SessionError::Unknown`] when there is no such session.
    pub async fn close_session(&self, session: &str) -> Result<(), SessionError> {
        let session = SessionId::parse(session).ok_or(SessionError::Unknown)?;
        self.end(session).await
    }

    pub(super) async fn end(&self, session: SessionId) -> Result<(), SessionError> {
        let entry = self.table().sessions.remove(&session);
        let mut entry = entry.ok_or(SessionError::Unknown)?;
        let place = entry.own.take();
        for member in entry.everywhere() {
            // One that is gone knows of no session any more.
            let _gone = member.handle.close_session(session).await;
        }
        match place {
            Some(place) => {
                // Its process goes when it was told that nobody awaits what it does.
                drop(place);
                self.changed();
            }
            None if self.durable => self.forget(session).await,
            None => {}
        }
        Ok(())
    }

    /// Removes a session from the store.
    pub(super) async fn forget(&self, session: SessionId) {
        if let Err(problem) = self.inner.parts.store.remove_session(&session.to_string()).await {
            tracing::warn!(server = %self.inner.instance, %problem, "a closed session stays in the store");
        }
    }

    /// Marks a session as used. `false`: the server is being removed.
    pub(super) async fn touch(&self, session: SessionId) -> bool {
        let hearers = self.table().hearers(session);
        let touched = match hearers.and_then(|hearers| hearers.at) {
            Some(at) => at.handle.touch(session).await.is_ok(),
            None => false,
        };
        let table = self.table();
        touched || !table.are_over(&table.hoped_for(Some(session)))
    }

    /// The member where a session may go on, waited for. A session that lived elsewhere is let go there.
    pub(super) async fn home(
        &self,
        session: SessionId,
        deadline: Instant,
        choose: fn(&mut Table, SessionId) -> Option<Result<Settled, Unknown>>,
    ) -> Result<Arc<Member>, Homeless> {
        let settled = self.until_for(Some(session), deadline, |table| choose(table, session)).await?;
        let Settled { at, left } = settled.map_err(|Unknown| Homeless::Unknown)?;
        if let Some(left) = left {
            // One that is gone holds nothing back.
            let _gone = left.handle.release(session).await;
        }
        Ok(at)
    }

    /// Has a member open a session that lives there by now. Nothing happens when it lives elsewhere again, or when
    /// the member is going: whoever wants something of it looks again.
    pub(super) async fn move_in(&self, session: SessionId, member: &Arc<Member>) -> Result<(), Full> {
        let kept = self.table().kept_at(session, member);
        let Some(kept) = kept else { return Ok(()) };
        match self.open_there(session, member, kept, false).await {
            Some(Opened::Full) => Err(Full),
            Some(Opened::Here { .. } | Opened::Draining) | None => Ok(()),
        }
    }

    pub(super) fn patience(&self) -> Instant {
        Instant::now() + self.inner.parts.limits.ready_wait
    }
}

impl From<Unserved> for Homeless {
    fn from(unserved: Unserved) -> Self {
        Self::Unserved(unserved)
    }
}

impl From<Homeless> for SessionError {
    fn from(homeless: Homeless) -> Self {
        match homeless {
            Homeless::Unknown => Self::Unknown,
            Homeless::Unserved(Unserved::NotUp(_) | Unserved::Closed) => Self::Closed,
        }
    }
}
