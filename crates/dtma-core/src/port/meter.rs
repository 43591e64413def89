//! What a container uses of the machine.

use crate::id::ContainerId;

/// What one container uses; what could not be read is absent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// CPU time since its start, in microseconds.
    pub cpu_micros: Option<u64>,
    /// CPU time it may use, in thousandths of a core.
    pub cpu_limit_millis: Option<u64>,
    /// Memory in bytes, without the page cache that could be dropped at once.
    pub memory: Option<u64>,
    /// Memory it may use, in bytes.
    pub memory_limit: Option<u64>,
    /// Processes and threads.
    pub pids: Option<u64>,
    /// Processes and threads it may have.
    pub pids_limit: Option<u64>,
}

/// Reads what containers of this machine use. Costs microseconds, so it is not asynchronous.
pub trait Meter: Send + Sync + 'static {
    /// What this container uses; `None` when it does not run here.
    fn read(&self, container: &ContainerId) -> Option<Usage>;
}
