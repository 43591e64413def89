//! What `dtma agent` takes.

use crate::clients::ClientName;
use clap::{Args, Subcommand};
use std::path::PathBuf;

/// `dtma agent …`.
#[derive(Debug, Subcommand)]
pub(crate) enum AgentCommand {
    /// Print what a client's file needs to reach MCP servers through the gateway, or merge it into the file
    Config(AgentConfigArgs),
}

/// `dtma agent config`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  dtma agent config --client claude                      print what .mcp.json needs
  dtma agent config --client cursor --write              merge it into ~/.cursor/mcp.json
  dtma agent config --client vscode --project --server time --write
  dtma agent config --client claude-desktop --agent-token-file ~/agent.token --write
  dtma agent config --client cursor --group lab --as-one --write    one entry for all of a group
  dtma agent config --client codex --write --remove      take our entries out again

Everything else in the file stays as it is, comments included. The token is never in the file: the client takes it from \
DTMA_TOKEN, a file, or the person who uses it. Make it one of its own: dtma-daemon token create NAME --scope gateway")]
pub(crate) struct AgentConfigArgs {
    /// Whose file it is
    #[arg(long, value_enum, value_name = "CLIENT")]
    pub(crate) client: ClientName,
    /// Only this server; may be given several times
    #[arg(long = "server", value_name = "INSTANCE")]
    pub(crate) servers: Vec<String>,
    /// Only the servers of this group
    #[arg(long, value_name = "GROUP", conflicts_with = "servers")]
    pub(crate) group: Option<String>,
    /// The whole group as one server, in one entry, instead of one for each of its servers
    #[arg(long, requires = "group")]
    pub(crate) as_one: bool,
    /// Merge it into this file
    #[arg(long, value_name = "FILE", conflicts_with = "write")]
    pub(crate) file: Option<PathBuf>,
    /// Merge it into the client's own file
    #[arg(long)]
    pub(crate) write: bool,
    /// The file of the project in this folder, instead of the user's
    #[arg(long, conflicts_with = "file")]
    pub(crate) project: bool,
    /// Take our entries out instead: those of --server or --group, or all
    #[arg(long)]
    pub(crate) remove: bool,
    /// Replace entries of the same names that are not ours
    #[arg(long, conflicts_with = "remove")]
    pub(crate) force: bool,
    /// File with the agent's token, for clients that start a command; without it DTMA_TOKEN in their environment counts
    #[arg(long, value_name = "FILE")]
    pub(crate) agent_token_file: Option<PathBuf>,
}

impl AgentConfigArgs {
    /// The group that is meant as one server.
    pub(crate) fn one_group(&self) -> Option<&str> {
        self.group.as_deref().filter(|_| self.as_one)
    }

    /// True when a file is changed.
    pub(crate) fn merges(&self) -> bool {
        self.write || self.file.is_some()
    }
}
