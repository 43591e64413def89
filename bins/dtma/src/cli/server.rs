//! What the commands on servers take.

use super::{WaitArgs, value};
use clap::{Args, ValueEnum};
use std::time::Duration;

/// `dtma logs`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  dtma logs time
  dtma logs -f --tail 20 everything
  dtma logs --since 10m --grep 'error|warn' -t web
  dtma logs demo -f                    every server of the group, each with its name in front
  dtma logs web --replica 1            one replica of a server that has several
  dtma logs time --previous            what it wrote before it was started again

Lines of a server with several replicas begin with web/1 |, and while an update runs with web@3 |, where 3 is the \
generation that wrote it. A stdio MCP server's standard output belongs to the protocol; a line of it is a log line only \
when it is no message.")]
pub(crate) struct LogsArgs {
    /// Servers and groups; a group means each of its servers
    #[arg(value_name = "INSTANCE|GROUP", required = true)]
    pub(crate) names: Vec<String>,
    /// Go on with new lines, until interrupted
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// Only the last so many lines
    #[arg(short = 'n', long, value_name = "N")]
    pub(crate) tail: Option<u32>,
    /// Only lines since then: 10m, or 2026-01-31T12:00:00Z
    #[arg(long, value_name = "TIME", value_parser = value::moment)]
    pub(crate) since: Option<String>,
    /// Only lines before then
    #[arg(long, value_name = "TIME", value_parser = value::moment, conflicts_with = "follow")]
    pub(crate) until: Option<String>,
    /// Only lines that match this regular expression
    #[arg(long, value_name = "REGEX")]
    pub(crate) grep: Option<String>,
    /// What --grep looks for is plain text
    #[arg(short = 'F', long, requires = "grep")]
    pub(crate) fixed_strings: bool,
    /// Only lines of this replica, counted from 0
    #[arg(long, value_name = "N")]
    pub(crate) replica: Option<u32>,
    /// Only lines of the run before the present one
    #[arg(short, long, conflicts_with_all = ["follow", "since", "until"])]
    pub(crate) previous: bool,
    /// The server's name before each line (also without it when there are several, or several replicas)
    #[arg(long, overrides_with = "no_prefix")]
    pub(crate) prefix: bool,
    /// No name before any line
    #[arg(long, overrides_with = "prefix")]
    pub(crate) no_prefix: bool,
    /// Only lines of this output
    #[arg(long, value_enum)]
    pub(crate) stream: Option<Stream>,
    /// When each line was written
    #[arg(short, long)]
    pub(crate) timestamps: bool,
}

/// One of a process's two outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Stream {
    // Standard output.
    Stdout,
    // Standard error.
    Stderr,
}

/// `dtma restart`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  dtma restart time git
  dtma restart --group demo

A restart that is asked for is not counted against a server's attempts; it gives them all back.")]
pub(crate) struct RestartArgs {
    /// The servers
    #[arg(value_name = "INSTANCE", required_unless_present = "group", conflicts_with = "group")]
    pub(crate) instances: Vec<String>,
    /// Every running server of this group instead
    #[arg(long, value_name = "GROUP")]
    pub(crate) group: Option<String>,
    #[command(flatten)]
    pub(crate) wait: WaitArgs,
}

/// `dtma start` and `dtma stop`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  dtma stop web                        stopped it stays, through restarts of daemon and machine
  dtma start web")]
pub(crate) struct ServerArgs {
    /// The servers
    #[arg(value_name = "INSTANCE", required = true)]
    pub(crate) instances: Vec<String>,
    #[command(flatten)]
    pub(crate) wait: WaitArgs,
}

/// `dtma exec`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  dtma exec web -- ls -l /data
  dtma exec web -- sh -c 'echo $HOSTNAME; exit 3'
  echo hello | dtma exec -i web -- cat

The command runs as the container's own user and with no more rights than its process, without a terminal and without \
a shell. What it writes is printed when it is over, at most 1 MiB of each output. Its exit code is this program's.")]
pub(crate) struct ExecArgs {
    /// The server
    #[arg(value_name = "INSTANCE")]
    pub(crate) instance: String,
    /// Give it our standard input, which must be text
    #[arg(short = 'i', long)]
    pub(crate) stdin: bool,
    /// How long it may take, at most 10m
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = value::command_time)]
    pub(crate) timeout: Duration,
    /// The program and its arguments
    #[arg(last = true, required = true, value_name = "CMD")]
    pub(crate) command: Vec<String>,
}
