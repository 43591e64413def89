//! Lines of a server's log.

use crate::server_request::words;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

words! {
    /// Which of a process's two outputs.
    LogStreamName {
        /// Standard output. For a stdio MCP server only what was not a JSON-RPC message.
        Stdout = "stdout",
        /// Standard error.
        Stderr = "stderr",
    }
}

/// One line. With `follow=true` the `data` of one server-sent event named `line`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LogLineView {
    /// When it was written.
    #[schema(format = DateTime)]
    pub at: String,
    /// Where it was written.
    pub stream: LogStreamName,
    /// Which replica of the server wrote it, from 0.
    #[serde(default)]
    pub replica: u32,
    /// The generation of the group that made that replica: during an update old and new write side by side.
    #[serde(default)]
    pub generation: u64,
    /// Without the newline. Whatever the server wrote: escape it before it reaches a terminal.
    pub text: String,
}

/// A part of a server's log, oldest line first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LogView {
    /// The server.
    pub instance_name: String,
    /// The lines.
    pub lines: Vec<LogLineView>,
}
