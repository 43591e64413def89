//! Places for sessions with a process of their own: asked for by clients, given by whoever makes processes.
//!
//! A place is asked for when a client shakes hands and given back when whatever holds it is dropped, so there is no way
//! for a session to end and leave its process behind. Which process stands in it the other side says, and may say anew
//! while nobody lives there.

use super::member::MemberId;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// How sessions have processes of their own at a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OwnProcesses {
    /// Most of them at a time.
    pub most: usize,
    /// After so long without a call or an open stream a session ends.
    pub idle: Duration,
    /// Nobody else serves: who has no session is not served.
    pub only: bool,
}

/// A place that was asked for, as the two sides call it. Never given out twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(u64);

/// The places of one server. Cheap to clone.
#[derive(Clone, Default)]
pub struct Places(Arc<Inner>);

#[derive(Default)]
struct Inner {
    book: Mutex<Book>,
    changed: watch::Sender<()>,
}

#[derive(Default)]
struct Book {
    own: Option<OwnProcesses>,
    given_out: u64,
    asked: BTreeMap<Ticket, Option<MemberId>>,
}

impl Places {
    /// The places that are asked for now.
    #[must_use]
    pub fn asked(&self) -> Vec<Ticket> {
        self.book().asked.keys().copied().collect()
    }

    pub(super) fn any(&self) -> bool {
        !self.book().asked.is_empty()
    }

    /// Told when places are asked for or given back.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<()> {
        self.0.changed.subscribe()
    }

    /// Says which member stands in a place. `false`: that was known, or the place was given back.
    pub(crate) fn assign(&self, ticket: Ticket, member: &MemberId) -> bool {
        let mut book = self.book();
        let Some(known) = book.asked.get_mut(&ticket) else { return false };
        known.replace(member.clone()).as_ref() != Some(member)
    }

    pub(super) fn own(&self) -> Option<OwnProcesses> {
        self.book().own
    }

    /// What was there before comes back.
    pub(super) fn set(&self, own: Option<OwnProcesses>) -> Option<OwnProcesses> {
        std::mem::replace(&mut self.book().own, own)
    }

    /// There will be nothing more.
    pub(super) fn close(&self) {
        self.0.changed.send_replace(());
    }

    /// Asks for one. `None`: there are as many as there may be.
    pub(super) fn ask(&self, most: usize) -> Option<Place> {
        let mut book = self.book();
        if book.asked.len() >= most {
            return None;
        }
        book.given_out += 1;
        let ticket = Ticket(book.given_out);
        book.asked.insert(ticket, None);
        drop(book);
        self.0.changed.send_replace(());
        Some(Place { of: self.clone(), ticket })
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        // Every change is one assignment.
        self.0.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place, given back when this is dropped.
pub(crate) struct Place {
    of: Places,
    ticket: Ticket,
}

impl Place {
    /// Who stands there, once that was said.
    pub(super) fn member(&self) -> Option<MemberId> {
        self.of.book().asked.get(&self.ticket).cloned().flatten()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.of.book().asked.remove(&self.ticket);
        self.of.0.changed.send_replace(());
    }
}

impl fmt::Debug for Places {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Places").field("asked", &self.asked()).finish_non_exhaustive()
    }
}
