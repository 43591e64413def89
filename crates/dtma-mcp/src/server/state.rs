//! What is known of a server from outside: whether it answers, and what it said about itself.

use bytes::Bytes;
use dtma_core::Timestamp;
use dtma_core::id::RunKey;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Where the connection to a server stands. Published by the owner, see [`ServerHandle::state`].
///
/// ```text
///                                            Resting
///                                              ^ |
///                                              | v
///  Down --connect--> Connecting --handshake--> Ready
///   ^                 |      |                   |
///   |          Expecting     +--> Failed         |
///   +---- output ends ---+------+----------------+
/// ```
///
/// [`ServerHandle::state`]: crate::ServerHandle::state
#[derive(Debug, Clone)]
pub enum ServerState {
    /// No process is attached. Calls wait for one, within [`Limits::ready_wait`](crate::Limits::ready_wait).
    Down {
        /// Why, in a person's words.
        reason: Arc<str>,
    },
    /// A process is attached and is being greeted. Calls wait.
    Connecting {
        /// Which.
        run: RunKey,
    },
    /// It has come up, as far as can be known, and is to be greeted in the name of a session that has not come yet.
    Expecting {
        /// Which.
        run: RunKey,
    },
    /// The handshake was answered; calls go through.
    Ready(Arc<Ready>),
    /// The same, but nobody needs it: calls wait until it is told to go on, for its process may be frozen.
    Resting(Arc<Ready>),
    /// The process is attached (its output is still kept) and did not complete the handshake. Calls fail at once;
    /// the manager decides what becomes of the process.
    Failed {
        /// Which.
        run: RunKey,
        /// Why, in a person's words.
        reason: Arc<str>,
    },
}

impl ServerState {
    /// The process it is about, if there is one.
    #[must_use]
    pub fn run(&self) -> Option<&RunKey> {
        match self {
            Self::Down { .. } => None,
            Self::Connecting { run } | Self::Expecting { run } | Self::Failed { run, .. } => Some(run),
            Self::Ready(ready) | Self::Resting(ready) => Some(&ready.run),
        }
    }

    /// Why calls do not go through, in a person's words.
    #[must_use]
    pub fn why_not_ready(&self) -> &str {
        match self {
            Self::Down { reason } | Self::Failed { reason, .. } => reason,
            Self::Connecting { .. } | Self::Expecting { .. } => "it has not completed its handshake yet",
            Self::Ready(_) => "its process has just changed",
            Self::Resting(_) => "it rests, and does not go on yet",
        }
    }

    /// What is known of a server that answers.
    #[must_use]
    pub fn ready(&self) -> Option<&Arc<Ready>> {
        match self {
            Self::Ready(ready) => Some(ready),
            Self::Down { .. }
            | Self::Connecting { .. }
            | Self::Expecting { .. }
            | Self::Resting(_)
            | Self::Failed { .. } => None,
        }
    }

    /// The same, also of one that rests.
    #[must_use]
    pub fn known(&self) -> Option<&Arc<Ready>> {
        match self {
            Self::Ready(ready) | Self::Resting(ready) => Some(ready),
            Self::Down { .. } | Self::Connecting { .. } | Self::Expecting { .. } | Self::Failed { .. } => {
                None
            }
        }
    }
}

/// A server that answers.
#[derive(Debug, Clone)]
pub struct Ready {
    /// The process.
    pub run: RunKey,
    /// Since when it answers.
    pub since: Timestamp,
    /// What it said in the handshake.
    pub greeting: Arc<Greeting>,
    /// Its tools, as last listed.
    pub tools: ToolList,
}

/// The `result` of `initialize`, whole and in the parts that people look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Greeting {
    /// As received.
    pub raw: Bytes,
    /// The version agreed with the server; one of [`version::HANDSHAKE_ERA`](crate::version::HANDSHAKE_ERA).
    pub protocol_version: String,
    /// `serverInfo.name`.
    pub server_name: String,
    /// `serverInfo.version`.
    pub server_version: String,
    /// The names of its top-level capabilities, sorted: `logging`, `prompts`, `tools`, …
    pub capabilities: Vec<String>,
    /// Those of them of which it declares `listChanged`.
    pub list_changed: Vec<String>,
}

impl Greeting {
    /// Reads the `result` of `initialize`.
    ///
    /// # Errors
    /// A person's words, when it is no such result or its version is not a handshake-era one.
    pub fn read(raw: Bytes) -> Result<Self, String> {
        let wire: WireGreeting = serde_json::from_slice(&raw)
            .map_err(|problem| format!("its answer to initialize cannot be understood: {problem}"))?;
        if !crate::version::is_known(&wire.protocol_version) {
            return Err(format!(
                "it wants protocol version {:?}, which is not spoken here",
                wire.protocol_version
            ));
        }
        Ok(Self {
            raw,
            protocol_version: wire.protocol_version,
            server_name: wire.server_info.name,
            server_version: wire.server_info.version,
            list_changed: wire.capabilities.iter().filter(announces).map(|(name, _)| name.clone()).collect(),
            capabilities: wire.capabilities.into_keys().collect(),
        })
    }

    /// True when the server declared this top-level capability.
    #[must_use]
    pub fn can(&self, capability: &str) -> bool {
        self.capabilities.iter().any(|name| name == capability)
    }
}

/// The capabilities that are lists.
const LISTS: [&str; 3] = ["prompts", "resources", "tools"];

fn announces((name, capability): &(&String, &Value)) -> bool {
    LISTS.contains(&name.as_str()) && capability["listChanged"] == true
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireGreeting {
    protocol_version: String,
    #[serde(default)]
    capabilities: BTreeMap<String, Value>,
    #[serde(default)]
    server_info: WireServerInfo,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct WireServerInfo {
    name: String,
    version: String,
}

/// The tools of a server. They may depend on the client's capabilities: what a client is shown can differ.
#[derive(Debug, Clone)]
pub enum ToolList {
    /// As listed.
    Listed(Arc<[Tool]>),
    /// The listing failed; the server is ready all the same.
    Unknown {
        /// Why, in a person's words.
        reason: Arc<str>,
    },
}

impl ToolList {
    /// The tools, none when the listing failed.
    #[must_use]
    pub fn known(&self) -> &[Tool] {
        match self {
            Self::Listed(tools) => tools,
            Self::Unknown { .. } => &[],
        }
    }
}

/// One tool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tool {
    /// Its name.
    pub name: String,
    /// The whole object, raw JSON as received.
    pub raw: Bytes,
}
