//! One span for each call of an agent's, made when the call is over: the call itself knows nothing of it. What it is part of
//! is said by the client's trace context, which the message has. Names and attributes are those of OpenTelemetry's
//! conventions for MCP, and beside them our own.

use dtma_api::{CallOver, CallSink, SpanCounts};
use opentelemetry::propagation::{Extractor, TextMapPropagator};
use opentelemetry::trace::{Span, SpanKind, Status, Tracer};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::SdkTracer;
use std::time::SystemTime;

/// The longest text of a span, in characters: what waits for a collector must not be as big as clients like.
const LONGEST: usize = 256;
/// The longest `tracestate` that is passed on, in bytes (Trace Context, section 3.3.1.5).
const LONGEST_STATE: usize = 512;
/// What our own codes put before those of JSON-RPC.
const RPC_ERROR: &str = "rpc_error_";

/// Makes spans.
pub(super) struct Spans {
    tracer: SdkTracer,
    counts: SpanCounts,
    propagator: TraceContextPropagator,
}

impl Spans {
    pub(super) fn new(tracer: SdkTracer, counts: SpanCounts) -> Self {
        Self { tracer, counts, propagator: TraceContextPropagator::new() }
    }
}

impl CallSink for Spans {
    fn over(&mut self, call: &CallOver<'_>) {
        let parent = self.propagator.extract_with_context(&Context::new(), &Carrier(call));
        let end = SystemTime::from(call.at);
        let begin = end.checked_sub(call.took).unwrap_or(end);
        let span = self.tracer.span_builder(name(call)).with_kind(SpanKind::Server).with_start_time(begin);
        let mut span = span.with_attributes(attributes(call)).start_with_context(&self.tracer, &parent);
        if let Some(code) = call.code {
            span.set_status(Status::error(code.to_owned()));
        }
        span.end_with_timestamp(end);
    }

    fn spans(&self) -> SpanCounts {
        self.counts.clone()
    }
}

/// Addresses of resources are too many for names.
fn name(call: &CallOver<'_>) -> String {
    match call.method {
        "tools/call" | "prompts/get" => format!("{} {}", call.method, cut(call.about)),
        method => cut(method),
    }
}

fn attributes(call: &CallOver<'_>) -> Vec<KeyValue> {
    let about = match call.method {
        "tools/call" => Some("gen_ai.tool.name"),
        "prompts/get" => Some("gen_ai.prompt.name"),
        method if method.starts_with("resources/") && !call.about.is_empty() => Some("mcp.resource.uri"),
        _ => None,
    };
    let protocol = if call.door == "websocket" { "websocket" } else { "http" };
    let era = if call.version.is_some() { "stateless" } else { "handshake" };
    let id = serde_json::from_str::<String>(call.id).unwrap_or_else(|_| call.id.to_owned());
    let rpc_error = call.code.and_then(|code| code.strip_prefix(RPC_ERROR));
    let texts = [
        Some(("mcp.method.name", call.method)),
        about.map(|key| (key, call.about)),
        (call.method == "tools/call").then_some(("gen_ai.operation.name", "execute_tool")),
        call.version.map(|version| ("mcp.protocol.version", version)),
        Some(("jsonrpc.request.id", id.as_str())),
        rpc_error.or(call.code).map(|code| ("error.type", code)),
        rpc_error.map(|code| ("rpc.response.status_code", code)),
        Some(("network.transport", "tcp")),
        Some(("network.protocol.name", protocol)),
        call.server.map(|server| ("dtma.server", server)),
        call.group.map(|group| ("dtma.group", group)),
        Some(("dtma.door", call.door)),
        Some(("dtma.era", era)),
        Some(("dtma.agent", call.agent)),
        Some(("dtma.outcome", call.outcome.as_str())),
    ];
    texts.into_iter().flatten().map(|(key, text)| KeyValue::new(key, cut(text))).collect()
}

fn cut(text: &str) -> String {
    text.chars().take(LONGEST).collect()
}

/// A call as what carries a trace.
struct Carrier<'a>(&'a CallOver<'a>);

impl Extractor for Carrier<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        match key {
            "traceparent" => self.0.trace_parent,
            "tracestate" => self.0.trace_state.filter(|state| state.len() <= LONGEST_STATE),
            _ => None,
        }
    }

    fn keys(&self) -> Vec<&str> {
        vec!["traceparent", "tracestate"]
    }
}
