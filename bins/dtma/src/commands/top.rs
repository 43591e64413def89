//! `top`: what servers use, from two readings of the kernel's own figures.

use crate::app::App;
use crate::cli::{Format, TopArgs, TopOrder};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Shape;
use crate::output::top::{Row, table};
use crate::output::writers::Writers;
use dtma_client::types::{ServerStats, StatsView};
use jiff::Timestamp;
use std::io::IsTerminal;
use std::time::Duration;

/// Between the two readings of a single table.
const GLANCE: Duration = Duration::from_millis(500);
/// Nobody reads faster than this.
const SHORTEST: Duration = Duration::from_millis(100);
/// To the top left corner, and the rest of the screen away.
const CLEAR: &str = "\u{1b}[H\u{1b}[J";

/// `dtma top`.
pub(super) async fn top(app: &App, args: &TopArgs) -> Result<(), Failure> {
    let before = app.client.get_stats().await?;
    if let Some(group) = args.group.as_deref() {
        app.group(group).await?;
    }
    let live = !args.once && app.output.format == Format::Table && std::io::stdout().is_terminal();
    if live {
        return tokio::select! {
            // Ctrl-C is how this ends; what is dropped is only read.
            _ = tokio::signal::ctrl_c() => Ok(()),
            failure = go_on(app, args, before) => failure,
        };
    }
    tokio::time::sleep(GLANCE).await;
    let after = app.client.get_stats().await?;
    let rows = rows(&before, &after, args);
    app.output.list(&rows, |shape| shown(app, &rows, shape))?;
    tell_why(app, &after)
}

async fn go_on(app: &App, args: &TopArgs, mut before: StatsView) -> Result<(), Failure> {
    tokio::time::sleep(GLANCE).await;
    loop {
        let after = app.client.get_stats().await?;
        let rows = rows(&before, &after, args);
        app.output.text(&format!("{CLEAR}{}", shown(app, &rows, Shape::Table)))?;
        tell_why(app, &after)?;
        before = after;
        tokio::time::sleep(args.interval.max(SHORTEST)).await;
    }
}

fn shown(app: &App, rows: &[Row], shape: Shape) -> String {
    table(rows, shape, app.output.ink)
}

/// What is not known is shown as unknown; that nothing can be known is said once, and is a failure.
fn tell_why(app: &App, stats: &StatsView) -> Result<(), Failure> {
    match &stats.unavailable {
        Some(why) => Err(Failure::new(Exit::Failed, "what servers use is not known").cause(why.clone())),
        None if stats.servers.is_empty() && app.output.is_human() => {
            app.output.remark("no server has a container; dtma ps -a lists what there is");
            Ok(())
        }
        None => Ok(()),
    }
}

fn rows(before: &StatsView, after: &StatsView, args: &TopArgs) -> Vec<Row> {
    let passed = passed(&before.at, &after.at);
    let wanted = after
        .servers
        .iter()
        .filter(|server| args.group.as_ref().is_none_or(|group| server.group_id == *group));
    let mut rows: Vec<Row> = wanted.map(|one| row(one, earlier(before, one), passed)).collect();
    for row in &mut rows {
        row.name = writers(after, &row.instance_name).name(&row.instance_name, row.replica, row.generation);
    }
    match args.sort {
        TopOrder::Name => {}
        TopOrder::Cpu => rows.sort_by(|a, b| b.cpu_percent.total_cmp_none(a.cpu_percent)),
        TopOrder::Memory => rows.sort_by_key(|row| std::cmp::Reverse(row.memory_bytes)),
    }
    rows
}

trait TotalOrder {
    fn total_cmp_none(self, other: Self) -> std::cmp::Ordering;
}

impl TotalOrder for Option<f64> {
    fn total_cmp_none(self, other: Self) -> std::cmp::Ordering {
        self.unwrap_or(-1.0).total_cmp(&other.unwrap_or(-1.0))
    }
}

fn earlier<'a>(before: &'a StatsView, now: &ServerStats) -> Option<&'a ServerStats> {
    let same = |known: &&ServerStats| {
        known.instance_name == now.instance_name && known.container_id == now.container_id
    };
    before.servers.iter().find(same)
}

/// The containers of a server.
fn writers(stats: &StatsView, instance: &str) -> Writers {
    let mut writers = Writers::default();
    for one in stats.servers.iter().filter(|one| one.instance_name == instance) {
        writers.replica(one.replica);
        writers.generation(one.generation);
    }
    writers
}

fn passed(from: &str, to: &str) -> Option<f64> {
    let (from, to): (Timestamp, Timestamp) = (from.parse().ok()?, to.parse().ok()?);
    Some(to.duration_since(from).as_secs_f64()).filter(|passed| *passed > 0.0)
}

fn row(now: &ServerStats, before: Option<&ServerStats>, passed: Option<f64>) -> Row {
    Row {
        group_id: now.group_id.clone(),
        instance_name: now.instance_name.clone(),
        replica: now.replica,
        generation: now.generation,
        name: now.instance_name.clone(),
        cpu_percent: share(before.and_then(|before| before.cpu_micros), now.cpu_micros, passed),
        cpu_limit_percent: now.cpu_limit_millis.map(|millis| millis as f64 / 10.0),
        memory_bytes: now.memory_bytes,
        memory_limit_bytes: now.memory_limit_bytes,
        pids: now.pids,
        pids_limit: now.pids_limit,
    }
}

/// A container that was started anew in between counts from nothing: then nothing is known.
fn share(before: Option<u64>, now: Option<u64>, passed: Option<f64>) -> Option<f64> {
    let used = now?.checked_sub(before?)?;
    Some(used as f64 / 1e6 / passed? * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_needs_two_readings_of_the_same_run() {
        assert_eq!(share(Some(1_000_000), Some(1_500_000), Some(1.0)), Some(50.0));
        assert_eq!(share(Some(2), Some(1), Some(1.0)), None, "it was started anew");
        assert_eq!(share(None, Some(1), Some(1.0)), None);
        assert_eq!(share(Some(1), Some(1), None), None);
        assert_eq!(passed("2026-01-01T00:00:00Z", "2026-01-01T00:00:02Z"), Some(2.0));
        assert_eq!(passed("2026-01-01T00:00:02Z", "2026-01-01T00:00:02Z"), None);
    }
}
