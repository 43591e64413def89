//! Calls that take too long: when that is, and what becomes of them. A server that tells of progress, or whose question is
//! with its client, gets more time, up to a bound.

use super::CallDeadline;
use super::calls::{Call, Caller};
use super::owner::Owner;
use crate::rpc;
use std::pin::Pin;
use std::time::Duration;
use tokio::time::{Instant, Sleep, sleep_until};

/// When a call is given up.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Due {
    pub(crate) at: Instant,
    /// However much the server tells.
    last: Instant,
}

impl Due {
    fn of(within: CallDeadline) -> Self {
        let now = Instant::now();
        let last = now + within.longest;
        Self { at: last.min(now + within.quiet), last }
    }

    /// Something was heard of it.
    pub(crate) fn put_off(&mut self, within: CallDeadline) {
        self.at = self.last.min(Instant::now() + within.quiet);
    }

    fn is_over(&self) -> bool {
        self.at >= self.last
    }
}

/// Wakes the owner when a call may be due. Rather too early than too late: calls end, and are put off, without it.
#[derive(Default)]
pub(super) struct Alarm(Option<Pin<Box<Sleep>>>);

impl Alarm {
    fn set(&mut self, at: Instant) {
        match &mut self.0 {
            Some(sleep) if sleep.deadline() <= at => {}
            Some(sleep) => sleep.as_mut().reset(at),
            None => self.0 = Some(Box::pin(sleep_until(at))),
        }
    }

    /// Never where none is set. Dropped: it rings at the same time all the same.
    pub(super) async fn rings(&mut self) {
        match &mut self.0 {
            Some(sleep) => sleep.as_mut().await,
            None => std::future::pending().await,
        }
        self.0 = None;
    }
}

impl Owner {
    /// When a call that begins now is to be given up.
    pub(super) fn due(&mut self) -> Option<Due> {
        let due = Due::of(self.shared.limits.deadline?);
        self.alarm.set(due.at);
        Some(due)
    }

    /// The server is at work on that call.
    pub(super) fn is_heard_of(&mut self, id: u64) {
        if let Some(within) = self.shared.limits.deadline {
            self.calls.put_off(id, within);
        }
    }

    /// Ends the calls that are due.
    pub(super) fn rung(&mut self) {
        let now = Instant::now();
        for id in self.calls.due(now) {
            if !self.waits_for_client(id, now) {
                self.time_out(id);
            }
        }
        if let Some(next) = self.calls.next_due() {
            self.alarm.set(next);
        }
    }

    /// A call in whose course its client was asked something is not late by the time that takes.
    fn waits_for_client(&mut self, id: u64, now: Instant) -> bool {
        let session = self.calls.client(id).map(|client| client.session);
        let is_asked = session.is_some_and(|session| self.questions.has(session));
        if is_asked {
            self.is_heard_of(id);
        }
        is_asked && self.calls.due_at(id).is_some_and(|due| due.at > now)
    }

    fn time_out(&mut self, id: u64) {
        let Some(Call { caller: Caller::Client(client), due, .. }) = self.calls.take(id) else { return };
        self.sessions.ended(client.session, &client.id);
        if self.sessions.get(client.session).is_none() {
            self.leave_unanswered(client.session);
        }
        self.cancel(id, "it took too long");
        let after = self.shared.limits.deadline.map_or(Duration::ZERO, |within| match due {
            Some(due) if due.is_over() => within.longest,
            Some(_) | None => within.quiet,
        });
        client.way.finish(rpc::timed_out(&client.id, after));
    }
}
