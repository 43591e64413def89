//! How long calls took, from the last byte of the question to the last of the answer, as Prometheus wants to know it.

use super::call::Call;
use dtma_api_types::AuditOutcome;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// Seconds. The gateway itself takes about a tenth of the first ones; what is beyond the last had better be a task.
const BUCKETS: [f64; 12] = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.01, 0.05, 0.25, 1.0, 5.0, 30.0, 300.0];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    instance: String,
    outcome: &'static str,
}

/// By server and outcome.
#[derive(Debug, Clone)]
pub(super) struct Seconds(Family<Labels, Histogram, fn() -> Histogram>);

impl Default for Seconds {
    fn default() -> Self {
        Self(Family::new_with_constructor(|| Histogram::new(BUCKETS)))
    }
}

impl Seconds {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register("gateway_call_seconds", "How long agents' calls took, by outcome", self.0.clone());
    }

    pub(super) fn observe(&self, call: &Call, outcome: AuditOutcome) {
        let labels = Labels { instance: call.target.to_string(), outcome: outcome.as_str() };
        self.0.get_or_create(&labels).observe(call.took.as_secs_f64());
    }
}
