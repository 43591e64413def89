//! What a container is given: memory and processors, mounts, ports, a network, and when its image is fetched.

use crate::id::VolumeName;
use serde::{Deserialize, Serialize};

/// A host port that the daemon forwards (Docker itself publishes nothing).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Publish {
    /// The port on the host's loopback.
    pub host_port: u16,
    /// The port inside the container.
    pub container_port: u16,
}

/// Something writable (or at least mountable) inside the container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// Absolute path inside.
    pub target: String,
    /// What is mounted there.
    pub source: MountSource,
    /// No writes from inside.
    #[serde(default)]
    pub read_only: bool,
}

/// What is mounted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MountSource {
    /// A named volume of the group; kept on removal unless asked.
    Volume(VolumeName),
    /// Memory, gone with the process.
    Tmpfs {
        /// Most bytes it may hold.
        size: u64,
    },
    /// A path of the host; refused unless an operator's policy allows it.
    Bind(String),
}

/// Limits a server asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Resources {
    /// Bytes of memory; swap is not added to it.
    pub memory: Option<u64>,
    /// Thousandths of a CPU.
    pub cpu_millis: Option<u32>,
    /// Most processes and threads.
    pub pids: Option<u32>,
}

/// Which network a container joins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NetworkMode {
    /// Loopback only.
    None,
    /// The group's internal bridge: its peers, and (measured) every service of the host that listens there.
    Group,
    /// A bridge of the group that leads outside: the same, and everything that the host reaches.
    Open,
}

impl NetworkMode {
    /// Those that are a network of the group.
    pub const JOINED: [Self; 2] = [Self::Group, Self::Open];

    /// The word on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Group => "group",
            Self::Open => "open",
        }
    }
}

/// When an image is fetched from its registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PullPolicy {
    /// At every create.
    Always,
    /// When the engine does not have it.
    #[default]
    Missing,
    /// Never; a missing image is an error.
    Never,
}

impl PullPolicy {
    /// The word on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Always => "always",
            Self::Missing => "missing",
            Self::Never => "never",
        }
    }
}
