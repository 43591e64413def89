//! What every [`HealthProbe`] does.

use async_trait::async_trait;
use dtma_core::port::probe::{HealthProbe, ProbeTarget};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::time::Instant;

/// A probe and the three kinds of address it can meet.
#[async_trait]
pub trait ProbeHarness: Send + Sync {
    /// The probe.
    fn probe(&self) -> &dyn HealthProbe;
    /// An address that accepts connections as long as the harness lives.
    async fn listening(&self) -> SocketAddr;
    /// An address of a machine that answers, where nobody listens.
    async fn closed(&self) -> SocketAddr;
    /// An address that neither accepts nor refuses.
    async fn silent(&self) -> SocketAddr;
}

/// Lists every case of [`suite::probe`](crate::suite::probe) as a `#[tokio::test]`. The argument is an expression
/// that makes a [`ProbeHarness`]; it may await.
#[macro_export]
macro_rules! probe_suite {
    ($harness:expr) => {
        $crate::__cases! { probe, $harness, ();
            a_port_that_listens_answers
            a_port_where_nobody_listens_is_refused_at_once
            a_port_that_says_nothing_is_given_up_in_time
        }
    };
}

const TIMEOUT: Duration = Duration::from_millis(500);

/// And does so every time.
pub async fn a_port_that_listens_answers(harness: impl ProbeHarness) {
    let target = ProbeTarget::Tcp(harness.listening().await);
    for _ in 0..3 {
        assert_eq!(harness.probe().probe(target, TIMEOUT).await, Ok(()));
    }
}

/// Waiting for the timeout would make a start slower than it is.
pub async fn a_port_where_nobody_listens_is_refused_at_once(harness: impl ProbeHarness) {
    let (target, began) = (ProbeTarget::Tcp(harness.closed().await), Instant::now());
    let problem = harness.probe().probe(target, TIMEOUT).await.expect_err("nobody listens");
    assert!(problem.contains("refused"), "{problem:?} should say that the connection was refused");
    assert!(began.elapsed() < TIMEOUT, "it took {:?}", began.elapsed());
}

/// Not much later than asked.
pub async fn a_port_that_says_nothing_is_given_up_in_time(harness: impl ProbeHarness) {
    let (target, began) = (ProbeTarget::Tcp(harness.silent().await), Instant::now());
    let problem = harness.probe().probe(target, TIMEOUT).await.expect_err("nothing answers");
    assert!(!problem.is_empty(), "a person wants to read why");
    assert!(began.elapsed() < TIMEOUT * 3, "it took {:?}", began.elapsed());
}
