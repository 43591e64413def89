//! The client sessions of one server.

use super::calls::Calls;
use super::command::Guest;
use super::reply::{Event, EventId};
use super::session::SessionId;
use super::wishes::Subject;
use crate::wish;
use bytes::Bytes;
use dtma_core::record::{GatewaySession, Wishes};
use serde::de::IgnoredAny;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::time::Instant;

/// What a session was told on other ways than its stream, as far as that is remembered.
const TOLD: usize = 64;

/// Messages that may come again at once: what a shim keeps of short ones.
const AGAIN: usize = 1024;

/// Questions that wait for the client of a process of its own to listen; beyond, the server is told so.
const HELD: usize = 16;

/// All of them.
pub(crate) struct Sessions {
    table: HashMap<SessionId, Session>,
    limit: usize,
    /// Counts uses, to know which session was unused for longest.
    clock: u64,
}

/// One client.
pub(crate) struct Session {
    /// Its calls in flight: the client's id, raw, to ours.
    pub(crate) calls: HashMap<Bytes, u64>,
    /// What it asked the server to keep in mind.
    pub(crate) wishes: Wishes,
    /// The top-level names of its capabilities.
    capabilities: Vec<String>,
    listener: Option<mpsc::Sender<Event>>,
    /// Its client has heard the server up to there. What comes from a shim again may be older.
    heard: Option<EventId>,
    /// What it was told on the streams of its calls while nobody listened: not to be told again.
    told: VecDeque<EventId>,
    /// It lives elsewhere by now, or nowhere, and stays only for its calls in flight.
    leaving: bool,
    /// It is there for one call. It wants to hear the server's log, or not.
    guest: Option<bool>,
    /// What a process of its own has asked while nobody listened.
    held: VecDeque<Bytes>,
    used: u64,
    used_at: Instant,
}

impl Session {
    fn new(capabilities: &[u8], used: u64) -> Self {
        let capabilities: BTreeMap<String, IgnoredAny> =
            serde_json::from_slice(capabilities).unwrap_or_default();
        let capabilities = capabilities.into_keys().collect();
        Self {
            calls: HashMap::new(),
            wishes: Wishes::default(),
            capabilities,
            listener: None,
            heard: None,
            told: VecDeque::new(),
            leaving: false,
            guest: None,
            held: VecDeque::new(),
            used,
            used_at: Instant::now(),
        }
    }

    pub(crate) fn can(&self, capability: &str) -> bool {
        self.capabilities.iter().any(|name| name == capability)
    }

    /// Whether what the server says to everybody is for it. A guest hears of its own call only, and the log of a server
    /// that works for nobody else.
    pub(crate) fn hears(&self, subject: &Subject, alone: bool) -> bool {
        match (self.guest, subject) {
            (Some(wants_log), Subject::Log(_)) => wants_log && alone,
            (Some(_), Subject::Update { .. } | Subject::Other) => false,
            (None, Subject::Log(level)) => {
                let wanted = self.wishes.log_level.as_deref().and_then(wish::rank);
                level.zip(wanted).is_none_or(|(level, wanted)| level >= wanted)
            }
            (None, Subject::Update { uri }) => wish::is_watched(&self.wishes, uri),
            (None, Subject::Other) => true,
        }
    }

    /// Opens the stream of its GET, which begins with what it missed; an older one ends.
    pub(crate) fn listen(
        &mut self,
        room: usize,
        heard: Option<&EventId>,
        missed: Vec<Event>,
    ) -> mpsc::Receiver<Event> {
        let again = if heard.is_some() { AGAIN } else { 0 };
        let held = std::mem::take(&mut self.held).into_iter().map(Event::unnumbered);
        let (sender, receiver) = mpsc::channel(room.max(1) + held.len() + missed.len() + again);
        let told = std::mem::take(&mut self.told);
        let missed = missed.into_iter().filter(|event| !told.iter().any(|id| Some(id) == event.id.as_ref()));
        for event in missed.chain(held) {
            // There is room for all of them.
            let _ = sender.try_send(event);
        }
        self.listener = Some(sender);
        self.heard = heard.cloned();
        receiver
    }

    /// Something that belongs to no call: to its GET stream, else to the newest of its open calls. `false` when
    /// there is neither, or when the client does not keep up.
    pub(crate) fn tell(&mut self, event: Event, calls: &mut Calls, room: usize) -> bool {
        if self.knows(&event) {
            return true;
        }
        match self.by_listener(event) {
            Ok(()) => true,
            Err(Some(Event { id, text })) => {
                let told = self.by_call(text, calls, room);
                if told && let Some(id) = id {
                    self.remember(id);
                }
                told
            }
            Err(None) => false,
        }
    }

    /// Something that was said before, for a client that has said up to where it had heard it and listens already.
    pub(crate) fn tell_again(&mut self, event: &Event) {
        let missed =
            self.heard.as_ref().zip(event.id.as_ref()).is_some_and(|(heard, id)| !id.is_up_to(heard));
        if missed {
            // One that does not keep up misses it.
            let _ = self.by_listener(event.clone());
        }
    }

    fn knows(&mut self, event: &Event) -> bool {
        let knows = self.heard.as_ref().zip(event.id.as_ref()).is_some_and(|(heard, id)| id.is_up_to(heard));
        if !knows {
            // What comes from here on is newer.
            self.heard = None;
        }
        knows
    }

    fn remember(&mut self, id: EventId) {
        self.told.truncate(TOLD - 1);
        self.told.push_front(id);
    }

    /// A question that arose from a call: to the newest of its open calls, else to its GET stream.
    pub(crate) fn ask(&mut self, message: Bytes, calls: &mut Calls, room: usize) -> bool {
        let has_call = self.calls.values().any(|id| calls.is_open(*id));
        match has_call {
            true => self.by_call(message, calls, room),
            false => self.by_listener(Event::unnumbered(message)).is_ok(),
        }
    }

    /// Gives the message back when nobody listens, and nothing when the listener does not keep up.
    fn by_listener(&mut self, event: Event) -> Result<(), Option<Event>> {
        let Some(listener) = &self.listener else { return Err(Some(event)) };
        match listener.try_send(event) {
            Ok(()) => Ok(()),
            Err(TrySendError::Full(_)) => Err(None),
            Err(TrySendError::Closed(event)) => {
                self.listener = None;
                Err(Some(event))
            }
        }
    }

    fn by_call(&self, message: Bytes, calls: &mut Calls, room: usize) -> bool {
        let newest = self.calls.values().copied().filter(|id| calls.is_open(*id)).max();
        newest.and_then(|id| calls.client(id)).is_some_and(|client| client.way.say(message, room))
    }

    /// Whether it listens for changes of resources.
    pub(crate) fn watches(&self) -> bool {
        let listens = |listener: &mpsc::Sender<Event>| !listener.is_closed();
        !self.leaving && !self.wishes.watched.is_empty() && self.listener.as_ref().is_some_and(listens)
    }

    /// The same of a process of its own, whose questions are for nobody else: the client that does not listen yet is
    /// asked when it does, or calls.
    pub(crate) fn ask_in_time(&mut self, message: Bytes, calls: &mut Calls, room: usize) -> bool {
        if self.ask(message.clone(), calls, room) {
            return true;
        }
        let holds = self.held.len() < HELD && self.listener.is_none();
        if holds {
            self.held.push_back(message);
        }
        holds
    }

    /// Its client has called, and hears what was asked before.
    pub(crate) fn give_held(&mut self, calls: &mut Calls, room: usize) {
        while let Some(message) = self.held.pop_front() {
            self.by_call(message, calls, room);
        }
    }

    fn in_use(&self) -> bool {
        !self.calls.is_empty() || self.listener.as_ref().is_some_and(|listener| !listener.is_closed())
    }
}

impl Sessions {
    pub(crate) fn new(limit: usize) -> Self {
        Self { table: HashMap::new(), limit: limit.max(1), clock: 0 }
    }

    /// Adds a session; one that is here already stays. At the limit another makes way and is given back; when none
    /// can, the new one is refused.
    pub(crate) fn open(
        &mut self,
        id: SessionId,
        kept: &GatewaySession,
    ) -> Result<Option<SessionId>, AllInUse> {
        if let Some(session) = self.using(id) {
            session.leaving = false;
            session.wishes = kept.wishes.clone();
            return Ok(None);
        }
        let full = self.table.len() >= self.limit;
        let evicted = if full { Some(self.least_used().ok_or(AllInUse)?) } else { None };
        if let Some(evicted) = evicted {
            self.table.remove(&evicted);
        }
        self.clock += 1;
        let session = Session::new(kept.capabilities.as_bytes(), self.clock);
        self.table.insert(id, Session { wishes: kept.wishes.clone(), ..session });
        Ok(evicted)
    }

    /// Somebody who is here for one call.
    pub(crate) fn host(&mut self, id: SessionId, guest: &Guest) {
        let session = Session::new(&guest.capabilities, self.clock);
        self.table.insert(id, Session { leaving: true, guest: Some(guest.logs), ..session });
    }

    pub(crate) fn close(&mut self, id: SessionId) -> Option<Session> {
        self.table.remove(&id)
    }

    /// A session that is being used now.
    pub(crate) fn using(&mut self, id: SessionId) -> Option<&mut Session> {
        self.clock += 1;
        let session = self.table.get_mut(&id)?;
        session.used = self.clock;
        session.used_at = Instant::now();
        Some(session)
    }

    /// For how long it was not used: not at all while it has calls or a stream.
    pub(crate) fn unused_for(&self, id: SessionId) -> Option<Duration> {
        let session = self.table.get(&id)?;
        Some(if session.in_use() { Duration::ZERO } else { session.used_at.elapsed() })
    }

    /// The only one there is.
    pub(crate) fn only(&self) -> Option<SessionId> {
        self.table.keys().next().copied()
    }

    pub(crate) fn get(&self, id: SessionId) -> Option<&Session> {
        self.table.get(&id)
    }

    pub(crate) fn get_mut(&mut self, id: SessionId) -> Option<&mut Session> {
        self.table.get_mut(&id)
    }

    /// What those want that stay.
    pub(crate) fn wishes(&self) -> impl Iterator<Item = &Wishes> {
        self.table.values().filter(|session| !session.leaving).map(|session| &session.wishes)
    }

    pub(crate) fn all(&mut self) -> impl Iterator<Item = &mut Session> {
        self.table.values_mut()
    }

    /// A call of a session is over.
    pub(crate) fn ended(&mut self, session: SessionId, client_id: &[u8]) {
        if let Some(session) = self.table.get_mut(&session) {
            session.calls.remove(client_id);
            session.used_at = Instant::now();
        }
        self.let_go(session);
    }

    /// A session goes elsewhere.
    pub(crate) fn release(&mut self, id: SessionId) {
        if let Some(session) = self.table.get_mut(&id) {
            session.leaving = true;
            session.listener = None;
        }
        self.let_go(id);
    }

    pub(crate) fn release_all(&mut self) {
        let ids: Vec<_> = self.table.keys().copied().collect();
        ids.into_iter().for_each(|id| self.release(id));
    }

    /// No session has calls any more.
    pub(crate) fn clear_calls(&mut self) {
        self.table.values_mut().for_each(|session| session.calls.clear());
        self.table.retain(|_, session| !session.leaving);
    }

    fn let_go(&mut self, id: SessionId) {
        let is_over = |session: &Session| session.leaving && session.calls.is_empty();
        if self.table.get(&id).is_some_and(is_over) {
            self.table.remove(&id);
        }
    }

    /// Who has calls in flight.
    pub(crate) fn with_calls(&self) -> Audience {
        let mut busy = self.table.iter().filter(|(_, session)| !session.calls.is_empty());
        match (busy.next(), busy.next()) {
            (None, _) => Audience::Nobody,
            (Some((only, _)), None) => Audience::One(*only),
            (Some(_), Some(_)) => Audience::Several,
        }
    }

    /// Those that have calls or streams open.
    pub(crate) fn in_use(&self) -> Vec<SessionId> {
        self.table.iter().filter(|(_, session)| session.in_use()).map(|(id, _)| *id).collect()
    }

    fn least_used(&self) -> Option<SessionId> {
        let idle = self.table.iter().filter(|(_, session)| !session.in_use());
        idle.min_by_key(|(_, session)| session.used).map(|(id, _)| *id)
    }
}

/// Every session has calls or streams open.
#[derive(Debug)]
pub(crate) struct AllInUse;

/// Who may have caused what the server asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Audience {
    Nobody,
    One(SessionId),
    Several,
}
