//! A [`Meter`] whose containers use what its remote control says.

use dtma_core::id::ContainerId;
use dtma_core::port::meter::{Meter, Usage};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

type Containers = Arc<Mutex<HashMap<ContainerId, Usage>>>;

/// Knows the containers that its remote control runs.
#[derive(Debug)]
pub struct FakeMeter {
    containers: Containers,
}

/// Runs and ends the containers of a [`FakeMeter`].
#[derive(Debug, Clone)]
pub struct FakeMeterRemote {
    containers: Containers,
}

impl FakeMeter {
    /// A meter that knows no container yet, and its remote control.
    #[must_use]
    pub fn new() -> (Self, FakeMeterRemote) {
        let containers = Containers::default();
        (Self { containers: Arc::clone(&containers) }, FakeMeterRemote { containers })
    }
}

fn lock(containers: &Containers) -> MutexGuard<'_, HashMap<ContainerId, Usage>> {
    containers.lock().expect("no test panics while it holds the containers")
}

impl Meter for FakeMeter {
    fn read(&self, container: &ContainerId) -> Option<Usage> {
        lock(&self.containers).get(container).copied()
    }
}

impl FakeMeterRemote {
    /// From now on this container runs and uses so much.
    pub fn run(&self, container: &ContainerId, usage: Usage) {
        lock(&self.containers).insert(container.clone(), usage);
    }

    /// A running container has used so much more CPU time, in microseconds.
    pub fn work(&self, container: &ContainerId, micros: u64) {
        if let Some(usage) = lock(&self.containers).get_mut(container) {
            usage.cpu_micros = usage.cpu_micros.map(|used| used.saturating_add(micros));
        }
    }

    /// This container ends.
    pub fn end(&self, container: &ContainerId) {
        lock(&self.containers).remove(container);
    }
}
