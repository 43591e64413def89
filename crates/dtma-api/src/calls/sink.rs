//! Whoever else wants to hear of every call that is over.

use dtma_api_types::AuditOutcome;
use dtma_core::Timestamp;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::time::Duration;

/// Makes spans of calls. It hears of them on the thread that writes them down: whoever takes long delays their lines and
/// nobody's call.
pub trait CallSink: Send {
    /// A request of an agent's is over.
    fn over(&mut self, call: &CallOver<'_>);

    /// Counts what becomes of the spans.
    fn spans(&self) -> SpanCounts;
}

/// What is known of a request that is over. Its texts are as long as its client liked.
#[derive(Debug, Clone)]
pub struct CallOver<'a> {
    /// The request's id, in JSON.
    pub id: &'a str,
    /// Of MCP.
    pub method: &'a str,
    /// The tool or prompt by name, the resource by address; empty: none.
    pub about: &'a str,
    /// The server; `None`: all of a group.
    pub server: Option<&'a str>,
    /// The group that was asked as one.
    pub group: Option<&'a str>,
    /// The door: `http`, `sse`, `websocket`.
    pub door: &'static str,
    /// The version of MCP, where the message says it; `None`: its client shook hands.
    pub version: Option<&'a str>,
    /// The token's name.
    pub agent: &'a str,
    /// When it was over.
    pub at: Timestamp,
    /// Since it came.
    pub took: Duration,
    /// How it ended.
    pub outcome: AuditOutcome,
    /// Why, where it did not end well.
    pub code: Option<&'a str>,
    /// The trace that it is part of (W3C Trace Context), as the message has it.
    pub trace_parent: Option<&'a str>,
    /// What else is said of that trace.
    pub trace_state: Option<&'a str>,
}

/// What became of a span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpanFate {
    /// A collector has it.
    Delivered,
    /// No collector took it.
    Failed,
    /// Too many others waited.
    Dropped,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    outcome: &'static str,
}

impl From<SpanFate> for Labels {
    fn from(fate: SpanFate) -> Self {
        let outcome = match fate {
            SpanFate::Delivered => "delivered",
            SpanFate::Failed => "failed",
            SpanFate::Dropped => "dropped",
        };
        Self { outcome }
    }
}

/// How many spans had which fate since the start; shown with the metrics. Cheap to clone, and a clone counts the same.
#[derive(Debug, Clone)]
pub struct SpanCounts(Family<Labels, Counter>);

impl Default for SpanCounts {
    fn default() -> Self {
        let counts = Self(Family::default());
        // So that there is something to look at before there is a span.
        for fate in [SpanFate::Delivered, SpanFate::Failed, SpanFate::Dropped] {
            counts.add(fate, 0);
        }
        counts
    }
}

impl SpanCounts {
    /// This many more had it.
    pub fn add(&self, fate: SpanFate, spans: usize) {
        self.0.get_or_create(&fate.into()).inc_by(spans as u64);
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register("otel_spans", "Spans of agents' calls, by what became of them", self.0.clone());
    }
}

/// What a request says of itself beside its parameters.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Meta<'a> {
    #[serde(borrow)]
    pub(super) traceparent: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(super) tracestate: Option<Cow<'a, str>>,
    #[serde(borrow, rename = "io.modelcontextprotocol/protocolVersion")]
    pub(super) version: Option<Cow<'a, str>>,
}

impl<'a> Meta<'a> {
    pub(super) fn read(raw: Option<&'a RawValue>) -> Self {
        raw.and_then(|raw| serde_json::from_str(raw.get()).ok()).unwrap_or_default()
    }
}
