//! What the commands take that change a group that stands, and those that show what a change means.

use super::{WaitArgs, value};
use clap::Args;
use std::path::PathBuf;

/// `dtma apply`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  dtma apply                           dtma.yaml, .yml, .toml or .json of this folder
  dtma apply -f examples/demo.yaml
  dtma apply -f group.yaml --dry-run   what it would mean; the same as dtma plan
  dtma apply -f group.yaml --if-match 3    only if nobody has changed generation 3

What changed is started beside what stands, proved ready, and only then given the work. A change that fails leaves what \
stood before in service, and ends with 1.")]
pub(crate) struct ApplyArgs {
    /// The group: YAML, TOML or JSON; - for standard input
    #[arg(short, long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// Only say what it would mean, as dtma plan does
    #[arg(long, conflicts_with_all = ["no_wait", "timeout"])]
    pub(crate) dry_run: bool,
    /// Only if this generation stands
    #[arg(long, value_name = "N")]
    pub(crate) if_match: Option<u64>,
    #[command(flatten)]
    pub(crate) wait: WaitArgs,
}

/// `dtma plan`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  dtma plan -f examples/demo.yaml
  dtma plan -f examples/demo.yaml -v   also what each container would be made from
  dtma plan -f group.yaml; [ $? -eq 1 ] && dtma apply -f group.yaml

Exit codes: 0 nothing would change, 1 something would, 255 it cannot be said: the file is not valid, the daemon does \
not answer, or anything else failed.")]
pub(crate) struct PlanArgs {
    /// The group: YAML, TOML or JSON; - for standard input
    #[arg(short, long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// Also every field of new servers, and what each container would be made from
    #[arg(short, long)]
    pub(crate) verbose: bool,
}

/// `dtma diff`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  dtma diff demo                       what the present generation changed
  dtma diff demo 2                     from generation 2 to the present one
  dtma diff demo 2 4 -o json")]
pub(crate) struct DiffArgs {
    /// The group
    #[arg(value_name = "GROUP")]
    pub(crate) group: String,
    /// From this generation (default: the one before the present one)
    #[arg(value_name = "FROM")]
    pub(crate) from: Option<u64>,
    /// To this generation (default: the present one)
    #[arg(value_name = "TO")]
    pub(crate) to: Option<u64>,
}

/// `dtma history`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  dtma history demo
  dtma history demo --generation 2 -o yaml     with its spec, in the daemon's own words")]
pub(crate) struct HistoryArgs {
    /// The group
    #[arg(value_name = "GROUP")]
    pub(crate) group: String,
    /// Only this generation, in full
    #[arg(long, value_name = "N")]
    pub(crate) generation: Option<u64>,
}

/// `dtma rollback`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  dtma rollback demo                   to the last generation that stood before the present one
  dtma rollback demo --to 2

The earlier spec becomes the next generation, rolled out like any other change; dtma history shows which there are.")]
pub(crate) struct RollbackArgs {
    /// The group
    #[arg(value_name = "GROUP")]
    pub(crate) group: String,
    /// To this generation
    #[arg(long, value_name = "N")]
    pub(crate) to: Option<u64>,
    /// Only if this generation stands
    #[arg(long, value_name = "N")]
    pub(crate) if_match: Option<u64>,
    #[command(flatten)]
    pub(crate) wait: WaitArgs,
}

/// `dtma scale`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  dtma scale web --replicas 3
  dtma scale web=3 worker=2            one after the other

Replicas are added beside those that stand, or drained and removed. How many a server may have is a matter of policy.")]
pub(crate) struct ScaleArgs {
    /// The servers, each with its number of replicas unless --replicas gives it
    #[arg(value_name = "INSTANCE[=N]", required = true, value_parser = value::scale)]
    pub(crate) servers: Vec<(String, Option<u32>)>,
    /// How many replicas each of them is to have
    #[arg(short = 'n', long, value_name = "N", value_parser = value::replicas)]
    pub(crate) replicas: Option<u32>,
    #[command(flatten)]
    pub(crate) wait: WaitArgs,
}
