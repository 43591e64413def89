//! What the server said of itself lately: for clients that come back and say how far they had heard it.

use super::reply::{Event, EventId};
use bytes::Bytes;
use dtma_core::id::RunKey;
use std::collections::VecDeque;
use std::sync::Arc;
use uuid::Uuid;

/// Messages that are kept.
const MESSAGES: usize = 256;
/// Bytes of them.
const BYTES: usize = 256 << 10;

/// The last notifications of a server's that belong to no call, over all its processes.
pub(crate) struct Recent {
    said: VecDeque<(EventId, Bytes)>,
    bytes: usize,
    /// The place after the last line of the present process.
    last: EventId,
    /// The present process.
    run: Arc<str>,
    /// Where nobody counts the output, lines are counted here; another life begins at one again and says so.
    life: Arc<str>,
    lines: u64,
}

impl Recent {
    pub(crate) fn new() -> Self {
        let life: Arc<str> = Uuid::new_v4().simple().to_string().into();
        Self {
            said: VecDeque::new(),
            bytes: 0,
            last: EventId::new(Arc::clone(&life), 0),
            run: Arc::clone(&life),
            life,
            lines: 0,
        }
    }

    /// This process speaks from now on.
    pub(crate) fn begin(&mut self, run: &RunKey) {
        let tag = process(run);
        if *self.run != *tag {
            self.run = tag.into();
            self.last = EventId::new(Arc::clone(&self.run), 0);
        }
    }

    /// A line ended at this place of the output.
    pub(crate) fn heard(&mut self, place: Option<u64>) {
        match place {
            Some(place) => self.last = EventId::new(Arc::clone(&self.run), place),
            None => {
                self.lines += 1;
                self.last = EventId::new(Arc::clone(&self.life), self.lines);
            }
        }
    }

    /// What comes after this is not known yet.
    pub(crate) fn last(&self) -> &EventId {
        &self.last
    }

    /// The last line was a message for everybody.
    pub(crate) fn keep(&mut self, text: &Bytes) -> EventId {
        // Copied: a slice would keep all that came with it.
        self.said.push_back((self.last.clone(), Bytes::copy_from_slice(text)));
        self.bytes += text.len();
        while (self.bytes > BYTES || self.said.len() > MESSAGES)
            && let Some((_, text)) = self.said.pop_front()
        {
            self.bytes -= text.len();
        }
        self.last.clone()
    }

    /// What was said after that, as far as it is known.
    pub(crate) fn after(&self, id: &EventId) -> impl Iterator<Item = Event> {
        let same = |known: &EventId| known.process == id.process;
        let heard = self.said.iter().rposition(|(known, _)| known.is_up_to(id));
        let from = heard
            .map(|last| last + 1)
            .or_else(|| self.said.iter().position(|(known, _)| same(known)))
            // Of the present process nothing is known yet; or it is an older one than all that is known.
            .unwrap_or(if same(&self.last) { self.said.len() } else { 0 });
        self.said.range(from..).map(|(id, text)| Event { id: Some(id.clone()), text: text.clone() })
    }
}

/// The same in every life of the daemon.
fn process(run: &RunKey) -> String {
    let container = run.container.as_str();
    let short = container.get(..12).unwrap_or(container);
    format!("{short}.{}", run.started_at.as_microsecond())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(number: i64) -> RunKey {
        RunKey { container: "c".into(), started_at: dtma_core::Timestamp::new(number, 0).unwrap() }
    }

    fn says(recent: &mut Recent, place: Option<u64>, text: &str) -> EventId {
        recent.heard(place);
        recent.keep(&Bytes::copy_from_slice(text.as_bytes()))
    }

    #[track_caller]
    fn check(recent: &Recent, after: &EventId, texts: &[&str]) {
        let again: Vec<_> = recent.after(after).map(|event| event.text).collect();
        assert_eq!(again, texts, "after {after}");
    }

    #[test]
    fn whoever_comes_back_hears_what_came_after() {
        let mut recent = Recent::new();
        recent.begin(&run(1));
        let begin = recent.last().clone();
        let one = says(&mut recent, Some(10), "one");
        recent.heard(Some(15));
        let between = recent.last().clone();
        says(&mut recent, Some(20), "two");
        check(&recent, &begin, &["one", "two"]);
        check(&recent, &one, &["two"]);
        check(&recent, &between, &["two"]);
        recent.begin(&run(2));
        check(&recent, recent.last(), &[]);
        let three = says(&mut recent, Some(5), "three");
        check(&recent, &one, &["two", "three"]);
        check(&recent, &three, &[]);
        check(&recent, &EventId::new("older".into(), 7), &["one", "two", "three"]);
    }

    #[test]
    fn places_of_an_earlier_life_mean_nothing_where_nobody_counts() {
        let (mut before, mut now) = (Recent::new(), Recent::new());
        for recent in [&mut before, &mut now] {
            recent.begin(&run(1));
        }
        for text in ["a", "b"] {
            says(&mut before, None, text);
        }
        let heard = before.last().clone();
        let first = says(&mut now, None, "c");
        check(&now, &heard, &["c"]);
        now.begin(&run(1));
        let next = says(&mut now, None, "d");
        assert_eq!((first.place, next.place), (1, 2));
        check(&now, &first, &["d"]);
    }

    #[test]
    fn the_memory_is_bounded() {
        let mut recent = Recent::new();
        recent.begin(&run(1));
        let begin = recent.last().clone();
        for place in 1..=1000 {
            says(&mut recent, Some(place), &"x".repeat(10));
        }
        assert_eq!(recent.after(&begin).count(), MESSAGES);
        for place in 1..=10 {
            says(&mut recent, Some(1000 + place), &"x".repeat(100_000));
        }
        assert_eq!((recent.said.len(), recent.bytes), (2, 200_000));
        says(&mut recent, Some(5000), &"x".repeat(BYTES + 1));
        assert_eq!((recent.said.len(), recent.bytes), (0, 0), "too long to be kept");
    }
}
