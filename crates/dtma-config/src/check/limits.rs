//! Rules about memory, CPU and processes: enough to start, and not above the operator's ceilings.

use crate::policy::{MIB, Policy};
use crate::report::{Report, bytes};
use crate::rule;
use dtma_core::spec::Resources;

/// Docker refuses less.
pub(crate) const MIN_MEMORY: u64 = 6 * MIB;
/// Docker refuses less than a hundredth of a CPU.
pub(crate) const MIN_CPU_MILLIS: u32 = 10;
/// The init and the server itself.
pub(crate) const MIN_PIDS: u32 = 2;

pub(crate) fn resources(report: &mut Report, at: &str, asked: &Resources, policy: &Policy) {
    if let Some(asked) = asked.memory {
        memory(report, &format!("{at}/memory"), asked, policy);
    }
    if let Some(asked) = asked.cpu_millis {
        cpu(report, &format!("{at}/cpus"), asked, policy);
    }
    if let Some(asked) = asked.pids {
        pids(report, &format!("{at}/pids"), asked, policy);
    }
}

pub(crate) fn memory(report: &mut Report, at: &str, asked: u64, policy: &Policy) {
    range(report, at, (asked, MIN_MEMORY, policy.memory), bytes);
}

pub(crate) fn cpu(report: &mut Report, at: &str, asked: u32, policy: &Policy) {
    let range_of = (asked.into(), MIN_CPU_MILLIS.into(), policy.cpu_millis.into());
    range(report, at, range_of, |millis| format!("{}.{:03} CPU", millis / 1000, millis % 1000));
}

pub(crate) fn pids(report: &mut Report, at: &str, asked: u32, policy: &Policy) {
    range(report, at, (asked.into(), MIN_PIDS.into(), policy.pids.into()), |count| {
        format!("{count} processes")
    });
}

/// The size of a memory disk. It counts against the server's memory, so the ceiling is the same.
pub(crate) fn tmpfs(report: &mut Report, at: &str, asked: u64, policy: &Policy) {
    range(report, at, (asked, 4096, policy.memory), bytes);
}

fn range(report: &mut Report, at: &str, (asked, least, most): (u64, u64, u64), show: impl Fn(u64) -> String) {
    if asked < least {
        let message = format!("{} is less than the least that works, {}", show(asked), show(least));
        report.refuse(at, rule::RESOURCES_TOO_SMALL, message);
    }
    if asked > most {
        let message = format!("{} is more than the {} that policy allows a server", show(asked), show(most));
        report.refuse_with(
            at,
            rule::POLICY_CEILING,
            message,
            "ask for less, or ask the operator to allow more",
        );
    }
}
