//! The probe's suite over the scripted probe.

use async_trait::async_trait;
use dtma_core::port::probe::HealthProbe;
use dtma_testing::suite::probe::ProbeHarness;
use dtma_testing::{FakeProbe, FakeProbeRemote};
use std::net::SocketAddr;

struct Scripted(FakeProbe, FakeProbeRemote);

fn address(last: u8) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, last], 80))
}

#[async_trait]
impl ProbeHarness for Scripted {
    fn probe(&self) -> &dyn HealthProbe {
        &self.0
    }
    async fn listening(&self) -> SocketAddr {
        self.1.accept(address(1));
        address(1)
    }
    async fn closed(&self) -> SocketAddr {
        self.1.refuse(address(2), "connection refused");
        address(2)
    }
    async fn silent(&self) -> SocketAddr {
        self.1.silence(address(3));
        address(3)
    }
}

fn scripted() -> Scripted {
    let (probe, remote) = FakeProbe::new();
    Scripted(probe, remote)
}

dtma_testing::probe_suite!(scripted());
