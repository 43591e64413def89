//! What an operator allows. A request moves inside these ceilings; what lies outside is refused, never trimmed.

use serde::{Deserialize, Serialize};

/// Bytes in a mebibyte.
pub(crate) const MIB: u64 = 1024 * 1024;

/// An operator's ceilings. The default is what holds without a policy file: 2 GiB, 2 CPU, 512 pids for each
/// server, and no path of the host can be mounted (there is no field to allow one).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Policy {
    /// Most bytes of memory one server may have; also the largest tmpfs.
    pub memory: u64,
    /// Most thousandths of a CPU.
    pub cpu_millis: u32,
    /// Most processes and threads.
    pub pids: u32,
    /// The lowest host port that may be published; below it services of the machine itself live.
    pub lowest_host_port: u16,
}

impl Default for Policy {
    fn default() -> Self {
        Self { memory: 2048 * MIB, cpu_millis: 2000, pids: 512, lowest_host_port: 1024 }
    }
}
