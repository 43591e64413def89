//! The engine's own words, in every spelling: what must never be is named, what is not known is refused.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::needless_pass_by_value,
    reason = "a broken test should stop where it broke, and cases are written in place"
)]

mod support;

use dtma_core::spec::ServerKind;
use serde_json::{Value, json};
use support::{configurator, overridden, places};

#[track_caller]
fn check(overrides: Value, expected: &[(&str, &str)]) {
    let found = configurator().validate(&overridden(ServerKind::Tool, overrides.clone()));
    let prefix = "/servers/0/overrides/";
    let found = places(&found);
    let found: Vec<_> =
        found.iter().map(|(at, rule)| (at.strip_prefix(prefix).unwrap_or(at), *rule)).collect();
    assert_eq!(found, expected, "{overrides}");
}

#[track_caller]
fn check_host(host: Value, expected: &[(&str, &str)]) {
    let expected: Vec<_> = expected.iter().map(|(at, rule)| (format!("HostConfig/{at}"), *rule)).collect();
    let expected: Vec<_> = expected.iter().map(|(at, rule)| (at.as_str(), *rule)).collect();
    check(json!({"HostConfig": host}), &expected);
}

#[test]
fn the_engine_does_not_care_about_case_and_neither_do_we() {
    check(json!({"hostconfig": {"privileged": true}}), &[("hostconfig/privileged", "never.privileged")]);
    check(json!({"HOSTCONFIG": {"PRIVILEGED": true}}), &[("HOSTCONFIG/PRIVILEGED", "never.privileged")]);
    check_host(json!({"\u{17f}y\u{17f}ctls": {"a": "1"}}), &[("\u{17f}y\u{17f}ctls", "never.sysctl")]);
    check_host(json!({"Ma\u{17f}kedPath\u{17f}": []}), &[("Ma\u{17f}kedPath\u{17f}", "never.masked-paths")]);
    check_host(json!({"NetworkMode": "HOST"}), &[("NetworkMode", "never.host-namespace")]);
    check_host(
        json!({"CapAdd": ["cap_sys_admin", "Net_Raw"]}),
        &[("CapAdd/0", "never.capability"), ("CapAdd/1", "never.capability")],
    );
}

#[test]
fn what_must_never_be_is_found_at_any_depth_and_in_the_wrong_place() {
    check(json!({"Privileged": true}), &[("Privileged", "never.privileged")]);
    check(
        json!({"HostConfig": {"HostConfig": {"Privileged": true}}}),
        &[
            ("HostConfig/HostConfig/Privileged", "never.privileged"),
            ("HostConfig/HostConfig", "override.unsupported"),
        ],
    );
    check(
        json!({"x": [{"y": {"PidMode": "host"}}]}),
        &[("x/0/y/PidMode", "never.host-namespace"), ("x", "override.unsupported")],
    );
}

#[test]
fn a_truthy_privileged_is_privileged() {
    for value in [json!(1), json!("true"), json!("false"), json!([]), json!({})] {
        check_host(json!({"Privileged": value}), &[("Privileged", "never.privileged")]);
    }
}

#[test]
fn namespaces_of_the_host_and_of_others_are_refused_in_every_mode() {
    for mode in ["PidMode", "IpcMode", "UTSMode", "UsernsMode", "CgroupnsMode"] {
        for (value, rule) in [
            ("host", "never.host-namespace"),
            (" Host ", "never.host-namespace"),
            ("ns:/proc/1/ns/pid", "never.host-namespace"),
            ("container:db", "never.foreign-namespace"),
            ("shareable", "override.loosens"),
        ] {
            check_host(json!({mode: value}), &[(mode, rule)]);
        }
    }
    for (value, rule) in [
        ("host", "never.host-namespace"),
        ("container:db", "never.foreign-network-namespace"),
        ("dtma-01234567-other", "never.foreign-network-namespace"),
        ("bridge", "override.unsupported"),
    ] {
        check_host(json!({"NetworkMode": value}), &[("NetworkMode", rule)]);
    }
    check_host(json!({"PidMode": true}), &[("PidMode", "override.type")]);
    check(json!({"NetworkingConfig": {"EndpointsConfig": {}}}), &[]);
    check(
        json!({"NetworkingConfig": {"EndpointsConfig": {"other": {}}}}),
        &[
            ("NetworkingConfig/EndpointsConfig", "never.foreign-network-namespace"),
            ("NetworkingConfig", "override.unsupported"),
        ],
    );
}

#[test]
fn paths_of_the_host_are_refused_in_every_notation() {
    check_host(
        json!({"Binds": ["/etc:/etc:ro", "notes:/data", "/run:/x"]}),
        &[
            ("Binds/0", "policy.bind"),
            ("Binds/1", "override.unsupported"),
            ("Binds/2", "never.engine-socket"),
        ],
    );
    check_host(
        json!({"Mounts": [
            {"Type": "bind", "Source": "/etc", "Target": "/x"},
            {"type": "bind", "source": "/var/run/docker.sock", "target": "/x"},
            {"Type": "volume", "Source": "v", "Target": "/x",
             "VolumeOptions": {"DriverConfig": {"Options": {"type": "none", "o": "bind", "device": "/etc"}}}},
        ]}),
        &[
            ("Mounts/0/Source", "policy.bind"),
            ("Mounts/1/source", "never.engine-socket"),
            ("Mounts/2", "override.unsupported"),
            ("Mounts/2/VolumeOptions/DriverConfig", "never.volume-options"),
        ],
    );
    check(json!({"Volumes": {"/data": {}}}), &[("Volumes", "override.unsupported")]);
}

#[test]
fn profiles_can_be_neither_dropped_nor_changed() {
    for (option, rule) in [
        ("seccomp=unconfined", "never.unconfined"),
        ("seccomp:unconfined", "never.unconfined"),
        ("apparmor=unconfined", "never.unconfined"),
        ("APPARMOR = unconfined", "never.unconfined"),
        ("label=disable", "never.unconfined"),
        ("label:disable", "never.unconfined"),
        ("systempaths=unconfined", "never.masked-paths"),
        ("seccomp={\"defaultAction\":\"SCMP_ACT_ALLOW\"}", "override.loosens"),
        ("apparmor=other", "override.loosens"),
        ("no-new-privileges=false", "override.loosens"),
    ] {
        check_host(json!({"SecurityOpt": [option]}), &[("SecurityOpt/0", rule)]);
    }
}

#[test]
fn every_capability_of_the_list_has_the_rule_and_no_other_can_be_added_either() {
    for name in
        ["ALL", "SYS_ADMIN", "SYS_PTRACE", "SYS_MODULE", "NET_ADMIN", "NET_RAW", "DAC_READ_SEARCH", "BPF"]
    {
        for name in [name.to_owned(), format!("CAP_{name}"), name.to_lowercase()] {
            check_host(json!({"CapAdd": [name]}), &[("CapAdd/0", "never.capability")]);
        }
    }
    check_host(json!({"CapAdd": ["CHOWN"]}), &[("CapAdd/0", "override.loosens")]);
    check_host(json!({"CapAdd": "SYS_ADMIN"}), &[("CapAdd", "never.capability")]);
    check_host(json!({"CapAdd": [7]}), &[("CapAdd/0", "override.type")]);
}

#[test]
fn devices_and_kernel_settings_are_refused_under_each_of_their_names() {
    for (key, value, rule) in [
        ("Devices", json!(["/dev/kvm"]), "never.device"),
        ("DeviceRequests", json!([{"Driver": "nvidia"}]), "never.device"),
        ("DeviceCgroupRules", json!(["c 1:3 rwm"]), "never.device"),
        ("ReadonlyPaths", json!([]), "never.masked-paths"),
        ("Links", json!(["db:db"]), "never.foreign-network-namespace"),
        ("VolumesFrom", json!(["db:ro"]), "never.volumes-from"),
    ] {
        check_host(json!({key: value}), &[(key, rule)]);
    }
}

#[test]
fn limits_of_overrides_obey_the_same_rules_as_those_of_the_spec() {
    for (key, value, rule) in [
        ("Memory", json!(0), "resources.too-small"),
        ("Memory", json!(-1), "resources.too-small"),
        ("Memory", json!(2_147_483_649_u64), "policy.ceiling"),
        ("Memory", json!(1.5), "override.type"),
        ("Memory", json!("1g"), "override.type"),
        ("NanoCpus", json!(0), "resources.too-small"),
        ("NanoCpus", json!(9_999_999), "resources.too-small"),
        ("NanoCpus", json!(2_001_000_000_u64), "policy.ceiling"),
        ("NanoCpus", json!(u64::MAX), "policy.ceiling"),
        ("PidsLimit", json!(-1), "resources.too-small"),
        ("PidsLimit", json!(513), "policy.ceiling"),
        ("OomScoreAdj", json!(499), "override.loosens"),
        ("OomScoreAdj", json!(-1000), "override.loosens"),
        ("OomScoreAdj", json!(1001), "override.loosens"),
        ("Init", json!(false), "override.loosens"),
        ("ReadonlyRootfs", json!("true"), "override.type"),
        ("Tmpfs", json!([]), "override.type"),
        ("RestartPolicy", json!({"Name": "always"}), "override.unsupported"),
        ("MemorySwap", json!(-1), "override.unsupported"),
        ("Runtime", json!("crun"), "override.unsupported"),
        ("CgroupParent", json!("/"), "override.unsupported"),
        ("PortBindings", json!({"80/tcp": [{"HostPort": "80"}]}), "override.unsupported"),
    ] {
        check_host(json!({key: value}), &[(key, rule)]);
    }
    check(json!({"StopTimeout": 601}), &[("StopTimeout", "duration.range")]);
    check(json!({"StopTimeout": -1}), &[("StopTimeout", "duration.range")]);
}

#[test]
fn ulimits_can_be_lowered() {
    let entry = |name: &str, soft, hard| json!({"Ulimits": [{"Name": name, "Soft": soft, "Hard": hard}]});
    check_host(entry("nofile", 1024, 4096), &[]);
    check_host(json!({"Ulimits": [{"name": "nofile", "soft": 16, "hard": 16}]}), &[]);
    for bad in [
        entry("nofile", 1025, 4096),
        entry("nofile", 1024, 4097),
        entry("nofile", 1024, 512),
        entry("nofile", 1, 512),
        entry("core", 0, 0),
        json!({"Ulimits": ["nofile=1"]}),
    ] {
        check_host(bad, &[("Ulimits/0", "override.loosens")]);
    }
}

#[test]
fn a_tmpfs_keeps_its_mount_options() {
    for good in ["", "size=4096", "rw,noexec,nosuid,nodev,size=64m", "size=1g", "size=64K"] {
        check_host(json!({"Tmpfs": {"/x": good}}), &[]);
    }
    for bad in ["exec", "suid", "dev", "mode=777", "size=50%", "size=", "size=-1", "size=1mm", "uid=0", "ro"]
    {
        check_host(json!({"Tmpfs": {"/x": bad}}), &[("Tmpfs/~1x", "override.loosens")]);
    }
    check_host(json!({"Tmpfs": {"/x": "size=3g"}}), &[("Tmpfs/~1x", "policy.ceiling")]);
    check_host(json!({"Tmpfs": {"/proc/x": ""}}), &[("Tmpfs/~1proc~1x", "mounts.reserved")]);
    check_host(json!({"Tmpfs": {"/x/..": ""}}), &[("Tmpfs/~1x~1..", "mounts.target")]);
    check_host(json!({"Tmpfs": {"/x": 1}}), &[("Tmpfs/~1x", "override.type")]);
}

#[test]
fn environment_and_labels_of_overrides_obey_the_same_rules_as_those_of_the_spec() {
    check(
        json!({"Env": ["=x", "A B=1", "A=\u{0}", 7, "ok=1"]}),
        &[
            ("Env/0", "environment.name"),
            ("Env/1", "environment.name"),
            ("Env/2", "environment.value"),
            ("Env/3", "override.type"),
        ],
    );
    check(
        json!({"Labels": {"io.dtma.owner": "x", "n": 1}}),
        &[("Labels/io.dtma.owner", "labels.reserved"), ("Labels/n", "override.type")],
    );
    check(json!({"Env": "A=1", "Labels": []}), &[("Env", "override.type"), ("Labels", "override.type")]);
    check(
        json!({"Entrypoint": [], "Cmd": ["a\u{0}", 1]}),
        &[("Cmd/1", "override.type"), ("Cmd/0", "command.syntax"), ("Entrypoint", "command.empty")],
    );
}

#[test]
fn rules_across_fields_see_the_overrides_too() {
    let mut spec =
        overridden(ServerKind::Tool, json!({"HostConfig": {"NetworkMode": " None ", "Tmpfs": {"/a": ""}}}));
    spec.servers[0].port = Some(80);
    spec.servers[0].mounts = vec![dtma_core::spec::Mount {
        target: "/a".to_owned(),
        source: dtma_core::spec::MountSource::Volume("v".parse().unwrap()),
        read_only: false,
    }];
    assert_eq!(
        places(&configurator().validate(&spec)),
        [
            ("/servers/0/overrides/HostConfig/Tmpfs/~1a", "mounts.duplicate"),
            ("/servers/0/port", "port.network"),
        ]
    );
}
