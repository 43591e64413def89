//! The sessions of clients of a whole group. Each has a *seat* at every server that it has used: an ordinary session at
//! that server's door, opened when it is first needed and again when it was lost, with what the client said of itself.
//!
//! None of it is in the store: after a restart of the daemon clients begin anew.

use super::gather::result_of;
use super::members::Member;
use crate::{Door, PostReply, SessionId, rpc};
use bytes::Bytes;
use dtma_core::id::InstanceName;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio_util::sync::CancellationToken;

/// One client of the group.
pub(super) struct Session {
    pub(super) id: SessionId,
    /// The parameters of its `initialize`, raw.
    hello: Bytes,
    /// Whether its version has batches.
    pub(super) batches: bool,
    seats: Mutex<BTreeMap<InstanceName, Arc<Seat>>>,
    /// The last `logging/setLevel`, as parameters.
    level: Mutex<Option<Bytes>>,
    /// Servers of which it was not told everything, because they did not answer.
    owed: Mutex<BTreeSet<InstanceName>>,
    listener: Mutex<CancellationToken>,
    pub(super) ended: CancellationToken,
    used: AtomicU64,
    /// The look for unused sessions after which it was used last.
    seen: AtomicU64,
}

/// Its session at one server.
struct Seat {
    door: Door,
    session: Mutex<Option<Opening>>,
}

/// A session that is being opened, or is open: its id, or why there is none. Whoever waits for it drives it, so that a
/// client that does not read its stream holds none of its calls up.
type Opening = Shared<BoxFuture<'static, Result<Arc<str>, Arc<str>>>>;

/// A panic elsewhere leaves nothing half done: every change is one assignment.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Session {
    pub(super) fn new(hello: Bytes, batches: bool) -> Self {
        Self {
            id: SessionId::random(),
            hello,
            batches,
            seats: Mutex::default(),
            level: Mutex::default(),
            owed: Mutex::default(),
            listener: Mutex::default(),
            ended: CancellationToken::new(),
            used: AtomicU64::new(0),
            seen: AtomicU64::new(0),
        }
    }

    /// Its seat at that server; one at another of the same name is none.
    fn seat(&self, member: &Member) -> Arc<Seat> {
        let new = || Arc::new(Seat { door: member.door.clone(), session: Mutex::default() });
        let mut seats = lock(&self.seats);
        let seat = seats.entry(member.name.clone()).or_insert_with(new);
        if !seat.door.is(&member.door) {
            *seat = new();
        }
        Arc::clone(seat)
    }

    /// The id of its session at a server, opened where there is none.
    ///
    /// # Errors
    /// Why there is none, in a person's words.
    pub(super) async fn sit(&self, member: &Member) -> Result<Arc<str>, Arc<str>> {
        let seat = self.seat(member);
        let opening = lock(&seat.session).get_or_insert_with(|| self.open(member)).clone();
        let opened = opening.clone().await;
        if opened.is_err() {
            lock(&seat.session).take_if(|held| held.ptr_eq(&opening));
        }
        opened
    }

    fn open(&self, member: &Member) -> Opening {
        let (door, hello) = (member.door.clone(), request(b"0", "initialize", &self.hello));
        let level = lock(&self.level).clone().filter(|_| member.can("logging") == Some(true));
        let opening = async move {
            let session = match door.post(None, hello).await {
                PostReply::Opened { session, .. } => session.to_string(),
                PostReply::Body(body) | PostReply::Refused(body) | PostReply::Crowded { body, .. } => {
                    return Err(why(&body));
                }
                _ => return Err("it is gone".into()),
            };
            if let Some(level) = level {
                // One that does not know the level says as much as it did before.
                let _answer = door.post(Some(&session), request(b"0", "logging/setLevel", &level)).await;
            }
            Ok(session.into())
        };
        opening.boxed().shared()
    }

    /// That session is there no more.
    pub(super) fn stand_up(&self, member: &Member, session: &str) {
        let is_it = |held: &mut Opening| matches!(held.peek(), Some(Ok(id)) if &**id == session);
        lock(&self.seat(member).session).take_if(is_it);
    }

    /// The seats that are taken, without those that are being opened.
    pub(super) fn taken(&self) -> Vec<(Door, Arc<str>)> {
        let seats = lock(&self.seats);
        let taken = seats.values().filter_map(|seat| {
            let session = lock(&seat.session).as_ref()?.peek()?.clone().ok()?;
            Some((seat.door.clone(), session))
        });
        taken.collect()
    }

    pub(super) fn set_level(&self, params: Bytes) {
        *lock(&self.level) = Some(params);
    }

    /// Whether that server was missing before already. From now on it counts as missing.
    pub(super) fn misses(&self, member: &Member) -> bool {
        !lock(&self.owed).insert(member.name.clone())
    }

    pub(super) fn is_owed(&self, member: &Member) -> bool {
        lock(&self.owed).contains(&member.name)
    }

    /// What it was not told of that server it can ask for now. `false`: it was told everything.
    pub(super) fn settle(&self, member: &Member) -> bool {
        lock(&self.owed).remove(&member.name)
    }

    /// Its stream; an older one ends.
    pub(super) fn listens(&self) -> CancellationToken {
        let token = self.ended.child_token();
        std::mem::replace(&mut *lock(&self.listener), token.clone()).cancel();
        token
    }

    async fn end(&self) {
        self.ended.cancel();
        for (door, session) in self.taken() {
            // One that is not there any more is closed.
            let _unknown = door.close_session(&session).await;
        }
    }
}

fn why(answer: &[u8]) -> Arc<str> {
    let why = result_of(answer).map_or_else(|(_, why)| why, |_| "it opened no session".to_owned());
    why.into()
}

pub(super) fn request(id: &[u8], method: &str, params: &[u8]) -> Bytes {
    let method = rpc::quoted(method);
    let parts = [
        &br#"{"jsonrpc":"2.0","id":"#[..],
        id,
        br#","method":"#,
        method.as_bytes(),
        br#","params":"#,
        params,
        b"}",
    ];
    parts.concat().into()
}

/// All clients of a group.
#[derive(Default)]
pub(super) struct Sessions {
    table: Mutex<HashMap<SessionId, Arc<Session>>>,
    /// Counts uses, to know which was unused for longest.
    clock: AtomicU64,
    /// How often it was looked for sessions that nobody uses.
    looks: AtomicU64,
    /// How many of them were ended.
    expired: AtomicU64,
}

impl Sessions {
    pub(super) fn len(&self) -> usize {
        lock(&self.table).len()
    }

    /// The session of that id, as used just now.
    pub(super) fn using(&self, id: &str) -> Option<Arc<Session>> {
        let session = Arc::clone(lock(&self.table).get(&SessionId::parse(id)?)?);
        self.mark(&session);
        Some(session)
    }

    /// Adds one. Where there are as many as there may be, the one that nobody uses and that was unused for longest makes
    /// way. `false`: all are in use.
    pub(super) async fn add(&self, session: Arc<Session>, limit: usize) -> bool {
        self.mark(&session);
        let evicted = {
            let mut table = lock(&self.table);
            let evicted = if table.len() < limit { None } else { idle(&table) };
            if table.len() >= limit && evicted.is_none() {
                return false;
            }
            table.insert(session.id, session);
            evicted.and_then(|evicted| table.remove(&evicted))
        };
        if let Some(evicted) = evicted {
            evicted.end().await;
        }
        true
    }

    fn mark(&self, session: &Session) {
        session.used.store(self.clock.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
        session.seen.store(self.looks.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    /// Ends those that were not used for so many looks. Says how many they were.
    pub(super) async fn end_unused(&self, looks: u64) -> usize {
        let unused = self.take_unused(looks);
        for session in &unused {
            session.end().await;
        }
        self.expired.fetch_add(unused.len() as u64, Ordering::Relaxed);
        unused.len()
    }

    fn take_unused(&self, looks: u64) -> Vec<Arc<Session>> {
        let now = self.looks.fetch_add(1, Ordering::Relaxed) + 1;
        let mut table = lock(&self.table);
        let in_use = table.values().filter(|session| is_used(session));
        in_use.for_each(|session| session.seen.store(now, Ordering::Relaxed));
        let is_unused = |session: &Session| now.saturating_sub(session.seen.load(Ordering::Relaxed)) >= looks;
        table.extract_if(|_, session| is_unused(session)).map(|(_, session)| session).collect()
    }

    pub(super) fn expired(&self) -> u64 {
        self.expired.load(Ordering::Relaxed)
    }

    /// Ends one. `false`: there is none.
    pub(super) async fn end(&self, id: &str) -> bool {
        let ended = SessionId::parse(id).and_then(|id| lock(&self.table).remove(&id));
        match ended {
            Some(session) => {
                session.end().await;
                true
            }
            None => false,
        }
    }
}

/// Calls and streams hold their session.
fn is_used(session: &Arc<Session>) -> bool {
    Arc::strong_count(session) > 1
}

fn idle(table: &HashMap<SessionId, Arc<Session>>) -> Option<SessionId> {
    let idle = table.values().filter(|session| !is_used(session));
    idle.min_by_key(|session| session.used.load(Ordering::Relaxed)).map(|session| session.id)
}
