//! Rules about what a server may reach outside.

use crate::place::Place;
use crate::policy::Policy;
use crate::render::network;
use crate::report::Report;
use crate::rule;
use dtma_core::egress::{Ceiling, EgressRule, Host, PROXY_PORT, Ranges};
use dtma_core::spec::{GroupSpec, NetworkMode, ServerSpec};
use std::collections::BTreeSet;

const MAX_RULES: usize = 64;
/// Of an operator's rules, how many a hint lists.
const MOST_LISTED: usize = 10;

/// Judges the way out of a server with its overrides applied.
pub(crate) fn egress(
    report: &mut Report,
    at: &str,
    group: &GroupSpec,
    server: &ServerSpec,
    (policy, place): (&Policy, Place),
) {
    if server.egress.is_empty() {
        return;
    }
    possible(report, at, group, (server, place));
    let at = format!("{at}/egress");
    if server.egress.len() > MAX_RULES {
        let message = format!("{} rules are more than {MAX_RULES}", server.egress.len());
        report.refuse_with(&at, rule::EGRESS_TOO_MANY, message, "use wildcards: *.example.org:443");
    }
    let mut seen = BTreeSet::new();
    for (index, wanted) in server.egress.iter().enumerate() {
        let at = format!("{at}/{index}");
        if !seen.insert(wanted) {
            report.refuse(&at, rule::EGRESS_REPEATED, format!("{wanted} is named twice"));
        }
        permitted(report, &at, wanted, policy);
    }
}

/// Whether there can be a way out at all.
fn possible(report: &mut Report, at: &str, group: &GroupSpec, (server, place): (&ServerSpec, Place)) {
    let egress = format!("{at}/egress");
    if let Some(obstacle) = place.lacks_way(server) {
        let message = format!("it needs the shim to get out, and there is no such way: {obstacle}");
        report.refuse_with(&egress, rule::EGRESS_SHIM, message, "leave egress out");
    } else if network(group, server, place) != NetworkMode::None {
        let message = "on a network a server could get out past the daemon";
        report.refuse_with(&egress, rule::EGRESS_NETWORK, message, "give it \"network\": \"none\"");
    }
    if server.port == Some(PROXY_PORT) {
        let message = format!("inside, port {PROXY_PORT} is the way out");
        report.refuse_with(
            &format!("{at}/port"),
            rule::PORT_INSIDE,
            message,
            "let the server listen on another",
        );
    }
}

fn permitted(report: &mut Report, at: &str, wanted: &EgressRule, policy: &Policy) {
    if !policy.egress.permits(wanted) {
        let (message, hint) = beyond(wanted, &policy.egress);
        report.refuse_with(at, rule::POLICY_EGRESS, message, &hint);
    } else if let Some(Host::Address(address)) = wanted.host()
        && let Some(special) = Ranges::new(policy.egress_ranges.clone()).refuse(*address)
    {
        let message = format!("{address} is {special}");
        let hint = "name a public host, or have the range listed in egressRanges of the operator's policy";
        report.refuse_with(at, rule::POLICY_EGRESS_RANGE, message, hint);
    }
}

fn beyond(wanted: &EgressRule, ceiling: &Ceiling) -> (String, String) {
    match ceiling {
        Ceiling::Named => {
            let message = format!("{wanted} is every host there is");
            (message, "name the hosts, or have it listed in egress of the operator's policy".to_owned())
        }
        Ceiling::Listed(listed) if listed.is_empty() => {
            ("the operator lets no server out".to_owned(), "leave egress out".to_owned())
        }
        Ceiling::Listed(listed) => {
            let listed: Vec<String> = listed.iter().take(MOST_LISTED).map(ToString::to_string).collect();
            let message = format!("{wanted} is beyond what the operator lets servers reach");
            (message, format!("allowed is what is covered by {}", listed.join(", ")))
        }
    }
}
