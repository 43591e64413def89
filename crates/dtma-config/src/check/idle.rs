//! Rules about rest: who may be put to it, and when.

use crate::check::lifecycle::within;
use crate::report::Report;
use crate::rule;
use dtma_core::spec::{GroupSpec, ServerSpec};
use std::ops::RangeInclusive;
use std::time::Duration;

/// Below it a server would be frozen between two calls of one conversation.
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(30 * 24 * 3600);
const PERIOD: RangeInclusive<Duration> = SHORTEST..=LONGEST;

/// Judges a server, with its overrides applied.
pub(crate) fn idle(report: &mut Report, at: &str, group: &GroupSpec, server: &ServerSpec) {
    let asked = server.idle;
    if asked.is_never() {
        return;
    }
    for (field, period) in [("pauseAfterSecs", asked.pause_after), ("stopAfterSecs", asked.stop_after)] {
        if let Some(period) = period {
            within(report, &format!("{at}/{field}"), period, PERIOD);
        }
    }
    if asked.pause_after.zip(asked.stop_after).is_some_and(|(pause, stop)| stop < pause) {
        let message = "a server is paused first and stopped later";
        report.refuse_with(
            &format!("{at}/stopAfterSecs"),
            rule::IDLE_ORDER,
            message,
            "make it not less than pauseAfterSecs",
        );
    }
    possible(report, at, group, server);
}

fn possible(report: &mut Report, at: &str, group: &GroupSpec, server: &ServerSpec) {
    if !server.kind.is_mcp() {
        let message = "only MCP servers are put to rest: of what a tool does the daemon knows nothing";
        report.refuse_with(at, rule::IDLE_KIND, message, "leave idle out, or set kind to \"mcp\"");
    }
    if !server.publish.is_empty() {
        let message = "it publishes a port, and who connects there would find nobody";
        report.refuse_with(at, rule::IDLE_PUBLISHED, message, "leave idle out, or publish nothing");
    }
    let depends = |other: &&ServerSpec| other.depends_on.iter().any(|on| on.instance == server.instance);
    if let Some(other) = group.servers.iter().find(depends) {
        let message = format!("{} depends on it, so it is needed as long as that runs", other.instance);
        report.refuse_with(at, rule::IDLE_NEEDED, message, "leave idle out, or that dependency");
    }
}
