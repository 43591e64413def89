//! The stream of a client's GET: what all servers say that belongs to no call, and which lists are others than they
//! were told.

use super::Aggregate;
use super::members::{Member, Members};
use super::rewrite::Voice;
use super::sessions::Session;
use crate::{Door, Event, EventId, EventStream, MessageStream, SessionError, rpc};
use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt};
use futures_util::stream::{self, BoxStream, SelectAll, StreamExt};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// After a server's stream ended: whatever may be wrong there, nobody listens in a loop without a pause.
const PAUSE: Duration = Duration::from_millis(10);
/// Between two tries to listen to a server that nobody serves at the moment.
const AGAIN: Duration = Duration::from_millis(500);
/// Between two looks whether a server is back that was missing.
const LOOK: Duration = Duration::from_millis(250);

/// Lists of a group and the methods that say that they changed.
const CHANGED: [(&str, &str); 3] = [
    ("tools", "notifications/tools/list_changed"),
    ("prompts", "notifications/prompts/list_changed"),
    ("resources", "notifications/resources/list_changed"),
];

impl Aggregate {
    /// The stream of a client's GET. A second one replaces the first, whose stream ends.
    ///
    /// # Errors
    /// [`SessionError::Unknown`] when there is no such session, [`SessionError::Closed`] when the group is removed.
    pub fn listen(&self, session: &str) -> Result<MessageStream, SessionError> {
        self.listen_after(session, None).map(EventStream::messages)
    }

    /// The same. Messages of a group bear no ids: what was said while nobody listened is not said again.
    ///
    /// # Errors
    /// As of [`listen`](Self::listen).
    pub fn listen_after(&self, session: &str, _after: Option<&EventId>) -> Result<EventStream, SessionError> {
        self.session(session)?;
        let session = self.inner.sessions.using(session).ok_or(SessionError::Unknown)?;
        let listening = Listening::new(self.clone(), session);
        let texts =
            stream::unfold(listening, async |mut listening| Some((listening.next().await?, listening)));
        Ok(EventStream::of(texts.map(Event::unnumbered)))
    }
}

/// One client that listens.
struct Listening {
    all: Aggregate,
    session: Arc<Session>,
    replaced: CancellationToken,
    changes: watch::Receiver<Arc<Members>>,
    heard: Vec<Arc<Member>>,
    streams: SelectAll<BoxStream<'static, Bytes>>,
    news: VecDeque<Bytes>,
}

impl Listening {
    fn new(all: Aggregate, session: Arc<Session>) -> Self {
        let (replaced, changes) = (session.listens(), all.inner.members.subscribe());
        let (heard, streams, news) = (Vec::new(), SelectAll::new(), VecDeque::new());
        let mut listening = Self { all, session, replaced, changes, heard, streams, news };
        listening.hear_all();
        listening
    }

    /// Everybody who is there now.
    fn hear_all(&mut self) {
        self.changes.mark_unchanged();
        let members = self.all.members();
        let is_new = |member: &&Arc<Member>| !self.heard.iter().any(|heard| heard.door.is(&member.door));
        for member in members.iter().filter(is_new) {
            let (session, member) = (Arc::clone(&self.session), Arc::clone(member));
            let gone = gone(self.all.inner.members.subscribe(), member.door.clone());
            self.streams.push(said_by(session, member).take_until(gone).boxed());
        }
        self.heard = members;
    }

    /// The next message; `None` when the session has ended, another stream was opened, or the group is removed.
    async fn next(&mut self) -> Option<Bytes> {
        let closed = self.all.inner.closed.clone();
        loop {
            if let Some(news) = self.news.pop_front() {
                return Some(news);
            }
            tokio::select! {
                // None of them loses anything when it is dropped: what is told is taken at once.
                () = self.replaced.cancelled() => return None,
                () = closed.cancelled() => return None,
                Some(text) = self.streams.next() => return Some(text),
                Ok(()) = self.changes.changed() => {
                    self.hear_all();
                    self.news.extend(CHANGED.iter().map(|(_, method)| changed(method)));
                }
                () = tokio::time::sleep(LOOK), if self.is_owed() => self.look(),
            }
        }
    }

    fn is_owed(&self) -> bool {
        self.heard.iter().any(|member| self.session.is_owed(member))
    }

    /// Servers that were missing and are back have other lists than the client was told.
    fn look(&mut self) {
        let back: Vec<_> = self.heard.iter().filter(|member| member.door.is_ready()).collect();
        let settled: Vec<_> = back.into_iter().filter(|member| self.session.settle(member)).collect();
        let has = |list: &str| settled.iter().any(|member| member.can(list) == Some(true));
        let news = CHANGED.iter().filter(|(list, _)| has(list)).map(|(_, method)| changed(method));
        self.news.extend(news);
    }
}

fn changed(method: &str) -> Bytes {
    rpc::notification(method, None).into()
}

/// Ends when a server is not part of the group any more; whoever is there otherwise goes on.
pub(super) fn gone(mut members: watch::Receiver<Arc<Members>>, door: Door) -> BoxFuture<'static, ()> {
    // Fails when the group is gone, and all its servers with it.
    async move { drop(members.wait_for(|members| !members.have(&door)).await) }.boxed()
}

/// What one server says to this client, whatever becomes of its processes, until it is removed.
fn said_by(session: Arc<Session>, member: Arc<Member>) -> impl futures_util::Stream<Item = Bytes> + Send {
    let voice = Voice::of(&member.name);
    let streams = stream::unfold((session, member, Duration::ZERO), async |(session, member, pause)| {
        tokio::time::sleep(pause).await;
        let stream = opened(&session, &member).await?;
        Some((stream, (session, member, PAUSE)))
    });
    streams.flatten().map(move |text| voice.message(text))
}

/// Its stream, as soon as there is one. `None`: there never will be.
async fn opened(session: &Session, member: &Member) -> Option<MessageStream> {
    loop {
        if let Ok(seat) = session.sit(member).await {
            match member.door.listen(&seat).await {
                Ok(stream) => return Some(stream),
                Err(SessionError::Unknown) => session.stand_up(member, &seat),
                Err(SessionError::Closed) => drop(member.door.session(&seat).await),
            }
        }
        if member.door.is_over() {
            return None;
        }
        tokio::time::sleep(AGAIN).await;
    }
}
