//! The hardened create request: a pure conversion from our configuration to the engine's body.
//!
//! What the template decides comes from [`ContainerConfig`]; what it cannot decide is fixed here: private namespaces,
//! no published port, no restart by the engine, no health check of the image, no core dumps, swap equal to memory.
//! Nothing here can express a device, an added capability or a host namespace, and of paths of the host only the two
//! directories of the shim, both without writes.

use crate::dialect::Dialect;
use bollard::models::{
    ContainerCreateBody, EndpointSettings, HealthConfig, HostConfig, HostConfigCgroupnsModeEnum,
    HostConfigLogConfig, Mount, MountBindOptions, MountBindOptionsPropagationEnum, MountType,
    MountVolumeOptions, NetworkingConfig, ResourcesUlimits, RestartPolicy, RestartPolicyNameEnum,
};
use dtma_core::container::{ContainerConfig, ContainerMount, CreateContainer, Limits, LogDriver, RunAs};
use dtma_core::id::NetworkId;
use dtma_core::label;
use dtma_core::shim::{self, ShimMount};
use dtma_core::spec::NetworkMode;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

/// Where a container's resolver sends what is not a peer: its own loopback, where nobody answers. Engines before
/// 25.0.5 would ask the host's resolvers instead, even from an internal network (CVE-2024-29018). Peers are still
/// found: the engine's resolver knows their names itself.
const NO_DNS: &str = "127.0.0.1";
/// No search domain; the host's would be copied into the container otherwise.
const NO_SEARCH: &str = ".";

/// The engine's resolver (20.10, measured) says nothing at all when [`NO_DNS`] does not answer: without these a name
/// of the outside would be waited for 10 s.
const IMPATIENT: [&str; 2] = ["timeout:1", "attempts:1"];

/// Podman (4.3, measured) asks for 1,048,576 processes when it is told nothing, which fails where the engine lacks
/// `CAP_SYS_RESOURCE`. As many as Linux counts by default: what bounds a server is its cgroup.
const PODMAN_NPROC: u64 = 32_768;
/// What Podman makes writable, without a bound, in every container with a read-only root.
const PODMAN_EXTRA: &str = "/var/tmp";
const NOTHING: &str = "ro,noexec,nosuid,nodev,size=4096";

/// The body of `POST /containers/create`, in the words of this engine.
pub(crate) fn body(request: &CreateContainer, dialect: Dialect) -> ContainerCreateBody {
    let config = &request.config;
    let network = wanted_network(request);
    // A shim has a way of its own to what the server reads.
    let open_stdin = config.open_stdin && request.shim.is_none();
    ContainerCreateBody {
        hostname: Some(request.slot.instance.to_string()),
        image: Some(request.image.id.to_string()),
        user: Some(format!("{}:{}", request.run_as.uid, request.run_as.gid)),
        entrypoint: entrypoint(request),
        cmd: request.shim.as_ref().map_or_else(|| config.args.clone(), |shim| Some(behind_shim(shim))),
        env: Some(environment(request)),
        labels: Some(labels(request)),
        attach_stdin: Some(open_stdin),
        open_stdin: Some(open_stdin),
        // The input stays open when a client goes away: it may come back.
        stdin_once: Some(false),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        tty: Some(false),
        healthcheck: Some(HealthConfig { test: Some(vec!["NONE".to_owned()]), ..HealthConfig::default() }),
        // The shim leaves by this one and passes every other on.
        stop_signal: request.shim.as_ref().map(|_| "SIGTERM".to_owned()),
        // Used when the engine itself stops it, at its own shutdown.
        stop_timeout: i64::try_from(config.stop_grace.as_secs()).ok(),
        host_config: Some(host_config(request, network, dialect)),
        networking_config: network.map(|network| networking(network, request)),
        ..ContainerCreateBody::default()
    }
}

/// The server's command is no option of the shim's, whatever it begins with.
fn behind_shim(shim: &ShimMount) -> Vec<String> {
    std::iter::once("--".to_owned()).chain(shim.argv.iter().cloned()).collect()
}

fn wanted_network(request: &CreateContainer) -> Option<&NetworkId> {
    match request.config.network {
        NetworkMode::None => None,
        NetworkMode::Group | NetworkMode::Open => request.network.as_ref(),
    }
}

fn entrypoint(request: &CreateContainer) -> Option<Vec<String>> {
    match request.shim {
        Some(_) => Some(vec![shim::PROGRAM.to_owned()]),
        None => request.config.command.clone(),
    }
}

fn environment(request: &CreateContainer) -> Vec<String> {
    match &request.shim {
        // The server's own is said to the shim at each start.
        Some(shim) => vec![format!("{}={}", shim::NONCE_VARIABLE, shim.nonce)],
        None => request.config.environment.iter().map(|(key, value)| format!("{key}={value}")).collect(),
    }
}

/// The request's labels win over the configuration's: the reserved ones are among them.
fn labels(request: &CreateContainer) -> HashMap<String, String> {
    let labels = request.config.labels.clone().into_iter().chain(request.labels.clone());
    let ours = [label::shim(request.shim.is_some()), label::network(request.config.network)];
    labels.chain(ours).collect()
}

fn host_config(request: &CreateContainer, network: Option<&NetworkId>, dialect: Dialect) -> HostConfig {
    let config = &request.config;
    let isolation = &config.isolation;
    // Who may reach the outside may ask for its names; nobody else's questions get there.
    let closed = config.network != NetworkMode::Open;
    let security = isolation.no_new_privileges.then(|| "no-new-privileges:true".to_owned());
    HostConfig {
        privileged: Some(false),
        cap_drop: Some(isolation.cap_drop.clone()),
        security_opt: Some(security.into_iter().collect()),
        readonly_rootfs: Some(isolation.read_only_root),
        init: Some(isolation.init),
        ipc_mode: Some("private".to_owned()),
        // Empty means private for these two; the engine knows no word for it.
        pid_mode: Some(String::new()),
        uts_mode: Some(String::new()),
        cgroupns_mode: Some(HostConfigCgroupnsModeEnum::PRIVATE),
        mounts: Some(config.mounts.iter().filter_map(volume).chain(shim_mounts(request)).collect()),
        tmpfs: Some(memory(config, request.run_as, dialect)),
        network_mode: Some(network.map_or_else(|| "none".to_owned(), ToString::to_string)),
        publish_all_ports: Some(false),
        dns: closed.then(|| vec![NO_DNS.to_owned()]),
        dns_search: closed.then(|| vec![NO_SEARCH.to_owned()]),
        dns_options: closed.then(|| IMPATIENT.map(str::to_owned).into()),
        restart_policy: Some(RestartPolicy {
            name: Some(RestartPolicyNameEnum::NO),
            maximum_retry_count: None,
        }),
        auto_remove: Some(false),
        log_config: Some(log_config(config.log)),
        ..limits(&config.limits, dialect)
    }
}

fn limits(limits: &Limits, dialect: Dialect) -> HostConfig {
    let memory = i64::try_from(limits.memory).ok();
    let nofile = ulimit("nofile", limits.nofile_soft, limits.nofile_hard);
    // A core dump would be a copy of the process's memory, secrets included, on a disk.
    let core = ulimit("core", 0, 0);
    let nproc = match dialect {
        Dialect::Docker => None,
        Dialect::Podman => Some(ulimit("nproc", PODMAN_NPROC, PODMAN_NPROC)),
    };
    HostConfig {
        memory,
        memory_swap: memory,
        nano_cpus: Some(i64::from(limits.cpu_millis) * 1_000_000),
        pids_limit: Some(i64::from(limits.pids)),
        oom_score_adj: Some(i64::from(limits.oom_score_adj)),
        ulimits: Some([nofile, core].into_iter().chain(nproc).collect()),
        ..HostConfig::default()
    }
}

fn ulimit(name: &str, soft: u64, hard: u64) -> ResourcesUlimits {
    ResourcesUlimits {
        name: Some(name.to_owned()),
        soft: i64::try_from(soft).ok(),
        hard: i64::try_from(hard).ok(),
    }
}

/// Volumes go through the `Mounts` API. Nothing of the image is copied into a new one: it would bring the image's
/// owner with it, and the server could not write.
fn volume(mount: &ContainerMount) -> Option<Mount> {
    match mount {
        ContainerMount::Tmpfs { .. } => None,
        ContainerMount::Volume { name, target, read_only } => Some(Mount {
            typ: Some(MountType::VOLUME),
            source: Some(name.clone()),
            target: Some(target.clone()),
            read_only: Some(*read_only),
            volume_options: Some(MountVolumeOptions { no_copy: Some(true), ..MountVolumeOptions::default() }),
            ..Mount::default()
        }),
    }
}

/// Directories, so that what is in them may change.
fn shim_mounts(request: &CreateContainer) -> impl Iterator<Item = Mount> {
    let dirs =
        |shim: &ShimMount| [visible(&shim.bin_dir, shim::BIN_DIR), visible(&shim.run_dir, shim::RUN_DIR)];
    request.shim.as_ref().map(dirs).into_iter().flatten()
}

/// Without writes from inside, and without what is mounted there later.
fn visible(source: &Path, target: &str) -> Mount {
    let propagation = Some(MountBindOptionsPropagationEnum::RPRIVATE);
    Mount {
        typ: Some(MountType::BIND),
        source: Some(source.display().to_string()),
        target: Some(target.to_owned()),
        read_only: Some(true),
        bind_options: Some(MountBindOptions { propagation, ..MountBindOptions::default() }),
        ..Mount::default()
    }
}

/// The file systems in memory, by their place.
fn memory(config: &ContainerConfig, owner: RunAs, dialect: Dialect) -> HashMap<String, String> {
    let wanted = config.mounts.iter().filter_map(|mount| tmpfs(mount, owner, dialect));
    let covered = config.isolation.read_only_root && dialect == Dialect::Podman;
    let mounted = config.mounts.iter().any(|mount| mount.target() == PODMAN_EXTRA);
    let cover = (covered && !mounted).then(|| (PODMAN_EXTRA.to_owned(), NOTHING.to_owned()));
    wanted.chain(cover).collect()
}

/// As an option string, because the `Mounts` API of 20.10 knows size and mode only. The server's user is not root and
/// must write there: mode 1777 says so, but where the image has the folder, runc (1.1.5, measured) gives it the
/// image's mode in the end; so it also belongs to that user. Podman refuses the numbers and takes a `U` for them; it
/// would also copy what the image has there.
fn tmpfs(mount: &ContainerMount, owner: RunAs, dialect: Dialect) -> Option<(String, String)> {
    match mount {
        ContainerMount::Volume { .. } => None,
        ContainerMount::Tmpfs { target, size, exec } => {
            let exec = if *exec { "exec" } else { "noexec" };
            let belongs = match dialect {
                Dialect::Docker => format!("uid={},gid={}", owner.uid, owner.gid),
                Dialect::Podman => "U,notmpcopyup".to_owned(),
            };
            let options = format!("rw,{exec},nosuid,nodev,size={size},mode=1777,{belongs}");
            Some((target.clone(), options))
        }
    }
}

fn log_config(driver: LogDriver) -> HostConfigLogConfig {
    let (name, options) = match driver {
        LogDriver::None => ("none", BTreeMap::new()),
        LogDriver::Bounded { max_size, max_files } => {
            let options = [("max-size", max_size.to_string()), ("max-file", max_files.max(1).to_string())];
            ("json-file", options.into())
        }
    };
    let config = options.into_iter().map(|(key, value): (&str, String)| (key.to_owned(), value)).collect();
    HostConfigLogConfig { typ: Some(name.to_owned()), config: Some(config) }
}

/// Peers find the server by its instance name.
fn networking(network: &NetworkId, request: &CreateContainer) -> NetworkingConfig {
    let aliases = Some(vec![request.slot.instance.to_string()]);
    let endpoint = EndpointSettings { aliases, ..EndpointSettings::default() };
    NetworkingConfig { endpoints_config: Some([(network.to_string(), endpoint)].into()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dtma_testing::sample;
    use serde_json::{Value, json};

    fn request() -> CreateContainer {
        let mut config = sample::container_config("dtma/busybox:dev");
        config.command = Some(vec!["/bin/it".to_owned()]);
        config.args = Some(vec!["-v".to_owned()]);
        config.environment.insert("TZ".to_owned(), "UTC".to_owned());
        config.labels.insert("team".to_owned(), "a".to_owned());
        config.labels.insert("io.dtma.owner".to_owned(), "forged".to_owned());
        config.mounts.push(ContainerMount::Volume {
            name: "dtma-0a0b0c0d-demo-data".to_owned(),
            target: "/data".to_owned(),
            read_only: false,
        });
        let image = sample::image_facts(&"busybox".into());
        let owner = "0a0b0c0d-0000-4000-8000-000000000001".into();
        sample::create_container(&owner, &sample::slot("demo", "time"), config, &image)
    }

    fn json_of(request: &CreateContainer) -> Value {
        serde_json::to_value(body(request, Dialect::Docker)).unwrap()
    }

    /// The `standard` template, word for word as it must reach the engine.
    #[test]
    fn the_hardened_profile_is_exactly_this() {
        let expected: Value = serde_json::from_str(
            r#"{
            "Hostname": "time",
            "Image": "sha256:busybox",
            "User": "65532:65532",
            "Entrypoint": ["/bin/it"],
            "Cmd": ["-v"],
            "Env": ["TZ=UTC"],
            "Labels": {
                "team": "a",
                "io.dtma.managed": "true", "io.dtma.network": "none",
                "io.dtma.owner": "0a0b0c0d-0000-4000-8000-000000000001",
                "io.dtma.group": "demo",
                "io.dtma.instance": "time",
                "io.dtma.replica": "0",
                "io.dtma.generation": "1",
                "io.dtma.config-hash": "sample-hash",
                "io.dtma.kind": "tool",
                "io.dtma.shim": "0"
            },
            "AttachStdin": true,
            "AttachStdout": true,
            "AttachStderr": true,
            "OpenStdin": true,
            "StdinOnce": false,
            "Tty": false,
            "Healthcheck": { "Test": ["NONE"] },
            "StopTimeout": 10,
            "HostConfig": {
                "Privileged": false,
                "CapDrop": ["ALL"],
                "SecurityOpt": ["no-new-privileges:true"],
                "ReadonlyRootfs": true,
                "Init": true,
                "Memory": 268435456,
                "MemorySwap": 268435456,
                "NanoCpus": 500000000,
                "PidsLimit": 128,
                "OomScoreAdj": 500,
                "Ulimits": [
                    { "Name": "nofile", "Soft": 1024, "Hard": 4096 },
                    { "Name": "core", "Soft": 0, "Hard": 0 }
                ],
                "IpcMode": "private",
                "PidMode": "",
                "UTSMode": "",
                "CgroupnsMode": "private",
                "Tmpfs": {
                    "/tmp": "rw,noexec,nosuid,nodev,size=67108864,mode=1777,uid=65532,gid=65532",
                    "/run": "rw,noexec,nosuid,nodev,size=16777216,mode=1777,uid=65532,gid=65532"
                },
                "Mounts": [{
                    "Type": "volume",
                    "Source": "dtma-0a0b0c0d-demo-data",
                    "Target": "/data",
                    "ReadOnly": false,
                    "VolumeOptions": { "NoCopy": true }
                }],
                "NetworkMode": "none",
                "PublishAllPorts": false,
                "Dns": ["127.0.0.1"],
                "DnsSearch": ["."],
                "DnsOptions": ["timeout:1", "attempts:1"],
                "RestartPolicy": { "Name": "no" },
                "AutoRemove": false,
                "LogConfig": { "Type": "none", "Config": {} }
            }
        }"#,
        )
        .unwrap();
        assert_eq!(json_of(&request()), expected);
    }

    #[test]
    fn a_member_of_the_groups_network_has_its_name_there_and_a_bounded_log() {
        let mut request = request();
        request.config.network = NetworkMode::Group;
        request.network = Some("ab12".into());
        request.config.log = LogDriver::Bounded { max_size: 10_485_760, max_files: 3 };
        let body = json_of(&request);
        assert_eq!(body["HostConfig"]["NetworkMode"], "ab12");
        assert_eq!(
            body["NetworkingConfig"],
            json!({ "EndpointsConfig": { "ab12": { "Aliases": ["time"] } } })
        );
        let log = json!({ "Type": "json-file", "Config": { "max-size": "10485760", "max-file": "3" } });
        assert_eq!(body["HostConfig"]["LogConfig"], log);
    }

    /// The rest is as without one.
    #[test]
    fn a_shim_comes_first_and_finds_its_directories() {
        let mut request = request();
        request.config.isolation.init = false;
        request.shim = Some(ShimMount {
            bin_dir: "/var/lib/dtma/shim/00ff".into(),
            run_dir: "/run/dtma/c/ab12".into(),
            nonce: "0123456789abcdef0123456789abcdef".to_owned(),
            argv: ["/bin/it", "-v", "--all"].map(str::to_owned).into(),
        });
        let mut expected = json_of(&self::request());
        expected["Entrypoint"] = json!(["/.dtma/bin/dtma-shim"]);
        expected["Cmd"] = json!(["--", "/bin/it", "-v", "--all"]);
        // Its shim is told the rest of the environment when the process begins.
        expected["Env"] = json!(["DTMA_SHIM=0123456789abcdef0123456789abcdef"]);
        expected["Labels"]["io.dtma.shim"] = json!("1");
        expected["AttachStdin"] = json!(false);
        expected["OpenStdin"] = json!(false);
        expected["StopSignal"] = json!("SIGTERM");
        expected["HostConfig"]["Init"] = json!(false);
        let bind = |source: &str, target: &str| {
            json!({
                "Type": "bind",
                "Source": source,
                "Target": target,
                "ReadOnly": true,
                "BindOptions": { "Propagation": "rprivate" }
            })
        };
        let mounts = expected["HostConfig"]["Mounts"].as_array_mut().unwrap();
        mounts.push(bind("/var/lib/dtma/shim/00ff", "/.dtma/bin"));
        mounts.push(bind("/run/dtma/c/ab12", "/.dtma/run"));
        assert_eq!(json_of(&request), expected);
    }

    /// The rest is as with Docker.
    #[test]
    fn podman_is_told_in_its_own_words() {
        let mut expected = json_of(&request());
        let host = &mut expected["HostConfig"];
        host["Tmpfs"] = json!({
            "/tmp": "rw,noexec,nosuid,nodev,size=67108864,mode=1777,U,notmpcopyup",
            "/run": "rw,noexec,nosuid,nodev,size=16777216,mode=1777,U,notmpcopyup",
            "/var/tmp": "ro,noexec,nosuid,nodev,size=4096",
        });
        let nproc = json!({ "Name": "nproc", "Soft": 32768, "Hard": 32768 });
        host["Ulimits"].as_array_mut().unwrap().push(nproc);
        assert_eq!(serde_json::to_value(body(&request(), Dialect::Podman)).unwrap(), expected);
    }

    #[test]
    fn what_a_server_wants_to_write_to_is_not_covered() {
        let shown = |mount: ContainerMount| {
            let mut request = request();
            request.config.mounts = vec![mount];
            let body = serde_json::to_value(body(&request, Dialect::Podman)).unwrap();
            body["HostConfig"]["Tmpfs"].clone()
        };
        let (target, size) = (PODMAN_EXTRA.to_owned(), 4096);
        let memory = shown(ContainerMount::Tmpfs { target: target.clone(), size, exec: false });
        assert_eq!(memory, json!({ "/var/tmp": "rw,noexec,nosuid,nodev,size=4096,mode=1777,U,notmpcopyup" }));
        let volume = ContainerMount::Volume { name: "a".to_owned(), target, read_only: false };
        assert_eq!(shown(volume), json!({}));
    }
}
