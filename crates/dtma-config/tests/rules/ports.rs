//! Cases of ports, of what is published, and of ways.

use crate::case::{Case, case, set_connect, set_egress, set_publish, set_shim, tool_case};
use crate::support::tool;
use dtma_config::rule;
use dtma_core::spec::{GroupSpec, NetworkMode, ServerKind, ServerSpec, Transport};

pub(crate) fn port_cases() -> Vec<Case> {
    let port = |server: &mut ServerSpec, port| server.port = Some(port);
    let offline = |port: Option<u16>| {
        move |group: &mut GroupSpec| {
            group.servers[1].network = Some(NetworkMode::None);
            group.servers[1].port = port;
        }
    };
    let stdio_port = |port: Option<u16>| move |group: &mut GroupSpec| group.servers[0].port = port;
    let over_port = |port: Option<u16>, path: Option<&'static str>| {
        move |group: &mut GroupSpec| {
            let server = &mut group.servers[0];
            server.kind = ServerKind::Mcp(Transport::Sse);
            (server.port, server.endpoint_path) = (port, path.map(str::to_owned));
        }
    };
    let publish_from = |network: Option<NetworkMode>| {
        move |group: &mut GroupSpec| {
            set_publish(&mut group.servers[0], vec![(8080, 80)]);
            group.servers[0].network = network;
        }
    };
    let unshared = |network: Option<NetworkMode>| {
        move |group: &mut GroupSpec| {
            group.options.shared_networking = false;
            group.servers[1].network = network;
        }
    };
    let both = |first, second| {
        move |group: &mut GroupSpec| {
            group.servers.push(tool("other"));
            set_publish(&mut group.servers[1], vec![(first, 80)]);
            set_publish(&mut group.servers[2], vec![(second, 80)]);
        }
    };
    vec![
        tool_case(rule::PORT_ZERO, "/servers/1/port", port, (0, 1)),
        tool_case(
            rule::PORT_ZERO,
            "/servers/1/publish/0/hostPort",
            set_publish,
            (vec![(0, 80)], vec![(8080, 80)]),
        ),
        tool_case(
            rule::PORT_ZERO,
            "/servers/1/publish/1/containerPort",
            set_publish,
            (vec![(8080, 80), (8081, 0)], vec![(8080, 80), (8081, 80)]),
        ),
        case(rule::PORT_STDIO, "/servers/0/port", stdio_port(Some(8080)), stdio_port(None)),
        case(rule::PORT_MISSING, "/servers/0/transport", over_port(None, None), over_port(Some(1), None)),
        case(
            rule::ENDPOINT_UNUSED,
            "/servers/1/endpointPath",
            |group: &mut GroupSpec| group.servers[1].endpoint_path = Some("/x".to_owned()),
            over_port(Some(1), Some("/x?a=b%20c")),
        ),
        case(
            rule::ENDPOINT_SYNTAX,
            "/servers/0/endpointPath",
            over_port(Some(1), Some("mcp")),
            over_port(Some(1), Some("/")),
        ),
        case(
            rule::ENDPOINT_SYNTAX,
            "/servers/0/endpointPath",
            over_port(Some(1), Some("//elsewhere/mcp")),
            over_port(Some(1), None),
        ),
        case(rule::PORT_NETWORK, "/servers/1/port", offline(Some(8080)), offline(None)),
        case(
            rule::PORT_NETWORK,
            "/servers/0/publish/0",
            publish_from(None),
            publish_from(Some(NetworkMode::Group)),
        ),
        case(rule::PUBLISH_DUPLICATE, "/servers/2/publish/0/hostPort", both(8080, 8080), both(8080, 8081)),
        tool_case(
            rule::POLICY_HOST_PORT,
            "/servers/1/publish/0/hostPort",
            set_publish,
            (vec![(1023, 80)], vec![(1024, 80)]),
        ),
        tool_case(rule::EGRESS_SHIM, "/servers/1/egress", set_egress, (&["a.example:443"], &[])),
        tool_case(rule::CONNECT_SHIM, "/servers/1/dependsOn/0/connect", set_connect, (Some(80), None)),
        tool_case(rule::SHIM_NONE, "/servers/1/shim", set_shim, (Some(true), Some(false))),
        case(
            rule::NETWORK_NOT_SHARED,
            "/servers/1/network",
            unshared(Some(NetworkMode::Group)),
            unshared(Some(NetworkMode::None)),
        ),
    ]
}
