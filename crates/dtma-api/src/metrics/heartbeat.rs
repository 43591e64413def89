//! How the reports to the backend fare, at the moment somebody asks.

use crate::app::HeartbeatProbe;
use dtma_core::Timestamp;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use std::fmt;

pub(super) struct Heartbeat {
    probe: HeartbeatProbe,
}

impl Heartbeat {
    pub(super) fn new(probe: HeartbeatProbe) -> Self {
        Self { probe }
    }
}

impl fmt::Debug for Heartbeat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Heartbeat").finish_non_exhaustive()
    }
}

impl Collector for Heartbeat {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let view = (self.probe)();
        let kind = ConstCounter::new(0_u64).metric_type();
        let mut sent = encoder.encode_descriptor("heartbeats", "Reports to the backend", None, kind)?;
        for (outcome, count) in [("taken", view.successes), ("failed", view.failures)] {
            ConstCounter::new(count).encode(sent.encode_family(&[("outcome", outcome)])?)?;
        }
        let help = "Reports that failed since the last that was taken";
        gauge(&mut encoder, "heartbeat_consecutive_failures", help, view.consecutive_failures)?;
        let last: Option<Timestamp> = view.last_success.and_then(|at| at.parse().ok());
        let seconds = last.and_then(|at| u64::try_from(at.as_second()).ok()).unwrap_or(0);
        let help = "When the backend last took a report, in seconds since 1970; 0 when it never did";
        gauge(&mut encoder, "heartbeat_last_success_timestamp_seconds", help, seconds)
    }
}

fn gauge(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: u64) -> fmt::Result {
    let gauge = ConstGauge::new(value);
    gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)
}
