//! What the server has asked of clients and was not answered yet, by the id under which the client knows it.

use super::session::SessionId;
use bytes::Bytes;
use std::collections::HashMap;

/// Most questions open at a time; beyond, the server is told so.
const LIMIT: usize = 256;

/// All of one process's.
#[derive(Default)]
pub(crate) struct Questions {
    table: HashMap<u64, Question>,
}

/// One.
pub(crate) struct Question {
    pub(crate) session: SessionId,
    /// The server's id, raw.
    pub(crate) id: Bytes,
    /// The server's progress token, raw.
    pub(crate) token: Option<Bytes>,
}

impl Questions {
    pub(crate) fn is_full(&self) -> bool {
        self.table.len() >= LIMIT
    }

    pub(crate) fn insert(&mut self, id: u64, question: Question) {
        self.table.insert(id, question);
    }

    /// A question put to this session; nobody else's.
    pub(crate) fn get(&self, id: u64, session: SessionId) -> Option<&Question> {
        self.table.get(&id).filter(|question| question.session == session)
    }

    pub(crate) fn take(&mut self, id: u64, session: SessionId) -> Option<Question> {
        self.get(id, session)?;
        self.table.remove(&id)
    }

    /// The question that the server knows by this id.
    pub(crate) fn take_by_server_id(&mut self, server_id: &[u8]) -> Option<(u64, Question)> {
        let id = *self.table.iter().find(|(_, question)| *question.id == *server_id)?.0;
        Some((id, self.table.remove(&id)?))
    }

    /// Whether this session was asked something.
    pub(crate) fn has(&self, session: SessionId) -> bool {
        self.table.values().any(|question| question.session == session)
    }

    /// The questions of a session that is gone.
    pub(crate) fn take_of(&mut self, session: SessionId) -> Vec<Question> {
        let of_session = |_: &u64, question: &mut Question| question.session == session;
        self.table.extract_if(of_session).map(|(_, question)| question).collect()
    }

    pub(crate) fn clear(&mut self) {
        self.table.clear();
    }
}
