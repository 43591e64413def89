//! The decision: what to ask vault and provider of one grant, and what whoever needs its token gets.
//!
//! ```text
//!   Unread ──read──> Held ──invalid_grant of the token, of the one before it,──> AuthFailed
//!                    │  ^     and the vault knows no other                           │
//!                    └──┘ refreshed                   Held <──── connected anew ─────┘
//! ```
//!
//! At most one [`Action`] is under way. The next is begun by the step that takes its answer, or by a later one.

mod held;
mod view;

pub use view::{Access, Answer, Health, Unavailable, View};

use super::pace::{Failure, FailureKind, Line, patience};
use super::record::{Proof, Record, Tokens};
use super::timeline::{Moment, Timeline};
use dtma_core::Timestamp;
use held::{Held, Turn, Unsaved};
use std::time::Duration;

/// A token that upstream accepted for so long has nothing to do with 401s before it.
const CALM: Duration = Duration::from_secs(300);
/// So often the vault is asked for another token before a grant is given up.
const REREADS: u8 = 2;

/// When a token is renewed, besides when upstream refuses it and when a person asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strategy {
    /// At two thirds of its life, less 10 to 20 %.
    OnExpiry,
    /// So often, less 10 to 20 %, a minute at least; sooner where the token lives shorter.
    Periodic(Duration),
    /// When somebody needs it and it is spent.
    OnDemand,
}

/// What happens to a grant.
#[derive(Debug)]
pub enum Input {
    /// Time passed.
    Tick,
    /// Somebody needs the token.
    Wanted,
    /// Somebody asks for a new one now.
    Forced,
    /// Upstream refused the token of that generation (401).
    Rejected(u64),
    /// A person connected anew.
    Reconnected(Record),
    /// What was under way came to an end.
    Done(Outcome),
}

/// What is to be done. Its end is told with [`Input::Done`].
#[derive(Debug)]
pub enum Action {
    /// Read the record from the vault.
    Load,
    /// Ask the provider for tokens.
    Ask(Proof),
    /// Write the record into the vault.
    Save(Record),
}

/// What became of an action.
#[derive(Debug)]
pub enum Outcome {
    /// Of [`Action::Load`].
    Loaded(Result<Record, Failure>),
    /// Of [`Action::Ask`].
    Asked(Result<Tokens, Failure>),
    /// Of [`Action::Save`].
    Saved(Result<(), Failure>),
}

#[derive(Debug)]
enum Standing {
    Unread,
    Held(Held),
    AuthFailed { since: Timestamp, said: String },
}

#[derive(Debug)]
enum Flight {
    Load,
    Ask(Proof),
    Save,
}

/// 401s from upstream: a new token is asked for at once, and after that the more rarely the less it helped.
#[derive(Debug, Default)]
struct Rejections {
    count: u32,
    until: Duration,
}

/// One grant.
#[derive(Debug)]
pub struct Machine {
    strategy: Strategy,
    timeline: Timeline,
    standing: Standing,
    flight: Option<Flight>,
    /// Came in while something was under way, whose end is waited for: two writes must not overtake each other.
    reconnected: Option<Record>,
    provider: Line,
    vault: Line,
    rejections: Rejections,
    /// A new token is due whatever its age.
    wish: bool,
    generation: u64,
    refreshes: u64,
    failures: u64,
    last_refresh: Option<Timestamp>,
}

impl Machine {
    /// A grant of which nothing is known yet.
    #[must_use]
    pub fn new(strategy: Strategy, now: Moment) -> Self {
        Self {
            strategy,
            timeline: Timeline::new(now),
            standing: Standing::Unread,
            flight: None,
            reconnected: None,
            provider: Line::default(),
            vault: Line::default(),
            rejections: Rejections::default(),
            wish: false,
            generation: 0,
            refreshes: 0,
            failures: 0,
            last_refresh: None,
        }
    }

    /// Takes what happened and says what to do about it. `dice` is a number from 0 to 1.
    pub fn step(&mut self, now: Moment, input: Input, dice: f64) -> Option<Action> {
        self.timeline.advance(now);
        match input {
            Input::Tick => {}
            Input::Wanted => self.wish |= self.current().is_none(),
            Input::Forced => self.forced(),
            Input::Rejected(generation) => self.rejected(generation, dice),
            Input::Reconnected(record) if self.flight.is_some() => self.reconnected = Some(record),
            Input::Reconnected(record) => self.connect(&record, dice),
            Input::Done(outcome) => self.done(outcome, dice),
        }
        self.begin()
    }

    fn forced(&mut self) {
        self.wish = true;
        self.provider.hurry(self.timeline.at());
        self.vault.hurry(self.timeline.at());
    }

    fn rejected(&mut self, generation: u64, dice: f64) {
        let at = self.timeline.at();
        let Standing::Held(held) = &mut self.standing else { return };
        let Some(served) = held.served.as_mut().filter(|served| served.generation == generation) else {
            return;
        };
        if at.saturating_sub(served.since) > CALM {
            self.rejections = Rejections::default();
        }
        if served.refused || at < self.rejections.until {
            return;
        }
        served.refused = true;
        self.wish = true;
        self.rejections.until = at + patience(self.rejections.count, dice);
        self.rejections.count = self.rejections.count.saturating_add(1);
    }

    /// A new grant begins; it is used once the vault has it.
    fn connect(&mut self, record: &Record, dice: f64) {
        self.adopt(record, dice);
        if let Standing::Held(held) = &mut self.standing {
            held.unsaved = Unsaved::Rotation;
        }
        self.rejections = Rejections::default();
        self.provider.answered();
    }

    fn adopt(&mut self, record: &Record, dice: f64) {
        self.generation += 1;
        self.wish = false;
        self.standing =
            Standing::Held(Held::read(record, &self.timeline, self.generation, self.strategy, dice));
    }

    fn done(&mut self, outcome: Outcome, dice: f64) {
        let flight = self.flight.take();
        if let Some(record) = self.reconnected.take() {
            // Whatever was answered belongs to the grant before this one.
            return self.connect(&record, dice);
        }
        match (flight, outcome) {
            (Some(Flight::Load), Outcome::Loaded(Ok(record))) => self.loaded(&record, dice),
            (Some(Flight::Ask(proof)), Outcome::Asked(Ok(tokens))) => self.refreshed(&proof, &tokens, dice),
            (Some(Flight::Ask(_)), Outcome::Asked(Err(failure))) => self.unanswered(failure, dice),
            (Some(Flight::Save), Outcome::Saved(Ok(()))) => self.saved(),
            (Some(Flight::Load), Outcome::Loaded(Err(failure)))
            | (Some(Flight::Save), Outcome::Saved(Err(failure))) => {
                self.vault.failed(self.timeline.at(), failure, dice);
            }
            // Nobody has asked for this.
            (_, Outcome::Loaded(_) | Outcome::Asked(_) | Outcome::Saved(_)) => {}
        }
    }

    fn loaded(&mut self, record: &Record, dice: f64) {
        self.vault.answered();
        match &self.standing {
            Standing::Unread => {
                // Who asked before anything was known is answered from what was read, or by a refresh.
                let wished = self.wish;
                self.adopt(record, dice);
                self.wish = wished && self.current().is_none();
            }
            Standing::Held(held) if held.knows(record) => {
                let said = self.provider.last().map_or_else(String::new, |failure| failure.said.clone());
                self.standing = Standing::AuthFailed { since: self.timeline.wall(), said };
            }
            Standing::Held(held) => {
                let rereads = held.rereads;
                self.adopt(record, dice);
                self.wish = true;
                if let Standing::Held(held) = &mut self.standing {
                    held.rereads = rereads;
                }
            }
            Standing::AuthFailed { .. } => {}
        }
    }

    fn refreshed(&mut self, proof: &Proof, tokens: &Tokens, dice: f64) {
        self.provider.answered();
        self.wish = false;
        self.generation += 1;
        self.refreshes += 1;
        self.last_refresh = Some(self.timeline.wall());
        let record = Record::after(proof, tokens, self.timeline.wall());
        let unsaved = if record.previous.is_some() { Unsaved::Rotation } else { Unsaved::Access };
        let mut held = Held::read(&record, &self.timeline, self.generation, self.strategy, dice);
        held.unsaved = unsaved;
        self.standing = Standing::Held(held);
    }

    fn unanswered(&mut self, failure: Failure, dice: f64) {
        self.failures += 1;
        let revoked = failure.kind == FailureKind::Revoked;
        let said = failure.said.clone();
        self.provider.failed(self.timeline.at(), failure, dice);
        if let (true, Standing::Held(held)) = (revoked, &mut self.standing) {
            // Another token is another question: nothing is waited for but the brake.
            self.provider.hurry(self.timeline.at());
            if held.next_turn() == Turn::GivenUp {
                self.standing = Standing::AuthFailed { since: self.timeline.wall(), said };
            }
        }
    }

    fn saved(&mut self) {
        self.vault.answered();
        if let Standing::Held(held) = &mut self.standing {
            held.unsaved = Unsaved::Nothing;
        }
    }

    fn begin(&mut self) -> Option<Action> {
        if self.flight.is_some() || !self.wait()?.is_zero() {
            return None;
        }
        let (at, running) = (self.timeline.at(), self.timeline.running());
        let action = match &mut self.standing {
            Standing::AuthFailed { .. } => return None,
            Standing::Unread => Action::Load,
            Standing::Held(held)
                if held.unsaved != Unsaved::Nothing && self.vault.wait(at, running).is_zero() =>
            {
                Action::Save(held.record.clone())
            }
            Standing::Held(held) => held.action(),
        };
        let (line, flight) = match &action {
            Action::Load => (&mut self.vault, Flight::Load),
            Action::Ask(proof) => (&mut self.provider, Flight::Ask(proof.clone())),
            Action::Save(_) => (&mut self.vault, Flight::Save),
        };
        line.take(at, running).then(|| {
            self.flight = Some(flight);
            action
        })
    }

    /// How long until there is something to do, when nothing happens before; `None` when nothing will be.
    #[must_use]
    pub fn wait(&self) -> Option<Duration> {
        let (at, running) = (self.timeline.at(), self.timeline.running());
        let vault = self.vault.wait(at, running);
        let held = match &self.standing {
            _ if self.flight.is_some() => return None,
            Standing::Unread => return Some(vault),
            Standing::AuthFailed { .. } => return None,
            Standing::Held(held) => held,
        };
        let line = if held.turn == Turn::Reread { vault } else { self.provider.wait(at, running) };
        let due = if self.wish { Some(at) } else { held.due };
        let ask = due.map(|due| due.saturating_sub(at).max(line));
        match held.unsaved {
            Unsaved::Nothing => ask,
            Unsaved::Access => Some(ask.map_or(vault, |ask| ask.min(vault))),
            Unsaved::Rotation => Some(vault),
        }
    }
}

#[cfg(test)]
mod tests;
