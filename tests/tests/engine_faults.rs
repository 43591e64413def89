//! An engine that answers errors, half answers or nothing: every call of the adapter ends at its deadline, the daemon
//! restarts nothing because of it, goes on serving, and holds nothing when it is over.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test stops where something is broken"
)]

use dtma_core::container::RunAs;
use dtma_core::id::{ContainerId, NetworkId, OwnerId};
use dtma_core::port::ContainerRuntime;
use dtma_core::port::runtime::{CreateNetwork, EngineEvent, EnsureVolume, LogQuery, RuntimeError, Scope};
use dtma_core::spec::NetworkMode;
use dtma_core::spec::PullPolicy;
use dtma_docker::{Deadlines, DockerRuntime, Settings};
use dtma_testing::sample;
use dtma_tests::fault_proxy::{Fault, FaultProxy};
use dtma_tests::{McpClient, Toolbox, engine, eventually, groups, text};
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The longest deadline of a single request to the engine, and what the slowest call needs of them.
const DEADLINE: Duration = Duration::from_millis(400);
const BOUND: Duration = Duration::from_millis(2000);

type Outcome = Result<(), RuntimeError>;

fn engine_host() -> String {
    engine::docker(&["version"]);
    engine::host().expect("DOCKER_HOST names the engine: run `cargo xtask test`")
}

fn impatient(host: String) -> DockerRuntime {
    let deadlines =
        Deadlines { read: DEADLINE, mutation: DEADLINE, stop_margin: DEADLINE, pull_stall: DEADLINE };
    let owner = OwnerId::from(uuid::Uuid::new_v4().to_string());
    DockerRuntime::connect(Settings { host: Some(host), deadlines, ..Settings::new(owner) }).expect("connect")
}

/// Every call of the port that goes to the engine, by name.
fn calls(runtime: &DockerRuntime) -> Vec<(&'static str, BoxFuture<'_, Outcome>)> {
    let id = || ContainerId::from("ab12");
    let scope = || Scope { owner: "owner".into(), group: None };
    let config = sample::container_config("dtma/busybox:dev");
    let image = sample::image_facts(&"dtma/busybox:dev".into());
    let create = sample::create_container(&"owner".into(), &sample::slot("g", "a"), config, &image);
    let network = CreateNetwork {
        name: "dtma-n".into(),
        group: sample::group("g"),
        mode: NetworkMode::Group,
        labels: BTreeMap::new(),
    };
    let owner = RunAs { uid: 1000, gid: 1000 };
    let volume = EnsureVolume { name: "dtma-v".into(), labels: BTreeMap::new(), owner };
    let ensure = move |policy| async move {
        runtime.ensure_image(&"dtma/none:1".into(), policy, None, &|_| {}).await.map(drop)
    };
    vec![
        ("info", Box::pin(async { runtime.info().await.map(drop) })),
        ("containers", Box::pin(async move { runtime.containers(&scope()).await.map(drop) })),
        ("inspect", Box::pin(async move { runtime.inspect(&id()).await.map(drop) })),
        ("look for an image", Box::pin(ensure(PullPolicy::Never))),
        ("pull", Box::pin(ensure(PullPolicy::Always))),
        ("create", Box::pin(async move { runtime.create(&create).await.map(drop) })),
        ("start", Box::pin(async move { runtime.start(&id(), &sample::launch()).await })),
        ("stop", Box::pin(async move { runtime.stop(&id(), Duration::ZERO).await })),
        ("kill", Box::pin(async move { runtime.kill(&id()).await })),
        ("rename", Box::pin(async move { runtime.rename(&id(), "dtma-other").await })),
        ("remove", Box::pin(async move { runtime.remove(&id()).await })),
        ("attach", Box::pin(async move { runtime.attach(&id()).await.map(drop) })),
        ("logs", Box::pin(async move { runtime.logs(&id(), &LogQuery::default()).await.map(drop) })),
        ("create a network", Box::pin(async move { runtime.create_network(&network).await.map(drop) })),
        ("networks", Box::pin(async move { runtime.networks(&scope()).await.map(drop) })),
        ("remove a network", Box::pin(async { runtime.remove_network(&NetworkId::from("ab12")).await })),
        ("ensure a volume", Box::pin(async move { runtime.ensure_volume(&volume).await })),
        ("volumes", Box::pin(async move { runtime.volumes(&scope()).await.map(drop) })),
        ("remove a volume", Box::pin(async { runtime.remove_volume("dtma-v").await })),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn every_call_ends_at_its_deadline_whatever_the_engine_answers() {
    let proxy = FaultProxy::before(&engine_host());
    let runtime = impatient(proxy.host());
    runtime.info().await.expect("a healthy engine answers");
    for fault in Fault::ALL {
        proxy.set(fault);
        for (name, call) in calls(&runtime) {
            let began = Instant::now();
            let outcome = tokio::time::timeout(BOUND, call).await;
            let outcome = outcome.unwrap_or_else(|_| panic!("{name} under {fault:?}: not done in {BOUND:?}"));
            judge(name, fault, &outcome);
            assert!(began.elapsed() < BOUND, "{name} under {fault:?} took {:?}", began.elapsed());
        }
        proxy.set(Fault::None);
        runtime.info().await.unwrap_or_else(|error| panic!("after {fault:?}: {error}"));
    }
    let none_left = || async { if proxy.open() == 0 { Ok(()) } else { Err(proxy.open()) } };
    eventually("every connection is given back", Duration::from_secs(5), none_left).await;
}

/// A fault of the engine is nobody's verdict on what was asked: it must be worth trying again. Only a pull says that
/// the image is not there, whatever a registry may have meant.
fn judge(name: &str, fault: Fault, outcome: &Outcome) {
    match outcome {
        Err(RuntimeError::ImageMissing { .. }) if name == "pull" => {}
        Err(RuntimeError::Timeout { .. }) if fault == Fault::Hang || fault == Fault::HalfHead => {}
        Err(error) if error.is_transient() => {}
        // These read nothing of the body.
        Ok(()) if matches!(fault, Fault::TruncatedJson | Fault::HalfChunk) => {}
        other => panic!("{name} under {fault:?}: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_taken_up_again_after_every_fault() {
    let proxy = FaultProxy::before(&engine_host());
    let runtime = impatient(proxy.host());
    for fault in Fault::ALL {
        proxy.set(fault);
        let mut events = runtime.events(&"owner".into());
        let early = tokio::time::timeout(Duration::from_millis(700), events.next()).await;
        assert!(early.is_err(), "{fault:?}: {early:?}");
        proxy.set(Fault::None);
        let resync = tokio::time::timeout(Duration::from_secs(10), events.next()).await;
        assert_eq!(resync.expect("in time"), Some(EngineEvent::Resync), "{fault:?}");
    }
}

/// What the kernel says of the daemon: open descriptors, and resident memory in MiB.
fn held(pid: u32) -> (usize, usize) {
    let descriptors = std::fs::read_dir(format!("/proc/{pid}/fd")).expect("the daemon runs").count();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("its status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its memory");
    let kib: usize = line.trim().trim_end_matches(" kB").parse().expect("a number");
    (descriptors, kib / 1024)
}

fn lives(group: &str) -> Vec<Value> {
    let life = |seen: Value| json!([seen["Id"], seen["State"]["StartedAt"], seen["RestartCount"]]);
    engine::containers(group).into_iter().map(life).collect()
}

async fn echoes(session: &McpClient) {
    let answer = session.call(&json!(1), "echo", &json!({"message": "still here"})).await;
    assert_eq!(text(&answer), "Echo: still here");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_lives_through_every_fault_of_its_engine_and_restarts_nothing() {
    let proxy = Arc::new(FaultProxy::before(&engine_host()));
    let toolbox = Toolbox::start_with(|launch| {
        launch.docker_host = Some(proxy.host());
        let settings = ["--engine-read-timeout-ms", "500", "--engine-change-timeout-ms", "1000"];
        launch.args = settings.map(str::to_owned).into();
    });
    let group = toolbox.group("steady", &[groups::fixture("fixture"), groups::idle("idle")]);
    let name = toolbox.named("steady");
    toolbox.deploy(&group).await;
    let session = toolbox.raw_mcp("fixture").await;
    echoes(&session).await;
    let (before, began) = (held(toolbox.pid()), lives(&name));
    for fault in Fault::ALL {
        under(fault, &proxy, &toolbox, &session).await;
        toolbox.ready(&name, Duration::from_secs(20)).await;
        assert_eq!(lives(&name), began, "after {fault:?}");
    }
    assert_eq!(groups::restarts(&toolbox.view(&name).await), [0, 0]);
    flat(&toolbox, before).await;
}

/// While the fault lasts the daemon answers and an attachment that exists goes on. What is asked of it meanwhile is
/// done afterwards or refused in time, and a refusal leaves nothing.
async fn under(fault: Fault, proxy: &FaultProxy, toolbox: &Toolbox, session: &McpClient) {
    let (struck, group) = (proxy.struck(), toolbox.named("late"));
    let server = groups::with(groups::idle("late"), &json!({"network": "none"}));
    let document = toolbox.group("late", &[server]);
    proxy.set(fault);
    let began = Instant::now();
    let asked = toolbox.rest().post("/mcp/groups?wait=false", &document).await;
    assert!(matches!(asked.status, 202 | 502 | 503 | 504), "{fault:?}: {asked:?}");
    assert!(began.elapsed() < BOUND, "{fault:?}: an answer after {:?}", began.elapsed());
    while began.elapsed() < Duration::from_secs(2) {
        toolbox.get("/healthz").await.expect(200);
        echoes(session).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(proxy.struck() > struck, "{fault:?} was never met");
    proxy.set(Fault::None);
    if asked.status != 202 {
        toolbox.get(&format!("/mcp/groups/{group}")).await.expect(404);
        toolbox.deploy(&document).await;
    }
    toolbox.ready(&group, Duration::from_secs(30)).await;
    toolbox.down(&group, false).await;
}

async fn flat(toolbox: &Toolbox, (descriptors, memory): (usize, usize)) {
    let look = || async {
        let now = held(toolbox.pid());
        if now.0 <= descriptors + 3 && now.1 <= memory + 16 { Ok(()) } else { Err(now) }
    };
    let what = format!("descriptors and memory are as before: {descriptors}, {memory} MiB");
    eventually(&what, Duration::from_secs(15), look).await;
}
