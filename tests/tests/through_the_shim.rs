//! What servers gain by the shim, tried with the real daemon: calls while the engine stands still or is dead, restarts
//! without another container, words said while the daemon was away, ports on network `none`; and that nobody but the
//! shim is heard on a container's socket.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test stops where something is broken"
)]

use dtma_tests::engine::{container_ids, docker, inspect, server_process};
use dtma_tests::private_engine::PrivateEngine;
use dtma_tests::{McpClient, Toolbox, eventually, groups, text};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::time::{Duration, Instant};

const SOON: Duration = Duration::from_secs(20);

async fn echo(session: &McpClient) {
    let answer = session.call(&json!(1), "echo", &json!({"message": "hello"})).await;
    assert_eq!(text(&answer), "Echo: hello");
}

/// A daemon that begins servers by the shim, whatever the environment of the tests says.
fn toolbox() -> Toolbox {
    Toolbox::start_with(|launch| launch.shims = Some(true))
}

fn only_container(toolbox: &Toolbox, group: &str) -> String {
    let ids = container_ids(&toolbox.named(group));
    assert_eq!(ids.len(), 1, "{ids:?}");
    ids.into_iter().map(|(_, id)| id).next().expect("one")
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_go_on_while_the_engine_stands_still_and_while_it_is_dead() {
    let mut engine = PrivateEngine::start(&["--live-restore"]);
    engine.load(&["dtma/mcp-fixture:dev"]);
    let toolbox = Toolbox::start_with(|launch| {
        launch.docker_host = Some(engine.host());
        launch.shims = Some(true);
    });
    toolbox.deploy(&toolbox.group("calls", &[groups::fixture("fixture")])).await;
    let session = toolbox.raw_mcp("fixture").await;
    echo(&session).await;
    engine.signal("STOP");
    let (began, mut calls) = (Instant::now(), 0);
    while began.elapsed() < Duration::from_secs(10) {
        let call = Instant::now();
        echo(&session).await;
        assert!(call.elapsed() < Duration::from_secs(2), "a call took {:?}", call.elapsed());
        calls += 1;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(calls > 50, "{calls} calls");
    engine.signal("CONT");
    engine.kill9();
    echo(&session).await;
    engine.start_again();
    echo(&session).await;
    let group = toolbox.named("calls");
    let view = toolbox.ready(&group, Duration::from_secs(60)).await;
    assert_eq!(groups::restarts(&view), [0]);
    echo(&session).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_crashes_or_is_restarted_keeps_its_container_and_its_session() {
    let toolbox = toolbox();
    toolbox.deploy(&toolbox.group("again", &[groups::fixture("fixture")])).await;
    let session = toolbox.raw_mcp("fixture").await;
    let container = only_container(&toolbox, "again");
    let started = |id: &str| inspect(id)["State"]["StartedAt"].clone();
    let before = started(&container);
    let first = server_process(&container).expect("it runs");
    let group = toolbox.named("again");
    assert!(
        std::process::Command::new("kill").args(["-9", &first.to_string()]).status().expect("kill").success()
    );
    let restarted = || async {
        let view = toolbox.view(&group).await;
        if groups::restarts(&view) == [1] { Ok(()) } else { Err(groups::summary(&view)) }
    };
    eventually("the crash is noted", SOON, restarted).await;
    toolbox.ready(&group, SOON).await;
    echo(&session).await;
    toolbox.rest().post(&format!("/mcp/groups/{group}/restart"), &json!({})).await.expect(200);
    toolbox.ready(&group, SOON).await;
    echo(&session).await;
    assert_eq!(only_container(&toolbox, "again"), container);
    assert_eq!(started(&container), before, "the container itself ran on");
    assert_ne!(server_process(&container), Some(first));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_tool_says_while_the_daemon_is_away_is_in_its_log() {
    let mut toolbox = toolbox();
    let count =
        json!({"command": ["sh", "-c", "n=0; while :; do n=$((n+1)); echo line $n; sleep 0.1; done"]});
    let counter = groups::with(groups::idle("counter"), &count);
    toolbox.deploy(&toolbox.group("log", &[counter])).await;
    toolbox.kill9();
    tokio::time::sleep(Duration::from_secs(2)).await;
    toolbox.start_again();
    toolbox.ready(&toolbox.named("log"), SOON).await;
    let answer = toolbox.get("/mcp/servers/counter/logs?tail=100000").await.expect(200);
    let lines = answer.json["data"]["lines"].as_array().expect("lines").clone();
    let numbers: Vec<u64> = lines.iter().filter_map(number).collect();
    assert!(numbers.len() > 15, "{lines:?}");
    let all: Vec<u64> = (1..=numbers.len() as u64).collect();
    assert_eq!(numbers, all, "nothing is missing, nothing is there twice");
}

fn number(line: &Value) -> Option<u64> {
    line["text"].as_str()?.strip_prefix("line ")?.parse().ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_is_reached_on_network_none() {
    let toolbox = toolbox();
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("its address");
    let publish = json!([{"hostPort": free.port(), "containerPort": 8080}]);
    let web = groups::with(groups::web("web"), &json!({"network": "none", "publish": publish}));
    toolbox.deploy(&toolbox.group("port", &[web])).await;
    let container = only_container(&toolbox, "port");
    assert_eq!(inspect(&container)["HostConfig"]["NetworkMode"], "none");
    let mut socket = std::net::TcpStream::connect(("127.0.0.1", free.port())).expect("the daemon listens");
    socket.write_all(b"GET / HTTP/1.0\r\n\r\n").expect("ask");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).expect("hear");
    assert!(answer.starts_with("HTTP/1.0 200") || answer.starts_with("HTTP/1.1 200"), "{answer}");
}

/// Dials the daemon's socket as the server may, says hello as the shim would, and says what came of it.
const DIAL: &str = "
import socket, struct
s = socket.socket(socket.AF_UNIX)
s.connect('/.dtma/run/agent.sock')
body = bytes([101]) + b'DTMA' + struct.pack('>HH', 1, 1) + bytes(16) + struct.pack('>I', 0) + bytes(60)
try:
    s.sendall(struct.pack('>I', len(body)) + body)
    s.settimeout(10)
    print('answer', s.recv(100))
except OSError as error:
    print('answer', b'', error)
for path in ('/proc/1/environ', '/proc/1/mem', '/proc/1/fd/3', '/.dtma/run/x', '/.dtma/bin/x'):
    try:
        open(path, 'wb' if path.startswith('/.dtma') else 'rb').read(10)
        print('open', path)
    except OSError:
        pass
";

#[tokio::test(flavor = "multi_thread")]
async fn nobody_but_the_shim_is_heard_and_nobody_looks_into_it() {
    let toolbox = toolbox();
    toolbox.deploy(&toolbox.group("quiet", &[groups::fixture("fixture")])).await;
    let session = toolbox.raw_mcp("fixture").await;
    let container = only_container(&toolbox, "quiet");
    let said = docker(&["exec", &container, "python3", "-c", DIAL]);
    assert!(said.starts_with("answer b''"), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    for signal in ["SIGKILL", "SIGSTOP"] {
        // PID 1 hears neither from inside.
        let send = format!("import os, signal; os.kill(1, signal.{signal})");
        docker(&["exec", &container, "python3", "-c", &send]);
    }
    echo(&session).await;
    assert_eq!(groups::restarts(&toolbox.view(&toolbox.named("quiet")).await), [0]);
}

/// Tries everything that a server might reach, and prints what answered.
const REACH: &str = "
import socket, sys
for place in sys.argv[1:]:
    host, port = place.rsplit(':', 1)
    try:
        socket.create_connection((host, int(port)), 2).close()
        print('answers', place)
    except OSError:
        pass
try:
    print('resolves', socket.gethostbyname('example.org'))
except OSError:
    pass
";

/// The addresses of this machine's interfaces, the engine's bridges among them.
fn own_addresses() -> Vec<String> {
    let ip = std::process::Command::new("ip").args(["-o", "-4", "addr"]).output().expect("ip");
    let text = String::from_utf8(ip.stdout).expect("text");
    let address = |line: &str| Some(line.split_whitespace().nth(3)?.split('/').next()?.to_owned());
    text.lines().filter_map(address).filter(|address| address != "127.0.0.1").collect()
}

/// The address of a container on its network.
fn address(container: &str) -> String {
    let networks = inspect(container)["NetworkSettings"]["Networks"].clone();
    let networks = networks.as_object().expect("networks").values();
    let found =
        networks.filter_map(|network| network["IPAddress"].as_str()).find(|address| !address.is_empty());
    found.expect("it has an address").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn from_inside_a_default_server_nothing_answers() {
    let toolbox = toolbox();
    let inside = groups::fixture("inside");
    let wait = json!({"kind": "tool", "command": ["/usr/bin/python3", "-c", "import time; time.sleep(1000)"], "transport": null});
    let tool = groups::with(groups::fixture("tool"), &wait);
    let peer = groups::with(groups::fixture("peer"), &json!({"network": "group"}));
    let open = groups::with(groups::fixture("open"), &json!({"network": "open"}));
    let others = groups::with(groups::web("others"), &json!({"network": "group"}));
    toolbox.deploy(&toolbox.group("else", &[others])).await;
    toolbox.deploy(&toolbox.group("reach", &[inside, tool, peer, open])).await;
    let listener = std::net::TcpListener::bind("0.0.0.0:0").expect("a port of the host");
    let port = listener.local_addr().expect("its address").port();
    let mut places: Vec<String> = own_addresses().iter().map(|host| format!("{host}:{port}")).collect();
    assert!(!places.is_empty(), "this machine has an address");
    let elsewhere = format!("{}:8080", address(&only_container(&toolbox, "else")));
    places.extend(["169.254.169.254:80", "1.1.1.1:53", "127.0.0.1:22", &elsewhere].map(str::to_owned));
    let reached = |instance: &str| {
        let ids = container_ids(&toolbox.named("reach"));
        let (_, id) = ids.into_iter().find(|(name, _)| name.contains(instance)).expect("its container");
        let words =
            ["exec", &id, "python3", "-c", REACH].map(str::to_owned).into_iter().chain(places.clone());
        let words: Vec<String> = words.collect();
        docker(&words.iter().map(String::as_str).collect::<Vec<_>>())
    };
    assert_eq!(reached("inside"), "");
    assert_eq!(reached("tool"), "");
    // The control: either bridge leads to every service of the host.
    for instance in ["peer", "open"] {
        assert!(reached(instance).contains("answers"), "the listener of this test is there to be reached");
    }
    assert!(!reached("peer").contains(&elsewhere), "another group is reached");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_of_the_shim_is_kept_as_long_as_a_container_has_it() {
    let mut toolbox = toolbox();
    toolbox.deploy(&toolbox.group("versions", &[groups::idle("idle")])).await;
    let shims = toolbox.dir().join("state/shim");
    let names = |dir: &std::path::Path| {
        let entries = std::fs::read_dir(dir).expect("a directory").map(|entry| entry.expect("an entry"));
        entries.filter_map(|entry| entry.file_name().into_string().ok()).collect::<Vec<_>>()
    };
    let notes = names(&shims).into_iter().find(|name| name.ends_with(".of")).expect("notes");
    let noted = names(&shims.join(notes));
    assert_eq!(noted.len(), 1, "{noted:?}");
    // As if the container had been given an earlier one, and another one had been there.
    for version in ["earlier", "earlier.of", "unused", "unused.of"] {
        std::fs::create_dir(shims.join(version)).expect("a version");
    }
    std::fs::write(shims.join("earlier.of").join(&noted[0]), "").expect("a note");
    toolbox.start_again();
    let left = async |version: &str| match shims.join(version).exists() {
        true => Err(names(&shims)),
        false => Ok(()),
    };
    eventually("the unused one is removed", SOON, || left("unused")).await;
    assert!(shims.join("earlier").exists());
    toolbox.down(&toolbox.named("versions"), true).await;
    toolbox.start_again();
    let note = format!("earlier.of/{}", noted[0]);
    eventually("nobody is noted any more", SOON, || left(&note)).await;
    toolbox.start_again();
    eventually("it is removed", SOON, || left("earlier.of")).await;
    eventually("the unused one is removed as a whole", SOON, || left("unused.of")).await;
    assert_eq!(names(&shims).len(), 2, "the present one and its notes: {:?}", names(&shims));
}
