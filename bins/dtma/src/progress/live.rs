//! The live view: a line for each server, drawn again and again on a terminal.

use super::board::{Board, Row};
use super::view::coloured;
use crate::output::Ink;
use crate::output::text::line;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

/// The lines on the terminal.
pub(super) struct Live {
    ink: Ink,
    screen: MultiProgress,
    bars: Vec<ProgressBar>,
    width: usize,
}

impl Live {
    pub(super) fn new(ink: Ink) -> Self {
        let screen = MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(10));
        Self { ink, screen, bars: Vec::new(), width: 0 }
    }

    pub(super) fn begin(&mut self, board: &Board) {
        self.width = board.rows.iter().map(|row| line(&row.name).chars().count()).max().unwrap_or(0);
        for row in &board.rows {
            self.add(row);
        }
    }

    /// Rows are only ever added at the end.
    pub(super) fn changed(&mut self, board: &Board, row: usize) {
        for row in board.rows.iter().skip(self.bars.len()) {
            self.add(row);
        }
        let (Some(bar), Some(row)) = (self.bars.get(row), board.rows.get(row)) else { return };
        let settled = bar.is_finished();
        bar.set_message(coloured(row, self.ink));
        match (settled, row.is_settled()) {
            (false, true) => {
                bar.set_style(style(SETTLED));
                bar.finish();
            }
            (true, false) => {
                bar.set_style(style(MOVING));
                bar.reset();
            }
            (true, true) | (false, false) => {}
        }
        bar.tick();
    }

    pub(super) fn tick(&self) {
        for bar in self.bars.iter().filter(|bar| !bar.is_finished()) {
            bar.tick();
        }
    }

    /// Leaves the last picture standing.
    pub(super) fn end(&self) {
        for bar in self.bars.iter().filter(|bar| !bar.is_finished()) {
            bar.set_style(style(SETTLED));
            bar.abandon();
        }
    }

    fn add(&mut self, row: &Row) {
        let bar = self.screen.add(ProgressBar::new_spinner().with_style(style(MOVING)));
        let name = line(&row.name);
        bar.set_prefix(self.ink.bold(&format!("{name:width$}", width = self.width)));
        bar.set_message(coloured(row, self.ink));
        bar.tick();
        self.bars.push(bar);
    }
}

const MOVING: &str = "{spinner} {prefix}  {elapsed:>4}  {wide_msg}";
const SETTLED: &str = "  {prefix}  {elapsed:>4}  {wide_msg}";

/// A style that cannot be read is no reason not to deploy.
fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner())
}
