//! What an operator allows. A request moves inside these ceilings; what lies outside is refused, never trimmed.

use dtma_core::egress::{Ceiling, Cidr};
use serde::{Deserialize, Serialize};

/// Bytes in a mebibyte.
pub(crate) const MIB: u64 = 1024 * 1024;

/// An operator's ceilings. The default is what holds without a policy file: 2 GiB, 2 CPU, 512 pids for each
/// server, no path of the host can be mounted (there is no field to allow one), and a server may reach any public host
/// that it names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
    /// What servers may name as `egress`: what these rules cover, nothing when there are none. Left out: any host by its
    /// name, but not every host at once (`*:443`).
    pub egress: Ceiling,
    /// Addresses that are not public and may be reached nevertheless, when a server's `egress` names a host there.
    pub egress_ranges: Vec<Cidr>,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            memory: 2048 * MIB,
            cpu_millis: 2000,
            pids: 512,
            lowest_host_port: 1024,
            egress: Ceiling::Named,
            egress_ranges: Vec::new(),
        }
    }
}
