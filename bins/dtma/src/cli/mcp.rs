//! What `dtma mcp` takes.

use super::grants::GrantsCommand;
use super::value;
use clap::{Args, Subcommand};
use std::time::Duration;

/// `dtma mcp …`.
#[derive(Debug, Subcommand)]
pub(crate) enum McpCommand {
    /// List MCP servers and how much they offer
    Ls(McpLsArgs),
    /// Show what a server offers, and what of its tools is not as approved
    Inspect(McpInspectArgs),
    /// Approve of a server's tools as they are now
    Approve(McpApproveArgs),
    /// Call a tool
    Call(McpCallArgs),
    /// Say which servers and tools agents may reach
    #[command(subcommand)]
    Grants(GrantsCommand),
    /// Be a server on standard input and output, for clients that only start commands
    Connect(McpConnectArgs),
}

/// `dtma mcp connect`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  dtma mcp connect time
  dtma mcp connect --group tools                every server of a group as one
  { \"command\": \"dtma\", \"args\": [\"mcp\", \"connect\", \"time\"] }    in a client's file of servers

Messages pass as they are, one a line. The session outlives restarts of the server and of the daemon: what is asked
while nobody answers waits. The token comes from DTMA_TOKEN, --token-file or the context, as for every command.")]
pub(crate) struct McpConnectArgs {
    /// The server
    #[arg(value_name = "INSTANCE", required_unless_present = "group")]
    pub(crate) instance: Option<String>,
    /// All MCP servers of a group as one, their tools by names that begin with theirs
    #[arg(long, value_name = "GROUP", conflicts_with = "instance")]
    pub(crate) group: Option<String>,
    /// How long a daemon that cannot be reached is waited for
    #[arg(long, value_name = "TIME", default_value = "1m", value_parser = value::timeout)]
    pub(crate) patience: Duration,
}

/// `dtma mcp ls`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  dtma mcp ls                          every server: transport, protocol, how many tools, how old that is
  dtma mcp ls -o wide                  the same with groups, versions and what is not as approved
  dtma mcp ls --tools                  every tool of every server in a line
  dtma mcp ls time                     one server: descriptions in full, and what each tool takes

A server that stands still is listed with what it offered last; its age says so.")]
pub(crate) struct McpLsArgs {
    /// Only this server
    #[arg(value_name = "INSTANCE")]
    pub(crate) instance: Option<String>,
    /// Every tool in a line
    #[arg(long, conflicts_with = "instance")]
    pub(crate) tools: bool,
}

/// `dtma mcp inspect`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  dtma mcp inspect time                what it says about itself; its tools, prompts and resources
  dtma mcp inspect time --contract     what differs from what was approved, field by field
  dtma mcp inspect time -o json        everything, as the server sent it")]
pub(crate) struct McpInspectArgs {
    /// The server
    #[arg(value_name = "INSTANCE")]
    pub(crate) instance: String,
    /// What was approved of its tools, and what differs since
    #[arg(long)]
    pub(crate) contract: bool,
}

/// `dtma mcp approve`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  dtma mcp approve time                             everything, as it is now
  dtma mcp approve time --tool get_current_time     one tool

What differs is printed before it is approved, and nothing else is: a server that offers something else by then is
refused. See dtma mcp inspect INSTANCE --contract.")]
pub(crate) struct McpApproveArgs {
    /// The server
    #[arg(value_name = "INSTANCE")]
    pub(crate) instance: String,
    /// Only this tool
    #[arg(long, value_name = "TOOL")]
    pub(crate) tool: Option<String>,
}

/// `dtma mcp call`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  dtma mcp call time get_current_time --arg timezone=Europe/Berlin
  dtma mcp call everything get-sum --arg a=1 --arg b=2
  dtma mcp call memory create_entities --json '{\"entities\": []}'
  echo '{\"message\": \"hello\"}' | dtma mcp call everything echo --json -

The text of the answer goes to standard output; -o json prints the whole result.
A tool that reports an error ends with exit code 1.")]
pub(crate) struct McpCallArgs {
    /// The server
    #[arg(value_name = "INSTANCE")]
    pub(crate) instance: String,
    /// The tool
    #[arg(value_name = "TOOL")]
    pub(crate) tool: String,
    /// One argument; its type is what the tool's schema says
    #[arg(short, long = "arg", value_name = "KEY=VALUE", value_parser = value::pair)]
    pub(crate) args: Vec<(String, String)>,
    /// All arguments as a JSON object, - for standard input; --arg is added to it
    #[arg(short, long, value_name = "JSON")]
    pub(crate) json: Option<String>,
    /// How long each answer may take
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = value::timeout)]
    pub(crate) timeout: Duration,
}
