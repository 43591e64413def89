//! A session on its way to a member. Whoever opens it may leave before the member has answered; what the answer says has
//! to be known all the same, because another session may have made way.

use super::Door;
use super::member::Member;
use super::table::Table;
use crate::SessionId;
use crate::server::command::Opened;
use dtma_core::record::GatewaySession;
use std::sync::Arc;
use tokio::sync::oneshot;
use tokio::sync::oneshot::error::TryRecvError;

/// A member was asked to take a session.
pub(crate) struct Opening {
    session: SessionId,
    member: Arc<Member>,
    answer: oneshot::Receiver<Opened>,
    /// Nobody knows of it but the one who asked: without him it is to be closed.
    is_new: bool,
}

/// Puts it aside when it is dropped.
struct Asker<'a> {
    door: &'a Door,
    session: SessionId,
    is_new: bool,
    opening: Option<Opening>,
    over: bool,
}

impl Drop for Asker<'_> {
    fn drop(&mut self) {
        if self.over {
            return;
        }
        let mut table = self.door.table();
        let entry = if self.is_new { table.sessions.remove(&self.session) } else { None };
        table.opening.extend(self.opening.take());
        drop(table);
        drop(entry);
    }
}

impl Door {
    /// Has a member open a session that lives there in the table; what came of it is noted there. `None`: the member is gone.
    pub(super) async fn open_there(
        &self,
        session: SessionId,
        member: &Arc<Member>,
        kept: Arc<GatewaySession>,
        is_new: bool,
    ) -> Option<Opened> {
        let mut asker = Asker { door: self, session, is_new, opening: None, over: false };
        let answer = member.handle.begin_open(session, kept).await.ok();
        asker.opening = answer.map(|answer| Opening { session, member: Arc::clone(member), answer, is_new });
        let opened = match &mut asker.opening {
            Some(opening) => (&mut opening.answer).await.ok(),
            None => None,
        };
        asker.over = true;
        let mut table = self.table();
        match opened {
            Some(Opened::Here { evicted }) => table.installed(session, member, evicted),
            Some(Opened::Full | Opened::Draining) | None if is_new => drop(table.sessions.remove(&session)),
            Some(Opened::Full | Opened::Draining) | None => {}
        }
        opened
    }
}

impl Table {
    /// Notes what members have answered to those who did not wait for it.
    pub(crate) fn settle_openings(&mut self) {
        for mut opening in std::mem::take(&mut self.opening) {
            match opening.answer.try_recv() {
                Ok(Opened::Here { evicted }) => {
                    self.installed(opening.session, &opening.member, evicted);
                    if opening.is_new {
                        opening.member.handle.drop_session(opening.session);
                    }
                }
                Ok(Opened::Full | Opened::Draining) | Err(TryRecvError::Closed) => {}
                Err(TryRecvError::Empty) => self.opening.push(opening),
            }
        }
    }
}
