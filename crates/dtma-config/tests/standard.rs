//! The hardened profile, value by value. The numbers here are written out on purpose: they are what was measured
//! and decided, not what the code happens to say.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::needless_pass_by_value,
    reason = "a broken test should stop where it broke, and cases are written in place"
)]

mod support;

use dtma_config::{Configurator, Policy, Templates};
use dtma_core::container::{ContainerConfig, ContainerMount, Isolation, Limits, LogDriver};
use dtma_core::spec::{NetworkMode, PullPolicy, ServerSpec};
use std::collections::BTreeMap;
use std::time::Duration;
use support::{configurator, group, owner, rendered, stdio, tool};

fn tmpfs(target: &str, size: u64) -> ContainerMount {
    ContainerMount::Tmpfs { target: target.to_owned(), size, exec: false }
}

fn hardened() -> ContainerConfig {
    ContainerConfig {
        image: "dtma/example:1".into(),
        platform: None,
        pull: PullPolicy::Missing,
        command: None,
        args: None,
        environment: BTreeMap::new(),
        labels: BTreeMap::new(),
        mounts: vec![tmpfs("/tmp", 67_108_864), tmpfs("/run", 16_777_216)],
        network: NetworkMode::None,
        limits: Limits {
            memory: 268_435_456,
            cpu_millis: 500,
            pids: 128,
            nofile_soft: 1024,
            nofile_hard: 4096,
            oom_score_adj: 500,
        },
        isolation: Isolation {
            read_only_root: true,
            cap_drop: vec!["ALL".to_owned()],
            no_new_privileges: true,
            init: true,
        },
        open_stdin: false,
        log: LogDriver::None,
        stop_grace: Duration::from_secs(10),
        shim: false,
        egress: Vec::new(),
        connects: Vec::new(),
    }
}

#[test]
fn a_stdio_server_gets_the_hardened_profile_no_network_and_no_log() {
    let environment = [
        ("MCP_ENDPOINT", "/mcp"),
        ("MCP_ENDPOINT_PATH", "/mcp"),
        ("MCP_SERVER_NAME", "time"),
        ("MCP_TRANSPORT", "stdio"),
        ("MCP_TRANSPORT_TYPE", "stdio"),
    ];
    let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let expected = ContainerConfig { environment, open_stdin: true, ..hardened() };
    assert_eq!(rendered(&group(vec![stdio("time")])).config, expected);
}

#[test]
fn a_tool_gets_the_same_on_its_groups_network_with_a_bounded_log() {
    let log = LogDriver::Bounded { max_size: 10_485_760, max_files: 3 };
    let expected = ContainerConfig { network: NetworkMode::Group, log, ..hardened() };
    assert_eq!(rendered(&group(vec![tool("web")])).config, expected);
}

/// Which is an init and keeps the log; apart from that it changes nothing.
#[test]
fn a_server_gets_a_shim_where_there_is_one_and_it_can_run() {
    let with = configurator().with_shim(true);
    let config = |configurator: &Configurator, change: fn(&mut ServerSpec)| {
        let mut spec = tool("web");
        change(&mut spec);
        let rendered = configurator.render(&group(vec![spec]), &owner()).unwrap();
        rendered.into_values().next().unwrap().config
    };
    let isolation = Isolation { init: false, ..hardened().isolation };
    let shimmed = ContainerConfig { isolation, shim: true, ..hardened() };
    assert_eq!(config(&with, |_| {}), shimmed);
    assert_eq!(config(&with, |spec| spec.shim = Some(true)), shimmed);
    assert!(!config(&with, |spec| spec.shim = Some(false)).shim);
    assert!(!config(&with, |spec| spec.platform = "linux/s390x".parse().ok()).shim);
    assert!(!config(&with.clone().for_remote_engine(), |_| {}).shim);
    let without = config(&configurator(), |_| {});
    assert_eq!(config(&with, |spec| spec.shim = Some(false)), without);
    assert!(!without.shim && without.isolation.init && without.log != LogDriver::None);
}

#[test]
fn the_templates_differ_in_size_and_in_nothing_else() {
    let templates = Templates::builtin();
    let sizes: Vec<_> = templates
        .list()
        .map(|template| {
            let values = &template.values;
            (template.name.as_str(), values.memory, values.cpu_millis, values.pids)
        })
        .collect();
    let expected = [
        ("standard", 268_435_456, 500, 128),
        ("package-runner", 1_073_741_824, 1000, 256),
        ("minimal", 67_108_864, 250, 32),
        ("high-performance", 2_147_483_648, 2000, 512),
    ];
    assert_eq!(sizes, expected);
    let standard = &templates.standard().values;
    for template in templates.list() {
        let mut values = template.values.clone();
        (values.memory, values.cpu_millis, values.pids) =
            (standard.memory, standard.cpu_millis, standard.pids);
        assert_eq!(values, *standard, "{}", template.name);
        assert_eq!(template.inherits.as_deref(), (template.name != "standard").then_some("standard"));
    }
}

#[test]
fn without_a_policy_the_ceilings_are_two_gibibytes_two_cpus_and_512_processes() {
    let policy = Policy::default();
    assert_eq!((policy.memory, policy.cpu_millis, policy.pids), (2_147_483_648, 2000, 512));
    assert_eq!(policy.lowest_host_port, 1024);
}

#[test]
fn a_template_is_shown_with_everything_it_inherits() {
    let templates = Templates::builtin();
    let shown = serde_json::to_value(templates.get("package-runner").unwrap()).unwrap();
    assert_eq!(shown["inherits"], "standard");
    assert_eq!(shown["values"]["memory"], 1_073_741_824_u64);
    assert_eq!(shown["values"]["readOnlyRoot"], true);
    assert_eq!(shown["values"]["tmpfs"][0]["target"], "/tmp");
    assert!(templates.get("nobody").is_none());
}
