//! What `dtma operations` and `dtma exit-codes` take.

use super::value;
use clap::{Args, Subcommand};
use dtma_client::types::{OperationKind, OperationState};
use std::time::Duration;

/// `dtma operations …`.
#[derive(Debug, Subcommand)]
pub(crate) enum OperationsCommand {
    /// List them, the newest first
    Ls(OperationsLsArgs),
    /// Show one in detail
    #[command(after_help = "Example:\n  dtma operations get 01K9Z3V5D8Q0")]
    Get {
        /// The operation
        #[arg(value_name = "ID")]
        id: String,
    },
    /// Wait until one is over; ends with 1 when it failed
    #[command(after_help = "\
Example:
  dtma operations wait $(dtma apply -f group.yaml --no-wait -o json | jq -r .operationId)")]
    Wait {
        /// The operation
        #[arg(value_name = "ID")]
        id: String,
        /// How long
        #[arg(long, value_name = "TIME", default_value = "5m", value_parser = value::duration)]
        timeout: Duration,
    },
}

/// `dtma operations ls`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  dtma operations ls
  dtma operations ls --group demo --state failed
  dtma operations ls --kind apply -n 5 -o json")]
pub(crate) struct OperationsLsArgs {
    /// Only of this group
    #[arg(long, value_name = "GROUP")]
    pub(crate) group: Option<String>,
    /// Only of this server alone
    #[arg(long, value_name = "INSTANCE")]
    pub(crate) instance: Option<String>,
    /// Only of this kind: deploy, apply, scale, rollback, restart, start, stop, remove
    #[arg(long, value_name = "KIND", value_parser = kind)]
    pub(crate) kind: Option<OperationKind>,
    /// Only those that are so far: running, done, failed
    #[arg(long, value_name = "STATE", value_parser = state)]
    pub(crate) state: Option<OperationState>,
    /// At most so many
    #[arg(short = 'n', long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) limit: Option<u32>,
}

fn kind(text: &str) -> Result<OperationKind, String> {
    one_of(text, OperationKind::ALL, OperationKind::as_str)
}

fn state(text: &str) -> Result<OperationState, String> {
    one_of(text, OperationState::ALL, OperationState::as_str)
}

/// One of a few words of the daemon's.
pub(super) fn one_of<T: Copy>(text: &str, all: &[T], word: impl Fn(T) -> &'static str) -> Result<T, String> {
    all.iter().copied().find(|one| word(*one) == text).ok_or_else(|| {
        let known: Vec<&str> = all.iter().map(|one| word(*one)).collect();
        format!("there is {}", known.join(", "))
    })
}

/// What `dtma help exit-codes` says.
pub(crate) const EXIT_CODES: &str = "\
Exit codes:
  0    done
  1    failed: the message says why, dtma explain CODE says what to do
  2    the command line is wrong, or a file cannot be read
  3    the daemon cannot be reached
  4    not authorised: no token, an unknown one, or one that may not do this
  5    there is no such group, server, tool, operation or generation
  6    conflict: a name or port is taken, or a group has changed
  7    the file says what is not valid or not allowed; every mistake is listed
  8    timed out; the daemon goes on
  130  interrupted; the daemon goes on

Three commands speak otherwise:
  dtma plan, dtma apply --dry-run    0 nothing would change, 1 something would, 255 no plan
  dtma exec                          the command's own exit code; of dtma itself as above
  dtma wait, dtma operations wait    1 also when what is waited for will not come any more";
