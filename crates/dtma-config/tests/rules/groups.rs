//! Cases of a whole group and of what its servers await.

use crate::case::{Case, case, depend};
use crate::support::tool;
use dtma_config::rule;
use dtma_core::spec::{GroupSpec, NetworkMode};

pub(crate) fn group_cases() -> Vec<Case> {
    let many = |count: usize| {
        move |group: &mut GroupSpec| group.servers = (0..count).map(|n| tool(&format!("s{n}"))).collect()
    };
    let alone = |count: usize| {
        move |group: &mut GroupSpec| {
            many(count)(group);
            group.servers.iter_mut().for_each(|server| server.network = Some(NetworkMode::None));
        }
    };
    let concurrent = |count| move |group: &mut GroupSpec| group.options.max_concurrent_deployments = count;
    let edges = |time: &'static [&'static str], web: &'static [&'static str]| {
        move |group: &mut GroupSpec| {
            group.servers[0].depends_on = depend(time);
            group.servers[1].depends_on = depend(web);
        }
    };
    let renamed = |name: &'static str| move |group: &mut GroupSpec| group.servers[1] = tool(name);
    vec![
        case(rule::GROUP_EMPTY, "/servers", many(0), many(1)),
        case(rule::GROUP_TOO_LARGE, "/servers", alone(65), alone(64)),
        case(rule::NETWORK_FULL, "/servers", many(30), many(29)),
        case(rule::GROUP_CONCURRENCY, "/options/maxConcurrentDeployments", concurrent(0), concurrent(1)),
        case(rule::GROUP_CONCURRENCY, "/options/maxConcurrentDeployments", concurrent(257), concurrent(256)),
        case(rule::GRAPH_DUPLICATE, "/servers/1/instanceName", renamed("time"), renamed("Time")),
        case(
            rule::GRAPH_UNKNOWN,
            "/servers/1/dependsOn/0/instance",
            edges(&[], &["nobody"]),
            edges(&[], &["time"]),
        ),
        case(
            rule::GRAPH_CYCLE,
            "/servers/0/dependsOn/0/instance",
            edges(&["web"], &["time"]),
            edges(&["web"], &[]),
        ),
        case(
            rule::GRAPH_REPEATED,
            "/servers/1/dependsOn/1/instance",
            edges(&[], &["time", "time"]),
            edges(&[], &["time"]),
        ),
    ]
}
