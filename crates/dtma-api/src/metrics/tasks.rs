//! How many tasks the runtime has: what grows when somebody forgets one.

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::gauge::ConstGauge;
use std::fmt;
use tokio::runtime::Handle;

#[derive(Debug)]
pub(super) struct Tasks;

impl Collector for Tasks {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        // Outside a runtime there are none.
        let alive = Handle::try_current().map_or(0, |runtime| runtime.metrics().num_alive_tasks());
        let gauge = ConstGauge::new(u64::try_from(alive).unwrap_or(u64::MAX));
        let metric = encoder.encode_descriptor("tasks", "Tasks that are alive", None, gauge.metric_type())?;
        gauge.encode(metric)
    }
}
