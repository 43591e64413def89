//! What must hold of another server first, and which port of it is wanted inside.

use crate::id::InstanceName;
use serde::{Deserialize, Serialize};

/// "Start me only when that one …".
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dependency {
    /// The other server, of the same group.
    pub instance: InstanceName,
    /// What must hold of it.
    #[serde(default)]
    pub condition: Condition,
    /// Which port of it is to be found inside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connect: Option<Connect>,
}

/// A port of a dependency, offered on 127.0.0.1 inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connect {
    /// The dependency's own.
    pub port: u16,
    /// Under which number it is found; `None`: the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local_port: Option<u16>,
}

impl Connect {
    /// Under which number it is found inside.
    #[must_use]
    pub fn local_port(&self) -> u16 {
        self.local_port.unwrap_or(self.port)
    }
}

/// What must hold of a dependency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Condition {
    /// Its process runs (or ran to completion).
    Started,
    /// It is ready.
    #[default]
    Healthy,
    /// It ran once and exited with 0.
    Completed,
}

impl Condition {
    /// The word on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Healthy => "healthy",
            Self::Completed => "completed",
        }
    }
}
