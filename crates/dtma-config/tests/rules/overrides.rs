//! Cases of what is asked of the engine past us.

use crate::case::{Case, set_overrides, tool_case};
use dtma_config::rule;
use serde_json::{Value, json};

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

pub(crate) fn override_cases() -> Vec<Case> {
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
