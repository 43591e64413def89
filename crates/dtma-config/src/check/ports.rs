//! Rules about ports and the network they are reached over.

use crate::place::Place;
use crate::policy::Policy;
use crate::render::network;
use crate::report::Report;
use crate::rule;
use dtma_core::egress::Ceiling;
use dtma_core::spec::{GroupSpec, NetworkMode, Publish, ServerSpec};

/// Judges the ports of a server with its overrides applied.
pub(crate) fn ports(
    report: &mut Report,
    at: &str,
    group: &GroupSpec,
    server: &ServerSpec,
    (policy, place): (&Policy, Place),
) {
    let joins = server.network.is_some_and(|mode| NetworkMode::JOINED.contains(&mode));
    if joins && !group.options.shared_networking {
        let message = "the group shares no network (options.sharedNetworking is false)";
        report.refuse(&format!("{at}/network"), rule::NETWORK_NOT_SHARED, message);
    }
    // A shim is a way in where there is no network.
    let connected = network(group, server, place) != NetworkMode::None || place.gives_shim(server);
    if server.network == Some(NetworkMode::Open)
        && let Ceiling::Listed(_) = policy.egress
    {
        let message = "on it a server reaches more than the operator lets servers reach";
        let hint = "name the hosts in \"egress\" and leave network out";
        report.refuse_with(&format!("{at}/network"), rule::POLICY_EGRESS, message, hint);
    }
    if server.port.is_none() && server.kind.is_mcp_over_port() {
        let message = "over this transport a server is spoken to on a port, and none is named";
        let hint = "say on which \"port\" it listens";
        report.refuse_with(&format!("{at}/transport"), rule::PORT_MISSING, message, hint);
    }
    endpoint(report, &format!("{at}/endpointPath"), server);
    if let Some(port) = server.port {
        inner_port(report, &format!("{at}/port"), server, (port, connected));
    }
    for (index, publish) in server.publish.iter().enumerate() {
        published(report, &format!("{at}/publish/{index}"), (*publish, connected), policy);
    }
}

fn inner_port(report: &mut Report, at: &str, server: &ServerSpec, (port, connected): (u16, bool)) {
    zero(report, at, port);
    if server.kind.is_stdio() {
        let message = "a stdio server is spoken to over its standard input and output";
        report.refuse_with(at, rule::PORT_STDIO, message, "leave port out");
    } else if !connected {
        unreachable(report, at);
    }
}

/// Most bytes of a path that servers and proxies take.
const LONGEST_PATH: usize = 1024;

fn endpoint(report: &mut Report, at: &str, server: &ServerSpec) {
    let Some(path) = server.endpoint_path.as_deref() else { return };
    if !server.kind.is_mcp_over_port() {
        let message = "only an MCP server that is spoken to over a port is found at a path";
        report.refuse_with(at, rule::ENDPOINT_UNUSED, message, "leave endpointPath out");
    } else if !is_path(path) {
        let message = "it is no path and query of a URL, from the slash on";
        let hint = "write it as /mcp; other characters than those of URLs as %20";
        report.refuse_with(at, rule::ENDPOINT_SYNTAX, message, hint);
    }
}

fn is_path(text: &str) -> bool {
    let unwise =
        |byte: u8| matches!(byte, b'"' | b'#' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}');
    let begins = text.starts_with('/') && !text.starts_with("//");
    begins && text.len() <= LONGEST_PATH && text.bytes().all(|byte| byte.is_ascii_graphic() && !unwise(byte))
}

fn published(report: &mut Report, at: &str, (publish, connected): (Publish, bool), policy: &Policy) {
    zero(report, &format!("{at}/containerPort"), publish.container_port);
    let host = format!("{at}/hostPort");
    zero(report, &host, publish.host_port);
    if (1..policy.lowest_host_port).contains(&publish.host_port) {
        let message = format!("port {} is below {}", publish.host_port, policy.lowest_host_port);
        report.refuse_with(&host, rule::POLICY_HOST_PORT, message, "choose a higher one");
    }
    if !connected {
        unreachable(report, at);
    }
}

fn zero(report: &mut Report, at: &str, port: u16) {
    if port == 0 {
        report.refuse(at, rule::PORT_ZERO, "0 is not a port");
    }
}

fn unreachable(report: &mut Report, at: &str) {
    let message = "the server joins no network, so nothing can reach its port";
    report.refuse_with(at, rule::PORT_NETWORK, message, "give it \"network\": \"group\"");
}

/// A host port that two places of the group ask for; the later one is at fault.
pub(crate) fn duplicates(report: &mut Report, group: &GroupSpec) {
    let mut seen = std::collections::BTreeSet::new();
    for (index, server) in group.servers.iter().enumerate() {
        for (number, publish) in server.publish.iter().enumerate() {
            if !seen.insert(publish.host_port) && publish.host_port != 0 {
                let at = format!("/servers/{index}/publish/{number}/hostPort");
                let message = format!("port {} is published twice in this group", publish.host_port);
                report.refuse(&at, rule::PUBLISH_DUPLICATE, message);
            }
        }
    }
}
