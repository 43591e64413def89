//! What the commands on groups take.

use super::{WaitArgs, value};
use clap::Args;
use std::path::PathBuf;
use std::time::Duration;

/// `dtma up`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  dtma up                              dtma.yaml, .yml, .toml or .json of this folder
  dtma up -f examples/demo.yaml
  generate-group | dtma up -f - -o json --progress plain")]
pub(crate) struct UpArgs {
    /// The group: YAML, TOML or JSON; - for standard input
    #[arg(short, long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) wait: WaitArgs,
}

/// `dtma down`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  dtma down demo                       its volumes stay for the next time
  dtma down demo --volumes             everything goes
  dtma down -f examples/demo.yaml --grace 2s")]
pub(crate) struct DownArgs {
    /// The group; without it and without -f the one of ./dtma.yaml
    #[arg(value_name = "GROUP", conflicts_with = "file")]
    pub(crate) group: Option<String>,
    /// The file that names the group
    #[arg(short, long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// Remove its volumes too: what they hold is lost
    #[arg(long)]
    pub(crate) volumes: bool,
    /// Kill the servers instead of stopping them
    #[arg(long)]
    pub(crate) force: bool,
    /// Time between SIGTERM and SIGKILL, instead of each server's own
    #[arg(long, value_name = "TIME", value_parser = value::duration, conflicts_with = "force")]
    pub(crate) grace: Option<Duration>,
    #[command(flatten)]
    pub(crate) wait: WaitArgs,
}

/// `dtma validate`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  dtma validate -f examples/demo.yaml
  dtma validate -f examples/demo.yaml -o yaml     with each container's effective configuration")]
pub(crate) struct ValidateArgs {
    /// The group: YAML, TOML or JSON; - for standard input
    #[arg(short, long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
}
