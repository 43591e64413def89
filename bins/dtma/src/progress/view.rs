//! The four ways to draw a board: live, plain lines, JSON lines, not at all.

use super::board::{Board, Row};
use super::live::Live;
use crate::app::App;
use crate::cli::ProgressMode;
use crate::output::Ink;
use crate::output::ink::Mood;
use crate::output::text::{escape_json, line};
use dtma_client::types::PhaseWord;
use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};

/// How a board is drawn.
pub(super) enum View {
    Silent,
    Live(Live),
    Plain(Plain),
    Json,
}

impl View {
    pub(super) fn new(app: &App) -> Self {
        match app.progress {
            ProgressMode::None => Self::Silent,
            ProgressMode::Json => Self::Json,
            ProgressMode::Auto if std::io::stderr().is_terminal() => {
                Self::Live(Live::new(app.output.remark_ink))
            }
            ProgressMode::Auto | ProgressMode::Plain => {
                Self::Plain(Plain { ink: app.output.remark_ink, last: BTreeMap::new() })
            }
        }
    }

    pub(super) fn is_silent(&self) -> bool {
        matches!(self, Self::Silent)
    }

    pub(super) fn is_live(&self) -> bool {
        matches!(self, Self::Live(_))
    }

    pub(super) fn begin(&mut self, board: &Board) {
        if let Self::Live(live) = self {
            live.begin(board);
        }
    }

    /// Draws the rows with these indices.
    pub(super) fn changed(&mut self, board: &Board, rows: &[usize]) {
        for (index, row) in rows.iter().filter_map(|index| Some((*index, board.rows.get(*index)?))) {
            match self {
                Self::Silent => {}
                Self::Live(live) => live.changed(board, index),
                Self::Plain(plain) => plain.changed(row),
                Self::Json => say(&json(row)),
            }
        }
    }

    /// Draws how everything stands at the end. Plain lines are about what happened; the result is printed anyway.
    pub(super) fn settled(&mut self, board: &Board, rows: &[usize]) {
        match self {
            Self::Live(_) | Self::Json => self.changed(board, rows),
            Self::Silent | Self::Plain(_) => {}
        }
    }

    pub(super) fn tick(&mut self) {
        if let Self::Live(live) = self {
            live.tick();
        }
    }

    pub(super) fn end(&self) {
        if let Self::Live(live) = self {
            live.end();
        }
    }
}

/// One line for each change; of a pull only every tenth, and not the first time that a started server is asked in
/// vain.
pub(super) struct Plain {
    ink: Ink,
    last: BTreeMap<String, Row>,
}

impl Plain {
    fn changed(&mut self, row: &Row) {
        let last = self.last.insert(row.name.clone(), row.clone());
        if last.is_none_or(|last| is_news(&last, row)) {
            say(&format!("{}  {}", line(&row.name), coloured(row, self.ink)));
        }
    }
}

fn is_news(last: &Row, row: &Row) -> bool {
    match (last.pull, row.pull) {
        (Some(before), Some(now)) => tenth(before) != tenth(now),
        (None, None) if row.phase == Some(PhaseWord::Starting) && last.phase == row.phase => {
            last.reason.is_some() || row.removed
        }
        (None | Some(_), None) | (None, Some(_)) => true,
    }
}

/// Which tenth has arrived; of an unknown total, which ten megabytes.
fn tenth((received, total): (u64, u64)) -> u64 {
    received.saturating_mul(10).checked_div(total).unwrap_or(received / 10_000_000)
}

/// What a row says, in the colour of its phase.
pub(super) fn coloured(row: &Row, ink: Ink) -> String {
    match row.phase {
        Some(phase) if !row.removed => ink.paint(Mood::from(phase), &row.says()),
        Some(_) | None => row.says(),
    }
}

fn json(row: &Row) -> String {
    let pull = row.pull.map(|(received, total)| serde_json::json!({"received": received, "total": total}));
    let said = serde_json::json!({
        "instanceName": row.name,
        "phase": if row.removed { Some("removed") } else { row.phase.map(PhaseWord::as_str) },
        "reason": row.reason,
        "pull": pull,
    });
    escape_json(&said.to_string())
}

/// A line on standard error; nobody has to read it.
fn say(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(phase: PhaseWord, reason: Option<&str>, pull: Option<(u64, u64)>) -> Row {
        let reason = reason.map(str::to_owned);
        Row { name: "time".into(), phase: Some(phase), reason, pull, removed: false }
    }

    #[test]
    fn plain_lines_tell_what_is_new() {
        let creating = |pull| row(PhaseWord::Creating, None, pull);
        let starting = |reason| row(PhaseWord::Starting, reason, None);
        for (before, now, news) in [
            (creating(None), creating(Some((0, 100))), true),
            (creating(Some((11, 100))), creating(Some((19, 100))), false),
            (creating(Some((19, 100))), creating(Some((20, 100))), true),
            (creating(Some((1, 0))), creating(Some((2, 0))), false),
            (creating(None), starting(None), true),
            (starting(None), starting(Some("not yet")), false),
            (starting(Some("not yet")), starting(Some("refused")), true),
            (starting(Some("not yet")), row(PhaseWord::Ready, None, None), true),
        ] {
            assert_eq!(is_news(&before, &now), news, "{before:?} -> {now:?}");
        }
    }
}
