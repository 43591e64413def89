//! The export's life: as the standard's variables say, until the daemon ends.

use super::collector::Collector;
use super::counted::Queue;
use super::spans::Spans;
use super::{variables, wanted};
use anyhow::{Context, Result};
use dtma_api::{CallSink, SpanCounts};
use opentelemetry::trace::TracerProvider;
use opentelemetry::{Key, KeyValue};
use opentelemetry_otlp::{SpanExporter, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use std::time::Duration;

const NAME: &str = "dtma";
/// What a resource is called that nobody named, with more behind.
const UNNAMED: &str = "unknown_service";

/// Exports spans until it is finished.
pub(crate) struct Export {
    provider: SdkTracerProvider,
    counts: SpanCounts,
}

impl Export {
    /// As the standard's variables say; `None`: they name no collector.
    ///
    /// # Errors
    /// They say what cannot be done.
    pub(crate) fn begin() -> Result<Option<Self>> {
        let Some(variable) = wanted() else { return Ok(None) };
        let begun = Self::new().with_context(|| format!("{variable} is set, and no span can be exported"))?;
        tracing::info!(variable, "spans of calls go to a collector");
        Ok(Some(begun))
    }

    fn new() -> Result<Self> {
        let collector = Collector::new(variables::timeout())?;
        let exporter = SpanExporter::builder().with_http().with_http_client(collector).build()?;
        let counts = SpanCounts::default();
        let queue = Queue::new(exporter, variables::queue(), counts.clone());
        let provider =
            SdkTracerProvider::builder().with_span_processor(queue).with_resource(resource()).build();
        Ok(Self { provider, counts })
    }

    /// Makes the spans.
    pub(crate) fn sink(&self) -> Box<dyn CallSink> {
        Box::new(Spans::new(self.provider.tracer(NAME), self.counts.clone()))
    }

    /// Sends what is left, for so long.
    pub(crate) fn finish(self, patience: Duration) {
        if let Err(error) = self.provider.shutdown_with_timeout(patience) {
            tracing::warn!(%error, "the last spans may not have been delivered");
        }
    }
}

/// What the variables say of this daemon; its name where they say none.
fn resource() -> Resource {
    let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
    let said = Resource::builder().with_attribute(version.clone()).build();
    match said.get(&Key::new("service.name")) {
        Some(name) if !name.as_str().starts_with(UNNAMED) => said,
        _ => Resource::builder().with_attribute(version).with_service_name(NAME).build(),
    }
}
