//! One process behind a door, as the door counts it.

use super::logs::Logbook;
use super::news::Seen;
use super::stateless::Known;
use crate::ServerHandle;
use dtma_core::log::Origin;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The name of a member, given by whoever admits it. Means nothing here.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemberId(Arc<str>);

impl From<String> for MemberId {
    fn from(name: String) -> Self {
        Self(name.into())
    }
}

impl From<&str> for MemberId {
    fn from(name: &str) -> Self {
        Self(name.into())
    }
}

impl fmt::Display for MemberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A member of this name is there already; dismiss it first.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a member {0} is there already")]
pub struct MemberTaken(pub MemberId);

/// A member.
pub(crate) struct Member {
    /// Counts the members ever admitted.
    pub(crate) number: u64,
    pub(crate) origin: Origin,
    pub(crate) handle: ServerHandle,
    sessions: AtomicUsize,
    calls: AtomicUsize,
    /// See [`super::stateless`].
    pub(crate) stateless: Known,
}

impl Member {
    pub(crate) fn new(number: u64, origin: Origin, handle: ServerHandle) -> Self {
        Self {
            number,
            origin,
            handle,
            sessions: AtomicUsize::new(0),
            calls: AtomicUsize::new(0),
            stateless: Known::default(),
        }
    }

    pub(crate) fn logbook(&self) -> Logbook {
        Logbook { origin: self.origin, reader: self.handle.reader().clone() }
    }

    /// What its clients may know of it by now.
    pub(crate) fn seen(&self) -> Seen {
        Seen::of(self.origin.generation, self.handle.state().borrow().ready())
    }

    /// Sessions that live there, and calls of the house's own in flight.
    pub(crate) fn load(&self) -> Load {
        Load { sessions: self.sessions.load(Ordering::Relaxed), calls: self.calls.load(Ordering::Relaxed) }
    }
}

/// How much a member has to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Load {
    pub(crate) sessions: usize,
    pub(crate) calls: usize,
}

/// A member, counted as that of one session more for as long as this is held.
pub(crate) struct Seat(Arc<Member>);

impl Seat {
    pub(crate) fn at(member: &Arc<Member>) -> Self {
        member.sessions.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(member))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.sessions.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Deref for Seat {
    type Target = Arc<Member>;

    fn deref(&self) -> &Arc<Member> {
        &self.0
    }
}

/// A member, counted as busy with one call more of the house's own for as long as this is held.
pub(crate) struct Turn(Arc<Member>);

impl Turn {
    pub(crate) fn at(member: &Arc<Member>) -> Self {
        member.calls.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(member))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.calls.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Deref for Turn {
    type Target = Arc<Member>;

    fn deref(&self) -> &Arc<Member> {
        &self.0
    }
}
