//! A server with its overrides applied: what the rules that look at several fields judge, and what is rendered.

use crate::overrides::Patch;
use dtma_core::container::{Isolation, Limits};
use dtma_core::spec::{Mount, MountSource, NetworkMode, ServerSpec};

/// A server's spec after its overrides, and what only overrides can say.
#[derive(Debug)]
pub(crate) struct Wanted {
    /// The spec, overridden.
    pub(crate) spec: ServerSpec,
    /// Where each of `spec.mounts` was written.
    pub(crate) mount_pointers: Vec<String>,
    patch: Patch,
}

impl Wanted {
    /// Overrides win over the spec's own fields, name by name for environment and labels.
    pub(crate) fn new(at: &str, spec: &ServerSpec, patch: Patch) -> Self {
        let mut spec = spec.clone();
        let mount_pointers = (0..spec.mounts.len()).map(|index| format!("{at}/mounts/{index}/target"));
        let mount_pointers = mount_pointers.chain(patch.tmpfs.iter().map(|tmpfs| tmpfs.at.clone())).collect();
        spec.environment.extend(patch.environment.clone());
        spec.labels.extend(patch.labels.clone());
        spec.command = patch.command.clone().or(spec.command);
        spec.args = patch.args.clone().or(spec.args);
        spec.stop_grace = patch.stop_grace.unwrap_or(spec.stop_grace);
        spec.resources.memory = patch.resources.memory.or(spec.resources.memory);
        spec.resources.cpu_millis = patch.resources.cpu_millis.or(spec.resources.cpu_millis);
        spec.resources.pids = patch.resources.pids.or(spec.resources.pids);
        spec.network = patch.no_network.then_some(NetworkMode::None).or(spec.network);
        spec.mounts.extend(patch.tmpfs.iter().map(|tmpfs| Mount {
            target: tmpfs.target.clone(),
            source: MountSource::Tmpfs { size: tmpfs.size },
            read_only: false,
        }));
        Self { spec, mount_pointers, patch }
    }

    /// Limits that only overrides can tighten.
    pub(crate) fn tighten_limits(&self, limits: Limits) -> Limits {
        let (nofile_soft, nofile_hard) =
            self.patch.nofile.unwrap_or((limits.nofile_soft, limits.nofile_hard));
        let oom_score_adj = self.patch.oom_score_adj.unwrap_or(limits.oom_score_adj);
        Limits { nofile_soft, nofile_hard, oom_score_adj, ..limits }
    }

    /// Capabilities dropped besides the template's; all of them is all of them.
    pub(crate) fn tighten_isolation(&self, mut isolation: Isolation) -> Isolation {
        if !isolation.cap_drop.iter().any(|name| name == "ALL") {
            isolation.cap_drop.extend(self.patch.cap_drop.iter().cloned());
        }
        isolation
    }
}
