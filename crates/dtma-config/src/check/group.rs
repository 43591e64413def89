//! Rules about a group as a whole: how many, and who waits for whom.

use super::lifecycle;
use crate::place::Place;
use crate::render::network;
use crate::report::Report;
use crate::rule;
use dtma_core::graph::{Graph, GraphError};
use dtma_core::id::InstanceName;
use dtma_core::spec::{GroupSpec, NetworkMode, ServerSpec};
use std::collections::BTreeSet;

/// Most servers of one group.
pub(crate) const MAX_SERVERS: usize = 64;
/// Places on a group's network: a /27 less its two ends and the bridge.
const NETWORK_PLACES: usize = 29;
/// Most servers started at the same moment.
const MAX_CONCURRENT: u32 = 256;

pub(crate) fn size(report: &mut Report, group: &GroupSpec, place: Place) {
    let count = group.servers.len();
    if count == 0 {
        report.refuse("/servers", rule::GROUP_EMPTY, "a group needs at least one server");
    }
    if count > MAX_SERVERS {
        let message = format!("{count} servers are more than the {MAX_SERVERS} a group may have");
        report.refuse_with("/servers", rule::GROUP_TOO_LARGE, message, "split it into several groups");
    }
    for mode in NetworkMode::JOINED {
        let joined = group.servers.iter().filter(|server| network(group, server, place) == mode);
        let joined: usize = joined.map(|server| (server.count() + server.session.places()) as usize).sum();
        if joined > NETWORK_PLACES {
            let message = format!(
                "{joined} containers on the network {:?} are more than its {NETWORK_PLACES} places",
                mode.as_str()
            );
            let hint = "split the group, or leave \"network\" out where none is needed";
            report.refuse_with("/servers", rule::NETWORK_FULL, message, hint);
        }
    }
    lifecycle::progress_deadline(report, group);
    let concurrent = group.options.max_concurrent_deployments;
    if !(1..=MAX_CONCURRENT).contains(&concurrent) {
        let message = format!("{concurrent} is not between 1 and {MAX_CONCURRENT}");
        report.refuse("/options/maxConcurrentDeployments", rule::GROUP_CONCURRENCY, message);
    }
}

pub(crate) fn graph(report: &mut Report, group: &GroupSpec) {
    for error in Graph::new(&group.servers).err().unwrap_or_default() {
        let message = error.to_string();
        match error {
            GraphError::Duplicate { server, .. } => {
                report.refuse(&format!("/servers/{server}/instanceName"), rule::GRAPH_DUPLICATE, message);
            }
            GraphError::Unknown { server, dependency, .. } => {
                let at = format!("/servers/{server}/dependsOn/{dependency}/instance");
                report.refuse_with(&at, rule::GRAPH_UNKNOWN, message, &known(&group.servers));
            }
            GraphError::Cycle { server, path } => {
                report.refuse(&link(&group.servers, server, &path), rule::GRAPH_CYCLE, message);
            }
        }
    }
    for (index, server) in group.servers.iter().enumerate() {
        repeated(report, index, server);
    }
}

fn known(servers: &[ServerSpec]) -> String {
    let names: Vec<_> = servers.iter().map(|server| server.instance.as_str()).take(10).collect();
    format!("the group has {}", names.join(", "))
}

/// The first link of a cycle. The search may have begun outside of it, so `found_from` is only the way out.
fn link(servers: &[ServerSpec], found_from: usize, path: &[InstanceName]) -> String {
    let first = path.first().and_then(|name| servers.iter().position(|server| server.instance == *name));
    let index = first.unwrap_or(found_from);
    let wants = |server: &ServerSpec| {
        path.get(1).and_then(|next| server.depends_on.iter().position(|wanted| wanted.instance == *next))
    };
    match servers.get(index).and_then(wants) {
        Some(dependency) => format!("/servers/{index}/dependsOn/{dependency}/instance"),
        None => format!("/servers/{index}/dependsOn"),
    }
}

fn repeated(report: &mut Report, index: usize, server: &ServerSpec) {
    let mut seen = BTreeSet::new();
    for (dependency, wanted) in server.depends_on.iter().enumerate() {
        if !seen.insert(&wanted.instance) {
            let at = format!("/servers/{index}/dependsOn/{dependency}/instance");
            report.refuse(&at, rule::GRAPH_REPEATED, format!("{} is named twice", wanted.instance));
        }
    }
}
