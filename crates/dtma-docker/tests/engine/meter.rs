//! The meter's suite over the kernel's own files. It needs what the daemon needs for it: an engine on this machine.

use crate::harness::Harness;
use async_trait::async_trait;
use dtma_core::container::Limits;
use dtma_core::id::ContainerId;
use dtma_core::port::meter::Meter;
use dtma_core::port::runtime::{ContainerRuntime, ExecRequest};
use dtma_docker::CgroupMeter;
use dtma_testing::suite::meter::MeterHarness;
use std::time::Duration;

/// Uses some tenths of a second of CPU time, on whatever machine, and says so.
const WORK: &str = "i=0; while [ $i -lt 400000 ]; do i=$((i+1)); done; echo $i";

struct Cgroups {
    engine: Harness,
    meter: CgroupMeter,
}

impl Cgroups {
    async fn new() -> Self {
        Self { engine: Harness::new().await, meter: CgroupMeter::new("/sys/fs/cgroup") }
    }
}

#[async_trait]
impl MeterHarness for Cgroups {
    fn meter(&self) -> &dyn Meter {
        &self.meter
    }
    async fn running(&self, limits: Limits) -> ContainerId {
        let mut request = self.engine.request("busy", "trap 'exit 0' TERM; while :; do sleep 1; done").await;
        request.config.limits = limits;
        self.engine.start(&request).await
    }
    async fn work(&self, container: &ContainerId) {
        let request = ExecRequest {
            argv: ["sh", "-c", WORK].map(str::to_owned).into(),
            stdin: None,
            deadline: Duration::from_secs(30),
            environment: std::collections::BTreeMap::new(),
            output_limit: 1024,
        };
        let done = self.engine.engine().exec(container, &request).await.expect("exec");
        assert_eq!(String::from_utf8_lossy(&done.stdout), "400000\n");
    }
    async fn end(&self, container: &ContainerId) {
        self.engine.engine().stop(container, Duration::from_secs(5)).await.expect("stop");
        self.engine.exited(container).await;
    }
    async fn leave(self) {
        self.engine.leave().await;
    }
}

dtma_testing::meter_suite!(Cgroups::new().await);
