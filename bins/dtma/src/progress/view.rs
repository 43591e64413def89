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
                Self::Plain(Plain { ink: app.output.remark_ink, tenths: BTreeMap::new() })
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

/// One line for each change; of a pull only every tenth.
pub(super) struct Plain {
    ink: Ink,
    tenths: BTreeMap<String, u64>,
}

impl Plain {
    fn changed(&mut self, row: &Row) {
        if let Some((received, total)) = row.pull {
            let tenth = (received * 10).checked_div(total).unwrap_or(received / 10_000_000);
            if self.tenths.insert(row.name.clone(), tenth) == Some(tenth) {
                return;
            }
        }
        say(&format!("{}  {}", line(&row.name), coloured(row, self.ink)));
    }
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
