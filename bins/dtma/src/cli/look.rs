//! What the commands that only look take.

use clap::Args;
use clap_complete::Shell;

/// `dtma ps`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  dtma ps
  dtma ps demo -a -o wide
  dtma ps -o name | xargs -n1 dtma logs --tail 5")]
pub(crate) struct PsArgs {
    /// Only this group
    #[arg(value_name = "GROUP")]
    pub(crate) group: Option<String>,
    /// Also what was stopped by a person, or ran to completion
    #[arg(short, long)]
    pub(crate) all: bool,
}

/// `dtma status`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  dtma status                          the daemon, its engine, every group in a line
  dtma status demo
  dtma status time -o json")]
pub(crate) struct StatusArgs {
    /// A group or a server; without it the daemon
    #[arg(value_name = "GROUP|INSTANCE")]
    pub(crate) name: Option<String>,
}

/// `dtma events`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  dtma events                          what the daemon remembers
  dtma events -w                       and what happens from now on, until interrupted
  dtma events -w --group demo -o json     one JSON object a line")]
pub(crate) struct EventsArgs {
    /// Go on with what happens, until interrupted
    #[arg(short, long)]
    pub(crate) watch: bool,
    /// Only of this group
    #[arg(long, value_name = "GROUP")]
    pub(crate) group: Option<String>,
}

/// `dtma completion`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  dtma completion bash > /etc/bash_completion.d/dtma
  source <(dtma completion zsh)")]
pub(crate) struct CompletionArgs {
    /// The shell
    #[arg(value_enum)]
    pub(crate) shell: Shell,
}
