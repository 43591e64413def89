//! The start queue: how many processes may be coming up at the same moment, over all groups. Coming up costs a server more
//! than anything it does later, so fifty that start together on two cores each take so long that they are given up, and
//! begin anew. A few may always start; more do while the machine keeps up, which its pressure stall information tells.
//!
//! A turn is held from the start of a process until that answers, or ends, or has taken longer than processes of its image
//! usually do: one that never answers must not hold up the others.

use crate::pressure::{Gauge, Stalled};
use dtma_core::id::ImageId;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// Between two looks at the machine.
pub(crate) const LOOK: Duration = Duration::from_millis(100);
/// A difference over longer than this says nothing of now.
const STALE: Duration = Duration::from_secs(2);
/// Who has not asked for this long is passed over: its group has other worries.
const SILENT: Duration = Duration::from_secs(1);
/// Above this part of the time, work waits for a processor.
const CPU: f64 = 0.5;
/// And for memory, of which a machine has no more by waiting.
const MEMORY: f64 = 0.1;
/// Most turns at the same moment, however idle the machine is.
const MOST: usize = 64;
/// How long a turn lasts at most for an image that nothing is known of yet.
const UNKNOWN: Duration = Duration::from_secs(10);
/// The bounds of what is learned.
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(30);
/// As many times the slowest of the latest starts is given.
const SLACK: u32 = 3;
/// Starts of an image that are remembered, and images.
const REMEMBERED: usize = 8;
const IMAGES: usize = 256;

/// The queue.
#[derive(Clone)]
pub(crate) struct Starts(Arc<Mutex<State>>);

struct State {
    gauge: Gauge,
    /// Turns that there are always.
    least: usize,
    /// Turns that there are now.
    turns: usize,
    taken: usize,
    /// When the machine was looked at last.
    looked: Option<(Instant, Option<Stalled>)>,
    /// By rank, and in the order in which they came.
    waiting: BTreeMap<Number, Waiter>,
    next: u64,
    /// How long the latest starts of each image took.
    learned: BTreeMap<ImageId, VecDeque<Duration>>,
}

/// Who is waited for comes before who is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rank {
    /// Somebody waits for it, or may at any moment.
    Needed,
    /// It is made for somebody who is still to come.
    Spare,
}

/// A place in the order of turns.
type Number = (Rank, u64);

struct Waiter {
    wake: Arc<Notify>,
    asked: Instant,
}

impl Starts {
    /// `least` turns there are always.
    pub(crate) fn new(least: usize, gauge: Gauge) -> Self {
        let least = least.clamp(1, MOST);
        let state = State {
            gauge,
            least,
            turns: least,
            taken: 0,
            looked: None,
            waiting: BTreeMap::new(),
            next: 0,
            learned: BTreeMap::new(),
        };
        Self(Arc::new(Mutex::new(state)))
    }

    /// Takes a place in the line. `wake` is told when it is worth asking again.
    pub(crate) fn line_up(&self, rank: Rank, wake: &Arc<Notify>) -> Place {
        let mut state = self.state();
        let number = (rank, state.next);
        state.next += 1;
        state.waiting.insert(number, Waiter { wake: Arc::clone(wake), asked: Instant::now() });
        Place { starts: self.clone(), number }
    }

    /// Turns that are taken, and places in the line.
    pub(crate) fn count(&self) -> (usize, usize) {
        let state = self.state();
        (state.taken, state.waiting.len())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change is whole before anything could panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place in the line; given up when dropped.
pub(crate) struct Place {
    starts: Starts,
    number: Number,
}

impl Place {
    /// A turn, if it is this one's.
    pub(crate) fn ask(&self, image: &ImageId) -> Option<Turn> {
        let mut state = self.starts.state();
        let now = Instant::now();
        if let Some(waiter) = state.waiting.get_mut(&self.number) {
            waiter.asked = now;
        }
        if !state.is_next(self.number, now) {
            state.look(now);
        }
        if !state.is_next(self.number, now) {
            return None;
        }
        state.taken += 1;
        let over = now + state.patience(image);
        Some(Turn { starts: self.starts.clone(), image: image.clone(), began: now, over })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.starts.state();
        state.waiting.remove(&self.number);
        state.wake();
    }
}

/// Leave to come up; given back when dropped.
pub(crate) struct Turn {
    starts: Starts,
    image: ImageId,
    began: Instant,
    over: Instant,
}

impl Turn {
    /// When it is over even without an answer.
    pub(crate) fn over(&self) -> Instant {
        self.over
    }

    /// It answers: how long that took is remembered.
    pub(crate) fn came_up(self) {
        let took = self.began.elapsed();
        self.starts.state().learn(&self.image, took);
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut state = self.starts.state();
        state.taken = state.taken.saturating_sub(1);
        state.wake();
    }
}

impl State {
    /// True when there is a turn for everybody who came before and for this one, too.
    fn is_next(&self, number: Number, now: Instant) -> bool {
        let here = |waiter: &&Waiter| now.duration_since(waiter.asked) < SILENT;
        let before = self.waiting.range(..number).map(|(_, waiter)| waiter).filter(here).count();
        self.taken + before < self.turns
    }

    /// Twice as many turns while the machine keeps up, the least at once when it does not.
    fn look(&mut self, now: Instant) {
        let before = self.looked;
        if before.is_some_and(|(at, _)| now.duration_since(at) < LOOK) {
            return;
        }
        let seen = (self.gauge)();
        self.looked = Some((now, seen));
        self.turns = match (before, seen) {
            (Some((at, Some(before))), Some(seen)) if now.duration_since(at) <= STALE => {
                let part = |before: Duration, seen: Duration| {
                    seen.saturating_sub(before).as_secs_f64() / now.duration_since(at).as_secs_f64()
                };
                let keeps_up = part(before.cpu, seen.cpu) < CPU && part(before.memory, seen.memory) < MEMORY;
                if keeps_up { (self.turns * 2).min(MOST) } else { self.least }
            }
            _ => self.least,
        };
    }

    fn patience(&self, image: &ImageId) -> Duration {
        let slowest = self.learned.get(image).and_then(|latest| latest.iter().max());
        slowest.map_or(UNKNOWN, |slowest| (*slowest * SLACK).clamp(SHORTEST, LONGEST))
    }

    fn learn(&mut self, image: &ImageId, took: Duration) {
        if self.learned.len() >= IMAGES && !self.learned.contains_key(image) {
            self.learned.pop_first();
        }
        let latest = self.learned.entry(image.clone()).or_default();
        latest.push_back(took);
        if latest.len() > REMEMBERED {
            latest.pop_front();
        }
    }

    /// Tells those for whom there may be a turn now.
    fn wake(&self) {
        let free = self.turns.saturating_sub(self.taken);
        self.waiting.values().take(free).for_each(|waiter| waiter.wake.notify_one());
    }
}

#[cfg(test)]
mod tests;
