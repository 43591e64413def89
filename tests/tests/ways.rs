//! What a server without a network finds on its own loopback, tried with the real daemon: the hosts that its `egress`
//! names and nothing else, the ports of its dependencies, and both again after a `kill -9`.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test stops where something is broken"
)]

use dtma_tests::engine::{container_ids, docker, environment, inspect, server_process};
use dtma_tests::{Toolbox, eventually, groups, text};
use http::Method;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(20);

/// Asks the proxy for a tunnel to each place, and says what it answers.
const TUNNELS: &str = "
import socket, sys
for target in sys.argv[1:]:
    try:
        with socket.create_connection(('127.0.0.1', 3128), 5) as tunnel:
            tunnel.sendall(f'CONNECT {target} HTTP/1.1\\r\\nHost: {target}\\r\\n\\r\\n'.encode())
            status = tunnel.recv(4096).split()[1].decode()
            if status == '200':
                tunnel.sendall(b'GET / HTTP/1.0\\r\\n\\r\\n')
                status = tunnel.makefile('rb').read().split(b'\\r\\n\\r\\n')[1].decode()
        print(target, status)
    except OSError as error:
        print(target, type(error).__name__)
";

/// Fetches a page as most programs do: through the proxy, following redirects. These tests' hosts are called as the
/// server itself is, and would be taken for it.
const FETCH: &str = "
import os, sys, urllib.error, urllib.request
os.environ['no_proxy'] = os.environ['NO_PROXY'] = ''
proxies = urllib.request.ProxyHandler({'http': 'http://127.0.0.1:3128'})
try:
    print(urllib.request.build_opener(proxies).open(sys.argv[1], timeout=10).read().decode())
except urllib.error.HTTPError as error:
    print(error.code, error.read().decode())
";

/// Connects, and prints what is said.
const HEAR: &str = "
import socket, sys
with socket.create_connection(('127.0.0.1', int(sys.argv[1])), 5) as there:
    there.sendall(b'GET / HTTP/1.0\\r\\n\\r\\n')
    print(there.makefile('rb').read().decode())
";

/// A host outside: answers every request with its word, or sends the client elsewhere.
fn host(answer: &'static str, location: Option<String>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("its address").port();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let mut head = BufReader::new(&stream).lines().map_while(Result::ok);
            while head.next().is_some_and(|line| !line.is_empty()) {}
            let status = match &location {
                Some(location) => format!("302 Found\r\nLocation: {location}"),
                None => "200 OK".to_owned(),
            };
            let length = answer.len();
            let _ = write!(
                &stream,
                "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{answer}"
            );
        }
    });
    port
}

/// A daemon whose operator lets servers reach this machine's loopback, where the hosts of these tests are.
fn toolbox() -> Toolbox {
    Toolbox::start_with(|launch| {
        let policy = launch.dir.join("policy.toml");
        std::fs::write(&policy, "egressRanges = [\"127.0.0.0/8\"]\n").expect("write the policy");
        launch.args.extend(["--policy".to_owned(), policy.display().to_string()]);
        launch.shims = Some(true);
    })
}

fn container(toolbox: &Toolbox, group: &str, instance: &str) -> String {
    let ids = container_ids(&toolbox.named(group));
    let found = ids.into_iter().find(|(name, _)| name == instance);
    found.map(|(_, id)| id).unwrap_or_else(|| panic!("no container of {instance}"))
}

fn inside(container: &str, program: &str, words: &[String]) -> String {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    docker(&[&["exec", container, "python3", "-c", program], words.as_slice()].concat())
}

async fn passages(toolbox: &Toolbox) -> Vec<Value> {
    let answer = toolbox.get("/audit/egress?limit=1000").await.expect(200);
    answer.json["data"]["entries"].as_array().expect("entries").clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn egress_lets_exactly_its_hosts_through() {
    let toolbox = toolbox();
    let secret = host("secret", None);
    let there = host("welcome", None);
    let away = host("", Some(format!("http://localhost:{secret}/")));
    let egress = json!([format!("localhost:{there}"), format!("localhost:{away}")]);
    let server = groups::with(groups::fixture("out"), &json!({"egress": egress}));
    toolbox.deploy(&toolbox.group("egress", &[server])).await;
    let id = container(&toolbox, "egress", "out");
    assert_eq!(inspect(&id)["HostConfig"]["NetworkMode"], "none");
    assert_eq!(environment(&id)["HTTPS_PROXY"], "http://127.0.0.1:3128");

    let refused = [
        format!("localhost:{secret}"),
        format!("127.0.0.1:{there}"),
        format!("[::1]:{there}"),
        format!("[::ffff:127.0.0.1]:{there}"),
        format!("0x7f.1:{there}"),
        format!("0177.0.0.1:{there}"),
        format!("2130706433:{there}"),
        format!("127.1:{there}"),
        "169.254.169.254:80".to_owned(),
        format!("localhost.:{secret}"),
    ];
    let mut targets = vec![format!("localhost:{there}")];
    targets.extend(refused.clone());
    let said = inside(&id, TUNNELS, &targets);
    let mut lines = said.lines();
    assert_eq!(lines.next(), Some(format!("localhost:{there} welcome").as_str()), "{said}");
    for (line, target) in lines.zip(&refused) {
        assert!([format!("{target} 403"), format!("{target} 400")].contains(&line.to_owned()), "{said}");
    }
    assert_eq!(said.lines().count(), targets.len(), "{said}");
    assert_eq!(inside(&id, FETCH, &[format!("http://localhost:{there}/")]).trim(), "welcome");
    let redirected = inside(&id, FETCH, &[format!("http://localhost:{away}/")]);
    assert!(redirected.starts_with("403") && !redirected.contains("secret"), "{redirected}");

    let ended = || async {
        let entries = passages(&toolbox).await;
        let through: Vec<&Value> = entries.iter().filter(|entry| entry["outcome"] == "done").collect();
        if through.len() == 3 { Ok(entries.clone()) } else { Err(format!("{entries:?}")) }
    };
    let entries = eventually("every end is written down", SOON, ended).await;
    let denied: Vec<&Value> = entries.iter().filter(|entry| entry["outcome"] == "denied").collect();
    assert_eq!(denied.len(), refused.len() + 1, "{entries:?}");
    assert!(denied.iter().all(|entry| entry["egress"]["reason"].is_string()), "{denied:?}");
    let done = entries.iter().find(|entry| entry["outcome"] == "done").expect("one");
    assert_eq!(
        (done["instanceName"].as_str(), &done["groupId"]),
        (Some("out"), &json!(toolbox.named("egress")))
    );
    assert!(done["egress"]["received"].as_u64() > Some(7), "{done}");
    let metrics = toolbox.get("/metrics").await.text;
    assert!(metrics.contains("dtma_egress_bytes_total{"), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_way_out_is_there_again_after_a_kill_and_after_a_restart_in_place() {
    let mut toolbox = toolbox();
    let there = host("welcome", None);
    let egress = json!([format!("localhost:{there}")]);
    let server = groups::with(groups::fixture("out"), &json!({"egress": egress}));
    toolbox.deploy(&toolbox.group("again", &[server])).await;
    let (group, id) = (toolbox.named("again"), container(&toolbox, "again", "out"));
    let process = server_process(&id);
    let works = || async {
        let said = inside(&id, TUNNELS, &[format!("localhost:{there}")]);
        if said.contains("welcome") { Ok(()) } else { Err(said) }
    };
    eventually("it gets out", SOON, works).await;
    toolbox.kill9();
    toolbox.start_again();
    toolbox.ready(&group, SOON).await;
    eventually("it gets out after the kill", SOON, works).await;
    assert_eq!(server_process(&id), process, "the server has noticed nothing");
    toolbox.rest().post(&format!("/mcp/groups/{group}/restart"), &json!({})).await.expect(200);
    toolbox.ready(&group, SOON).await;
    eventually("it gets out after a restart", SOON, works).await;
    assert_eq!(container(&toolbox, "again", "out"), id);
    let session = toolbox.raw_mcp("out").await;
    assert_eq!(text(&session.call(&json!(1), "echo", &json!({"message": "x"})).await), "Echo: x");
}

/// A server that depends on `db`, and the web server that is called so.
fn pair(page: &str) -> [Value; 2] {
    let serve = format!("mkdir /tmp/w; echo {page} >/tmp/w/index.html; exec httpd -f -p 8080 -h /tmp/w");
    let fields = json!({"network": "none", "command": ["sh", "-c", serve]});
    let db = groups::with(groups::web("my-db"), &fields);
    let connect = json!({"port": 8080, "localPort": 5432});
    let depends = json!([{"instance": "my-db", "condition": "healthy", "connect": connect}]);
    [db, groups::with(groups::fixture("app"), &json!({"dependsOn": depends}))]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dependency_is_found_inside_through_updates_and_kills() {
    let mut toolbox = toolbox();
    toolbox.deploy(&toolbox.group("connect", &pair("one"))).await;
    let (group, id) = (toolbox.named("connect"), container(&toolbox, "connect", "app"));
    assert_eq!(environment(&id)["MY_DB_ADDR"], "127.0.0.1:5432");
    for instance in ["app", "my-db"] {
        let mode = inspect(&container(&toolbox, "connect", instance))["HostConfig"]["NetworkMode"].clone();
        assert_eq!(mode, "none", "{instance}");
    }
    let hears = |word: &'static str| {
        let id = id.clone();
        move || {
            let said = inside(&id, HEAR, &["5432".to_owned()]);
            async move { if said.contains(word) { Ok(()) } else { Err(said) } }
        }
    };
    hears("one")().await.expect("it is there as soon as the server is");
    let changed = toolbox.group("connect", &pair("two")).to_string();
    toolbox.rest().send(Method::PUT, &format!("/mcp/groups/{group}"), changed).await.expect(200);
    toolbox.ready(&group, SOON).await;
    eventually("the new one is there", SOON, hears("two")).await;
    toolbox.kill9();
    toolbox.start_again();
    toolbox.ready(&group, SOON).await;
    eventually("it is there after the kill", SOON, hears("two")).await;
    assert_eq!(container(&toolbox, "connect", "app"), id, "who depends on it was left alone");
    // The host's own port of that number is somebody else's.
    assert!(TcpStream::connect(("127.0.0.1", 5432)).is_err());
}
