//! One server of a group as a caller asks for it.

use crate::idle::Idle;
use crate::session::SessionRequest;
use crate::size::ByteSize;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// One server of a group.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ServerRequest {
    /// Its name, unique per daemon: `[A-Za-z0-9][A-Za-z0-9_.-]{0,62}` without `__` and `..`.
    pub instance_name: String,
    /// `mcp` (default) for an MCP server, `tool` for anything else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<Kind>,
    /// The image: `name:tag`, `name@sha256:…` or an id.
    pub image: String,
    /// How the MCP server is spoken to inside its container (default `stdio`). A tool has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transport: Option<Transport>,
    /// Replaces the image's entrypoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<Vec<String>>,
    /// Replaces the image's command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub args: Option<Vec<String>>,
    /// Plain environment. Not for secrets: the engine shows it to everyone who may inspect containers.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub environment: BTreeMap<String, String>,
    /// The TCP port inside on which a tool listens (it is ready when the port accepts), or on which an MCP server of
    /// another transport than `stdio` is spoken to (it is ready when it has answered).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 65535)]
    pub port: Option<u32>,
    /// Where such an MCP server is found under its port (default: `/mcp` for `streamable-http`, `/sse` for `sse`, `/ws`
    /// for `websocket`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "/mcp")]
    pub endpoint_path: Option<String>,
    /// Host ports that the daemon listens on and forwards to the server.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub publish: Vec<Publish>,
    /// Where the server may write, and what survives it. Everything else is read-only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mounts: Vec<Mount>,
    /// What must hold before it starts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub depends_on: Vec<Dependency>,
    /// Limits it asks for; what is absent takes the template's value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// When it counts as ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<Health>,
    /// What happens when it exits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restart: Option<Restart>,
    /// How many containers serve it at the same time (default 1). `0` where `session` is `per-session`: then nobody is
    /// served without a session, and nothing runs until one begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0, maximum = 32)]
    pub replicas: Option<u32>,
    /// Whether the clients of an MCP server share its processes (default), or each session has one of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionRequest>,
    /// What follows when an MCP server's tools are not those that were approved, at first those of its first discovery
    /// (default `warn`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pinning: Option<Pinning>,
    /// When it is put to rest because nobody uses it (default: never). For MCP servers that publish no port and that no
    /// other server depends on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle: Option<Idle>,
    /// How an update replaces its containers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub update: Option<UpdatePolicy>,
    /// Its network (default `none`; `group` for a tool that has no shim, which could not be reached otherwise). Without one
    /// it is reached through its shim (`port`, `publish`), and reaches what `egress` and `connect` name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<Network>,
    /// What it may reach outside, through the daemon's proxy: `api.example.org:443`, `*.example.org:443` (every name
    /// below, however deep), `example.org:*` (every port). It needs the shim and network `none`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(example = json!(["api.example.org:443"]))]
    pub egress: Vec<String>,
    /// For which platform the image is to be, `os/architecture` or `os/architecture/variant` (default: the engine's
    /// own). The engine must be able to run it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "linux/amd64")]
    pub platform: Option<String>,
    /// Whether the server is begun by the daemon's shim, which is the first process of its container and carries its
    /// streams (default: wherever that can be). `false` for an image that cannot bear another first process; `true` is
    /// refused where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shim: Option<bool>,
    /// When the image is fetched from its registry (default `missing`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pull_policy: Option<PullPolicy>,
    /// Milliseconds between SIGTERM and SIGKILL (default 10000).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_grace_ms: Option<u64>,
    /// The configuration template (default: the group's, else `standard`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<String>,
    /// A create request in the engine's own words (`Env`, `HostConfig`, …), applied through policy: it can only
    /// tighten, or move inside the operator's ceilings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub overrides: Option<serde_json::Map<String, serde_json::Value>>,
    /// Labels for people and other tools. Keys below `io.dtma.` are reserved.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
        #[serde(rename_all = "kebab-case")]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)+
        }
        impl $name {
            /// Every word there is.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];
            /// The word on the wire.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }
        }
        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }
    };
}
pub(crate) use words;

words! {
    /// MCP server or ordinary tool.
    Kind {
        /// Speaks MCP.
        Mcp = "mcp",
        /// Anything else.
        Tool = "tool",
    }
}
words! {
    /// How an MCP server is spoken to inside its container.
    Transport {
        /// One JSON-RPC message a line on standard input and output.
        Stdio = "stdio",
        /// A POST for each message, answered with JSON or a stream of events; needs `port`.
        StreamableHttp = "streamable-http",
        /// A stream of events that says where to POST (HTTP+SSE); needs `port`.
        Sse = "sse",
        /// One message a text frame; needs `port`.
        Websocket = "websocket",
    }
}
words! {
    /// What must hold of a dependency.
    Condition {
        /// Its process runs, or ran to completion.
        Started = "started",
        /// It is ready.
        Healthy = "healthy",
        /// It ran once and exited with 0.
        Completed = "completed",
    }
}
words! {
    /// What follows when the tools of an MCP server are not those that were approved.
    Pinning {
        /// Nothing: nobody looks.
        Off = "off",
        /// Its status and an event say so.
        Warn = "warn",
        /// The same, and what is not as approved is neither listed nor called.
        Quarantine = "quarantine",
    }
}
words! {
    /// Which container of a replica goes first in an update.
    UpdateOrder {
        /// The new one is proved ready beside the old one before that is stopped: no request is lost.
        StartFirst = "start-first",
        /// The old one is stopped before the new one is started; calls wait meanwhile.
        StopFirst = "stop-first",
    }
}
words! {
    /// What is mounted.
    MountType {
        /// A named volume of the group; kept on removal unless asked.
        Volume = "volume",
        /// Memory, gone with the process.
        Tmpfs = "tmpfs",
        /// A path of the host; refused unless the operator's policy allows it.
        Bind = "bind",
    }
}
words! {
    /// Which network a server joins.
    Network {
        /// Loopback only.
        None = "none",
        /// The group's internal bridge: its peers, and services of the host that listen on all addresses.
        Group = "group",
        /// A bridge of the group that leads outside: everything that the host reaches.
        Open = "open",
    }
}
words! {
    /// When an image is fetched from its registry.
    PullPolicy {
        /// At every create.
        Always = "always",
        /// When the engine does not have it.
        Missing = "missing",
        /// Never; a missing image is an error.
        Never = "never",
    }
}
words! {
    /// What happens when the restart attempts are used up.
    RestartMode {
        /// The server is `failed` until a person restarts it.
        Fail = "fail",
        /// It waits until the window has room again.
        Delay = "delay",
    }
}

/// A host port that the daemon forwards.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Publish {
    /// The port on the host's loopback.
    #[schema(minimum = 1, maximum = 65535)]
    pub host_port: u32,
    /// The port inside the container.
    #[schema(minimum = 1, maximum = 65535)]
    pub container_port: u32,
}

/// Something mounted inside the container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Mount {
    /// What is mounted.
    #[serde(rename = "type")]
    pub mount_type: MountType,
    /// The volume's name (`volume` only); each group has volumes of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The host's path (`bind` only).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Absolute path inside the container.
    pub target: String,
    /// Most bytes it may hold (`tmpfs` only; default 64 MiB).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<ByteSize>,
    /// No writes from inside (default false).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_only: Option<bool>,
}

/// "Start me only when that one …".
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Dependency {
    /// The other server, of the same group.
    pub instance: String,
    /// What must hold of it (default `healthy`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub condition: Option<Condition>,
    /// A port of it that is to be found on 127.0.0.1 inside. It needs the shim of both servers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connect: Option<Connect>,
}

/// A dependency's port inside; `<NAME>_ADDR` of the environment says where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Connect {
    /// The dependency's own.
    #[schema(minimum = 1, maximum = 65535)]
    pub port: u32,
    /// Under which number it is found inside (default: the same).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 65535)]
    pub local_port: Option<u32>,
}

/// Limits a server asks for.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Resources {
    /// Memory; swap is not added to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<ByteSize>,
    /// CPUs, in thousandths: `0.5`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpus: Option<f64>,
    /// Most processes and threads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pids: Option<u64>,
}

/// When a server counts as ready.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Health {
    /// A tool without a port is ready after it has run so many milliseconds (default 1000).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settle_ms: Option<u64>,
    /// Not ready after so many milliseconds: it is stopped, which counts as a crash (default 60000).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_timeout_ms: Option<u64>,
}

/// What happens when a server exits.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Restart {
    /// What happens when the attempts are used up (default `fail`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<RestartMode>,
    /// Restarts allowed within the interval (default 5); 0 means never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempts: Option<u64>,
    /// The window in which attempts are counted (default 600000).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval_ms: Option<u64>,
    /// Delay before the second restart in a row (the first is immediate); doubles from there (default 1000).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay_ms: Option<u64>,
    /// The delay never grows past this (default 300000).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_delay_ms: Option<u64>,
    /// After a run of this length the next restart is immediate again (default 600000).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clean_run_ms: Option<u64>,
}

/// How an update replaces a server's containers.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UpdatePolicy {
    /// By default `stop-first` for a server that writes to a volume and `start-first` for every other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<UpdateOrder>,
    /// Milliseconds that calls and connections of the old container may take once the new one serves (default 30000).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drain_ms: Option<u64>,
}
