//! Whatever a request says, what comes out is within the policy and no less hardened than its template; and a
//! tighter policy never lets more through.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::needless_pass_by_value,
    reason = "a broken test should stop where it broke, and cases are written in place"
)]

mod support;

use dtma_config::{Configurator, Policy, TemplateValues, Templates};
use dtma_core::container::{ContainerConfig, ContainerMount, LogDriver};
use dtma_core::spec::{GroupSpec, Mount, MountSource, NetworkMode, Resources, ServerKind, Transport};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use serde_json::{Map, Value, json};
use support::{group, owner, server};

/// Values that mean something somewhere in a create request, sound and unsound.
fn values() -> impl Strategy<Value = Value> {
    let size = prop_oneof![
        Just(0_u64),
        Just(1),
        Just(2),
        0..4096_u64,
        6_000_000..40_000_000_u64,
        100_000_000..3_000_000_000_u64,
        any::<u64>(),
    ];
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        size.prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        select(vec![
            "",
            "host",
            "private",
            "none",
            "container:x",
            "other",
            "no",
            "root",
            "0",
            "A=1",
            "/x",
            "/proc",
            "exec",
            "size=1m",
            "noexec,size=8m",
            "unconfined",
            "seccomp=unconfined",
            "no-new-privileges",
            "ALL",
            "SYS_ADMIN",
            "/var/run/docker.sock:/d.sock",
            "nofile",
        ])
        .prop_map(Value::from),
        select(vec![
            json!({"Name": "nofile", "Soft": 64, "Hard": 128}),
            json!([{"Name": "nofile", "Soft": 64, "Hard": 1_000_000}]),
            json!([{"Name": "nofile", "Soft": 64, "Hard": 128}]),
            json!({"/x": "size=1m"}),
            json!({"/tmp": "size=1g,exec"}),
            json!({"Name": "no"}),
            json!([]),
            json!({}),
        ]),
    ]
}

const KEYS: [&str; 44] = [
    "Env",
    "Cmd",
    "Entrypoint",
    "Labels",
    "StopTimeout",
    "Memory",
    "NanoCpus",
    "PidsLimit",
    "ReadonlyRootfs",
    "Init",
    "CapDrop",
    "CapAdd",
    "Tmpfs",
    "OomScoreAdj",
    "Ulimits",
    "NetworkMode",
    "RestartPolicy",
    "SecurityOpt",
    "Privileged",
    "PidMode",
    "IpcMode",
    "UTSMode",
    "UsernsMode",
    "CgroupnsMode",
    "Devices",
    "DeviceRequests",
    "Binds",
    "Mounts",
    "MaskedPaths",
    "ReadonlyPaths",
    "Sysctls",
    "VolumesFrom",
    "VolumeDriver",
    "User",
    "LogConfig",
    "MemorySwap",
    "OomKillDisable",
    "PortBindings",
    "PublishAllPorts",
    "ShmSize",
    "Runtime",
    "CgroupParent",
    "GroupAdd",
    "AutoRemove",
];

/// Keys an honest request tightens with, so that many generated requests are accepted.
const HONEST: [&str; 9] = [
    "Memory",
    "NanoCpus",
    "PidsLimit",
    "ReadonlyRootfs",
    "Tmpfs",
    "OomScoreAdj",
    "Ulimits",
    "NetworkMode",
    "CapDrop",
];

fn spelling(key: &'static str) -> impl Strategy<Value = String> {
    select(vec![key.to_owned(), key.to_lowercase(), key.to_uppercase()])
}

fn field(keys: Vec<&'static str>) -> impl Strategy<Value = (String, Value)> {
    let value = prop_oneof![3 => values(), 1 => prop::collection::vec(values(), 0..3).prop_map(Value::from)];
    (select(keys).prop_flat_map(spelling), value)
}

fn fields(keys: Vec<&'static str>, most: usize) -> impl Strategy<Value = Map<String, Value>> {
    prop::collection::vec(field(keys), 0..=most).prop_map(|fields| fields.into_iter().collect())
}

fn overrides() -> impl Strategy<Value = Map<String, Value>> {
    let keys = prop_oneof![2 => Just(HONEST.to_vec()), 1 => Just(KEYS.to_vec())];
    let host = keys.prop_flat_map(|keys| (spelling("HostConfig"), fields(keys, 3)));
    let top = prop_oneof![3 => Just(Map::new()), 1 => fields(KEYS.to_vec(), 2)];
    (host, top).prop_map(|((key, host), mut top)| {
        top.insert(key, Value::from(host));
        top
    })
}

fn resources() -> impl Strategy<Value = Resources> {
    let memory = prop::option::weighted(0.3, prop_oneof![0..3_000_000_000_u64, any::<u64>()]);
    let cpu_millis = prop::option::weighted(0.3, prop_oneof![0..3000_u32, any::<u32>()]);
    let pids = prop::option::weighted(0.3, prop_oneof![0..600_u32, any::<u32>()]);
    (memory, cpu_millis, pids).prop_map(|(memory, cpu_millis, pids)| Resources { memory, cpu_millis, pids })
}

fn mounts() -> impl Strategy<Value = Vec<Mount>> {
    let mount = |target: &str, source| Mount { target: target.to_owned(), source, read_only: false };
    let all = vec![
        mount("/tmp", MountSource::Tmpfs { size: 1 << 30 }),
        mount("/data", MountSource::Volume("v".parse().unwrap())),
        mount("/run", MountSource::Volume("w".parse().unwrap())),
        mount("/etc", MountSource::Bind("/etc".to_owned())),
        mount("/proc/x", MountSource::Tmpfs { size: 4096 }),
        mount("/big", MountSource::Tmpfs { size: u64::MAX }),
    ];
    prop_oneof![3 => Just(Vec::new()), 1 => subsequence(all, 0..=6)]
}

fn groups() -> impl Strategy<Value = GroupSpec> {
    let kind = select(vec![ServerKind::Tool, ServerKind::Mcp(Transport::Stdio)]);
    let network = select(vec![None, Some(NetworkMode::None), Some(NetworkMode::Group)]);
    let template = select(vec![None, Some("minimal"), Some("package-runner"), Some("high-performance")]);
    (kind, network, template, resources(), mounts(), prop::option::of(overrides()), any::<bool>()).prop_map(
        |(kind, network, template, resources, mounts, overrides, shared)| {
            let mut spec = server("a", kind);
            spec.network = network;
            spec.template = template.map(str::to_owned);
            spec.resources = resources;
            spec.mounts = mounts;
            spec.overrides = overrides;
            let mut group = group(vec![spec]);
            group.options.shared_networking = shared;
            group
        },
    )
}

fn policies() -> impl Strategy<Value = Policy> {
    (8_000_000..3_000_000_000_u64, 10..4000_u32, 2..1000_u32, 1..4000_u16).prop_map(
        |(memory, cpu_millis, pids, lowest_host_port)| Policy {
            memory,
            cpu_millis,
            pids,
            lowest_host_port,
            ..Policy::default()
        },
    )
}

fn render(group: &GroupSpec, policy: Policy) -> Option<ContainerConfig> {
    let rendered = Configurator::new(Templates::builtin(), policy).render(group, &owner()).ok()?;
    rendered.into_values().next().map(|rendered| rendered.config)
}

/// Panics where the configuration allows more than policy and template together.
fn assert_within(config: &ContainerConfig, policy: &Policy, template: &TemplateValues) {
    let (limits, isolation) = (config.limits, &config.isolation);
    assert!(limits.memory <= policy.memory && limits.memory > 0);
    assert!(limits.cpu_millis <= policy.cpu_millis && limits.cpu_millis > 0);
    assert!(limits.pids <= policy.pids && limits.pids > 0);
    assert!(limits.nofile_soft <= template.nofile_soft && limits.nofile_hard <= template.nofile_hard);
    assert!(limits.oom_score_adj >= template.oom_score_adj);
    assert!(isolation.read_only_root && isolation.no_new_privileges && isolation.init);
    assert!(template.cap_drop.iter().all(|name| isolation.cap_drop.contains(name)));
    for mount in &config.mounts {
        match mount {
            ContainerMount::Tmpfs { size, exec, .. } => assert!(!exec && *size <= policy.memory),
            ContainerMount::Volume { name, .. } => assert!(name.starts_with("dtma-01234567-demo__")),
        }
    }
    match config.log {
        LogDriver::None => {}
        LogDriver::Bounded { max_size, max_files } => {
            assert!(!config.open_stdin && max_size <= 10_485_760 && max_files <= 3);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_request_gets_more_than_policy_and_template_give(group in groups(), policy in policies()) {
        let templates = Templates::builtin();
        let named = group.servers[0].template.as_deref().unwrap_or("standard");
        let template = &templates.get(named).unwrap().values;
        if let Some(config) = render(&group, policy.clone()) {
            assert_within(&config, &policy, template);
        }
    }

    #[test]
    fn a_tighter_policy_never_lets_more_through(group in groups(), one in policies(), other in policies()) {
        let tight = Policy {
            memory: one.memory.min(other.memory),
            cpu_millis: one.cpu_millis.min(other.cpu_millis),
            pids: one.pids.min(other.pids),
            lowest_host_port: one.lowest_host_port.max(other.lowest_host_port),
            ..Policy::default()
        };
        if let Some(under_tight) = render(&group, tight) {
            let under_loose = render(&group, one).expect("what a tighter policy lets through, a looser one does");
            prop_assert!(under_tight.limits.memory <= under_loose.limits.memory);
            prop_assert!(under_tight.limits.cpu_millis <= under_loose.limits.cpu_millis);
            prop_assert!(under_tight.limits.pids <= under_loose.limits.pids);
            prop_assert_eq!(under_tight.isolation, under_loose.isolation);
            prop_assert_eq!(under_tight.network, under_loose.network);
        }
    }

    /// Overrides alone, with the same spec: never a weaker isolation, never a network where there was none.
    #[test]
    fn overrides_never_loosen(group in groups()) {
        let mut without = group.clone();
        without.servers[0].overrides = None;
        let policy = Policy::default();
        if let (Some(with), Some(without)) = (render(&group, policy.clone()), render(&without, policy)) {
            prop_assert_eq!(with.isolation, without.isolation);
            prop_assert!(with.network == without.network || with.network == NetworkMode::None);
            prop_assert_eq!(with.log, without.log);
            prop_assert_eq!(with.open_stdin, without.open_stdin);
            prop_assert_eq!(with.image, without.image);
        }
    }
}

/// The properties above would hold of a configurator that refuses everything.
#[test]
fn many_generated_requests_are_accepted() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let accepted = (0..500)
        .filter(|_| {
            let group = groups().new_tree(&mut runner).unwrap().current();
            group.servers[0].overrides.is_some() && render(&group, Policy::default()).is_some()
        })
        .count();
    assert!(accepted >= 25, "{accepted} of 500");
}
