//! What Prometheus may know. Labels are bounded: declared routes instead of paths, names of deployed servers only.

mod fleet;
mod heartbeat;
mod tasks;

use crate::app::HeartbeatProbe;
use crate::calls::CallJournal;
use crate::egress::EgressJournal;
use crate::gateway::Target;
use dtma_manager::ManagerHandle;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use std::time::Duration;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    method: String,
    route: String,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabels {
    route: String,
}

/// How a message through the gateway was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
pub(crate) enum GatewayOutcome {
    /// A session was opened.
    Opened,
    /// A notification or a client's answer was taken.
    Accepted,
    /// One JSON answer.
    Answered,
    /// A stream.
    Streamed,
    /// A JSON-RPC error about the message itself.
    Refused,
    /// No such session.
    UnknownSession,
    /// The server was removed, or the daemon is ending.
    Closed,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct GatewayLabels {
    instance: String,
    outcome: GatewayOutcome,
}

/// A door whose sessions live as long as their stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
pub(crate) enum StreamDoor {
    /// HTTP+SSE.
    Sse,
    /// WebSocket.
    WebSocket,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DoorLabels {
    door: StreamDoor,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct InstanceLabels {
    instance: String,
}

/// Counts.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    seconds: Family<RouteLabels, Histogram>,
    gateway: Family<GatewayLabels, Counter>,
    closed: Family<InstanceLabels, Counter>,
    streams: Family<DoorLabels, Gauge>,
    connections: Gauge,
}

/// Seconds.
const BUCKETS: [f64; 10] = [0.0005, 0.001, 0.0025, 0.01, 0.05, 0.25, 1.0, 5.0, 30.0, 300.0];

impl Metrics {
    pub(crate) fn new(
        manager: ManagerHandle,
        egress: &EgressJournal,
        calls: &CallJournal,
        heartbeat: Option<HeartbeatProbe>,
    ) -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("dtma"),
            requests: Family::default(),
            seconds: Family::new_with_constructor(|| Histogram::new(BUCKETS)),
            gateway: Family::default(),
            closed: Family::default(),
            streams: Family::default(),
            connections: Gauge::default(),
        };
        metrics.register(manager);
        egress.register(&mut metrics.registry);
        calls.register(&mut metrics.registry);
        if let Some(probe) = heartbeat {
            metrics.registry.register_collector(Box::new(heartbeat::Heartbeat::new(probe)));
        }
        metrics
    }

    fn register(&mut self, manager: ManagerHandle) {
        let registry = &mut self.registry;
        registry.register("http_requests", "HTTP requests answered", self.requests.clone());
        registry.register("http_request_seconds", "Time until the head of the answer", self.seconds.clone());
        registry.register("gateway_messages", "MCP messages from clients, by answer", self.gateway.clone());
        registry.register(
            "gateway_sessions_closed",
            "MCP sessions ended by their client",
            self.closed.clone(),
        );
        let help = "Open streams of clients over HTTP+SSE and WebSocket";
        registry.register("gateway_streams", help, self.streams.clone());
        registry.register("http_connections", "Open connections", self.connections.clone());
        registry.register_collector(Box::new(tasks::Tasks));
        registry.register_collector(Box::new(fleet::Fleet::new(manager)));
    }

    pub(crate) fn request(&self, method: &http::Method, route: &str, status: u16, took: Duration) {
        let (method, route) = (method_label(method), route.to_owned());
        self.seconds.get_or_create(&RouteLabels { route: route.clone() }).observe(took.as_secs_f64());
        self.requests.get_or_create(&RequestLabels { method, route, status }).inc();
    }

    pub(crate) fn gateway(&self, target: &Target, outcome: GatewayOutcome) {
        self.gateway.get_or_create(&GatewayLabels { instance: target.to_string(), outcome }).inc();
    }

    pub(crate) fn session_closed(&self, target: &Target) {
        self.closed.get_or_create(&InstanceLabels { instance: target.to_string() }).inc();
    }

    pub(crate) fn stream_began(&self, door: StreamDoor) {
        self.streams.get_or_create(&DoorLabels { door }).inc();
    }

    pub(crate) fn stream_ended(&self, door: StreamDoor) {
        self.streams.get_or_create(&DoorLabels { door }).dec();
    }

    pub(crate) fn connections(&self) -> &Gauge {
        &self.connections
    }

    /// Everything in the text format.
    pub(crate) fn text(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

/// A client may make methods up; only the standard ones become labels.
fn method_label(method: &http::Method) -> String {
    let known = ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"];
    if known.contains(&method.as_str()) { method.to_string() } else { "other".into() }
}
