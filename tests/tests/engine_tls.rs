//! An engine on another machine, as Docker's own clients reach it: TCP, TLS, both sides verified. The engine is a real
//! one that was started with `--tlsverify`; the certificates are made here.
#![allow(clippy::expect_used, clippy::panic, reason = "a test stops where something is broken")]

use dtma_core::id::OwnerId;
use dtma_core::port::ContainerRuntime;
use dtma_core::port::runtime::{RuntimeError, Scope};
use dtma_docker::{DockerRuntime, Settings, Tls};
use dtma_tests::private_engine::PrivateEngine;
use dtma_tests::{Toolbox, groups, text};
use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use serde_json::json;
use std::path::Path;

const IMAGES: [&str; 2] = ["dtma/mcp-fixture:dev", "dtma/busybox:dev"];

/// An authority and what it signs, as PEM files.
struct Authority(Issuer<'static, KeyPair>, String);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let pem = params.self_signed(&key).expect("a certificate").pem();
        Self(Issuer::new(params, key), pem)
    }

    /// `ca.pem`, `cert.pem` and `key.pem` for this name.
    fn write(&self, dir: &Path, name: &str, usage: ExtendedKeyUsagePurpose) {
        let mut params = CertificateParams::new([name.to_owned()]).expect("a name");
        params.extended_key_usages = vec![usage];
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.0).expect("a certificate");
        std::fs::create_dir_all(dir).expect("a directory");
        for (file, text) in
            [("ca.pem", &self.1), ("cert.pem", &certificate.pem()), ("key.pem", &key.serialize_pem())]
        {
            std::fs::write(dir.join(file), text).expect("write a PEM file");
        }
    }
}

fn runtime(host: &str, certs: &Path) -> DockerRuntime {
    let tls = Some(Tls::read(certs).expect("the certificates"));
    let settings = Settings { host: Some(host.to_owned()), tls, ..Settings::new(OwnerId::from("owner")) };
    DockerRuntime::connect(settings).expect("connect")
}

async fn is_refused(host: &str, certs: &Path, expected: &str) {
    let answer = runtime(host, certs).info().await;
    let Err(RuntimeError::EngineAway { problem, .. }) = &answer else { panic!("{answer:?}") };
    assert!(problem.to_lowercase().contains(expected), "{problem}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_remote_engine_is_spoken_to_over_tls_and_what_needs_a_local_one_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let (authority, address) = (Authority::new(), PrivateEngine::cable_address());
    let (server, client) = (dir.path().join("server"), dir.path().join("client"));
    authority.write(&server, &address, ExtendedKeyUsagePurpose::ServerAuth);
    authority.write(&client, "dtma", ExtendedKeyUsagePurpose::ClientAuth);
    let file = |option: &str, name: &str| format!("--{option}={}", server.join(name).display());
    let (ca, cert, key) =
        (file("tlscacert", "ca.pem"), file("tlscert", "cert.pem"), file("tlskey", "key.pem"));
    let engine = PrivateEngine::start(&["--tlsverify", &ca, &cert, &key, "--host", "tcp://0.0.0.0:2376"]);
    let _cable = engine.connect();
    engine.load(&IMAGES);
    let host = format!("tcp://{address}:2376");

    strangers_are_refused(dir.path(), &client, &host).await;
    let info = runtime(&host, &client).info().await.expect("the engine answers");
    assert_eq!((info.local, info.endpoint.as_str()), (false, host.as_str()));

    let toolbox = Toolbox::start_with(|launch| {
        launch.docker_host = Some(host.clone());
        launch.args = vec!["--docker-cert-path".to_owned(), client.display().to_string()];
    });
    a_stdio_server_works(&toolbox).await;
    what_needs_a_local_engine_is_refused(&toolbox).await;
    let scope = Scope { owner: OwnerId::from("owner"), group: None };
    assert_eq!(runtime(&host, &client).containers(&scope).await, Ok(vec![]), "others' are not seen");
}

/// An authority that is not the engine's, and a client without a certificate.
async fn strangers_are_refused(dir: &Path, client: &Path, host: &str) {
    let stranger = dir.join("stranger");
    Authority::new().write(&stranger, "dtma", ExtendedKeyUsagePurpose::ClientAuth);
    is_refused(host, &stranger, "invalid peer certificate").await;
    let nobody = dir.join("nobody");
    std::fs::create_dir(&nobody).expect("a directory");
    std::fs::copy(client.join("ca.pem"), nobody.join("ca.pem")).expect("copy");
    is_refused(host, &nobody, "certificate").await;
}

/// Over the upgraded connection of an attachment.
async fn a_stdio_server_works(toolbox: &Toolbox) {
    let group = toolbox.group("remote", &[groups::fixture("fixture"), groups::idle("idle")]);
    toolbox.deploy(&group).await;
    let session = toolbox.raw_mcp("fixture").await;
    for number in 0..50 {
        let message = format!("over tls {number}");
        let answer = session.call(&json!(number), "echo", &json!({"message": message})).await;
        assert_eq!(text(&answer), format!("Echo: {message}"));
    }
    toolbox.down(&toolbox.named("remote"), false).await;
}

async fn what_needs_a_local_engine_is_refused(toolbox: &Toolbox) {
    let wishes = json!({
        "publish": [{"hostPort": 18_431, "containerPort": 8080}],
        "mounts": [{"type": "volume", "name": "files", "target": "/data"}],
    });
    let group = toolbox.group("near", &[groups::with(groups::web("web"), &wishes)]);
    let answer = toolbox.rest().post("/mcp/groups", &group).await;
    assert_eq!(answer.status, 422, "{answer:?}");
    let details = answer.json["details"].as_array().cloned().unwrap_or_default();
    let found: Vec<_> =
        details.iter().map(|detail| (detail["pointer"].as_str(), detail["rule"].as_str())).collect();
    let rule = Some("engine.remote");
    let places = ["/servers/0/publish/0", "/servers/0/port", "/servers/0/mounts/0"];
    assert_eq!(found, places.map(|place| (Some(place), rule)));
    assert!(details.iter().all(|detail| detail["hint"].is_string()), "{details:?}");
}
