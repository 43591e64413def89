//! Groups of servers that depend on each other.

use dtma_core::Timestamp;
use dtma_core::container::{ContainerConfig, Isolation, Limits, LogDriver};
use dtma_core::id::{Generation, ImageRef, InstanceName};
use dtma_core::record::{GroupGoal, GroupRecord, Rollout, ServerGoal, ServerRecord};
use dtma_core::restart::RestartPolicy;
use dtma_core::spec::{Condition, Dependency, GroupSpec, NetworkMode, PullPolicy, ServerKind, ServerSpec};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

pub(crate) fn name(index: usize) -> InstanceName {
    format!("s{index}").parse().unwrap()
}

pub(crate) fn config(network: NetworkMode) -> ContainerConfig {
    ContainerConfig {
        image: ImageRef::from("i"),
        platform: None,
        pull: PullPolicy::Never,
        command: None,
        args: None,
        environment: BTreeMap::new(),
        labels: BTreeMap::new(),
        mounts: Vec::new(),
        network,
        limits: Limits {
            memory: 1,
            cpu_millis: 1,
            pids: 1,
            nofile_soft: 1,
            nofile_hard: 1,
            oom_score_adj: 0,
        },
        isolation: Isolation { read_only_root: true, cap_drop: vec![], no_new_privileges: true, init: true },
        open_stdin: false,
        log: LogDriver::None,
        stop_grace: Duration::from_secs(1),
        shim: false,
        egress: Vec::new(),
        connects: Vec::new(),
    }
}

/// A group of `edges.len()` servers; server n depends on the lower-numbered ones its bits name.
pub(crate) fn group(edges: &[(u8, Condition)], networked: bool) -> GroupRecord {
    let network = if networked { NetworkMode::Group } else { NetworkMode::None };
    let servers: Vec<ServerSpec> = edges.iter().enumerate().map(|(n, edge)| server(n, *edge)).collect();
    let record = |_: &ServerSpec| ServerRecord {
        config: config(network),
        config_hash: "wanted".into(),
        generation: Generation(1),
        goal: ServerGoal::Run,
        restart: BTreeSet::new(),
    };
    GroupRecord {
        servers: servers.iter().map(|server| (server.instance.clone(), record(server))).collect(),
        spec: GroupSpec::new("g".parse().unwrap(), servers),
        generation: Generation(1),
        goal: GroupGoal::Run,
        rollout: Rollout::Established,
        created_at: Timestamp::UNIX_EPOCH,
        updated_at: Timestamp::UNIX_EPOCH,
    }
}

pub(crate) fn server(index: usize, (bits, condition): (u8, Condition)) -> ServerSpec {
    let mut spec = ServerSpec::new(name(index), ServerKind::Tool, "i".into());
    spec.restart = RestartPolicy { attempts: 1000, ..RestartPolicy::default() };
    spec.depends_on = (0..index)
        .filter(|other| bits & (1 << other) != 0)
        .map(|other| Dependency { instance: name(other), condition, connect: None })
        .collect();
    spec
}
