//! The collector: how what is exported gets there. It is asked from the exporter's own thread, which waits for the answer.

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use opentelemetry_http::{HttpClient, HttpError};
use rustls::{ClientConfig, RootCertStore};
use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

/// Bytes of an answer that are read.
const ANSWER: usize = 64 << 10;

/// Takes what is exported.
pub(super) struct Collector {
    /// For this alone: it is driven by the exporter's thread while that waits for an answer.
    runtime: Runtime,
    /// One delivery takes no longer.
    deadline: Duration,
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    /// The last delivery failed, and that was logged.
    failing: AtomicBool,
}

impl fmt::Debug for Collector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Collector")
    }
}

impl Collector {
    /// Believes whom this machine believes.
    ///
    /// # Errors
    /// TLS cannot be used, or the machine has nothing left to wait with.
    pub(super) fn new(deadline: Duration) -> anyhow::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls.with_root_certificates(roots).with_no_client_auth())
            .https_or_http()
            .enable_http1()
            .wrap_connector(http);
        // A connection that idles between two deliveries is closed by whatever stands between.
        let client = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector);
        Ok(Self { runtime, deadline, client, failing: AtomicBool::new(false) })
    }

    async fn exchange(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let response = self.client.request(request.map(Full::new)).await?;
        let (head, body) = response.into_parts();
        Ok(Response::from_parts(head, Limited::new(body, ANSWER).collect().await?.to_bytes()))
    }

    /// Logs what changed.
    fn note(&self, problem: Option<&str>) {
        match (problem, self.failing.swap(problem.is_some(), Ordering::Relaxed)) {
            (Some(problem), false) => tracing::warn!(problem, "spans cannot be delivered to the collector"),
            (None, true) => tracing::info!("spans are delivered to the collector again"),
            (Some(_), true) | (None, false) => {}
        }
    }
}

/// With its causes.
fn told(error: &(dyn Error + 'static)) -> String {
    anyhow::Chain::new(error).map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

#[async_trait]
impl HttpClient for Collector {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let answer = self.runtime.block_on(async { timeout(self.deadline, self.exchange(request)).await });
        let answer = answer.unwrap_or_else(|_| Err(format!("no answer within {:?}", self.deadline).into()));
        match &answer {
            Ok(response) if response.status().is_success() => self.note(None),
            Ok(response) => self.note(Some(&format!("it answered {}", response.status()))),
            Err(error) => self.note(Some(&told(&**error))),
        }
        answer
    }
}
