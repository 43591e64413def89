//! The adapter against an engine made of a few canned answers: what a real one cannot be made to do.
#![expect(clippy::expect_used, reason = "a broken test should stop where it broke")]

use dtma_core::observation::ContainerState;
use dtma_core::port::ImageShelf;
use dtma_core::port::runtime::{ContainerRuntime, RuntimeError};
use dtma_core::spec::PullPolicy;
use dtma_docker::{Deadlines, DockerRuntime, Settings};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;

/// Answers a ping with this API version (none: not at all), everything else with an empty list or not at all.
struct Canned {
    dir: tempfile::TempDir,
    asked: Arc<Mutex<Vec<String>>>,
    _serving: JoinSet<()>,
}

#[derive(Clone, Copy)]
struct Manner {
    api: &'static str,
    answers: bool,
    podman: bool,
}

const DOCKER: Manner = Manner { api: "1.41", answers: true, podman: false };
const PODMAN: Manner = Manner { podman: true, ..DOCKER };

/// As Podman shows it while its process has ended and has not been put away.
const STOPPED: &str = r#"{
    "Id": "ab12", "Name": "/dtma-owner-demo-time-0", "Image": "sha256:00ff",
    "State": {
        "Status": "stopped", "ExitCode": 3,
        "StartedAt": "2026-11-20T16:41:22Z", "FinishedAt": "2026-11-20T16:41:23Z"
    },
    "Config": { "Labels": {
        "io.dtma.managed": "true", "io.dtma.owner": "owner", "io.dtma.group": "demo", "io.dtma.instance": "time",
        "io.dtma.replica": "0", "io.dtma.generation": "3", "io.dtma.config-hash": "h", "io.dtma.kind": "mcp"
    } }
}"#;

/// Podman's refusal of a list because one image of it was removed meanwhile, shortened.
const VANISHED: &str = r#"{
    "cause": "image not known", "response": 500,
    "message": "retrieving label for image \"83\": locating image with ID \"83\": image not known"
}"#;

impl Canned {
    fn new(manner: Manner) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let listener = UnixListener::bind(dir.path().join("sock")).expect("bind");
        let asked = Arc::new(Mutex::new(Vec::new()));
        let mut serving = JoinSet::new();
        serving.spawn(serve(listener, manner, Arc::clone(&asked)));
        Self { dir, asked, _serving: serving }
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("sock")
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("the record").clone()
    }
}

async fn serve(listener: UnixListener, manner: Manner, asked: Arc<Mutex<Vec<String>>>) {
    let mut clients = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        clients.spawn(answer(client, manner, Arc::clone(&asked)));
    }
}

async fn answer(client: UnixStream, manner: Manner, asked: Arc<Mutex<Vec<String>>>) {
    let mut client = BufReader::new(client);
    let mut first = String::new();
    let mut line = String::new();
    let _ = client.read_line(&mut first).await;
    while client.read_line(&mut line).await.unwrap_or_default() > 2 {
        line.clear();
    }
    let path = first.split_whitespace().nth(1).unwrap_or_default().to_owned();
    let before = {
        let mut asked = asked.lock().expect("the record");
        asked.push(path.clone());
        asked.iter().filter(|asked| **asked == path).count() - 1
    };
    let images = manner.podman && path.contains("/images/json");
    let status = if images && before < 2 { "500 Internal Server Error" } else { "200 OK" };
    let body = match path.as_str() {
        "/_ping" if !manner.api.is_empty() => "OK".to_owned(),
        path if path.ends_with("/version") && !manner.api.is_empty() => r#"{"Version":"1.2.3"}"#.to_owned(),
        path if manner.podman && path.ends_with("/ab12/json") => STOPPED.to_owned(),
        _ if images && before < 2 => VANISHED.to_owned(),
        _ if images => "[]".to_owned(),
        _ if manner.podman => r#"[{ "Id": "ab12", "State": "stopped" }]"#.to_owned(),
        _ if manner.answers => "[]".to_owned(),
        _ => return std::future::pending().await,
    };
    let who = if manner.podman { "Libpod-Api-Version: 4.3.1\r\n" } else { "" };
    let head = format!("HTTP/1.1 {status}\r\nContent-Type: application/json\r\nConnection: close\r\n{who}");
    let answer = format!("{head}Api-Version: {}\r\nContent-Length: {}\r\n\r\n{body}", manner.api, body.len());
    let _ = client.write_all(answer.as_bytes()).await;
}

fn runtime(host: &str) -> DockerRuntime {
    let deadlines = Deadlines { read: Duration::from_millis(300), ..Deadlines::default() };
    let host = Some(host.to_owned());
    DockerRuntime::connect(Settings { host, deadlines, ..Settings::new("owner".into()) }).expect("connect")
}

fn at(engine: &Canned) -> DockerRuntime {
    runtime(&format!("unix://{}", engine.socket().display()))
}

fn scope() -> dtma_core::port::runtime::Scope {
    dtma_core::port::runtime::Scope { owner: "owner".into(), group: None }
}

#[tokio::test]
async fn every_path_carries_the_agreed_version() {
    for (theirs, agreed) in [("1.41", "/v1.41/"), ("1.47", "/v1.47/"), ("1.99", "/v1.53/")] {
        let engine = Canned::new(Manner { api: theirs, ..DOCKER });
        assert_eq!(at(&engine).containers(&scope()).await, Ok(vec![]));
        let asked = engine.asked();
        assert_eq!(asked[0], "/_ping");
        assert!(asked[1].starts_with(&format!("{agreed}containers/json?")), "{asked:?}");
    }
}

#[tokio::test]
async fn podmans_word_for_an_ended_process_is_read_at_the_first_question() {
    let engine = Canned::new(PODMAN);
    let seen = at(&engine).containers(&scope()).await.expect("an answer");
    let states: Vec<_> = seen.into_iter().map(|seen| seen.state).collect();
    assert!(matches!(states[..], [ContainerState::Exited { code: 3, .. }]), "{states:?}");
    let asked = engine.asked();
    assert_eq!((asked.len(), asked[2].as_str()), (3, "/v1.41/containers/ab12/json"), "{asked:?}");
    assert!(asked[1].starts_with("/v1.41/containers/json?all=true&filters=%7B"), "{asked:?}");
}

#[tokio::test]
async fn a_list_that_an_image_vanishes_from_is_asked_for_again_on_podman() {
    let engine = Canned::new(PODMAN);
    assert_eq!(at(&engine).images().await, Ok(vec![]));
    let lists = engine.asked().into_iter().filter(|asked| asked.contains("/images/json"));
    assert_eq!(lists.count(), 3);
}

#[tokio::test]
async fn an_engine_that_is_too_old_is_refused_by_name() {
    let engine = Canned::new(Manner { api: "1.40", ..DOCKER });
    let error = at(&engine).containers(&scope()).await.expect_err("1.40 is too old");
    assert!(error.to_string().contains("Docker 20.10 (API 1.41) or newer is needed"), "{error}");
}

#[tokio::test]
async fn an_engine_that_hangs_is_given_up_in_time() {
    let engine = Canned::new(Manner { answers: false, ..DOCKER });
    let after = Duration::from_millis(300);
    let answer = at(&engine).containers(&scope()).await;
    assert_eq!(answer, Err(RuntimeError::Timeout { call: "list containers", after }));
}

#[tokio::test]
async fn an_engine_that_hangs_from_the_start_is_given_up_in_time() {
    let engine = Canned::new(Manner { api: "", answers: false, ..DOCKER });
    let (runtime, after) = (at(&engine), Duration::from_millis(300));
    let pull = runtime.ensure_image(&"a:1".into(), PullPolicy::Always, None, &|_| {}).await;
    assert_eq!(pull, Err(RuntimeError::Timeout { call: "pull image", after }));
    let version = runtime.info().await;
    assert_eq!(version, Err(RuntimeError::Timeout { call: "ask for the version", after }));
}

#[tokio::test]
async fn an_engine_that_is_not_there_is_away_and_found_when_it_comes() {
    let dir = tempfile::tempdir().expect("a directory");
    let runtime = runtime(&format!("unix://{}", dir.path().join("sock").display()));
    assert!(matches!(runtime.containers(&scope()).await, Err(RuntimeError::EngineAway { .. })));
    let listener = UnixListener::bind(dir.path().join("sock")).expect("bind");
    let mut serving = JoinSet::new();
    serving.spawn(serve(listener, DOCKER, Arc::default()));
    assert_eq!(runtime.containers(&scope()).await, Ok(vec![]));
    serving.abort_all();
    while serving.join_next().await.is_some() {}
    let error = runtime.containers(&scope()).await.expect_err("nobody listens any more");
    assert!(matches!(error, RuntimeError::EngineAway { .. }), "{error}");
}

#[tokio::test]
async fn an_engine_that_was_upgraded_is_spoken_to_in_its_new_version() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("sock");
    let runtime = runtime(&format!("unix://{}", path.display()));
    for (api, expected) in [("1.41", "1.41"), ("1.44", "1.44")] {
        let listener = UnixListener::bind(&path).expect("bind");
        let mut serving = JoinSet::new();
        serving.spawn(serve(listener, Manner { api, ..DOCKER }, Arc::default()));
        // While it is away we notice, and forget what was agreed.
        let _ = runtime.containers(&scope()).await;
        assert_eq!(runtime.info().await.map(|info| info.api_version), Ok(expected.to_owned()));
        serving.abort_all();
        while serving.join_next().await.is_some() {}
        std::fs::remove_file(&path).expect("remove the socket");
        assert!(runtime.containers(&scope()).await.is_err());
    }
}

#[tokio::test]
async fn an_address_of_another_kind_is_refused() {
    for host in ["ssh://somewhere", "https://somewhere", "/var/run/docker.sock"] {
        let settings = Settings { host: Some(host.to_owned()), ..Settings::new("owner".into()) };
        assert!(matches!(DockerRuntime::connect(settings), Err(RuntimeError::Refused { .. })), "{host}");
    }
}
