//! What was measured, as one Markdown table for each server.

use super::CLIENTS;
use super::process::Memory;
use super::ways::{OURS, Way};
use crate::report::percentile;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// One cell of one round.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sample {
    p50: Duration,
    p99: Duration,
    /// Calls a second.
    rate: f64,
    memory: Memory,
}

impl Sample {
    pub(super) fn of(took: &[Duration], elapsed: Duration, memory: Memory) -> Self {
        let rate = took.len() as f64 / elapsed.as_secs_f64().max(f64::EPSILON);
        Self { p50: percentile(took, 0.5), p99: percentile(took, 0.99), rate, memory }
    }

    /// Of each figure its median.
    fn median(samples: &[Self]) -> Option<Self> {
        let middle = |figure: fn(&Self) -> f64| {
            let mut figures: Vec<f64> = samples.iter().map(figure).collect();
            figures.sort_by(f64::total_cmp);
            figures.get(figures.len() / 2).copied()
        };
        Some(Self {
            p50: Duration::from_secs_f64(middle(|sample| sample.p50.as_secs_f64())?),
            p99: Duration::from_secs_f64(middle(|sample| sample.p99.as_secs_f64())?),
            rate: middle(|sample| sample.rate)?,
            memory: Memory {
                bridge: middle(|sample| sample.memory.bridge as f64)? as u64,
                servers: middle(|sample| sample.memory.servers as f64)? as u64,
            },
        })
    }
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} / {} µs, {:.0}/s", self.p50.as_micros(), self.p99.as_micros(), self.rate)
    }
}

/// All samples, by way and number of clients.
pub(super) struct Table {
    rows: Vec<(String, &'static str)>,
    samples: BTreeMap<(usize, usize), Vec<Sample>>,
    notes: BTreeMap<usize, String>,
}

impl Table {
    pub(super) fn new(ways: &[Way]) -> Self {
        let rows = ways.iter().map(|way| (way.name.clone(), way.place)).collect();
        let mut table = Self { rows, samples: BTreeMap::new(), notes: BTreeMap::new() };
        for (row, way) in ways.iter().enumerate() {
            table.noted(row, way);
        }
        table
    }

    pub(super) fn add(&mut self, row: usize, clients: usize, sample: Sample) {
        self.samples.entry((row, clients)).or_default().push(sample);
    }

    /// What is to be said of a way besides its figures.
    pub(super) fn noted(&mut self, row: usize, way: &Way) {
        let mixes = way.mixes.iter().map(|what| format!("answers were mixed up until ids differed ({what})"));
        let notes: Vec<String> =
            mixes.chain(way.failed.iter().map(|why| format!("given up: {why}"))).collect();
        if !notes.is_empty() {
            self.notes.insert(row, notes.join("; ").replace('\n', " "));
        }
    }

    fn median(&self, row: usize, clients: usize) -> Option<Sample> {
        Sample::median(self.samples.get(&(row, clients))?)
    }

    pub(super) fn print(&self, server: &str, rounds: usize, calls: usize) -> String {
        let heads: String = CLIENTS.iter().map(|clients| format!(" {clients} client(s) |")).collect();
        let rule: String = CLIENTS.iter().map(|_| "---|").collect();
        let head = format!(
            "{server}: medians of {rounds} round(s) of {calls} calls; p50 / p99 in µs, calls a second, p50 against ours\n\n\
             | way | server |{heads} memory with 1 and {} clients |\n|---|---|{rule}---|\n",
            CLIENTS[CLIENTS.len() - 1]
        );
        let ours = self.rows.iter().position(|(name, _)| name == OURS);
        let rows = (0..self.rows.len()).map(|row| self.row(row, ours));
        let notes = self.notes.iter().map(|(row, note)| format!("- {}: {note}\n", self.rows[*row].0));
        head + &rows.collect::<String>() + "\n" + &notes.collect::<String>()
    }

    fn row(&self, row: usize, ours: Option<usize>) -> String {
        let (name, place) = &self.rows[row];
        let cells = CLIENTS.iter().map(|clients| match self.median(row, *clients) {
            None => " |".to_owned(),
            Some(sample) => format!(" {sample}{} |", self.ratio(sample, ours, *clients)),
        });
        let memory = [CLIENTS[0], CLIENTS[CLIENTS.len() - 1]];
        let memory: Vec<String> =
            memory.iter().filter_map(|clients| self.median(row, *clients)).map(memory_of).collect();
        format!("| {name} | {place} |{} {} |\n", cells.collect::<String>(), memory.join(", "))
    }

    fn ratio(&self, sample: Sample, ours: Option<usize>, clients: usize) -> String {
        let ours = ours.and_then(|row| self.median(row, clients));
        ours.map(|ours| format!(", {:.2}", sample.p50.as_secs_f64() / ours.p50.as_secs_f64().max(1e-9)))
            .unwrap_or_default()
    }
}

/// Of the bridge, and of the servers behind it.
fn memory_of(sample: Sample) -> String {
    let megabytes = |kilobytes: u64| kilobytes as f64 / 1024.0;
    format!("{:.1} + {:.1} MB", megabytes(sample.memory.bridge), megabytes(sample.memory.servers))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_the_median_of_its_rounds() {
        let sample = |micros: u64, rate| Sample {
            p50: Duration::from_micros(micros),
            p99: Duration::from_micros(micros * 2),
            rate,
            memory: Memory { bridge: 2048, servers: micros },
        };
        let middle = Sample::median(&[sample(300, 1.0), sample(100, 2.0), sample(200, 9.0)]).unwrap();
        assert_eq!(middle.to_string(), "200 / 400 µs, 2/s");
        assert!(Sample::median(&[]).is_none());
        assert_eq!(memory_of(sample(1024, 1.0)), "2.0 + 1.0 MB");
    }
}
