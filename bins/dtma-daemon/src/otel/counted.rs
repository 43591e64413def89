//! What becomes of spans: how many wait between the calls and the collector, and how many get there. The queue between has
//! room for so many and drops the rest without a word, so the words are said here.

use dtma_api::{SpanCounts, SpanFate};
use opentelemetry::Context;
use opentelemetry_otlp::SpanExporter;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, Span, SpanData, SpanExporter as Export, SpanProcessor,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

#[derive(Debug)]
struct Tally {
    waiting: AtomicUsize,
    /// How many may wait.
    room: usize,
    counts: SpanCounts,
}

/// The end of a queue of spans that the calls see.
#[derive(Debug)]
pub(super) struct Queue {
    tally: Arc<Tally>,
    batches: BatchSpanProcessor,
}

/// The other end.
#[derive(Debug)]
struct Exit {
    tally: Arc<Tally>,
    exporter: SpanExporter,
}

impl Queue {
    /// A queue with room for so many that `exporter` empties, on a thread of its own.
    pub(super) fn new(exporter: SpanExporter, room: usize, counts: SpanCounts) -> Self {
        let tally = Arc::new(Tally { waiting: AtomicUsize::new(0), room, counts });
        let config = BatchConfigBuilder::default().with_max_queue_size(room).build();
        let exit = Exit { tally: Arc::clone(&tally), exporter };
        Self { tally, batches: BatchSpanProcessor::builder(exit).with_batch_config(config).build() }
    }
}

impl SpanProcessor for Queue {
    fn on_start(&self, span: &mut Span, context: &Context) {
        self.batches.on_start(span, context);
    }

    fn on_end(&self, span: SpanData) {
        let Tally { waiting, room, counts } = &*self.tally;
        let one_more = |now| (now < *room).then_some(now + 1);
        match waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more) {
            Ok(_) => self.batches.on_end(span),
            Err(_) => counts.add(SpanFate::Dropped, 1),
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.batches.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.batches.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.batches.set_resource(resource);
    }
}

impl Export for Exit {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        self.tally.waiting.fetch_sub(spans, Ordering::Relaxed);
        let exported = self.exporter.export(batch).await;
        self.tally.counts.add(if exported.is_ok() { SpanFate::Delivered } else { SpanFate::Failed }, spans);
        exported
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}
