//! What kind of process a server is, and how it is spoken to.

use serde::{Deserialize, Serialize};

/// What kind of process a server is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ServerKind {
    /// Speaks MCP over the given transport.
    Mcp(Transport),
    /// Anything else.
    Tool,
}

impl ServerKind {
    /// `mcp` or `tool`, as in the label `io.dtma.kind`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Mcp(_) => "mcp",
            Self::Tool => "tool",
        }
    }
    /// True for a server that is spoken to over its standard input and output.
    #[must_use]
    pub fn is_stdio(self) -> bool {
        self == Self::Mcp(Transport::Stdio)
    }
    /// True for a server that speaks MCP, whatever over.
    #[must_use]
    pub fn is_mcp(self) -> bool {
        matches!(self, Self::Mcp(_))
    }
    /// True for an MCP server that is spoken to over its port.
    #[must_use]
    pub fn is_mcp_over_port(self) -> bool {
        self.is_mcp() && !self.is_stdio()
    }
}

/// How an MCP server is spoken to inside its container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Transport {
    /// One JSON-RPC message a line on standard input and output.
    Stdio,
    /// A POST for each message, answered with JSON or a stream of events.
    StreamableHttp,
    /// A stream of events that says where to POST.
    Sse,
    /// One message a text frame.
    Websocket,
}

impl Transport {
    /// The word on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stdio => "stdio",
            Self::StreamableHttp => "streamable-http",
            Self::Sse => "sse",
            Self::Websocket => "websocket",
        }
    }

    /// Where a server is found under its port, unless it says otherwise.
    #[must_use]
    pub fn default_endpoint(self) -> &'static str {
        match self {
            Self::Stdio | Self::StreamableHttp => "/mcp",
            Self::Sse => "/sse",
            Self::Websocket => "/ws",
        }
    }
}
