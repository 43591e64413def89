//! What of a request ends up where, what wins over what, and when two configurations are the same.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::needless_pass_by_value,
    reason = "a broken test should stop where it broke, and cases are written in place"
)]

mod support;

use dtma_config::{Configurator, Policy, Templates, config_hash};
use dtma_core::container::ContainerMount;
use dtma_core::spec::{Mount, MountSource, NetworkMode, Resources, ServerKind};
use serde_json::json;
use std::time::Duration;
use support::{MIB, configurator, group, overridden, owner, pair, rendered, stdio, tool};

#[test]
fn what_a_server_asks_for_replaces_the_templates_values() {
    let mut spec = tool("web");
    spec.template = Some("package-runner".to_owned());
    spec.resources = Resources { memory: Some(32 * MIB), cpu_millis: None, pids: Some(64) };
    let limits = rendered(&group(vec![spec])).config.limits;
    assert_eq!((limits.memory, limits.cpu_millis, limits.pids), (33_554_432, 1000, 64));
}

#[test]
fn a_template_above_the_operators_ceiling_is_trimmed_to_it() {
    let policy = Policy { memory: 8 * MIB, cpu_millis: 100, pids: 10, ..Policy::default() };
    let tight = Configurator::new(Templates::builtin(), policy);
    let config = &tight.render(&group(vec![tool("web")]), &owner()).unwrap()[&"web".parse().unwrap()].config;
    assert_eq!((config.limits.memory, config.limits.cpu_millis, config.limits.pids), (8_388_608, 100, 10));
    for mount in &config.mounts {
        assert!(matches!(mount, ContainerMount::Tmpfs { size: 8_388_608, .. }), "{mount:?}");
    }
}

#[test]
fn volumes_bear_the_groups_name_and_a_mount_replaces_the_templates_tmpfs() {
    let mut spec = stdio("memory");
    let mount = |target: &str, source| Mount { target: target.to_owned(), source, read_only: false };
    spec.mounts = vec![
        Mount { read_only: true, ..mount("/data", MountSource::Volume("notes".parse().unwrap())) },
        mount("/tmp", MountSource::Tmpfs { size: MIB }),
    ];
    let expected = [
        ContainerMount::Tmpfs { target: "/run".to_owned(), size: 16 * MIB, exec: false },
        ContainerMount::Volume {
            name: "dtma-01234567-demo__notes".to_owned(),
            target: "/data".to_owned(),
            read_only: true,
        },
        ContainerMount::Tmpfs { target: "/tmp".to_owned(), size: MIB, exec: false },
    ];
    assert_eq!(rendered(&group(vec![spec])).config.mounts, expected);
}

#[test]
fn a_servers_labels_win_over_its_groups() {
    let mut spec = pair();
    spec.labels = [("team".to_owned(), "a".to_owned()), ("env".to_owned(), "test".to_owned())].into();
    spec.servers[0].labels = [("team".to_owned(), "b".to_owned())].into();
    let all = configurator().render(&spec, &owner()).unwrap();
    let labels = |name: &str| {
        let labels = &all[&name.parse().unwrap()].config.labels;
        (labels["team"].clone(), labels["env"].clone())
    };
    assert_eq!(labels("time"), ("b".to_owned(), "test".to_owned()));
    assert_eq!(labels("web"), ("a".to_owned(), "test".to_owned()));
}

#[test]
fn a_server_keeps_its_own_environment_beside_the_daemons() {
    let mut spec = stdio("time");
    spec.environment =
        [("TZ".to_owned(), "UTC".to_owned()), ("MCP_ENDPOINT".to_owned(), "/mcp".to_owned())].into();
    let environment = rendered(&group(vec![spec])).config.environment;
    assert_eq!((environment.len(), environment["TZ"].as_str()), (6, "UTC"));
    assert_eq!(rendered(&group(vec![tool("web")])).config.environment.len(), 0, "a tool is told nothing");
}

#[test]
fn the_network_is_the_kinds_own_unless_the_request_names_one() {
    let network = |shared, asked, kind: ServerKind| {
        let mut spec = group(vec![support::server("a", kind)]);
        spec.options.shared_networking = shared;
        spec.servers[0].network = asked;
        rendered(&spec).config.network
    };
    let mcp = stdio("x").kind;
    assert_eq!(network(true, None, mcp), NetworkMode::None);
    assert_eq!(network(true, Some(NetworkMode::Group), mcp), NetworkMode::Group);
    assert_eq!(network(true, None, ServerKind::Tool), NetworkMode::Group);
    assert_eq!(network(true, Some(NetworkMode::None), ServerKind::Tool), NetworkMode::None);
    assert_eq!(network(false, None, ServerKind::Tool), NetworkMode::None);
}

#[test]
fn overrides_move_inside_the_ceilings_and_win_over_the_spec() {
    let mut spec = overridden(
        ServerKind::Tool,
        json!({
            "Env": ["A=from-overrides", "B=x=y", "C="],
            "Cmd": ["-f"],
            "Entrypoint": "httpd",
            "Labels": {"privileged": "a label may be called anything"},
            "StopTimeout": 3,
            "HostConfig": {
                "Memory": 536_870_912, "NanoCpus": 1_500_000_000_u64, "PidsLimit": 256,
                "ReadonlyRootfs": true, "CapDrop": ["NET_RAW"], "NetworkMode": "none", "OomScoreAdj": 900,
                "Tmpfs": {"/cache": "rw,noexec,size=8m", "/plain": ""},
                "Ulimits": [{"Name": "nofile", "Soft": 512, "Hard": 1024}],
                "SecurityOpt": ["no-new-privileges:true"], "Init": true
            }
        }),
    );
    spec.servers[0].environment = [("A".to_owned(), "from-spec".to_owned())].into();
    spec.servers[0].resources.memory = Some(32 * MIB);
    spec.servers[0].args = Some(vec!["from-spec".to_owned()]);
    let config = rendered(&spec).config;
    let environment: Vec<_> = config.environment.iter().map(|(k, v)| format!("{k}={v}")).collect();
    assert_eq!(environment, ["A=from-overrides", "B=x=y", "C="]);
    assert_eq!(config.command, Some(vec!["httpd".to_owned()]));
    assert_eq!(config.args, Some(vec!["-f".to_owned()]));
    assert_eq!(config.stop_grace, Duration::from_secs(3));
    assert_eq!(config.network, NetworkMode::None);
    let limits = config.limits;
    assert_eq!((limits.memory, limits.cpu_millis, limits.pids), (536_870_912, 1500, 256));
    assert_eq!((limits.nofile_soft, limits.nofile_hard, limits.oom_score_adj), (512, 1024, 900));
    assert_eq!(config.isolation.cap_drop, ["ALL"], "all of them is all of them");
    let tmpfs: Vec<_> = config.mounts.iter().map(ContainerMount::target).collect();
    assert_eq!(tmpfs, ["/tmp", "/run", "/cache", "/plain"]);
    assert!(config.labels.contains_key("privileged"));
}

#[test]
fn a_whole_request_of_a_client_that_says_nothing_changes_nothing() {
    let said = json!({
        "Env": null, "Cmd": null, "Entrypoint": null, "Labels": {}, "User": "", "Tty": false, "Image": "",
        "ExposedPorts": {}, "Volumes": null,
        "HostConfig": {
            "Privileged": false, "Binds": null, "Mounts": [], "CapAdd": null, "CapDrop": null, "Devices": [],
            "NetworkMode": "", "PidMode": "", "IpcMode": "private", "UTSMode": "", "Sysctls": {},
            "VolumesFrom": null, "SecurityOpt": null, "PortBindings": {}, "PublishAllPorts": false,
            "AutoRemove": false, "RestartPolicy": {"Name": "no", "MaximumRetryCount": 0}, "MaskedPaths": null,
            "LogConfig": {"Type": "", "Config": {}}, "Memory": null
        },
        "NetworkingConfig": {"EndpointsConfig": {}}
    });
    let plain = rendered(&group(vec![tool("a")]));
    assert_eq!(rendered(&overridden(ServerKind::Tool, said)), plain);
}

#[test]
fn the_hash_is_of_the_content() {
    let first = rendered(&pair());
    assert_eq!(first.hash.as_str().len(), 32);
    assert_eq!(first.hash, rendered(&pair()).hash);
    assert_eq!(first.hash, config_hash(&first.config));
    let mut other = first.config.clone();
    other.limits.pids += 1;
    assert_ne!(first.hash, config_hash(&other));
}

/// To a daemon that hashed otherwise the same request, made again, would be a change.
#[test]
fn the_hash_stays_what_it_was() {
    assert_eq!(rendered(&group(vec![tool("web")])).hash.as_str(), "f715f182cc47d213ed050996c3751d3c");
}

#[test]
fn nothing_is_rendered_of_a_group_with_a_mistake() {
    let mut spec = pair();
    spec.servers[1].resources.pids = Some(0);
    let refused = configurator().render(&spec, &owner()).unwrap_err();
    assert_eq!(support::places(&refused), [("/servers/1/resources/pids", "resources.too-small")]);
}
