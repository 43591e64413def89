//! What `dtma audit` takes.

use super::{operations::one_of, value};
use clap::Args;
use dtma_client::types::AuditOutcome;

/// `dtma audit`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  dtma audit                           the last hundred
  dtma audit --group demo --since 1d
  dtma audit --outcome denied -n 20 -o wide
  dtma audit --actor ci --action putGroup -o json
  dtma audit --egress --group demo     what its servers reached outside
  dtma audit --calls --instance time   what agents asked it for

An action is an operationId of the HTTP API. The token needs the scope to read the audit log.")]
pub(crate) struct AuditArgs {
    /// What servers reached outside, or were refused, instead of what people changed
    #[arg(long, conflicts_with_all = ["actor", "action"])]
    pub(crate) egress: bool,
    /// What agents asked MCP servers for, instead of what people changed
    #[arg(long, conflicts_with_all = ["egress", "action"])]
    pub(crate) calls: bool,
    /// Only about this group
    #[arg(long, value_name = "GROUP")]
    pub(crate) group: Option<String>,
    /// Only about this server
    #[arg(long, value_name = "INSTANCE")]
    pub(crate) instance: Option<String>,
    /// Only of the token with this name
    #[arg(long, value_name = "NAME")]
    pub(crate) actor: Option<String>,
    /// Only of this kind: deployGroup, putGroup, stopServer
    #[arg(long, value_name = "ACTION")]
    pub(crate) action: Option<String>,
    /// Only what ended so: done, accepted, replayed, refused, denied, failed, interrupted
    #[arg(long, value_name = "OUTCOME", value_parser = outcome)]
    pub(crate) outcome: Option<AuditOutcome>,
    /// Only since then: 10m, or 2026-01-31T12:00:00Z
    #[arg(long, value_name = "TIME", value_parser = value::moment)]
    pub(crate) since: Option<String>,
    /// Only before then
    #[arg(long, value_name = "TIME", value_parser = value::moment)]
    pub(crate) until: Option<String>,
    /// At most so many
    #[arg(short = 'n', long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) limit: Option<u32>,
    /// Only older ones: the number an earlier answer ended with
    #[arg(long, value_name = "SEQ")]
    pub(crate) cursor: Option<u64>,
}

fn outcome(text: &str) -> Result<AuditOutcome, String> {
    one_of(text, AuditOutcome::ALL, AuditOutcome::as_str)
}
