//! One message of an agent's and what became of it: only where the texts lie, so that it costs its sender nothing.

use super::{By, CallJournal};
use crate::gateway::Target;
use bytes::Bytes;
use dtma_core::Timestamp;
use dtma_mcp::{Naming, PostReply, Watcher};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// What a message got.
#[derive(Debug)]
pub(super) enum Fate {
    /// This; the last of what came.
    Answered(Bytes),
    /// It was no message, or had no session.
    Refused(Bytes),
    /// There is no such session.
    NoSession,
    /// Its sender may not ask that, or not so often; the code that was answered.
    Barred(&'static str),
    /// The server was removed.
    Closed,
    /// Nobody waited for the answer.
    Left,
}

/// A message that is over.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) who: Arc<str>,
    pub(super) target: Target,
    /// Of a group.
    pub(super) naming: Option<Naming>,
    pub(super) by: By,
    pub(super) at: Timestamp,
    pub(super) took: Duration,
    pub(super) asked: Bytes,
    pub(super) fate: Fate,
    /// Bytes of everything that came back.
    pub(super) received: u64,
}

impl Call {
    /// Bytes that it holds in memory.
    pub(super) fn size(&self) -> usize {
        let answer = match &self.fate {
            Fate::Answered(text) | Fate::Refused(text) => text.len(),
            Fate::NoSession | Fate::Barred(_) | Fate::Closed | Fate::Left => 0,
        };
        self.asked.len() + answer
    }
}

/// A message that is under way. Dropped before its answer came: its sender left.
pub(crate) struct Pending(Option<Open>);

struct Open {
    journal: CallJournal,
    who: Arc<str>,
    target: Target,
    naming: Option<Naming>,
    by: By,
    asked: Bytes,
    began: Instant,
    received: u64,
    last: Bytes,
}

impl Pending {
    pub(super) fn new(journal: CallJournal, who: Arc<str>, target: Target, by: By, asked: Bytes) -> Self {
        let (began, last) = (Instant::now(), Bytes::new());
        Self(Some(Open { journal, who, target, naming: None, by, asked, began, received: 0, last }))
    }

    /// What things of the group are called that is asked.
    pub(crate) fn called(mut self, naming: Option<Naming>) -> Self {
        if let Some(open) = &mut self.0 {
            open.naming = naming;
        }
        self
    }

    /// Notes what became of it; of a stream when that is over. What has no answer is not noted.
    pub(crate) fn answered(mut self, reply: PostReply) -> PostReply {
        let fate = match &reply {
            PostReply::Body(body) | PostReply::Opened { body, .. } => Fate::Answered(body.clone()),
            PostReply::Refused(body) | PostReply::Crowded { body, .. } => Fate::Refused(body.clone()),
            PostReply::UnknownSession => Fate::NoSession,
            PostReply::Closed => Fate::Closed,
            PostReply::Accepted => {
                self.0 = None;
                return reply;
            }
            PostReply::Stream(_) => return self.streaming(reply),
        };
        self.over(fate);
        reply
    }

    /// It was not passed on, and its sender was told so with this code.
    pub(crate) fn barred(mut self, code: &'static str) {
        self.over(Fate::Barred(code));
    }

    fn streaming(self, reply: PostReply) -> PostReply {
        match reply {
            PostReply::Stream(messages) => PostReply::Stream(messages.watched(self)),
            other => other,
        }
    }

    fn over(&mut self, fate: Fate) {
        let Some(open) = self.0.take() else { return };
        let Open { journal, who, target, naming, by, asked, began, received, last: _ } = open;
        let received = match &fate {
            Fate::Answered(text) | Fate::Refused(text) if received == 0 => text.len() as u64,
            Fate::Answered(_)
            | Fate::Refused(_)
            | Fate::NoSession
            | Fate::Barred(_)
            | Fate::Closed
            | Fate::Left => received,
        };
        let (at, took) = ((journal.0.wall)(), began.elapsed());
        journal.note(Call { who, target, naming, by, at, took, asked, fate, received });
    }
}

impl Watcher for Pending {
    fn passes(&mut self, message: &Bytes) {
        if let Some(open) = &mut self.0 {
            open.received += message.len() as u64;
            open.last = message.clone();
        }
    }

    fn ended(&mut self) {
        let last = self.0.as_mut().map(|open| std::mem::take(&mut open.last)).unwrap_or_default();
        self.over(Fate::Answered(last));
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.over(Fate::Left);
    }
}
