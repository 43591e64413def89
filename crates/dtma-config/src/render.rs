//! Template, spec and overrides become one container configuration. Decides nothing about what is allowed: only
//! what was found free of violations gets here.

use crate::place::Place;
use crate::policy::Policy;
use crate::template::TemplateValues;
use crate::told::{connects, suggested, told};
use crate::wanted::Wanted;
use dtma_core::container::{ContainerConfig, ContainerMount, Isolation, Limits, LogDriver};
use dtma_core::id::{OwnerId, volume_name};
use dtma_core::spec::{GroupSpec, Mount, MountSource, NetworkMode, Resources, ServerSpec};
use std::collections::BTreeMap;

/// What a server is rendered from.
pub(crate) struct Ingredients<'a> {
    pub(crate) group: &'a GroupSpec,
    pub(crate) wanted: &'a Wanted,
    pub(crate) template: &'a TemplateValues,
    pub(crate) policy: &'a Policy,
    pub(crate) owner: &'a OwnerId,
    pub(crate) place: Place,
}

impl Ingredients<'_> {
    /// The configuration.
    pub(crate) fn config(&self) -> ContainerConfig {
        let server = self.server();
        ContainerConfig {
            image: server.image.clone(),
            platform: server.platform.clone(),
            pull: server.pull,
            command: server.command.clone(),
            args: server.args.clone(),
            environment: environment(server),
            labels: self.labels(),
            mounts: self.mounts(),
            network: network(self.group, server, self.place),
            limits: self.wanted.tighten_limits(limits(self.template, self.policy, &server.resources)),
            isolation: self.isolation(),
            open_stdin: server.kind.is_stdio(),
            log: self.log(),
            stop_grace: server.stop_grace,
            shim: self.shim(),
            egress: server.egress.clone(),
            connects: connects(server),
        }
    }

    fn server(&self) -> &ServerSpec {
        &self.wanted.spec
    }

    fn shim(&self) -> bool {
        self.place.gives_shim(self.server())
    }

    /// A shim is an init of its own.
    fn isolation(&self) -> Isolation {
        let isolation = self.wanted.tighten_isolation(self.template.isolation());
        Isolation { init: isolation.init && !self.shim(), ..isolation }
    }

    /// The server's labels win over the group's.
    fn labels(&self) -> BTreeMap<String, String> {
        let mut labels = self.group.labels.clone();
        labels.extend(self.server().labels.clone());
        labels
    }

    /// The template's tmpfs, each unless the server mounts something in its place, then the server's own.
    fn mounts(&self) -> Vec<ContainerMount> {
        let taken = |target: &str| self.server().mounts.iter().any(|mount| mount.target == target);
        let template = self.template.tmpfs.iter().filter(|tmpfs| !taken(&tmpfs.target)).map(|tmpfs| {
            let size = tmpfs.size.min(self.policy.memory);
            ContainerMount::Tmpfs { target: tmpfs.target.clone(), size, exec: false }
        });
        template.chain(self.server().mounts.iter().filter_map(|mount| self.mount(mount))).collect()
    }

    fn mount(&self, mount: &Mount) -> Option<ContainerMount> {
        let (target, read_only) = (mount.target.clone(), mount.read_only);
        match &mount.source {
            MountSource::Volume(volume) => {
                let name = volume_name(self.owner, &self.group.group_id, volume);
                Some(ContainerMount::Volume { name, target, read_only })
            }
            MountSource::Tmpfs { size } => Some(ContainerMount::Tmpfs { target, size: *size, exec: false }),
            // Refused by validation; a configuration cannot even name a path of the host.
            MountSource::Bind(_) => None,
        }
    }

    /// Every MCP message passes over a stdio server's output, so no driver that writes to a disk may see it. A shim keeps
    /// what its server says itself.
    fn log(&self) -> LogDriver {
        if self.server().kind.is_stdio() || self.shim() {
            return LogDriver::None;
        }
        LogDriver::Bounded { max_size: self.template.log_max_size, max_files: self.template.log_max_files }
    }
}

/// The network a server joins: none, unless it says so, or could not be reached otherwise.
pub(crate) fn network(group: &GroupSpec, server: &ServerSpec, place: Place) -> NetworkMode {
    let needs_one = !server.kind.is_stdio() && !place.gives_shim(server);
    let by_kind = match needs_one && group.options.shared_networking {
        true => NetworkMode::Group,
        false => NetworkMode::None,
    };
    server.network.unwrap_or(by_kind)
}

/// What the server asks for, else the template's value, trimmed where an operator allows less than the template
/// has: nobody asked for that much, so nobody needs to be refused.
pub(crate) fn limits(template: &TemplateValues, policy: &Policy, asked: &Resources) -> Limits {
    Limits {
        memory: asked.memory.unwrap_or(template.memory.min(policy.memory)),
        cpu_millis: asked.cpu_millis.unwrap_or(template.cpu_millis.min(policy.cpu_millis)),
        pids: asked.pids.unwrap_or(template.pids.min(policy.pids)),
        ..template.limits()
    }
}

fn environment(server: &ServerSpec) -> BTreeMap<String, String> {
    let mut environment: BTreeMap<_, _> = suggested(server).map(owned).collect();
    environment.extend(server.environment.clone());
    environment.extend(told(server));
    environment
}

fn owned((name, value): (&str, &str)) -> (String, String) {
    (name.to_owned(), value.to_owned())
}
