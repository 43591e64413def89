//! What every [`Meter`] does.

use async_trait::async_trait;
use dtma_core::container::Limits;
use dtma_core::id::ContainerId;
use dtma_core::port::meter::{Meter, Usage};

/// A meter, and one container for it to read.
#[async_trait]
pub trait MeterHarness: Send + Sync {
    /// The meter.
    fn meter(&self) -> &dyn Meter;
    /// A container that runs within these limits.
    async fn running(&self, limits: Limits) -> ContainerId;
    /// Has it use CPU time, a tenth of a second of it or more, and returns when it has.
    async fn work(&self, container: &ContainerId);
    /// Ends it, and returns when its process is gone.
    async fn end(&self, container: &ContainerId);
    /// Removes what was made.
    async fn leave(self);
}

/// Lists every case of [`suite::meter`](crate::suite::meter) as a `#[tokio::test]`. The argument is an expression
/// that makes a [`MeterHarness`]; it may await.
#[macro_export]
macro_rules! meter_suite {
    ($harness:expr) => {
        $crate::__cases! { meter, $harness, ();
            a_container_that_runs_is_read_within_its_limits
            cpu_time_grows_with_work
            a_container_that_ended_is_not_read
            what_is_no_container_is_not_read
        }
    };
}

/// Odd enough that nobody has them by chance.
const LIMITS: Limits = Limits {
    memory: 48 * 1024 * 1024,
    cpu_millis: 700,
    pids: 57,
    nofile_soft: 1024,
    nofile_hard: 1024,
    oom_score_adj: 500,
};

fn used(harness: &impl MeterHarness, container: &ContainerId) -> Usage {
    harness.meter().read(container).expect("it runs here")
}

/// Nothing of it is unknown, and the limits are the container's own.
pub async fn a_container_that_runs_is_read_within_its_limits(harness: impl MeterHarness) {
    let container = harness.running(LIMITS).await;
    let usage = used(&harness, &container);
    assert_eq!(usage.memory_limit, Some(LIMITS.memory));
    assert_eq!(usage.cpu_limit_millis, Some(u64::from(LIMITS.cpu_millis)));
    assert_eq!(usage.pids_limit, Some(u64::from(LIMITS.pids)));
    let memory = usage.memory.expect("its memory is known");
    assert!((1..=LIMITS.memory).contains(&memory), "{memory} bytes");
    let pids = usage.pids.expect("its processes are known");
    assert!((1..=u64::from(LIMITS.pids)).contains(&pids), "{pids} processes");
    assert!(usage.cpu_micros.is_some(), "{usage:?}");
    harness.leave().await;
}

/// By no less than was worked, in microseconds: another unit would be found out.
pub async fn cpu_time_grows_with_work(harness: impl MeterHarness) {
    let container = harness.running(LIMITS).await;
    let before = used(&harness, &container).cpu_micros.expect("known");
    harness.work(&container).await;
    let grown = used(&harness, &container).cpu_micros.expect("known") - before;
    assert!((100_000..60_000_000).contains(&grown), "{grown} µs");
    harness.leave().await;
}

/// Neither as it was nor as zeros.
pub async fn a_container_that_ended_is_not_read(harness: impl MeterHarness) {
    let container = harness.running(LIMITS).await;
    assert!(harness.meter().read(&container).is_some());
    harness.end(&container).await;
    assert_eq!(harness.meter().read(&container), None);
    harness.leave().await;
}

/// Whatever it is called.
pub async fn what_is_no_container_is_not_read(harness: impl MeterHarness) {
    for id in ["0123456789abcdef", "../../etc", "docker", "*"] {
        assert_eq!(harness.meter().read(&ContainerId::from(id.to_owned())), None, "{id}");
    }
    harness.leave().await;
}
