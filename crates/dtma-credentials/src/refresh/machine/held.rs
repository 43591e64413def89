//! A grant whose record is known: its access token, what is not in the vault yet, and which refresh token has its turn.

use super::super::pace::early;
use super::super::record::{Proof, Record, same};
use super::super::timeline::{Timeline, elapsed};
use super::{Action, REREADS, Strategy};
use secrecy::SecretString;
use std::time::Duration;

/// A token is not handed out so shortly before its end, or a tenth of its life before.
const MARGIN: Duration = Duration::from_secs(10);
/// Nothing is renewed more often by plan.
const SHORTEST_PERIOD: Duration = Duration::from_secs(60);

/// What the vault does not have yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unsaved {
    Nothing,
    /// An access token; without it a start of the daemon begins with a refresh.
    Access,
    /// A refresh token, which is not used before.
    Rotation,
}

/// How the next token is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    Current,
    /// The one before it: the current one is not valid.
    Previous,
    /// Neither is; perhaps somebody else has written another into the vault.
    Reread,
    /// That was tried often enough.
    GivenUp,
}

/// The access token that serves.
#[derive(Debug)]
pub(super) struct Served {
    pub(super) token: SecretString,
    pub(super) generation: u64,
    /// On the grant's line.
    pub(super) since: Duration,
    /// On the grant's line; `None` when nobody said.
    pub(super) end: Option<Duration>,
    /// Upstream refused it.
    pub(super) refused: bool,
}

#[derive(Debug)]
pub(super) struct Held {
    pub(super) record: Record,
    pub(super) served: Option<Served>,
    pub(super) unsaved: Unsaved,
    pub(super) turn: Turn,
    pub(super) rereads: u8,
    /// On the grant's line: when the next token is asked for by plan.
    pub(super) due: Option<Duration>,
}

impl Held {
    pub(super) fn read(
        record: &Record,
        timeline: &Timeline,
        generation: u64,
        strategy: Strategy,
        dice: f64,
    ) -> Self {
        let access = record.access.as_ref();
        let served = access.map(|access| {
            // Another machine's clock may be ahead of ours; nothing is younger than new.
            let age = elapsed(access.obtained, timeline.wall());
            let since = timeline.at().saturating_sub(age);
            let end = access.lifetime.map(|life| since + life);
            Served { token: access.token.clone(), generation, since, end, refused: false }
        });
        let due = due(strategy, served.as_ref(), timeline.at(), dice);
        Self {
            record: record.clone(),
            served,
            unsaved: Unsaved::Nothing,
            turn: Turn::Current,
            rereads: 0,
            due,
        }
    }

    /// Whether the vault's record has no refresh token that was not tried.
    pub(super) fn knows(&self, record: &Record) -> bool {
        let (new, ours) = (record.refresh.as_ref(), &self.record);
        same(new, ours.refresh.as_ref()) || same(new, ours.previous.as_ref())
    }

    /// The token that had its turn is not valid.
    pub(super) fn next_turn(&mut self) -> Turn {
        self.turn = match self.turn {
            Turn::Current if self.record.previous.is_some() => Turn::Previous,
            Turn::Current | Turn::Previous if self.rereads < REREADS => {
                self.rereads += 1;
                Turn::Reread
            }
            Turn::Current | Turn::Previous | Turn::Reread | Turn::GivenUp => Turn::GivenUp,
        };
        self.turn
    }

    pub(super) fn action(&self) -> Action {
        let token = match self.turn {
            Turn::Current => &self.record.refresh,
            Turn::Previous => &self.record.previous,
            Turn::Reread | Turn::GivenUp => return Action::Load,
        };
        Action::Ask(token.clone().map_or(Proof::Client, Proof::RefreshToken))
    }

    /// The token that may be handed out.
    pub(super) fn usable(&self, at: Duration) -> Option<&Served> {
        self.served.as_ref().filter(|served| !served.refused && !served.is_spent(at))
    }
}

impl Served {
    fn is_spent(&self, at: Duration) -> bool {
        self.end.is_some_and(|end| at >= end - MARGIN.min((end - self.since) / 10))
    }
}

fn due(strategy: Strategy, served: Option<&Served>, now: Duration, dice: f64) -> Option<Duration> {
    let proactive = |served: &Served| Some(served.since + early((served.end? - served.since) * 2 / 3, dice));
    match (strategy, served) {
        (Strategy::OnDemand, _) => None,
        (Strategy::OnExpiry | Strategy::Periodic(_), None) => Some(now),
        (Strategy::OnExpiry, Some(served)) => proactive(served),
        (Strategy::Periodic(period), Some(served)) => {
            let due = served.since + early(period.max(SHORTEST_PERIOD), dice);
            Some(proactive(served).map_or(due, |proactive| proactive.min(due)))
        }
    }
}
