//! What `dtma mcp grants` takes.

use super::value;
use clap::{Args, Subcommand};
use dtma_client::types::GrantBody;
use jiff::Timestamp;
use std::time::Duration;

/// `dtma mcp grants …`.
#[derive(Debug, Subcommand)]
pub(crate) enum GrantsCommand {
    /// List what is granted to agents
    Ls(GrantsLsArgs),
    /// Grant servers and tools to an agent, or replace what is granted
    Set(GrantsSetArgs),
    /// Take away what was granted
    Rm(GrantsRmArgs),
}

/// `dtma mcp grants ls`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  dtma mcp grants ls
  dtma mcp grants ls --agent bob")]
pub(crate) struct GrantsLsArgs {
    /// Only what is granted to the token of this name
    #[arg(long, value_name = "TOKEN")]
    pub(crate) agent: Option<String>,
}

/// `dtma mcp grants set`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  dtma mcp grants set bob-time --agent bob --server time
  dtma mcp grants set bob-git --agent bob --server 'git-*=log,status,show_*' --expires 90d
  dtma mcp grants set lab --agent researcher --group lab --rate 60 --burst 10
  dtma mcp grants set all --agent admin-bot --server '*'

An agent is named as its token is (dtma-daemon token ls). Until it is granted something for the first time it reaches
every server, unless the daemon was told otherwise (require_connections); from then on what it was granted and nothing
else, also after all of that was taken away again. Several grants of one agent add up.")]
pub(crate) struct GrantsSetArgs {
    /// The connection's name, chosen by you
    #[arg(value_name = "CONNECTION")]
    pub(crate) connection: String,
    /// To whom: the name of a token
    #[arg(long, value_name = "TOKEN", required_unless_present = "token_hash")]
    pub(crate) agent: Option<String>,
    /// To whom, by the SHA-256 of a token
    #[arg(long, value_name = "SHA256", conflicts_with = "agent")]
    pub(crate) token_hash: Option<String>,
    /// A server, or those of a pattern, and which of its tools (default: all); may be repeated
    #[arg(long = "server", value_name = "INSTANCE[=TOOL,…]", value_parser = server, required_unless_present = "groups")]
    pub(crate) servers: Vec<GrantBody>,
    /// Every server of a group, and which of their tools (default: all); may be repeated
    #[arg(long = "group", value_name = "GROUP[=TOOL,…]", value_parser = group)]
    pub(crate) groups: Vec<GrantBody>,
    /// For how long, or until when (default: until it is taken away)
    #[arg(long, value_name = "TIME", value_parser = end)]
    pub(crate) expires: Option<End>,
    /// Calls in a minute (default: as many as anybody may make)
    #[arg(long, value_name = "CALLS", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rate: Option<u32>,
    /// Calls at once after a rest (default: those of a minute)
    #[arg(long, value_name = "CALLS", requires = "rate", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) burst: Option<u32>,
}

/// `dtma mcp grants rm`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  dtma mcp grants rm bob-time

Takes effect at once, on open sessions too. The agent keeps what its other connections grant; nothing, when there is
none.")]
pub(crate) struct GrantsRmArgs {
    /// The connections
    #[arg(value_name = "CONNECTION", required = true)]
    pub(crate) connections: Vec<String>,
}

/// When a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    In(Duration),
    At(Timestamp),
}

fn end(text: &str) -> Result<End, String> {
    match (value::duration(text), text.parse()) {
        (Ok(time), _) if time.is_zero() => Err("must be more than nothing".to_owned()),
        (Ok(time), _) => Ok(End::In(time)),
        (Err(_), Ok(at)) => Ok(End::At(at)),
        (Err(_), Err(_)) => {
            Err("neither a duration such as 90d nor a time such as 2027-01-31T00:00:00Z".to_owned())
        }
    }
}

fn server(text: &str) -> Result<GrantBody, String> {
    let (name, tools) = named(text)?;
    Ok(GrantBody { instance_name: Some(name), group_id: None, tools })
}

fn group(text: &str) -> Result<GrantBody, String> {
    let (name, tools) = named(text)?;
    Ok(GrantBody { instance_name: None, group_id: Some(name), tools })
}

fn named(text: &str) -> Result<(String, Option<Vec<String>>), String> {
    let (name, tools) = text.split_once('=').map_or((text, None), |(name, tools)| (name, Some(tools)));
    if name.is_empty() || tools.is_some_and(str::is_empty) {
        return Err("not of the form NAME or NAME=TOOL,TOOL".to_owned());
    }
    Ok((name.to_owned(), tools.map(|tools| tools.split(',').map(str::to_owned).collect())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_named_with_their_tools_or_without() {
        let read = |text: &str| server(text).map(|grant| (grant.instance_name.unwrap(), grant.tools));
        assert_eq!(read("time"), Ok(("time".to_owned(), None)));
        let tools = vec!["log".to_owned(), "show_*".to_owned()];
        assert_eq!(read("git-*=log,show_*"), Ok(("git-*".to_owned(), Some(tools))));
        assert_eq!(group("lab").unwrap().group_id.as_deref(), Some("lab"));
        assert!(read("").is_err() && read("=a").is_err() && read("time=").is_err());
    }

    #[test]
    fn an_end_is_a_duration_or_a_moment() {
        assert_eq!(end("90d"), Ok(End::In(Duration::from_secs(90 * 24 * 3600))));
        assert_eq!(end("2027-01-31T00:00:00Z"), Ok(End::At("2027-01-31T00:00:00Z".parse().unwrap())));
        assert!(end("0").is_err() && end("tomorrow").is_err());
    }
}
