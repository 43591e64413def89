//! Connections to an engine: its unix socket, TCP in clear, TCP under TLS.
//!
//! Each request has a connection of its own: a call that is given up takes its connection with it, and an upgraded one
//! (attach) is nobody else's.

use crate::dialect::Pong;
use crate::raw;
use crate::tls::Tls;
use bollard::errors::Error;
use bollard::{BollardRequest, ClientVersion, Docker};
use bytes::Bytes;
use dtma_core::port::runtime::RuntimeError;
use http::Response;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{Connect, HttpConnector};
use hyper_util::rt::TokioExecutor;
use hyperlocal::UnixConnector;
use std::time::Duration;

const DEFAULT_HOST: &str = "unix:///var/run/docker.sock";
/// Deadlines are ours; the client's own must never come first.
const NEVER_SECONDS: u64 = 86_400;
/// A silent attachment to a machine that has vanished is noticed after some of these.
const KEEPALIVE: Duration = Duration::from_secs(15);
const KEEPALIVE_PROBES: u32 = 3;

/// Where the engine is.
#[derive(Debug)]
pub(crate) struct Transport {
    endpoint: String,
    tls: Option<Tls>,
}

impl Transport {
    pub(crate) fn new(host: Option<String>, tls: Option<Tls>) -> Result<Self, RuntimeError> {
        let endpoint = host.filter(|host| !host.is_empty()).unwrap_or_else(|| DEFAULT_HOST.to_owned());
        if !["unix://", "tcp://", "http://"].iter().any(|scheme| endpoint.starts_with(scheme)) {
            let problem = format!("{endpoint:?} is not supported: use unix:///path or tcp://host:port");
            return Err(RuntimeError::Refused { call: "connect", problem });
        }
        Ok(Self { endpoint, tls })
    }

    pub(crate) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    pub(crate) fn is_local(&self) -> bool {
        self.endpoint.starts_with("unix://")
    }

    /// A client that speaks this version.
    pub(crate) fn open(&self, version: &ClientVersion) -> Result<Docker, Error> {
        if let Some(path) = self.endpoint.strip_prefix("unix://") {
            return Docker::connect_with_unix(path, NEVER_SECONDS, version);
        }
        let (tcp, address) = (tcp_connector(), self.address());
        match &self.tls {
            None => over(tcp, &format!("http://{address}"), version),
            Some(tls) => over(https(tls, tcp), &format!("https://{address}"), version),
        }
    }

    /// Asks who is there.
    pub(crate) async fn ping(&self) -> Result<Pong, Error> {
        Ok(Pong::of(self.get("/_ping").await?.headers()))
    }

    /// The answer to a `GET`, as it comes.
    pub(crate) async fn get(&self, path: &str) -> Result<Response<Bytes>, Error> {
        if let Some(socket) = self.endpoint.strip_prefix("unix://") {
            return raw::get(UnixConnector, hyperlocal::Uri::new(socket, path).into()).await;
        }
        let (tcp, address) = (tcp_connector(), self.address());
        match &self.tls {
            None => raw::get(tcp, format!("http://{address}{path}").parse()?).await,
            Some(tls) => raw::get(https(tls, tcp), format!("https://{address}{path}").parse()?).await,
        }
    }

    /// Host and port.
    fn address(&self) -> &str {
        let address = self.endpoint.split_once("://").map_or("", |(_, address)| address);
        address.trim_end_matches('/')
    }
}

fn https(tls: &Tls, tcp: HttpConnector) -> HttpsConnector<HttpConnector> {
    let builder = HttpsConnectorBuilder::new().with_tls_config(tls.config()).https_only().enable_http1();
    builder.wrap_connector(tcp)
}

fn tcp_connector() -> HttpConnector {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_keepalive(Some(KEEPALIVE));
    tcp.set_keepalive_interval(Some(KEEPALIVE));
    tcp.set_keepalive_retries(Some(KEEPALIVE_PROBES));
    tcp
}

fn over<C>(connector: C, address: &str, version: &ClientVersion) -> Result<Docker, Error>
where
    C: Connect + Clone + Send + Sync + 'static,
{
    let client = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector);
    let send = move |request: BollardRequest| {
        let answer = client.request(request);
        async move { answer.await.map_err(Error::from) }
    };
    Docker::connect_with_custom_transport(send, Some(address), NEVER_SECONDS, version)
}
