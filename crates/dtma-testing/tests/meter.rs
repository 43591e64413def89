//! The meter's suite over the scripted meter.

use async_trait::async_trait;
use dtma_core::container::Limits;
use dtma_core::id::ContainerId;
use dtma_core::port::meter::{Meter, Usage};
use dtma_testing::suite::meter::MeterHarness;
use dtma_testing::{FakeMeter, FakeMeterRemote};

struct Scripted(FakeMeter, FakeMeterRemote);

#[async_trait]
impl MeterHarness for Scripted {
    fn meter(&self) -> &dyn Meter {
        &self.0
    }
    async fn running(&self, limits: Limits) -> ContainerId {
        let id = ContainerId::from("busy".to_owned());
        let usage = Usage {
            cpu_micros: Some(1_500),
            cpu_limit_millis: Some(limits.cpu_millis.into()),
            memory: Some(4096),
            memory_limit: Some(limits.memory),
            pids: Some(1),
            pids_limit: Some(limits.pids.into()),
        };
        self.1.run(&id, usage);
        id
    }
    async fn work(&self, container: &ContainerId) {
        self.1.work(container, 100_000);
    }
    async fn end(&self, container: &ContainerId) {
        self.1.end(container);
    }
    async fn leave(self) {}
}

fn scripted() -> Scripted {
    let (meter, remote) = FakeMeter::new();
    Scripted(meter, remote)
}

dtma_testing::meter_suite!(scripted());
