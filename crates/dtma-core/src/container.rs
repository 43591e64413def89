//! A container as any engine could make it: the rendered, engine-neutral configuration and the request to create.
//!
//! What cannot be said here cannot be asked for: there is no field for privileges, devices, added capabilities,
//! host namespaces or ports published by the engine.

use crate::egress::EgressRule;
use crate::id::{ConfigHash, Generation, ImageId, ImageRef, InstanceName, NetworkId, SlotId};
use crate::platform::Platform;
use crate::shim::{self, ShimMount};
use crate::spec::{NetworkMode, PullPolicy};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// The user that runs a server whose image names none or root.
pub const FALLBACK_UID: u32 = 65_532;

/// A rendered container configuration. Its hash decides whether a running container is still the wanted one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ContainerConfig {
    /// The image as wanted.
    pub image: ImageRef,
    /// For which platform; `None`: the engine's own. Left out of what is hashed then, as before there was any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// When it is fetched.
    pub pull: PullPolicy,
    /// Replaces the image's entrypoint.
    pub command: Option<Vec<String>>,
    /// Replaces the image's command.
    pub args: Option<Vec<String>>,
    /// Plain environment.
    pub environment: BTreeMap<String, String>,
    /// Labels besides the reserved ones.
    pub labels: BTreeMap<String, String>,
    /// Volumes and tmpfs, the template's included.
    pub mounts: Vec<ContainerMount>,
    /// Its network.
    pub network: NetworkMode,
    /// Limits, all of them set.
    pub limits: Limits,
    /// How far it is kept from the rest of the machine.
    pub isolation: Isolation,
    /// Keep standard input open and attachable.
    pub open_stdin: bool,
    /// Where its output goes.
    pub log: LogDriver,
    /// Between SIGTERM and SIGKILL.
    pub stop_grace: Duration,
    /// Begun by the shim, which carries its streams. Left out of what is hashed when it is not, as before there was any.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub shim: bool,
    /// What it may reach outside, by the proxy at [`crate::egress::PROXY_PORT`]. Left out of what is hashed when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub egress: Vec<EgressRule>,
    /// Ports of its dependencies that it finds inside. Left out of what is hashed when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub connects: Vec<ContainerConnect>,
}

/// A dependency's port on 127.0.0.1 inside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerConnect {
    /// The dependency, a server of the same group.
    pub instance: InstanceName,
    /// Its port.
    pub port: u16,
    /// The port inside.
    pub local_port: u16,
}

/// A mount after rendering: no host path can be expressed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ContainerMount {
    /// A named volume, by the engine's name.
    Volume {
        /// The engine's name of the volume.
        name: String,
        /// Absolute path inside.
        target: String,
        /// No writes from inside.
        read_only: bool,
    },
    /// Memory.
    Tmpfs {
        /// Absolute path inside.
        target: String,
        /// Most bytes.
        size: u64,
        /// Files there may be executed.
        exec: bool,
    },
}

impl ContainerMount {
    /// Where it is mounted.
    #[must_use]
    pub fn target(&self) -> &str {
        match self {
            Self::Volume { target, .. } | Self::Tmpfs { target, .. } => target,
        }
    }
}

/// Resource limits. Swap always equals memory, so none is added.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Bytes.
    pub memory: u64,
    /// Thousandths of a CPU.
    pub cpu_millis: u32,
    /// Processes and threads.
    pub pids: u32,
    /// Soft limit of open files.
    pub nofile_soft: u64,
    /// Hard limit of open files.
    pub nofile_hard: u64,
    /// Who dies first when the machine runs out of memory (-1000..=1000).
    pub oom_score_adj: i32,
}

/// The parts of hardening that a template decides. Everything else of the profile is fixed in the adapter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Isolation {
    /// Root filesystem without writes.
    pub read_only_root: bool,
    /// Capabilities dropped, `ALL` in every template we ship; none can be added.
    pub cap_drop: Vec<String>,
    /// `execve` gains nothing.
    pub no_new_privileges: bool,
    /// A tiny init as PID 1 that forwards signals and reaps.
    pub init: bool,
}

/// Where a container's standard output and error go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogDriver {
    /// Nowhere on disk: every MCP message would be written in clear otherwise (measured).
    None,
    /// The engine's rotating files.
    Bounded {
        /// Bytes of one file.
        max_size: u64,
        /// Files kept.
        max_files: u32,
    },
}

/// What an image says about itself, needed to finish a configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageFacts {
    /// Content hash; containers are made from this, so a moving tag cannot race.
    pub id: ImageId,
    /// `name@sha256:…` where the image came from a registry.
    pub digest: Option<String>,
    /// The image's `USER`, as written.
    pub user: Option<String>,
    /// Paths of its `VOLUME`s.
    pub volumes: Vec<String>,
    /// Its `ENTRYPOINT`.
    #[serde(default)]
    pub entrypoint: Vec<String>,
    /// Its `CMD`.
    #[serde(default)]
    pub command: Vec<String>,
    /// What it is made for, as far as the engine knows.
    #[serde(default)]
    pub platform: Option<Platform>,
}

impl ImageFacts {
    /// The user the server runs as: the image's numeric non-root user, else [`FALLBACK_UID`]. A user by name is
    /// not trusted, because only the image's own files say which number it is.
    #[must_use]
    pub fn run_as(&self) -> RunAs {
        let named = self.user.as_deref().unwrap_or("");
        let (uid, gid) = named.split_once(':').unwrap_or((named, ""));
        match uid.parse::<u32>() {
            Ok(uid) if uid != 0 => {
                RunAs { uid, gid: gid.parse().ok().filter(|gid| *gid != 0).unwrap_or(uid) }
            }
            _ => RunAs { uid: FALLBACK_UID, gid: FALLBACK_UID },
        }
    }
}

/// A numeric, non-root user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunAs {
    /// User id, never 0.
    pub uid: u32,
    /// Group id, never 0.
    pub gid: u32,
}

impl ContainerConfig {
    /// Adds what only the image knows: its volumes become bounded tmpfs (they would stay writable and on disk
    /// under a read-only root otherwise, measured) unless something is mounted there already.
    #[must_use]
    pub fn finished_for(&self, image: &ImageFacts) -> Self {
        let mut config = self.clone();
        for path in &image.volumes {
            let ours = config.shim && shim::owns(path);
            if !ours && !config.mounts.iter().any(|mount| mount.target() == path) {
                config.mounts.push(ContainerMount::Tmpfs {
                    target: path.clone(),
                    size: IMAGE_VOLUME_BYTES,
                    exec: false,
                });
            }
        }
        config
    }

    /// The program and its arguments, when the image has no say in them.
    #[must_use]
    pub fn own_argv(&self) -> Option<Vec<String>> {
        let args = self.args.iter().flatten();
        let argv: Vec<_> = self.command.as_ref()?.iter().chain(args).cloned().collect();
        (!argv.is_empty()).then_some(argv)
    }

    /// The program and its arguments as an engine would put them together: a command of the configuration's own drops
    /// the image's arguments, too. Empty when neither says anything.
    #[must_use]
    pub fn argv(&self, image: &ImageFacts) -> Vec<String> {
        let args = match (&self.args, &self.command) {
            (Some(args), _) => args.as_slice(),
            (None, Some(_)) => &[],
            (None, None) => &image.command,
        };
        self.command.as_ref().unwrap_or(&image.entrypoint).iter().chain(args).cloned().collect()
    }

    /// The engine's names of the volumes it uses.
    pub fn volumes(&self) -> impl Iterator<Item = &str> {
        self.mounts.iter().filter_map(|mount| match mount {
            ContainerMount::Volume { name, .. } => Some(name.as_str()),
            ContainerMount::Tmpfs { .. } => None,
        })
    }
}

/// Bytes of the tmpfs that replaces an image's own `VOLUME`.
pub const IMAGE_VOLUME_BYTES: u64 = 64 * 1024 * 1024;

/// What a container's process is begun with. Where the container has a shim it is told this at each start, and the
/// engine never is; elsewhere the container was made with it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Launch {
    /// The generation that last changed it.
    pub generation: Generation,
    /// Hash of the configuration it comes from.
    pub config_hash: ConfigHash,
    /// Program and arguments; `None`: those that the container was made with.
    pub argv: Option<Vec<String>>,
    /// What the environment has besides the image's.
    pub environment: BTreeMap<String, String>,
}

impl Launch {
    /// What a process of this configuration is begun with.
    #[must_use]
    pub fn of(config: &ContainerConfig, config_hash: &ConfigHash, generation: Generation) -> Self {
        let (config_hash, environment) = (config_hash.clone(), config.environment.clone());
        Self { generation, config_hash, argv: config.own_argv(), environment }
    }
}

/// Everything an engine needs to make one container.
#[derive(Debug, Clone, PartialEq)]
pub struct CreateContainer {
    /// Deterministic name, see [`crate::id::container_name`].
    pub name: String,
    /// The place it fills.
    pub slot: SlotId,
    /// The generation that made it.
    pub generation: Generation,
    /// Hash of the configuration as recorded (before [`ContainerConfig::finished_for`]).
    pub config_hash: ConfigHash,
    /// The configuration, finished for its image.
    pub config: ContainerConfig,
    /// Made from exactly this image.
    pub image: ImageFacts,
    /// The user its process runs as.
    pub run_as: RunAs,
    /// The group's network when [`ContainerConfig::network`] asks for it.
    pub network: Option<NetworkId>,
    /// Reserved and other labels, complete but for [`crate::label::SHIM`], which says whether there is one.
    pub labels: BTreeMap<String, String>,
    /// Begin it by the shim that is there. `None`: without one, whatever the configuration wants.
    pub shim: Option<ShimMount>,
}

impl CreateContainer {
    /// What its process is begun with first.
    #[must_use]
    pub fn launch(&self) -> Launch {
        Launch::of(&self.config, &self.config_hash, self.generation)
    }
}

#[cfg(test)]
pub(crate) mod testing {
    //! A configuration for tests.
    use super::*;

    pub(crate) fn config() -> ContainerConfig {
        ContainerConfig {
            image: "i".into(),
            platform: None,
            pull: PullPolicy::Never,
            command: None,
            args: None,
            environment: BTreeMap::new(),
            labels: BTreeMap::new(),
            mounts: Vec::new(),
            network: NetworkMode::None,
            limits: Limits {
                memory: 1,
                cpu_millis: 1,
                pids: 1,
                nofile_soft: 1,
                nofile_hard: 1,
                oom_score_adj: 0,
            },
            isolation: Isolation {
                read_only_root: true,
                cap_drop: vec![],
                no_new_privileges: true,
                init: true,
            },
            open_stdin: false,
            log: LogDriver::None,
            stop_grace: Duration::ZERO,
            shim: false,
            egress: Vec::new(),
            connects: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::testing::config;
    use super::*;

    fn facts(user: &str) -> ImageFacts {
        ImageFacts {
            id: "i".into(),
            digest: None,
            user: Some(user.to_owned()),
            volumes: vec!["/data".to_owned(), "/.dtma/bin".to_owned()],
            entrypoint: vec!["node".to_owned()],
            command: vec!["index.js".to_owned()],
            platform: None,
        }
    }

    #[test]
    fn a_command_of_the_configuration_drops_the_images_arguments() {
        let argv = |command: Option<&str>, args: Option<&str>| {
            let words = |text: &str| text.split_whitespace().map(str::to_owned).collect();
            let config = ContainerConfig { command: command.map(words), args: args.map(words), ..config() };
            config.argv(&facts("")).join(" ")
        };
        assert_eq!(argv(None, None), "node index.js");
        assert_eq!(argv(Some("sh -c x"), None), "sh -c x");
        assert_eq!(argv(None, Some("-v")), "node -v");
        assert_eq!(argv(None, Some("")), "node");
        assert_eq!(argv(Some("sh"), Some("-c x")), "sh -c x");
    }

    #[test]
    fn an_image_mounts_nothing_over_the_shim() {
        let targets = |shim| {
            let finished = ContainerConfig { shim, ..config() }.finished_for(&facts(""));
            finished.mounts.iter().map(|mount| mount.target().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(targets(false), ["/data", "/.dtma/bin"]);
        assert_eq!(targets(true), ["/data"]);
    }

    #[test]
    fn only_a_numeric_non_root_user_of_the_image_is_kept() {
        for (user, uid, gid) in [
            ("", 65532, 65532),
            ("root", 65532, 65532),
            ("0", 65532, 65532),
            ("0:0", 65532, 65532),
            ("node", 65532, 65532),
            ("1000", 1000, 1000),
            ("1000:2000", 1000, 2000),
            ("1000:0", 1000, 1000),
            ("1000:wheel", 1000, 1000),
        ] {
            assert_eq!(facts(user).run_as(), RunAs { uid, gid }, "{user:?}");
        }
    }
}
