//! Every deployed container is as hardened as promised: what the engine was told, what the kernel says of the
//! process, what it is refused from inside; and what nobody may ask for is refused at the door.
#![allow(clippy::expect_used, clippy::panic, reason = "a test stops where something is broken")]

use dtma_tests::engine::{containers, docker, inspect, networks, remains, try_docker};
use dtma_tests::{Toolbox, groups, shims};
use serde_json::{Value, json};
use std::fs;

fn household(toolbox: &Toolbox) -> Value {
    toolbox.group(
        "hard",
        &[
            groups::everything("everything"),
            groups::memory("memory"),
            groups::time("time"),
            groups::git("git"),
            groups::web("web"),
            groups::peer("idle"),
        ],
    )
}

/// What `docker inspect` must say of every container, word for word.
fn profile() -> Value {
    json!({
        "Privileged": false,
        "CapAdd": null,
        "CapDrop": ["ALL"],
        "SecurityOpt": ["no-new-privileges:true"],
        "ReadonlyRootfs": true,
        "Memory": 268_435_456,
        "MemorySwap": 268_435_456,
        "NanoCpus": 500_000_000,
        "PidsLimit": 128,
        "Ulimits": [
            {"Name": "nofile", "Soft": 1024, "Hard": 4096},
            {"Name": "core", "Soft": 0, "Hard": 0},
        ],
        "OomScoreAdj": 500,
        "PidMode": "",
        "IpcMode": "private",
        "UTSMode": "",
        "UsernsMode": "",
        "CgroupnsMode": "private",
        "PublishAllPorts": false,
        "PortBindings": null,
        "Binds": null,
        "Devices": null,
        "DeviceRequests": null,
        "VolumesFrom": null,
        "Links": null,
        // The shim is an init itself.
        "Init": !shims(),
        "AutoRemove": false,
        "RestartPolicy": {"Name": "no", "MaximumRetryCount": 0},
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn the_engine_was_told_the_hardened_profile_for_every_container() {
    let toolbox = Toolbox::start();
    toolbox.deploy(&household(&toolbox)).await;
    let containers = containers(&toolbox.named("hard"));
    assert_eq!(containers.len(), 6);
    for container in &containers {
        let name = container["Name"].as_str().expect("a name");
        for (field, wanted) in profile().as_object().expect("fields") {
            let told = &container["HostConfig"][field];
            assert!(same(told, wanted), "{name}: {field} is {told}, not {wanted}");
        }
        identity(name, container);
        memory_disks(name, &container["HostConfig"]["Tmpfs"]);
        mounts(name, container);
    }
}

/// An engine writes an absent list as null or as an empty one, as its version goes.
fn same(told: &Value, wanted: &Value) -> bool {
    let nothing = |value: &Value| match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    };
    told == wanted || (nothing(told) && nothing(wanted))
}

fn identity(name: &str, container: &Value) {
    let (config, host) = (&container["Config"], &container["HostConfig"]);
    assert_eq!(config["User"], "65532:65532", "{name}");
    assert_eq!(config["Tty"], false, "{name}");
    assert_eq!(config["Healthcheck"]["Test"], json!(["NONE"]), "{name}");
    assert!(config["Image"].as_str().is_some_and(|id| id.starts_with("sha256:")), "{name}: {config}");
    let masked = host["MaskedPaths"].as_array().expect("masked paths");
    assert!(masked.contains(&json!("/proc/kcore")), "{name}: {masked:?}");
    assert!(host["ReadonlyPaths"].as_array().is_some_and(|paths| !paths.is_empty()), "{name}");
    let tool = config["Labels"]["io.dtma.kind"] == "tool";
    let (network, driver) = (&host["NetworkMode"], &host["LogConfig"]["Type"]);
    let joins = config["Labels"]["io.dtma.network"] == "group";
    assert_eq!(
        (joins, network != "none"),
        (tool && (name.contains("idle") || !shims()), joins),
        "{name}: {network}"
    );
    if tool && !shims() {
        assert_eq!(driver, "json-file", "{name}");
        assert!(host["LogConfig"]["Config"]["max-size"].is_string(), "{name}: its log is bounded");
    } else {
        assert_eq!(driver, "none", "{name}");
    }
}

/// Exactly these two, from which nothing can be run.
fn memory_disks(name: &str, told: &Value) {
    let told = told.as_object().expect("tmpfs");
    assert_eq!(told.len(), 2, "{name}: {told:?}");
    for (target, size) in [("/tmp", "size=67108864"), ("/run", "size=16777216")] {
        let options: Vec<&str> = told[target].as_str().expect("options").split(',').collect();
        for wanted in ["noexec", "nosuid", "nodev", size] {
            assert!(options.contains(&wanted), "{name} {target}: {options:?}");
        }
    }
}

/// Nothing but volumes of the group, memory, and what the shim needs, which nobody inside can write to.
fn mounts(name: &str, container: &Value) {
    let (binds, volumes): (Vec<&Value>, Vec<&Value>) =
        container["Mounts"].as_array().expect("mounts").iter().partition(|mount| mount["Type"] == "bind");
    let mut targets: Vec<&str> = binds.iter().filter_map(|bind| bind["Destination"].as_str()).collect();
    targets.sort_unstable();
    let wanted: &[&str] = if shims() { &["/.dtma/bin", "/.dtma/run"] } else { &[] };
    assert_eq!(targets, wanted, "{name}");
    assert!(binds.iter().all(|bind| bind["RW"] == false), "{name}: {binds:?}");
    for mount in volumes {
        assert_eq!(mount["Type"], "volume", "{name}: {mount}");
        let volume = inspect(mount["Name"].as_str().expect("a named volume"));
        assert_eq!(volume["Driver"], "local", "{name}");
        assert!(same(&volume["Options"], &Value::Null), "{name}: {volume}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_groups_network_is_internal_and_nothing_is_published() {
    let toolbox = Toolbox::start();
    toolbox.deploy(&household(&toolbox)).await;
    let group = toolbox.named("hard");
    let [network] = &networks(&group)[..] else { panic!("one network") };
    let network = inspect(network);
    assert_eq!((&network["Internal"], &network["Driver"]), (&json!(true), &json!("bridge")));
    for container in containers(&group) {
        let ports = &container["NetworkSettings"]["Ports"];
        let bound = ports.as_object().into_iter().flatten().find(|(_, binding)| !binding.is_null());
        assert!(bound.is_none(), "{ports}");
    }
}

/// Init and what it started: the server itself.
fn processes(container: &Value) -> Vec<u64> {
    let init = container["State"]["Pid"].as_u64().expect("a pid");
    let children = fs::read_to_string(format!("/proc/{init}/task/{init}/children")).expect("its children");
    let children: Vec<u64> = children.split_whitespace().filter_map(|pid| pid.parse().ok()).collect();
    assert!(!children.is_empty(), "init has started nothing");
    [init].into_iter().chain(children).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_kernel_says_the_same_of_every_process() {
    let toolbox = Toolbox::start();
    toolbox.deploy(&household(&toolbox)).await;
    for container in containers(&toolbox.named("hard")) {
        let name = container["Name"].as_str().expect("a name");
        for pid in processes(&container) {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("its status");
            for (field, wanted) in [
                ("CapInh", "0000000000000000"),
                ("CapPrm", "0000000000000000"),
                ("CapEff", "0000000000000000"),
                ("CapBnd", "0000000000000000"),
                ("CapAmb", "0000000000000000"),
                ("NoNewPrivs", "1"),
                ("Seccomp", "2"),
                ("Uid", "65532 65532 65532 65532"),
                ("Gid", "65532 65532 65532 65532"),
            ] {
                assert_eq!(line(&status, field), wanted, "{name} pid {pid}: {field}");
            }
            let score = fs::read_to_string(format!("/proc/{pid}/oom_score_adj")).expect("its score");
            assert_eq!(score.trim(), "500", "{name}");
        }
        file_systems(name, processes(&container)[0]);
    }
}

fn line(status: &str, field: &str) -> String {
    let value = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    value.expect(field).split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The root is read-only; what can be written besides volumes is memory that runs nothing.
fn file_systems(name: &str, pid: u64) {
    let mounts = fs::read_to_string(format!("/proc/{pid}/mounts")).expect("its mounts");
    let options = |target: &str| -> Vec<String> {
        let fields = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
        let found = fields.rev().find(|fields| fields[1] == target);
        found.unwrap_or_else(|| panic!("{name} has no {target}"))[3].split(',').map(str::to_owned).collect()
    };
    assert!(options("/").contains(&"ro".to_owned()), "{name}: {mounts}");
    for target in ["/tmp", "/run"] {
        let options = options(target);
        for wanted in ["noexec", "nosuid", "nodev"] {
            assert!(options.contains(&wanted.to_owned()), "{name} {target}: {options:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_inside_is_refused_what_it_should_be() {
    let toolbox = Toolbox::start();
    toolbox.deploy(&household(&toolbox)).await;
    let group = toolbox.named("hard");
    let id = |name: &str| {
        let ids = dtma_tests::engine::container_ids(&group);
        ids.into_iter().find(|(instance, _)| instance == name).expect("it has a container").1
    };
    let idle = id("idle");
    let shell = |script: &str| try_docker(&["exec", &idle, "sh", "-c", script]);

    assert_eq!(docker(&["exec", &idle, "id", "-u"]).trim(), "65532");
    let refused = |script: &str, reason: &str| {
        let ended = shell(script);
        assert!(!ended.status.success(), "{script} worked");
        assert!(ended.stderr.contains(reason), "{script}: {}", ended.stderr);
    };
    refused("echo x > /probe", "Read-only file system");
    refused("echo x > /www/index.html", "Read-only file system");
    refused("cp /bin/busybox /tmp/probe && /tmp/probe true", "Permission denied");
    refused("cp /bin/busybox /run/probe && /run/probe true", "Permission denied");
    refused("echo 1 > /proc/sys/kernel/panic", "Read-only file system");
    refused("mount -t tmpfs none /tmp", "permission denied");
    refused("ping -c 1 -W 1 127.0.0.1", "permission denied");
    assert!(shell("echo x > /tmp/ok && cat /tmp/ok").expect_success("a write to /tmp").contains('x'));
    refused("dd if=/dev/zero of=/tmp/big bs=1M count=80", "No space left");

    let node = ["exec", &id("everything"), "/usr/bin/node", "-e", "require('fs').writeFileSync('/probe','')"];
    assert!(try_docker(&node).stderr.contains("EROFS"));
    let python = ["exec", &id("time"), "/usr/bin/python3", "-c", "open('/probe','w')"];
    assert!(try_docker(&python).stderr.contains("Read-only file system"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fork_bomb_ends_at_its_limit_and_the_server_lives() {
    let toolbox = Toolbox::start();
    toolbox.deploy(&toolbox.group("bomb", &[groups::idle("idle")])).await;
    let [container] = &containers(&toolbox.named("bomb"))[..] else { panic!("one container") };
    let id = container["Id"].as_str().expect("an id");
    let script = "i=0; while [ $i -lt 300 ]; do sleep 5 & i=$((i+1)); done";
    let ended = try_docker(&["exec", id, "sh", "-c", script]);
    assert!(ended.stderr.contains("fork"), "{ended:?}");
    assert_eq!(inspect(id)["State"]["Running"], true);
    assert_eq!(toolbox.server(&toolbox.named("bomb"), "idle").await.restarts, 0);
}

/// Everything of the "never" list, as Docker spells it: rule, pointer below the server's overrides, and the wish.
fn nevers() -> Vec<(&'static str, &'static str, Value)> {
    let host = |field: &str, value: Value| json!({"HostConfig": {field: value}});
    vec![
        ("never.privileged", "/HostConfig/Privileged", host("Privileged", json!(true))),
        ("never.host-namespace", "/HostConfig/PidMode", host("PidMode", json!("host"))),
        ("never.host-namespace", "/HostConfig/IpcMode", host("IpcMode", json!("host"))),
        ("never.host-namespace", "/HostConfig/UTSMode", host("UTSMode", json!("host"))),
        ("never.host-namespace", "/HostConfig/UsernsMode", host("UsernsMode", json!("host"))),
        ("never.host-namespace", "/HostConfig/CgroupnsMode", host("CgroupnsMode", json!("host"))),
        ("never.host-namespace", "/HostConfig/NetworkMode", host("NetworkMode", json!("host"))),
        ("never.foreign-namespace", "/HostConfig/PidMode", host("PidMode", json!("container:x"))),
        (
            "never.foreign-network-namespace",
            "/HostConfig/NetworkMode",
            host("NetworkMode", json!("container:x")),
        ),
        ("never.foreign-network-namespace", "/HostConfig/NetworkMode", host("NetworkMode", json!("other"))),
        (
            "never.engine-socket",
            "/HostConfig/Binds/0",
            host("Binds", json!(["/var/run/docker.sock:/var/run/docker.sock"])),
        ),
        (
            "never.engine-socket",
            "/HostConfig/Mounts/0/Source",
            host("Mounts", json!([{"Type": "bind", "Source": "/run/podman/podman.sock", "Target": "/s"}])),
        ),
        ("policy.bind", "/HostConfig/Binds/0", host("Binds", json!(["/etc:/etc:ro"]))),
        (
            "never.device",
            "/HostConfig/Devices",
            host("Devices", json!([{"PathOnHost": "/dev/kmsg", "PathInContainer": "/dev/kmsg"}])),
        ),
        ("never.device", "/HostConfig/DeviceCgroupRules", host("DeviceCgroupRules", json!(["a *:* rwm"]))),
        ("never.device", "/HostConfig/DeviceRequests", host("DeviceRequests", json!([{"Count": -1}]))),
        ("never.unconfined", "/HostConfig/SecurityOpt/0", host("SecurityOpt", json!(["seccomp=unconfined"]))),
        (
            "never.unconfined",
            "/HostConfig/SecurityOpt/0",
            host("SecurityOpt", json!(["apparmor:unconfined"])),
        ),
        ("never.unconfined", "/HostConfig/SecurityOpt/0", host("SecurityOpt", json!(["label=disable"]))),
        ("never.masked-paths", "/HostConfig/MaskedPaths", host("MaskedPaths", json!([]))),
        ("never.masked-paths", "/HostConfig/ReadonlyPaths", host("ReadonlyPaths", json!([]))),
        (
            "never.masked-paths",
            "/HostConfig/SecurityOpt/0",
            host("SecurityOpt", json!(["systempaths=unconfined"])),
        ),
        ("never.capability", "/HostConfig/CapAdd/0", host("CapAdd", json!(["SYS_ADMIN"]))),
        ("never.capability", "/HostConfig/CapAdd/0", host("CapAdd", json!(["CAP_SYS_PTRACE"]))),
        ("never.capability", "/HostConfig/CapAdd/0", host("CapAdd", json!(["NET_ADMIN"]))),
        ("never.capability", "/HostConfig/CapAdd/0", host("CapAdd", json!(["net_raw"]))),
        ("never.capability", "/HostConfig/CapAdd/0", host("CapAdd", json!(["DAC_READ_SEARCH"]))),
        ("never.capability", "/HostConfig/CapAdd/0", host("CapAdd", json!(["BPF"]))),
        ("never.capability", "/HostConfig/CapAdd/0", host("CapAdd", json!(["ALL"]))),
        ("override.loosens", "/HostConfig/CapAdd/0", host("CapAdd", json!(["CHOWN"]))),
        (
            "never.volume-options",
            "/HostConfig/Mounts/0/VolumeOptions/DriverConfig",
            host(
                "Mounts",
                json!([{"Type": "volume", "Source": "v", "Target": "/v", "VolumeOptions": {"DriverConfig":
                    {"Name": "local", "Options": {"o": "bind", "device": "/etc", "type": "none"}}}}]),
            ),
        ),
        ("never.volume-options", "/HostConfig/VolumeDriver", host("VolumeDriver", json!("local"))),
        ("never.sysctl", "/HostConfig/Sysctls", host("Sysctls", json!({"kernel.core_pattern": "|/x"}))),
        ("never.volumes-from", "/HostConfig/VolumesFrom", host("VolumesFrom", json!(["other"]))),
        // Spelt so that a careless reader would not know it again.
        ("never.privileged", "/hostconfig/PRIVILEGED", json!({"hostconfig": {"PRIVILEGED": true}})),
        ("override.loosens", "/HostConfig/OomScoreAdj", host("OomScoreAdj", json!(-1000))),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_may_ask_for_is_refused_with_rule_and_place() {
    let toolbox = Toolbox::start();
    let rest = toolbox.rest();
    for (rule, below, overrides) in nevers() {
        let server = groups::with(groups::idle("idle"), &json!({"overrides": overrides}));
        let group = toolbox.group("never", &[server]);
        let wanted = format!("{rule} /servers/0/overrides{below}");
        let answer = rest.post("/mcp/groups", &group).await;
        assert_eq!(answer.status, 422, "{wanted}: {}", answer.text);
        assert!(answer.mistakes().contains(&wanted), "{wanted}: {:?}", answer.mistakes());

        let validated = rest.post("/mcp/validate", &group).await.expect(200);
        let errors = validated.json["data"]["errors"].as_array().expect("errors").clone();
        assert!(errors.iter().any(|error| error["rule"] == rule), "{wanted}: {}", validated.text);
    }
    let group = toolbox.named("never");
    rest.get(&format!("/mcp/groups/{group}")).await.expect(404);
    assert_eq!(remains(&group, true), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_of_the_host_cannot_be_mounted() {
    let toolbox = Toolbox::start();
    for (source, rule) in [
        ("/etc", "policy.bind"),
        ("/var/run/docker.sock", "never.engine-socket"),
        ("/run/containerd/containerd.sock", "never.engine-socket"),
    ] {
        let mounts = json!({"mounts": [{"type": "bind", "source": source, "target": "/host"}]});
        let group = toolbox.group("bind", &[groups::with(groups::idle("idle"), &mounts)]);
        let answer = toolbox.rest().post("/mcp/groups", &group).await.expect(422);
        assert_eq!(answer.mistakes(), [format!("{rule} /servers/0/mounts/0/source")], "{}", answer.text);
    }
    assert_eq!(remains(&toolbox.named("bind"), true), Vec::<String>::new());
}
