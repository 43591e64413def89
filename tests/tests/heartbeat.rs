//! The reports of the real daemon to a backend: of every change within a second, and again when it was away.
#![allow(clippy::expect_used, reason = "a test stops where something is broken")]

use dtma_tests::certificates::{Authority, Files};
use dtma_tests::{Toolbox, binaries, eventually};
use http::Method;
use serde_json::{Value, json};
use std::fs::Permissions;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

const PATIENCE: Duration = Duration::from_secs(30);

/// One report as it came.
#[derive(Debug, Clone)]
struct Report {
    at: Instant,
    head: String,
    body: Value,
}

/// A backend that takes every report, while it is there.
struct Backend {
    address: SocketAddr,
    reports: Arc<Mutex<Vec<Report>>>,
    serving: JoinSet<()>,
    /// What it proves itself with, when it speaks HTTPS.
    tls: Option<TlsAcceptor>,
}

impl Backend {
    async fn start() -> Self {
        Self::start_with(None).await
    }

    async fn start_with(tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let mut backend = Self { address, reports: Arc::default(), serving: JoinSet::new(), tls };
        backend.serve(listener);
        backend
    }

    fn serve(&mut self, listener: TcpListener) {
        let (reports, tls) = (Arc::clone(&self.reports), self.tls.clone());
        self.serving.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let report = match &tls {
                    None => take(stream).await,
                    Some(tls) => match tls.accept(stream).await {
                        Ok(stream) => take(stream).await,
                        Err(_) => None,
                    },
                };
                reports.lock().expect("reports").extend(report);
            }
        });
    }

    async fn away(&mut self) {
        self.serving.shutdown().await;
    }

    async fn back(&mut self) {
        let listener = TcpListener::bind(self.address).await.expect("the same port");
        self.serve(listener);
    }

    /// The first report that says so.
    async fn hears(&self, what: &str, says: impl Fn(&Value) -> bool) -> Report {
        eventually(what, PATIENCE, || async {
            let reports = self.reports.lock().expect("reports").clone();
            let last = reports.last().map(|report| report.body.to_string()).unwrap_or_default();
            reports.into_iter().find(|report| says(&report.body)).ok_or(last)
        })
        .await
    }

    fn forget(&self) {
        self.reports.lock().expect("reports").clear();
    }
}

/// Reads one request and answers 204. None for a connection without one.
async fn take(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> Option<Report> {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes);
        if let Some((head, body)) = text.split_once("\r\n\r\n")
            && let Ok(body) = serde_json::from_str(body)
        {
            let report = Report { at: Instant::now(), head: head.to_lowercase(), body };
            stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.ok()?;
            stream.shutdown().await.ok()?;
            return Some(report);
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
}

fn status_of<'a>(report: &'a Value, name: &str) -> &'a Value {
    let tools = report["tool_statuses"].as_array().expect("tool_statuses");
    tools.iter().find(|tool| tool["instance_name_on_toolbox"] == name).unwrap_or(&Value::Null)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_hears_of_every_change_and_again_when_it_was_away() {
    let mut backend = Backend::start().await;
    let dir = tempfile::tempdir().expect("a directory");
    let token = dir.path().join("token");
    std::fs::write(&token, "for-the-backend\n").expect("the token");
    std::fs::set_permissions(&token, Permissions::from_mode(0o600)).expect("its mode");
    let url = format!("http://{}/functions/v1", backend.address);
    let toolbox = Toolbox::start_with(|launch| {
        let path = token.display().to_string();
        launch.args = ["--backend-url", &url, "--backend-token-file", &path].map(str::to_owned).to_vec();
    });
    let (web, time, rest) = (toolbox.named("web"), toolbox.named("time"), toolbox.rest());
    let first = backend.hears("a first report", |_| true).await;
    assert!(first.head.starts_with("post /functions/v1/heartbeat "), "{}", first.head);
    assert!(first.head.contains("authorization: bearer for-the-backend"), "{}", first.head);
    assert!(first.body["system_status"]["memory"]["total_bytes"].as_u64() > Some(0), "{}", first.body);
    assert_eq!((&first.body["tool_statuses"], first.body["dtma_version"].is_string()), (&json!([]), true));

    let id = format!("id-{web}");
    let tool = json!({"dockerImageUrl": "dtma/busybox:dev", "instanceNameOnToolbox": web,
        "accountToolInstanceId": id, "baseConfigOverrideJson": {"Cmd": ["sleep", "3600"]}});
    let made = rest.post("/tools", &tool).await.expect(201);
    let mcp = json!({"dockerImageUrl": "dtma/mcp-server-time:dev", "instanceNameOnToolbox": time,
        "accountToolInstanceId": format!("id-{time}"), "mcpServerType": "mcp_server"});
    rest.post("/tools", &mcp).await.expect(201);
    let both = |report: &Value| {
        status_of(report, &web)["status_on_toolbox"] == "running"
            && status_of(report, &time)["status_on_toolbox"] == "active"
    };
    let report = backend.hears("both run", both).await.body;
    let (tool, mcp) = (status_of(&report, &web), status_of(&report, &time));
    assert_eq!(tool["account_tool_instance_id"], id);
    let details = &tool["runtime_details"];
    assert_eq!(details["container_id"], made.json["data"]["container_id"]);
    assert_eq!(
        (&details["image"], &details["state_details"]["Running"]),
        (&json!("dtma/busybox:dev"), &json!(true))
    );
    assert!(details["started_at"].is_string() && details.get("mcp").is_none(), "{details}");
    assert_eq!(mcp["runtime_details"]["mcp"]["transport"], "stdio", "{mcp}");

    rest.send(Method::POST, &format!("/tools/{web}/stop"), "").await.expect(200);
    let stopped = Instant::now();
    let report =
        backend.hears("it stopped", |report| status_of(report, &web)["status_on_toolbox"] == "stopped").await;
    let late = report.at.saturating_duration_since(stopped);
    assert!(late < Duration::from_secs(1), "told {late:?} after the answer");

    backend.away().await;
    backend.forget();
    rest.send(Method::POST, &format!("/tools/{web}/start"), "").await.expect(200);
    let beats = || async { toolbox.get("/status").await.expect(200).json["data"]["heartbeat"].clone() };
    let failing = eventually("the daemon tells that it is not heard", PATIENCE, || async {
        let seen = beats().await;
        if seen["consecutive_failures"].as_u64() > Some(0) { Ok(seen) } else { Err(seen.to_string()) }
    })
    .await;
    let said = failing["last_error"].as_str().unwrap_or_default();
    assert!(said.contains("Connection refused"), "{failing}");
    let metrics = toolbox.get("/metrics").await.expect(200).text;
    assert!(metrics.contains("dtma_heartbeats_total{outcome=\"failed\"} "), "{metrics}");
    backend.back().await;
    backend.hears("the start while it was away", both).await;
    let well = eventually("the daemon knows it is heard", PATIENCE, || async {
        let seen = beats().await;
        if seen["consecutive_failures"] == 0 { Ok(seen) } else { Err(seen.to_string()) }
    })
    .await;
    assert!(well["last_success"].is_string() && well.get("last_error").is_none(), "{well}");
}

fn acceptor(files: &Files) -> TlsAcceptor {
    let chain = CertificateDer::pem_file_iter(&files.certificate).expect("a certificate");
    let chain = chain.collect::<Result<Vec<_>, _>>().expect("PEM");
    let key = PrivateKeyDer::from_pem_file(&files.key).expect("a key");
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let config = config.with_safe_default_protocol_versions().expect("versions").with_no_client_auth();
    TlsAcceptor::from(Arc::new(config.with_single_cert(chain, key).expect("a key that fits")))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_over_https_is_believed_when_the_given_authority_says_who_it_is() {
    let dir = tempfile::tempdir().expect("a directory");
    let (ours, theirs) = (Authority::default(), Authority::default());
    let backend = Backend::start_with(Some(acceptor(&ours.sign(dir.path(), "backend", "127.0.0.1")))).await;
    let url = format!("https://{}", backend.address);
    let told_by = |authority: &Authority, name: &str| {
        let ca = authority.file(dir.path().join(name)).display().to_string();
        Toolbox::start_with(|launch| {
            launch.args = ["--backend-url", &url, "--backend-ca-file", &ca].map(str::to_owned).to_vec();
        })
    };
    let stranger = told_by(&theirs, "theirs.pem");
    let said = eventually("the backend is not believed", PATIENCE, || async {
        let seen = stranger.get("/status").await.expect(200).json["data"]["heartbeat"].clone();
        seen["last_error"].as_str().map(str::to_owned).ok_or_else(|| seen.to_string())
    })
    .await;
    assert!(said.contains("certificate"), "{said}");
    assert_eq!(backend.reports.lock().expect("reports").len(), 0, "nothing is told to a stranger");

    let toolbox = told_by(&ours, "ours.pem");
    let report = backend.hears("a report", |_| true).await;
    assert!(report.head.starts_with("post /heartbeat "), "{}", report.head);
    eventually("the daemon knows it is heard", PATIENCE, || async {
        let seen = toolbox.get("/status").await.expect(200).json["data"]["heartbeat"].clone();
        if seen["last_success"].is_string() { Ok(()) } else { Err(seen.to_string()) }
    })
    .await;
}

#[test]
fn a_backend_beyond_loopback_in_clear_is_refused_at_the_start() {
    let mut daemon = Command::new(binaries::daemon());
    daemon.env_clear().env("AGENTOPIA_API_BASE_URL", "http://192.0.2.1/api").args(["--config", "/dev/null"]);
    let ended = daemon.output().expect("the daemon");
    let said = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(2), "{said}");
    assert!(
        said.starts_with("error: env AGENTOPIA_API_BASE_URL: \"http://192.0.2.1/api\": the token would"),
        "{said}"
    );
}
