//! Rules about sessions with a process of their own.

use super::lifecycle::within;
use crate::report::Report;
use crate::rule;
use dtma_core::spec::{GroupSpec, ServerSpec, SessionSpec};
use std::time::Duration;

/// Most containers that sessions of one server may have.
const MAX_PLACES: u32 = 256;
const SECOND: Duration = Duration::from_secs(1);
const WEEK: Duration = Duration::from_secs(7 * 24 * 3600);

pub(crate) fn session(report: &mut Report, at: &str, group: &GroupSpec, server: &ServerSpec) {
    let pointer = format!("{at}/session");
    let asked = &server.session;
    if !server.kind.is_mcp() {
        if *asked != SessionSpec::default() {
            let message = "a tool has no sessions";
            report.refuse_with(&pointer, rule::SESSION_KIND, message, "leave it out, or set kind to \"mcp\"");
        }
        return;
    }
    if !asked.is_own() {
        shared(report, &pointer, asked);
        return;
    }
    if !(1..=MAX_PLACES).contains(&asked.most()) {
        let message = format!("{} is not between 1 and {MAX_PLACES}", asked.most());
        report.refuse(&format!("{pointer}/max"), rule::SESSION_RANGE, message);
    }
    if asked.spares() > asked.most() {
        let message =
            format!("{} is more than the {} sessions that there may be", asked.spares(), asked.most());
        let hint = "keep fewer ready, or raise max";
        report.refuse_with(&format!("{pointer}/spares"), rule::SESSION_SPARES, message, hint);
    }
    within(report, &format!("{pointer}/idleTimeoutSecs"), asked.idle(), SECOND..=WEEK);
    if !server.idle.is_never() {
        let message = "its clients' sessions have processes of their own, which end with them";
        let hint = "say replicas: 0 where nothing is to run without a session";
        report.refuse_with(&format!("{at}/idle"), rule::SESSION_IDLE, message, hint);
    }
    if server.count() == 0 {
        only(report, at, group, server);
    }
}

/// Nobody has a process that these words could be about.
fn shared(report: &mut Report, pointer: &str, asked: &SessionSpec) {
    let said = [
        ("max", asked.max.is_some()),
        ("idleTimeoutSecs", asked.idle_timeout.is_some()),
        ("spares", asked.spares.is_some()),
    ];
    for (field, _) in said.iter().filter(|(_, said)| *said) {
        let message = "sessions of this server share its processes";
        let hint = "leave it out, or set mode to \"per-session\"";
        report.refuse_with(&format!("{pointer}/{field}"), rule::SESSION_SHARED, message, hint);
    }
}

/// Without replicas there is nothing for anybody who has no session.
fn only(report: &mut Report, at: &str, group: &GroupSpec, server: &ServerSpec) {
    let hint = "let it have a replica";
    for (index, _) in server.publish.iter().enumerate() {
        let message = "a published port leads to replicas, and this server has none";
        report.refuse_with(&format!("{at}/publish/{index}"), rule::SESSION_ONLY, message, hint);
    }
    for (index, other) in group.servers.iter().enumerate() {
        let wanted = other.depends_on.iter().position(|wanted| wanted.instance == server.instance);
        if let Some(wanted) = wanted {
            let message = format!("{} runs for sessions only, so nobody can wait for it", server.instance);
            let at = format!("/servers/{index}/dependsOn/{wanted}/instance");
            report.refuse_with(&at, rule::SESSION_ONLY, message, hint);
        }
    }
}
