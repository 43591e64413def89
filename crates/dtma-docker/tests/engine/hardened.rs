//! The hardened profile as the engine has it and as it is felt inside. Expected values are literals.

use crate::harness::Harness;
use dtma_core::container::{ContainerConfig, ContainerMount};
use dtma_core::observation::ContainerState;
use serde_json::{Value, json};
use std::fs;

/// What `docker inspect` shows of a container made with the `standard` template's values.
#[tokio::test]
async fn the_engine_shows_the_hardened_profile() {
    let harness = Harness::new().await;
    let mut request = harness.request("hardened", "exit 0").await;
    request.config.log = dtma_core::container::LogDriver::None;
    let id = harness.create(&request).await;
    let inspected = serde_json::to_value(harness.inspect(&id).await).expect("JSON");
    let host = &inspected["HostConfig"];
    let expected = [
        ("Privileged", json!(false)),
        ("CapAdd", Value::Null),
        ("CapDrop", json!(["ALL"])),
        ("SecurityOpt", json!(["no-new-privileges:true"])),
        ("ReadonlyRootfs", json!(true)),
        ("Init", json!(true)),
        ("Memory", json!(268_435_456)),
        ("MemorySwap", json!(268_435_456)),
        ("NanoCpus", json!(500_000_000)),
        ("PidsLimit", json!(128)),
        ("OomScoreAdj", json!(500)),
        ("OomKillDisable", json!(false)),
        ("IpcMode", json!("private")),
        ("PidMode", json!("")),
        ("UTSMode", json!("")),
        ("UsernsMode", json!("")),
        ("CgroupnsMode", json!("private")),
        ("NetworkMode", json!("none")),
        ("PublishAllPorts", json!(false)),
        ("Binds", Value::Null),
        ("Devices", Value::Null),
        ("DeviceRequests", Value::Null),
        ("VolumesFrom", Value::Null),
        ("RestartPolicy", json!({ "Name": "no", "MaximumRetryCount": 0 })),
        ("AutoRemove", json!(false)),
        ("LogConfig", json!({ "Type": "none", "Config": {} })),
        (
            "Tmpfs",
            json!({
                "/tmp": "rw,noexec,nosuid,nodev,size=67108864,mode=1777,uid=65532,gid=65532",
                "/run": "rw,noexec,nosuid,nodev,size=16777216,mode=1777,uid=65532,gid=65532",
            }),
        ),
        (
            "Ulimits",
            json!([
                { "Name": "nofile", "Soft": 1024, "Hard": 4096 },
                { "Name": "core", "Soft": 0, "Hard": 0 },
            ]),
        ),
    ];
    for (key, value) in expected {
        // An engine that never heard of a field and one that was told nothing show the same.
        let shown = if host[key] == json!([]) && value.is_null() { &Value::Null } else { &host[key] };
        assert_eq!(*shown, value, "HostConfig.{key}");
    }
    let config = &inspected["Config"];
    assert_eq!(config["User"], "65532:65532");
    assert_eq!(config["Hostname"], "hardened");
    assert_eq!(config["Healthcheck"], json!({ "Test": ["NONE"] }));
    assert_eq!((&config["Tty"], &config["OpenStdin"]), (&json!(false), &json!(true)));
    assert_ne!(config["StdinOnce"], true);
    assert!(inspected["Mounts"].as_array().is_none_or(Vec::is_empty), "{}", inspected["Mounts"]);
    harness.leave().await;
}

/// Runs a script under the profile and says what it wrote.
async fn inside(script: &str) -> String {
    let harness = Harness::new().await;
    let request = harness.request("inside", script).await;
    let (output, _) = harness.run(&request).await;
    harness.leave().await;
    output
}

#[track_caller]
fn check(output: &str, expected: &[&str]) {
    assert_eq!(output.lines().map(str::trim).collect::<Vec<_>>(), expected);
}

#[tokio::test]
async fn the_process_has_no_capabilities_no_new_privileges_and_a_seccomp_filter() {
    let status =
        inside("grep -E '^(CapInh|CapPrm|CapEff|CapBnd|CapAmb|NoNewPrivs|Seccomp):' /proc/self/status").await;
    let words: Vec<Vec<&str>> = status.lines().map(|line| line.split_whitespace().collect()).collect();
    let expected = [
        ["CapInh:", "0000000000000000"],
        ["CapPrm:", "0000000000000000"],
        ["CapEff:", "0000000000000000"],
        ["CapBnd:", "0000000000000000"],
        ["CapAmb:", "0000000000000000"],
        ["NoNewPrivs:", "1"],
        ["Seccomp:", "2"],
    ];
    assert_eq!(words, expected);
}

#[tokio::test]
async fn the_process_is_nobody_in_particular() {
    check(&inside("id -u; id -g; id -G; hostname").await, &["65532", "65532", "65532", "inside"]);
}

#[tokio::test]
async fn writing_is_refused_everywhere_but_in_memory() {
    let script = "for path in / /bin /etc /usr /var /tmp /run /dev/shm; do \
                  if touch $path/probe 2>/dev/null; then echo $path; fi; done";
    check(&inside(script).await, &["/tmp", "/run", "/dev/shm"]);
}

#[tokio::test]
async fn memory_file_systems_are_bounded_and_run_nothing() {
    let script = "grep -E ' (/tmp|/run) ' /proc/mounts | cut -d' ' -f2-4; \
                  cp /bin/busybox /tmp/busybox && /tmp/busybox true 2>/dev/null || echo refused; \
                  dd if=/dev/zero of=/run/fill bs=1M count=64 2>&1 | grep -o 'No space left on device'; ls -ld /tmp | cut -c1-10";
    let output = inside(script).await;
    let lines: Vec<&str> = output.lines().collect();
    let of = |path: &str| lines.iter().find(|line| line.starts_with(path)).copied().unwrap_or_default();
    for (path, size) in [("/tmp", "size=65536k"), ("/run", "size=16384k")] {
        for option in ["tmpfs", "nosuid", "nodev", "noexec", size] {
            assert!(of(path).contains(option), "{path} lacks {option}: {output}");
        }
    }
    assert_eq!(lines[2..], ["refused", "No space left on device", "drwxrwxrwt"]);
}

/// Images bring folders that only root may write to; what is mounted over them is the server's even so.
#[tokio::test]
async fn memory_over_a_folder_of_the_image_belongs_to_the_server() {
    let harness = Harness::new().await;
    let mut request =
        harness.request("cover", "touch /www/new && ls /www/new; ls -ldn /www | cut -c1-10").await;
    let (target, size) = ("/www".to_owned(), 1024 * 1024);
    request.config.mounts.push(ContainerMount::Tmpfs { target, size, exec: false });
    let (output, _) = harness.run(&request).await;
    assert!(output.starts_with("/www/new\n"), "{output}");
    harness.leave().await;
}

#[tokio::test]
async fn limits_are_felt_inside() {
    let script = "ulimit -Sn; ulimit -Hn; ulimit -c; cat /proc/self/oom_score_adj; \
                  cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null; \
                  cat /sys/fs/cgroup/pids.max /sys/fs/cgroup/pids/pids.max 2>/dev/null";
    check(&inside(script).await, &["1024", "4096", "0", "500", "268435456", "128"]);
}

#[tokio::test]
async fn a_fork_bomb_is_stopped_at_the_limit() {
    let script = "for number in $(seq 300); do sleep 3 & done; echo none stopped us";
    let harness = Harness::new().await;
    let request = harness.request("bomb", script).await;
    let (output, state) = harness.run(&request).await;
    assert_eq!(output, "", "300 processes were let through");
    assert!(matches!(state, ContainerState::Exited { code, .. } if code != 0), "{state:?}");
    harness.leave().await;
}

#[tokio::test]
async fn every_namespace_is_its_own() {
    let output =
        inside("for kind in pid ipc uts cgroup net mnt; do readlink /proc/self/ns/$kind; done").await;
    let inside: Vec<&str> = output.lines().collect();
    assert_eq!(inside.len(), 6, "{output}");
    for (kind, inside) in ["pid", "ipc", "uts", "cgroup", "net", "mnt"].into_iter().zip(inside) {
        let ours = fs::read_link(format!("/proc/self/ns/{kind}")).expect("our own namespace");
        assert_ne!(ours.to_string_lossy(), inside, "{kind}");
    }
}

#[tokio::test]
async fn without_a_network_there_is_only_the_loopback() {
    let output = inside("ls /sys/class/net; tail -n +2 /proc/net/route; cat /etc/resolv.conf").await;
    check(&output, &["lo", "nameserver 127.0.0.1", "options timeout:1 attempts:1"]);
}

#[tokio::test]
async fn the_first_process_is_an_init_that_forwards_signals() {
    let harness = Harness::new().await;
    // A shell as PID 1 would ignore SIGTERM and be killed after its grace.
    let request = harness.request("init", "cat /proc/1/comm; exec sleep 86400").await;
    let id = harness.start(&request).await;
    let began = tokio::time::Instant::now();
    dtma_core::port::ContainerRuntime::stop(harness.engine(), &id, std::time::Duration::from_secs(10))
        .await
        .expect("stop");
    assert!(began.elapsed() < std::time::Duration::from_secs(5), "it took {:?}", began.elapsed());
    let state = harness.exited(&id).await;
    assert!(matches!(state, ContainerState::Exited { code: 143, .. }), "{state:?}");
    harness.leave().await;
}

fn exec_tmp(config: &mut ContainerConfig) {
    config.mounts.retain(|mount| mount.target() != "/tmp");
    let target = "/tmp".to_owned();
    config.mounts.push(ContainerMount::Tmpfs { target, size: 8 * 1024 * 1024, exec: true });
}

#[tokio::test]
async fn a_memory_file_system_may_run_programs_when_asked() {
    let harness = Harness::new().await;
    let mut request = harness.request("exec", "cp /bin/busybox /tmp/busybox && /tmp/busybox echo ran").await;
    exec_tmp(&mut request.config);
    let (output, _) = harness.run(&request).await;
    assert_eq!(output, "ran\n");
    harness.leave().await;
}

/// Whatever the rule for instance names lets through.
#[tokio::test]
async fn odd_names_are_good_host_names() {
    let harness = Harness::new().await;
    for name in ["A_b.c-1", "0", &"x".repeat(63)] {
        let (output, _) = harness.run(&harness.request(name, "hostname").await).await;
        assert_eq!(output.trim_end(), name);
    }
    harness.leave().await;
}
