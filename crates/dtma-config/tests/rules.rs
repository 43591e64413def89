//! One case for each rule: what breaks it, and its good neighbour.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::needless_pass_by_value,
    reason = "a broken test should stop where it broke, and cases are written in place"
)]

mod support;

use dtma_config::{Configurator, rule};
use dtma_core::restart::RestartPolicy;
use dtma_core::spec::{
    Condition, Connect, Dependency, GroupSpec, Mount, MountSource, NetworkMode, Publish, ServerKind,
    ServerSpec, Transport,
};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;
use support::{MIB, configurator, group, pair, places, stdio, tool};

/// A change to the pair `time` (stdio) and `web` (tool).
type Change = Box<dyn Fn(&mut GroupSpec)>;

struct Case {
    rule: &'static str,
    pointer: &'static str,
    bad: Change,
    good: Change,
}

fn case(
    rule: &'static str,
    pointer: &'static str,
    bad: impl Fn(&mut GroupSpec) + 'static,
    good: impl Fn(&mut GroupSpec) + 'static,
) -> Case {
    Case { rule, pointer, bad: Box::new(bad), good: Box::new(good) }
}

/// A case in which one field of the tool, by `set`, is bad or good.
fn tool_case<T: Clone + 'static>(
    rule: &'static str,
    pointer: &'static str,
    set: fn(&mut ServerSpec, T),
    (bad, good): (T, T),
) -> Case {
    case(
        rule,
        pointer,
        move |group| set(&mut group.servers[1], bad.clone()),
        move |group| set(&mut group.servers[1], good.clone()),
    )
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn depend(on: &[&str]) -> Vec<Dependency> {
    on.iter()
        .map(|on| Dependency { instance: on.parse().unwrap(), condition: Condition::Started, connect: None })
        .collect()
}

fn set_environment(server: &mut ServerSpec, (name, value): (String, String)) {
    server.environment.insert(name, value);
}

fn set_label(server: &mut ServerSpec, (key, value): (&str, String)) {
    server.labels.insert(key.to_owned(), value);
}

fn set_publish(server: &mut ServerSpec, ports: Vec<(u16, u16)>) {
    let publish = |(host_port, container_port)| Publish { host_port, container_port };
    server.publish = ports.into_iter().map(publish).collect();
}

fn set_target(server: &mut ServerSpec, target: &str) {
    let source = MountSource::Volume("v".parse().unwrap());
    server.mounts.push(Mount { target: target.to_owned(), source, read_only: false });
}

fn set_tmpfs(server: &mut ServerSpec, (size, read_only): (u64, bool)) {
    server.mounts.push(Mount { target: "/x".to_owned(), source: MountSource::Tmpfs { size }, read_only });
}

fn set_egress(server: &mut ServerSpec, rules: &[&str]) {
    server.egress = rules.iter().map(|rule| rule.parse().unwrap()).collect();
}

fn set_connect(server: &mut ServerSpec, port: Option<u16>) {
    let connect = port.map(|port| Connect { port, local_port: None });
    server.depends_on = vec![Dependency { connect, ..depend(&["time"]).remove(0) }];
}

fn set_shim(server: &mut ServerSpec, shim: Option<bool>) {
    server.shim = shim;
}

fn set_bind(server: &mut ServerSpec, path: &str) {
    let source = MountSource::Bind(path.to_owned());
    server.mounts.push(Mount { target: "/x".to_owned(), source, read_only: true });
}

fn set_replicas(server: &mut ServerSpec, replicas: u32) {
    server.replicas = replicas;
}

fn set_restart(server: &mut ServerSpec, restart: RestartPolicy) {
    server.restart = restart;
}

fn set_overrides(server: &mut ServerSpec, overrides: Value) {
    server.overrides = Some(overrides.as_object().unwrap().clone());
}

fn text(length: usize) -> String {
    "x".repeat(length)
}

fn group_cases() -> Vec<Case> {
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

fn text_cases() -> Vec<Case> {
    let command = |server: &mut ServerSpec, command: Vec<String>| server.command = Some(command);
    let args = |server: &mut ServerSpec, args: Vec<String>| server.args = Some(args);
    let variable = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let reserved = |endpoint: &'static str| {
        move |group: &mut GroupSpec| {
            set_environment(&mut group.servers[0], ("MCP_ENDPOINT".into(), endpoint.into()));
        }
    };
    let group_label =
        |key: &'static str| move |group: &mut GroupSpec| drop(group.labels.insert(key.into(), String::new()));
    let variables = |server: &mut ServerSpec, count: usize| {
        server.environment = (0..count).map(|n| (format!("V{n}"), String::new())).collect();
    };
    let long_variables = |server: &mut ServerSpec, count: usize| {
        server.environment = (0..count).map(|n| (format!("V{n}"), "x".repeat(60 * 1024))).collect();
    };
    let labels = |server: &mut ServerSpec, count: usize| {
        server.labels = (0..count).map(|n| (format!("l{n}"), String::new())).collect();
    };
    let template = |server: &mut ServerSpec, name: &str| server.template = Some(name.to_owned());
    let image = |server: &mut ServerSpec, image: &str| server.image = image.into();
    let env = "/servers/1/environment";
    vec![
        tool_case(rule::TEMPLATE_UNKNOWN, "/servers/1/template", template, ("nobody", "minimal")),
        tool_case(rule::IMAGE_SYNTAX, "/servers/1/image", image, ("a b", "a-b")),
        tool_case(rule::IMAGE_SYNTAX, "/servers/1/image", image, ("Library/x", "library/x")),
        tool_case(rule::COMMAND_EMPTY, "/servers/1/command", command, (words(&[]), words(&["httpd"]))),
        tool_case(rule::COMMAND_EMPTY, "/servers/1/command", command, (words(&["", "x"]), words(&["x", ""]))),
        tool_case(
            rule::COMMAND_SYNTAX,
            "/servers/1/command/1",
            command,
            (words(&["a", "\0"]), words(&["a", "\n"])),
        ),
        tool_case(rule::COMMAND_SYNTAX, "/servers/1/args/0", args, (vec![text(65_537)], vec![text(65_536)])),
        tool_case(rule::COMMAND_SYNTAX, "/servers/1/args", args, (vec![text(1); 513], vec![text(1); 512])),
        tool_case(
            rule::ENVIRONMENT_NAME,
            "/servers/1/environment/A B",
            set_environment,
            (variable("A B", ""), variable("A_B", "")),
        ),
        tool_case(
            rule::ENVIRONMENT_NAME,
            "/servers/1/environment/A=B",
            set_environment,
            (variable("A=B", ""), variable("A", "=B")),
        ),
        tool_case(
            rule::ENVIRONMENT_NAME,
            "/servers/1/environment/",
            set_environment,
            (variable("", "x"), variable("x", "")),
        ),
        tool_case(
            rule::ENVIRONMENT_NAME,
            "/servers/1/environment/a~1~0\0",
            set_environment,
            (variable("a/~\0", ""), variable("a/~", "")),
        ),
        tool_case(
            rule::ENVIRONMENT_VALUE,
            "/servers/1/environment/A",
            set_environment,
            (variable("A", "x\0y"), variable("A", "x\ny")),
        ),
        tool_case(rule::ENVIRONMENT_TOO_LARGE, env, variables, (513, 512)),
        tool_case(rule::ENVIRONMENT_TOO_LARGE, env, long_variables, (4, 3)),
        case(
            rule::ENVIRONMENT_RESERVED,
            "/servers/0/environment/MCP_ENDPOINT",
            reserved("/other"),
            reserved("/mcp"),
        ),
        tool_case(
            rule::ENVIRONMENT_RESERVED,
            "/servers/1/environment/DTMA_SHIM",
            set_environment,
            (variable("DTMA_SHIM", "x"), variable("DTMA_SHIMS", "x")),
        ),
        tool_case(
            rule::LABELS_RESERVED,
            "/servers/1/labels/io.dtma.owner",
            set_label,
            (("io.dtma.owner", text(1)), ("io.dtmax", text(1))),
        ),
        tool_case(
            rule::LABELS_RESERVED,
            "/servers/1/labels/IO.DTMA.x",
            set_label,
            (("IO.DTMA.x", text(1)), ("x.io.dtma.x", text(1))),
        ),
        case(
            rule::LABELS_RESERVED,
            "/labels/io.dtma.group",
            group_label("io.dtma.group"),
            group_label("group"),
        ),
        tool_case(rule::LABELS_SYNTAX, "/servers/1/labels/", set_label, (("", text(1)), ("a", text(0)))),
        tool_case(
            rule::LABELS_SYNTAX,
            "/servers/1/labels/a",
            set_label,
            (("a", text(4097)), ("a", text(4096))),
        ),
        tool_case(rule::LABELS_TOO_LARGE, "/servers/1/labels", labels, (65, 64)),
    ]
}

fn size_cases() -> Vec<Case> {
    let memory = |server: &mut ServerSpec, memory| server.resources.memory = Some(memory);
    let cpu = |server: &mut ServerSpec, cpu| server.resources.cpu_millis = Some(cpu);
    let pids = |server: &mut ServerSpec, pids| server.resources.pids = Some(pids);
    let (at_memory, at_cpus, at_pids) =
        ("/servers/1/resources/memory", "/servers/1/resources/cpus", "/servers/1/resources/pids");
    vec![
        tool_case(rule::RESOURCES_TOO_SMALL, at_memory, memory, (6 * MIB - 1, 6 * MIB)),
        tool_case(rule::RESOURCES_TOO_SMALL, at_cpus, cpu, (0, 10)),
        tool_case(rule::RESOURCES_TOO_SMALL, at_pids, pids, (0, 2)),
        tool_case(
            rule::RESOURCES_TOO_SMALL,
            "/servers/1/mounts/0/size",
            set_tmpfs,
            ((0, false), (4096, false)),
        ),
        tool_case(rule::POLICY_CEILING, at_memory, memory, (2_147_483_649, 2_147_483_648)),
        tool_case(rule::POLICY_CEILING, at_memory, memory, (u64::MAX, 2_147_483_648)),
        tool_case(rule::POLICY_CEILING, at_cpus, cpu, (2001, 2000)),
        tool_case(rule::POLICY_CEILING, at_pids, pids, (513, 512)),
        tool_case(
            rule::POLICY_CEILING,
            "/servers/1/mounts/0/size",
            set_tmpfs,
            ((2_147_483_649, false), (2_147_483_648, false)),
        ),
    ]
}

fn port_cases() -> Vec<Case> {
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

fn mount_cases() -> Vec<Case> {
    let at = "/servers/1/mounts/0/target";
    let targets = |server: &mut ServerSpec, targets: Vec<String>| {
        targets.iter().for_each(|target| set_target(server, target));
    };
    let numbered = |count: usize| (0..count).map(|n| format!("/m{n}")).collect::<Vec<_>>();
    let bad_targets = ["data", "", "/", "/a/../b", "/a/./b", "/a//b", "/a/", "/a\n", "/a\0"];
    let bad = bad_targets.map(|bad| tool_case(rule::MOUNTS_TARGET, at, set_target, (bad, "/a/b..c")));
    let reserved =
        [("/proc", "/process"), ("/sys/fs", "/system"), ("/dev/shm", "/data/dev"), ("/.dtma/x", "/.dtmax")];
    let reserved = reserved.map(|pair| tool_case(rule::MOUNTS_RESERVED, at, set_target, pair));
    let binds = ["/var/run/docker.sock", "/run/containerd/containerd.sock", "/"];
    let sockets = binds.map(|path| {
        case(
            rule::NEVER_ENGINE_SOCKET,
            "/servers/1/mounts/0/source",
            move |group| set_bind(&mut group.servers[1], path),
            |group| set_target(&mut group.servers[1], "/x"),
        )
    });
    let others = [
        case(
            rule::POLICY_BIND,
            "/servers/1/mounts/0/source",
            |group| set_bind(&mut group.servers[1], "/srv"),
            |group| set_target(&mut group.servers[1], "/srv"),
        ),
        tool_case(
            rule::MOUNTS_DUPLICATE,
            "/servers/1/mounts/1/target",
            targets,
            (words(&["/a", "/a"]), words(&["/a", "/a/b"])),
        ),
        tool_case(rule::MOUNTS_TOO_MANY, "/servers/1/mounts", targets, (numbered(33), numbered(32))),
        tool_case(
            rule::MOUNTS_READ_ONLY_TMPFS,
            "/servers/1/mounts/0/readOnly",
            set_tmpfs,
            ((MIB, true), (MIB, false)),
        ),
    ];
    bad.into_iter().chain(reserved).chain(sockets).chain(others).collect()
}

/// The second server awaits the first one's completion.
fn awaited_replicas(replicas: u32) -> impl Fn(&mut GroupSpec) {
    move |group| {
        let instance = group.servers[0].instance.clone();
        group.servers[1].depends_on =
            vec![Dependency { instance, condition: Condition::Completed, connect: None }];
        group.servers[0].replicas = replicas;
    }
}

fn time_cases() -> Vec<Case> {
    let ms = Duration::from_millis;
    let base = RestartPolicy::default();
    let restart = |pointer, bad, good| tool_case(rule::DURATION_RANGE, pointer, set_restart, (bad, good));
    let grace = |server: &mut ServerSpec, grace| server.stop_grace = grace;
    let timeout = |server: &mut ServerSpec, timeout| server.readiness.start_timeout = timeout;
    let settle = |server: &mut ServerSpec, settle| server.readiness.settle = settle;
    vec![
        tool_case(
            rule::RESTART_ATTEMPTS,
            "/servers/1/restart/attempts",
            set_restart,
            (RestartPolicy { attempts: 101, ..base }, RestartPolicy { attempts: 100, ..base }),
        ),
        case(
            rule::REPLICAS_RANGE,
            "/servers/0/replicas",
            |group| set_replicas(&mut group.servers[0], 33),
            |group| set_replicas(&mut group.servers[0], 32),
        ),
        tool_case(rule::REPLICAS_RANGE, "/servers/1/replicas", set_replicas, (0, 1)),
        case(rule::REPLICAS_ONCE, "/servers/0/replicas", awaited_replicas(2), awaited_replicas(1)),
        tool_case(
            rule::RESTART_DELAY_ORDER,
            "/servers/1/restart/maxDelayMs",
            set_restart,
            (RestartPolicy { max_delay: ms(999), ..base }, RestartPolicy { max_delay: ms(1000), ..base }),
        ),
        restart(
            "/servers/1/restart/intervalMs",
            RestartPolicy { interval: ms(999), ..base },
            RestartPolicy { interval: ms(1000), ..base },
        ),
        restart(
            "/servers/1/restart/delayMs",
            RestartPolicy { delay: ms(99), ..base },
            RestartPolicy { delay: ms(100), ..base },
        ),
        restart(
            "/servers/1/restart/maxDelayMs",
            RestartPolicy { max_delay: ms(86_400_001), ..base },
            RestartPolicy { max_delay: ms(86_400_000), ..base },
        ),
        restart(
            "/servers/1/restart/cleanRunMs",
            RestartPolicy { clean_run: ms(0), ..base },
            RestartPolicy { clean_run: ms(1000), ..base },
        ),
        tool_case(rule::DURATION_RANGE, "/servers/1/stopGraceMs", grace, (ms(600_001), ms(600_000))),
        tool_case(rule::DURATION_RANGE, "/servers/1/stopGraceMs", grace, (Duration::MAX, ms(0))),
        tool_case(
            rule::DURATION_RANGE,
            "/servers/1/health/startTimeoutMs",
            timeout,
            (ms(3_600_001), ms(3_600_000)),
        ),
        tool_case(rule::HEALTH_UNREACHABLE, "/servers/1/health/settleMs", settle, (ms(60_000), ms(59_999))),
    ]
}

/// A case of one override against an empty one.
fn refused(rule: &'static str, pointer: &'static str, bad: Value, good: Value) -> Case {
    tool_case(rule, pointer, set_overrides, (bad, good))
}

fn host(rule: &'static str, pointer: &'static str, bad: Value, good: Value) -> Case {
    refused(rule, pointer, json!({"HostConfig": bad}), json!({"HostConfig": good}))
}

macro_rules! at {
    ($rest:literal) => {
        concat!("/servers/1/overrides/", $rest)
    };
}

fn override_cases() -> Vec<Case> {
    vec![
        host(
            rule::NEVER_PRIVILEGED,
            at!("HostConfig/Privileged"),
            json!({"Privileged": true}),
            json!({"Privileged": false}),
        ),
        host(
            rule::NEVER_HOST_NAMESPACE,
            at!("HostConfig/PidMode"),
            json!({"PidMode": "host"}),
            json!({"PidMode": "private"}),
        ),
        host(
            rule::NEVER_FOREIGN_NAMESPACE,
            at!("HostConfig/IpcMode"),
            json!({"IpcMode": "container:db"}),
            json!({"IpcMode": ""}),
        ),
        host(
            rule::NEVER_FOREIGN_NETWORK,
            at!("HostConfig/NetworkMode"),
            json!({"NetworkMode": "container:db"}),
            json!({"NetworkMode": "none"}),
        ),
        host(
            rule::NEVER_ENGINE_SOCKET,
            at!("HostConfig/Binds/0"),
            json!({"Binds": ["/var/run/docker.sock:/d.sock"]}),
            json!({"Binds": []}),
        ),
        host(
            rule::NEVER_DEVICE,
            at!("HostConfig/Devices"),
            json!({"Devices": [{"PathOnHost": "/dev/kvm"}]}),
            json!({"Devices": []}),
        ),
        host(
            rule::NEVER_UNCONFINED,
            at!("HostConfig/SecurityOpt/0"),
            json!({"SecurityOpt": ["seccomp=unconfined"]}),
            json!({"SecurityOpt": ["no-new-privileges"]}),
        ),
        host(
            rule::NEVER_MASKED_PATHS,
            at!("HostConfig/MaskedPaths"),
            json!({"MaskedPaths": []}),
            json!({"MaskedPaths": null}),
        ),
        host(
            rule::NEVER_CAPABILITY,
            at!("HostConfig/CapAdd/0"),
            json!({"CapAdd": ["SYS_ADMIN"]}),
            json!({"CapDrop": ["SYS_ADMIN"]}),
        ),
        host(
            rule::NEVER_VOLUME_OPTIONS,
            at!("HostConfig/VolumeDriver"),
            json!({"VolumeDriver": "local"}),
            json!({"VolumeDriver": ""}),
        ),
        host(
            rule::NEVER_SYSCTL,
            at!("HostConfig/Sysctls"),
            json!({"Sysctls": {"net.ipv4.ip_forward": "1"}}),
            json!({"Sysctls": {}}),
        ),
        host(
            rule::NEVER_VOLUMES_FROM,
            at!("HostConfig/VolumesFrom"),
            json!({"VolumesFrom": ["db"]}),
            json!({"VolumesFrom": null}),
        ),
        refused(
            rule::OVERRIDE_UNSUPPORTED,
            at!("Hostname"),
            json!({"Hostname": "x"}),
            json!({"Hostname": ""}),
        ),
        refused(rule::OVERRIDE_TYPE, at!("Env/0"), json!({"Env": ["A"]}), json!({"Env": ["A="]})),
        host(
            rule::OVERRIDE_LOOSENS,
            at!("HostConfig/ReadonlyRootfs"),
            json!({"ReadonlyRootfs": false}),
            json!({"ReadonlyRootfs": true}),
        ),
        host(
            rule::OVERRIDE_DUPLICATE,
            at!("HostConfig/memory"),
            json!({"Memory": 8_388_608, "memory": 8_388_608}),
            json!({"memory": 8_388_608}),
        ),
    ]
}

fn cases() -> Vec<Case> {
    [group_cases(), text_cases(), size_cases(), port_cases(), mount_cases(), time_cases(), override_cases()]
        .into_iter()
        .flatten()
        .collect()
}

#[test]
fn each_bad_value_is_refused_once_and_its_good_neighbour_is_not() {
    for case in cases() {
        let (mut bad, mut good) = (pair(), pair());
        (case.bad)(&mut bad);
        (case.good)(&mut good);
        let found = configurator().validate(&bad);
        assert_eq!(places(&found), [(case.pointer, case.rule)], "{found:#?}");
        let found = configurator().validate(&good);
        assert_eq!(found, [], "the good neighbour of {} at {}", case.rule, case.pointer);
    }
}

#[test]
fn every_rule_has_a_case() {
    let mut tried: BTreeSet<_> = cases().iter().map(|case| case.rule).collect();
    // What depends on the engine has a test of its own.
    tried.extend([rule::ENGINE_REMOTE, rule::SHIM_PLATFORM]);
    // What needs a shim has tests of its own, in egress.rs.
    tried.extend([rule::EGRESS_NETWORK, rule::EGRESS_REPEATED, rule::EGRESS_TOO_MANY, rule::POLICY_EGRESS]);
    tried.extend([rule::POLICY_EGRESS_RANGE, rule::CONNECT_COMPLETED, rule::CONNECT_NAME, rule::PORT_INSIDE]);
    assert_eq!(tried, rule::ALL.iter().copied().collect());
}

#[test]
fn what_needs_the_engine_beside_the_daemon_is_refused_on_another_machine() {
    let mut spec = pair();
    let tool = &mut spec.servers[1];
    tool.port = Some(80);
    set_publish(tool, vec![(8080, 80), (8081, 81)]);
    set_target(tool, "/data");
    tool.mounts.push(Mount {
        target: "/t".to_owned(),
        source: MountSource::Tmpfs { size: MIB },
        read_only: false,
    });
    assert_eq!(places(&configurator().validate(&spec)), []);
    let found = configurator().for_remote_engine().validate(&spec);
    let expected = ["publish/0", "publish/1", "port", "mounts/0"].map(|at| format!("/servers/1/{at}"));
    let expected: Vec<_> = expected.iter().map(|at| (at.as_str(), rule::ENGINE_REMOTE)).collect();
    assert_eq!(places(&found), expected);
    assert!(found.iter().all(|violation| violation.hint.is_some()), "{found:#?}");
    assert_eq!(configurator().for_remote_engine().validate(&pair()), []);
}

#[test]
fn a_shim_is_refused_where_it_cannot_be_and_only_to_those_who_insist() {
    let asking = |shim, platform: Option<&str>| {
        let mut spec = pair();
        spec.servers[1].shim = shim;
        spec.servers[1].platform = platform.map(|platform| platform.parse().unwrap());
        spec
    };
    let check = |configurator: &Configurator, platform, refusal: Option<&str>| {
        let refused: Vec<_> = refusal.iter().map(|rule| ("/servers/1/shim", *rule)).collect();
        let found = configurator.validate(&asking(Some(true), platform));
        assert_eq!(places(&found), refused);
        assert!(found.iter().all(|violation| violation.hint.is_some()), "{found:#?}");
        for shim in [Some(false), None] {
            assert_eq!(configurator.validate(&asking(shim, platform)), []);
        }
    };
    check(&configurator(), None, Some(rule::SHIM_NONE));
    let with = configurator().with_shim(true);
    check(&with, None, None);
    check(&with, Some("linux/s390x"), Some(rule::SHIM_PLATFORM));
    check(&with.clone().for_remote_engine(), None, Some(rule::ENGINE_REMOTE));
    check(&configurator().for_remote_engine(), Some("linux/s390x"), Some(rule::ENGINE_REMOTE));
}

/// The daemon needs no address where the shim opens the door.
#[test]
fn a_port_needs_a_network_or_a_shim() {
    let mut spec = pair();
    let tool = &mut spec.servers[1];
    (tool.network, tool.port) = (Some(NetworkMode::None), Some(80));
    set_publish(tool, vec![(8080, 80)]);
    let at = ["/servers/1/port", "/servers/1/publish/0"].map(|at| (at, rule::PORT_NETWORK));
    assert_eq!(places(&configurator().validate(&spec)), at);
    let with = configurator().with_shim(true);
    assert_eq!(with.validate(&spec), []);
    spec.servers[1].shim = Some(false);
    assert_eq!(places(&with.validate(&spec)), at);
}

#[test]
fn a_cycle_is_pointed_out_where_it_is_and_printed() {
    let mut spec = group(vec![tool("x"), tool("a"), tool("b")]);
    spec.servers[0].depends_on = depend(&["a"]);
    spec.servers[1].depends_on = depend(&["b"]);
    spec.servers[2].depends_on = depend(&["a"]);
    let found = configurator().validate(&spec);
    assert_eq!(places(&found), [("/servers/1/dependsOn/0/instance", "graph.cycle")]);
    assert_eq!(found[0].message, "the dependencies form a cycle: a -> b -> a");
}

#[test]
fn every_mistake_is_listed_at_once() {
    let mut spec = group(vec![stdio("time"), tool("time")]);
    spec.servers[0].image = "".into();
    spec.servers[0].resources.memory = Some(1);
    spec.servers[1].depends_on = depend(&["nobody"]);
    spec.servers[1].template = Some("nobody".to_owned());
    set_overrides(
        &mut spec.servers[1],
        json!({"HostConfig": {"Privileged": true, "CapAdd": ["ALL"]}, "X": 1}),
    );
    let expected = [
        ("/servers/1/instanceName", "graph.duplicate"),
        ("/servers/1/dependsOn/0/instance", "graph.unknown"),
        ("/servers/0/image", "image.syntax"),
        ("/servers/0/resources/memory", "resources.too-small"),
        ("/servers/1/template", "template.unknown"),
        ("/servers/1/overrides/HostConfig/CapAdd/0", "never.capability"),
        ("/servers/1/overrides/HostConfig/Privileged", "never.privileged"),
        ("/servers/1/overrides/X", "override.unsupported"),
    ];
    let found = configurator().validate(&spec);
    assert_eq!(places(&found), expected);
}

#[test]
fn no_control_character_of_a_request_reaches_a_message() {
    let mut spec = group(vec![support::server("a", ServerKind::Tool)]);
    let evil = "\u{1b}[31m\n";
    spec.servers[0].image = evil.into();
    spec.servers[0].template = Some(evil.to_owned());
    set_environment(&mut spec.servers[0], (evil.to_owned(), String::new()));
    set_target(&mut spec.servers[0], evil);
    set_bind(&mut spec.servers[0], evil);
    set_overrides(&mut spec.servers[0], json!({"HostConfig": {"CapAdd": [evil], "SecurityOpt": [evil]}}));
    let found = configurator().validate(&spec);
    assert_eq!(found.len(), 7, "{found:#?}");
    for violation in found {
        assert!(!violation.message.contains(char::is_control), "{violation:?}");
    }
}
