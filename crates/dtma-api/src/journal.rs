//! The newest events, kept so that a reader who lost its connection can go on where it was.
//!
//! An event's id is `<life>-<seq>`: numbers begin anew with every life of the daemon, and an id of another life
//! must not be mistaken for one of this. Whoever asks for what is no longer kept is told to look at everything
//! again.

use crate::view;
use dtma_api_types::EventView;
use dtma_manager::Event;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

/// Events kept.
const KEPT: usize = 4096;
/// Events that wait for a slow reader; one that falls further behind is cut off. Fewer than are kept, so that it can go
/// on where it was.
const WAITING: usize = 1024;

/// One thing to tell a reader.
#[derive(Debug, Clone)]
pub(crate) enum Entry {
    /// It happened.
    Event(Arc<EventView>),
    /// Something was lost.
    Gap,
}

/// Keeps and hands out.
#[derive(Debug)]
pub(crate) struct Journal {
    life: String,
    kept: Mutex<VecDeque<Arc<EventView>>>,
    live: broadcast::Sender<Entry>,
}

/// What a new reader gets first, and from where it goes on.
#[derive(Debug)]
pub(crate) struct Subscription {
    /// What it missed, oldest first.
    pub(crate) missed: Vec<Entry>,
    /// What happens from now on.
    pub(crate) live: broadcast::Receiver<Entry>,
}

impl Journal {
    pub(crate) fn new() -> Self {
        let life = uuid::Uuid::new_v4().simple().to_string()[..8].to_owned();
        Self { life, kept: Mutex::new(VecDeque::new()), live: broadcast::Sender::new(WAITING) }
    }

    /// The id of an event on the wire.
    pub(crate) fn id(&self, event: &EventView) -> String {
        format!("{}-{}", self.life, event.seq)
    }

    /// Takes down what happens until the manager ends.
    pub(crate) async fn record(&self, mut events: broadcast::Receiver<Event>) {
        loop {
            match events.recv().await {
                Ok(event) => self.push(view::event(event)),
                Err(RecvError::Lagged(missed)) => self.forget(missed),
                Err(RecvError::Closed) => return,
            }
        }
    }

    pub(crate) fn push(&self, event: EventView) {
        let event = Arc::new(event);
        let mut kept = self.kept();
        if kept.len() >= KEPT {
            kept.pop_front();
        }
        kept.push_back(Arc::clone(&event));
        // Sent under the lock, so that a new reader neither misses it nor sees it twice. No reader is no error.
        let _ = self.live.send(Entry::Event(event));
    }

    fn forget(&self, missed: u64) {
        tracing::warn!(missed, "events came faster than they could be taken down");
        let mut kept = self.kept();
        kept.clear();
        let _ = self.live.send(Entry::Gap);
    }

    /// Begins to read: after the event `last`, or from now on.
    pub(crate) fn subscribe(&self, last: Option<&str>) -> Subscription {
        let kept = self.kept();
        let missed = last.map_or_else(Vec::new, |last| self.after(&kept, last));
        Subscription { missed, live: self.live.subscribe() }
    }

    /// What is kept, oldest first.
    pub(crate) fn everything(&self) -> Vec<Entry> {
        self.kept().iter().cloned().map(Entry::Event).collect()
    }

    fn after(&self, kept: &VecDeque<Arc<EventView>>, last: &str) -> Vec<Entry> {
        let seq = last.strip_prefix(&self.life).and_then(|rest| rest.strip_prefix('-')?.parse::<u64>().ok());
        let newest = kept.back().map(|event| event.seq);
        match (seq, newest) {
            (Some(seq), Some(newest)) if seq == newest => Vec::new(),
            (Some(seq), Some(newest)) if seq < newest && kept.iter().any(|event| event.seq == seq + 1) => {
                kept.iter()
                    .filter(|event| event.seq > seq)
                    .map(|event| Entry::Event(Arc::clone(event)))
                    .collect()
            }
            (Some(_) | None, Some(_) | None) => vec![Entry::Gap],
        }
    }

    fn kept(&self) -> MutexGuard<'_, VecDeque<Arc<EventView>>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dtma_api_types::EventKind;

    fn journal(events: u64) -> Journal {
        let journal = Journal::new();
        for seq in 1..=events {
            journal.push(EventView {
                seq,
                at: String::new(),
                group_id: "g".into(),
                instance_name: None,
                kind: EventKind::Removed,
            });
        }
        journal
    }

    /// Event numbers, 0 for a gap.
    fn missed(journal: &Journal, last: &str) -> Vec<u64> {
        let seq = |entry: &Entry| match entry {
            Entry::Event(event) => event.seq,
            Entry::Gap => 0,
        };
        journal.subscribe(Some(last)).missed.iter().map(seq).collect()
    }

    #[test]
    fn a_reader_goes_on_where_it_was() {
        let journal = journal(5);
        let life = journal.life.clone();
        assert_eq!(missed(&journal, &format!("{life}-3")), [4, 5]);
        assert_eq!(missed(&journal, &format!("{life}-5")), [0; 0]);
        assert!(journal.subscribe(None).missed.is_empty());
    }

    #[test]
    fn a_reader_from_elsewhere_is_told_to_look_again() {
        let journal = journal(KEPT as u64 + 10);
        let life = journal.life.clone();
        for last in
            ["", "3", "00000000-3", &format!("{life}-x"), &format!("{life}-9999999"), &format!("{life}-3")]
        {
            assert_eq!(missed(&journal, last), [0], "{last}");
        }
    }
}
