//! What is to be shown of a change: one row for each server concerned. No terminal, no clock.

use crate::output::text::line;
use dtma_client::types::{EventKind, EventView, PhaseWord, ServerView};
use std::collections::BTreeSet;

/// Whom a change concerns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Scope {
    /// Every server of a group.
    Group(String),
    /// These servers.
    Servers(BTreeSet<String>),
}

/// What a change led to.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Outcome {
    /// These servers stand like this.
    Stands(Vec<ServerView>),
    /// All of them are removed.
    Gone,
    /// It goes on.
    Open,
}

/// One server as it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) phase: Option<PhaseWord>,
    pub(crate) reason: Option<String>,
    /// Received and expected bytes of its image, while it is fetched.
    pub(crate) pull: Option<(u64, u64)>,
    pub(crate) removed: bool,
}

/// The rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Board {
    scope: Scope,
    pub(crate) rows: Vec<Row>,
}

impl Board {
    pub(crate) fn new(scope: Scope, servers: &[String]) -> Self {
        Self { scope, rows: servers.iter().map(|name| Row::new(name)).collect() }
    }

    /// Takes an event in and says whose rows it changed.
    pub(crate) fn hear(&mut self, event: &EventView) -> Vec<usize> {
        match event.instance_name.as_deref() {
            Some(instance) if self.concerns(event, instance) => self.hear_of(instance, &event.kind),
            None if event.kind == EventKind::Removed
                && self.scope == Scope::Group(event.group_id.clone()) =>
            {
                self.settle(&Outcome::Gone)
            }
            Some(_) | None => Vec::new(),
        }
    }

    fn hear_of(&mut self, instance: &str, kind: &EventKind) -> Vec<usize> {
        match kind {
            EventKind::Phase { phase, reason } => {
                self.change(instance, |row| row.enter(*phase, reason.clone()))
            }
            EventKind::Pull { received, total } => {
                self.change(instance, |row| row.pull = Some((*received, *total)))
            }
            EventKind::Removed => self.change(instance, |row| row.removed = true),
            EventKind::Group { .. }
            | EventKind::Contract { .. }
            | EventKind::Accepted { .. }
            | EventKind::Finished { .. }
            | EventKind::Unknown => Vec::new(),
        }
    }

    /// Takes in how everything stands at the end and says whose rows that changed.
    pub(crate) fn settle(&mut self, outcome: &Outcome) -> Vec<usize> {
        match outcome {
            Outcome::Open => Vec::new(),
            Outcome::Gone => {
                let names: Vec<String> = self.rows.iter().map(|row| row.name.clone()).collect();
                names.iter().flat_map(|name| self.change(name, |row| row.removed = true)).collect()
            }
            Outcome::Stands(servers) => {
                let enter = |server: &ServerView| {
                    self.change(&server.instance_name, |row| row.enter(server.phase, server.reason.clone()))
                };
                servers.iter().flat_map(enter).collect()
            }
        }
    }

    fn change(&mut self, name: &str, change: impl FnOnce(&mut Row)) -> Vec<usize> {
        let index = self.row(name);
        let before = self.rows[index].clone();
        change(&mut self.rows[index]);
        if self.rows[index] == before { Vec::new() } else { vec![index] }
    }

    fn concerns(&self, event: &EventView, instance: &str) -> bool {
        match &self.scope {
            Scope::Group(group) => event.group_id == *group,
            Scope::Servers(servers) => servers.contains(instance),
        }
    }

    fn row(&mut self, name: &str) -> usize {
        self.rows.iter().position(|row| row.name == name).unwrap_or_else(|| {
            self.rows.push(Row::new(name));
            self.rows.len() - 1
        })
    }
}

impl Row {
    fn new(name: &str) -> Self {
        Self { name: name.to_owned(), phase: None, reason: None, pull: None, removed: false }
    }

    fn enter(&mut self, phase: PhaseWord, reason: Option<String>) {
        if phase != PhaseWord::Creating {
            self.pull = None;
        }
        (self.phase, self.reason) = (Some(phase), reason);
    }

    /// What stands beside its name.
    pub(crate) fn says(&self) -> String {
        if self.removed {
            return "removed".into();
        }
        match (self.phase, self.pull, &self.reason) {
            (_, Some((received, total)), _) => format!("fetching its image, {}", bytes(received, total)),
            (Some(PhaseWord::Updating), None, Some(reason)) => format!("updating ({})", line(reason)),
            (Some(phase), None, Some(reason)) if !reason.starts_with(phase.as_str()) => {
                format!("{phase}: {}", line(reason))
            }
            (Some(_), None, Some(reason)) => line(reason),
            (Some(phase), None, None) => phase.to_string(),
            (None, None, _) => "…".into(),
        }
    }

    /// True when nothing more is awaited of it.
    pub(crate) fn is_settled(&self) -> bool {
        self.removed
            || match self.phase {
                Some(
                    PhaseWord::OnDemand
                    | PhaseWord::Ready
                    | PhaseWord::Idle
                    | PhaseWord::Completed
                    | PhaseWord::Stopped
                    | PhaseWord::Failed,
                ) => true,
                Some(
                    PhaseWord::Creating
                    | PhaseWord::Waiting
                    | PhaseWord::Starting
                    | PhaseWord::Updating
                    | PhaseWord::Backoff
                    | PhaseWord::Stopping
                    | PhaseWord::Removing,
                )
                | None => false,
            }
    }
}

/// `12.5 of 94.0 MB`; the total is not always known.
fn bytes(received: u64, total: u64) -> String {
    let mega = |bytes: u64| bytes as f64 / 1e6;
    if total > 0 {
        format!("{:.1} of {:.1} MB", mega(received), mega(total.max(received)))
    } else {
        format!("{:.1} MB", mega(received))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(group: &str, instance: Option<&str>, kind: EventKind) -> EventView {
        let (group_id, instance_name) = (group.to_owned(), instance.map(str::to_owned));
        EventView { seq: 1, at: String::new(), group_id, instance_name, kind }
    }

    fn phase(phase: PhaseWord, reason: Option<&str>) -> EventKind {
        EventKind::Phase { phase, reason: reason.map(str::to_owned) }
    }

    #[test]
    fn a_server_from_its_image_to_its_answer() {
        let mut board = Board::new(Scope::Group("demo".into()), &["time".to_owned()]);
        assert_eq!(board.rows[0].says(), "…");
        let steps = [
            (phase(PhaseWord::Creating, None), "creating"),
            (
                EventKind::Pull { received: 12_500_000, total: 94_000_000 },
                "fetching its image, 12.5 of 94.0 MB",
            ),
            (EventKind::Pull { received: 13_000_000, total: 0 }, "fetching its image, 13.0 MB"),
            (phase(PhaseWord::Waiting, Some("waiting for git healthy")), "waiting for git healthy"),
            (phase(PhaseWord::Backoff, Some("exited\u{7}; attempt 1")), "backoff: exited\\u{7}; attempt 1"),
            (phase(PhaseWord::Ready, None), "ready"),
            (
                phase(PhaseWord::Updating, Some("the new one is starting; the old one serves")),
                "updating (the new one is starting; the old one serves)",
            ),
            (phase(PhaseWord::Ready, None), "ready"),
        ];
        for (kind, says) in steps {
            assert_eq!(board.hear(&event("demo", Some("time"), kind)), [0]);
            assert_eq!(board.rows[0].says(), says);
        }
        assert!(board.rows[0].is_settled());
        assert_eq!(board.hear(&event("demo", Some("time"), phase(PhaseWord::Ready, None))), [0; 0]);
    }

    #[test]
    fn a_group_that_is_gone_takes_its_servers_along() {
        let mut board = Board::new(Scope::Group("demo".into()), &["a".to_owned(), "b".to_owned()]);
        assert_eq!(board.hear(&event("demo", Some("a"), phase(PhaseWord::Removing, None))), [0]);
        assert_eq!(board.hear(&event("demo", None, EventKind::Removed)), [0, 1]);
        assert_eq!(board.settle(&Outcome::Gone), [0; 0]);
        assert_eq!(board.rows[1].says(), "removed");
    }

    #[test]
    fn others_do_not_appear() {
        let mut board = Board::new(Scope::Group("demo".into()), &[]);
        assert_eq!(board.hear(&event("other", Some("x"), phase(PhaseWord::Ready, None))), [0; 0]);
        assert_eq!(board.hear(&event("other", None, EventKind::Removed)), [0; 0]);
        assert_eq!(board.hear(&event("demo", Some("new"), phase(PhaseWord::Ready, None))), [0]);
        let mut board = Board::new(Scope::Servers(["a".to_owned()].into()), &[]);
        assert_eq!(board.hear(&event("demo", Some("b"), phase(PhaseWord::Ready, None))), [0; 0]);
        assert_eq!(board.hear(&event("demo", Some("a"), phase(PhaseWord::Stopping, None))), [0]);
    }
}
