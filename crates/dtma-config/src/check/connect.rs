//! Rules about the ports of dependencies that a server finds inside.

use crate::place::Place;
use crate::report::Report;
use crate::rule;
use crate::told::address_variable;
use dtma_core::egress::PROXY_PORT;
use dtma_core::spec::{Condition, Connect, Dependency, GroupSpec, ServerSpec};
use std::collections::{BTreeMap, BTreeSet};

/// Judges a server, with its overrides applied, that wants to reach its dependencies.
pub(crate) fn connects(report: &mut Report, at: &str, group: &GroupSpec, server: &ServerSpec, place: Place) {
    let mut taken = Taken::by(server);
    for (index, wanted) in server.depends_on.iter().enumerate() {
        if let Some(connect) = wanted.connect {
            let at = format!("{at}/dependsOn/{index}/connect");
            possible(report, &at, group, (server, wanted, place));
            taken.port(report, &at, connect, wanted);
            taken.variable(report, &at, wanted);
        }
    }
}

fn possible(
    report: &mut Report,
    at: &str,
    group: &GroupSpec,
    (server, wanted, place): (&ServerSpec, &Dependency, Place),
) {
    let other = group.server(&wanted.instance);
    let here = place.lacks_way(server).map(|obstacle| (&server.instance, obstacle));
    let there = || other.and_then(|other| Some((&other.instance, place.lacks_way(other)?)));
    if let Some((instance, obstacle)) = here.or_else(there) {
        let message = format!(
            "it needs the shim of both servers, and with {instance} there is no such way: {obstacle}"
        );
        report.refuse_with(at, rule::CONNECT_SHIM, message, "leave connect out, and use the group's network");
    }
    if wanted.condition == Condition::Completed {
        let message = format!("{} has ended by then", wanted.instance);
        report.refuse_with(at, rule::CONNECT_COMPLETED, message, "await it as started or healthy");
    }
}

/// What is given away inside: ports to what, variables to whom.
struct Taken {
    ports: BTreeMap<u16, String>,
    variables: BTreeSet<String>,
}

impl Taken {
    fn by(server: &ServerSpec) -> Self {
        let published = server.publish.iter().map(|publish| publish.container_port);
        let own = server.port.into_iter().chain(published).map(|port| (port, "the server's own".to_owned()));
        let proxy = (!server.egress.is_empty()).then(|| (PROXY_PORT, "the way out".to_owned()));
        Self { ports: own.chain(proxy).collect(), variables: BTreeSet::new() }
    }

    fn port(&mut self, report: &mut Report, at: &str, connect: Connect, wanted: &Dependency) {
        for (field, port) in [("port", Some(connect.port)), ("localPort", connect.local_port)] {
            if port == Some(0) {
                report.refuse(&format!("{at}/{field}"), rule::PORT_ZERO, "0 is not a port");
            }
        }
        let (local, whose) = (connect.local_port(), format!("that of {}", wanted.instance));
        if let Some(other) = self.ports.insert(local, whose).filter(|_| local != 0) {
            let message = format!("inside, port {local} is {other}");
            report.refuse_with(at, rule::PORT_INSIDE, message, "choose another \"localPort\"");
        }
    }

    fn variable(&mut self, report: &mut Report, at: &str, wanted: &Dependency) {
        let variable = address_variable(&wanted.instance);
        if self.variables.contains(&variable) {
            let message = format!("{variable} is where another dependency is found");
            report.refuse_with(at, rule::CONNECT_NAME, message, "give one of the two another name");
        }
        self.variables.insert(variable);
    }
}
