//! Rules about time: when a server counts as ready, when it starts again, how long it may take to stop.

use crate::report::Report;
use crate::rule;
use dtma_core::graph::Graph;
use dtma_core::history::MAX_EXITS;
use dtma_core::restart::RestartPolicy;
use dtma_core::spec::{GroupSpec, ServerSpec};
use std::ops::RangeInclusive;
use std::time::Duration;

/// Most restarts in one window; the history must remember one exit more.
const MAX_ATTEMPTS: u32 = 100;
const _: () = assert!((MAX_ATTEMPTS as usize) < MAX_EXITS);

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);
/// Below it a crashing server would be started as fast as the engine can.
const MIN_DELAY: Duration = Duration::from_millis(100);
const MAX_STOP_GRACE: Duration = Duration::from_secs(600);
const MAX_SETTLE: Duration = Duration::from_secs(600);

pub(super) fn within(report: &mut Report, at: &str, asked: Duration, range: RangeInclusive<Duration>) {
    if !range.contains(&asked) {
        let message = format!("{asked:?} is not between {:?} and {:?}", range.start(), range.end());
        report.refuse(at, rule::DURATION_RANGE, message);
    }
}

/// Most replicas of one server.
const MAX_REPLICAS: u32 = 32;
const MAX_DRAIN: Duration = Duration::from_secs(3600);

pub(crate) fn replicas(report: &mut Report, at: &str, group: &GroupSpec, server: &ServerSpec) {
    let pointer = format!("{at}/replicas");
    let least = u32::from(!server.session.is_own());
    if !(least..=MAX_REPLICAS).contains(&server.replicas) {
        let message = format!("{} is not between {least} and {MAX_REPLICAS}", server.replicas);
        let hint = "to have none, stop the server, or give each session a process of its own (\"session\": \"per-session\")";
        report.refuse_with(&pointer, rule::REPLICAS_RANGE, message, hint);
    } else if server.replicas > 1 && Graph::unchecked(&group.servers).runs_once(&server.instance) {
        let message = "somebody waits for it to complete, so it runs once";
        report.refuse(&pointer, rule::REPLICAS_ONCE, message);
    }
    within(report, &format!("{at}/update/drainMs"), server.update.drain, Duration::ZERO..=MAX_DRAIN);
}

pub(crate) fn progress_deadline(report: &mut Report, group: &GroupSpec) {
    within(report, "/options/progressDeadlineMs", group.options.progress_deadline, SECOND..=DAY);
}

pub(crate) fn stop_grace(report: &mut Report, at: &str, asked: Duration) {
    within(report, at, asked, Duration::ZERO..=MAX_STOP_GRACE);
}

pub(crate) fn readiness(report: &mut Report, at: &str, server: &ServerSpec) {
    let asked = server.readiness;
    within(report, &format!("{at}/startTimeoutMs"), asked.start_timeout, SECOND..=HOUR);
    within(report, &format!("{at}/settleMs"), asked.settle, Duration::ZERO..=MAX_SETTLE);
    if server.port.is_none() && !server.kind.is_mcp() && asked.settle >= asked.start_timeout {
        let message = "it would be stopped for not being ready before it can have settled";
        let hint = "make settleMs smaller or startTimeoutMs larger";
        report.refuse_with(&format!("{at}/settleMs"), rule::HEALTH_UNREACHABLE, message, hint);
    }
}

pub(crate) fn restart(report: &mut Report, at: &str, asked: &RestartPolicy) {
    if asked.attempts > MAX_ATTEMPTS {
        let message = format!("{} attempts are more than {MAX_ATTEMPTS}", asked.attempts);
        report.refuse(&format!("{at}/attempts"), rule::RESTART_ATTEMPTS, message);
    }
    within(report, &format!("{at}/intervalMs"), asked.interval, SECOND..=DAY);
    within(report, &format!("{at}/delayMs"), asked.delay, MIN_DELAY..=HOUR);
    within(report, &format!("{at}/maxDelayMs"), asked.max_delay, MIN_DELAY..=DAY);
    // A clean run ends a streak of crashes. Were it nothing, no crash would ever count.
    within(report, &format!("{at}/cleanRunMs"), asked.clean_run, SECOND..=DAY);
    if asked.max_delay < asked.delay {
        let message = format!("{:?} is less than the first delay, {:?}", asked.max_delay, asked.delay);
        report.refuse(&format!("{at}/maxDelayMs"), rule::RESTART_DELAY_ORDER, message);
    }
}
