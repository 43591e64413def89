//! Medians, percentiles, and the table that is printed.

use crate::Args;
use std::time::Duration;

/// What was measured, as lines of a Markdown table.
pub(crate) struct Report {
    lines: Vec<String>,
}

impl Report {
    pub(crate) fn new(args: &Args) -> Self {
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        eprintln!("{cores} cores, {} interleaved rounds, medians", args.rounds);
        Self { lines: vec!["| what | DTMA | beside it | ratio |".to_owned(), "|---|---|---|---|".to_owned()] }
    }

    /// Two sets of durations measured in turn: medians and their ratio.
    pub(crate) fn versus(&mut self, what: &str, ours: &[Duration], theirs: &[Duration]) {
        let (ours, theirs) = (median(ours), median(theirs));
        let ratio = ours.as_secs_f64() / theirs.as_secs_f64();
        self.line(what, &show(ours), &show(theirs), &format!("{ratio:.2}"));
    }

    /// A figure of its own.
    pub(crate) fn line(&mut self, what: &str, ours: &str, theirs: &str, ratio: &str) {
        eprintln!("  {what}: {ours} {theirs} {ratio}");
        self.lines.push(format!("| {what} | {ours} | {theirs} | {ratio} |"));
    }

    pub(crate) fn print(&self) {
        println!("{}", self.lines.join("\n"));
    }
}

/// The value below which `share` of them lie.
pub(crate) fn percentile(values: &[Duration], share: f64) -> Duration {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    let index = (sorted.len() as f64 * share) as usize;
    sorted.get(index.min(sorted.len().saturating_sub(1))).copied().unwrap_or_default()
}

pub(crate) fn median(values: &[Duration]) -> Duration {
    percentile(values, 0.5)
}

pub(crate) fn show(duration: Duration) -> String {
    match duration.as_micros() {
        micros @ 0..10_000 => format!("{micros} µs"),
        micros => format!("{:.1} ms", micros as f64 / 1000.0),
    }
}
