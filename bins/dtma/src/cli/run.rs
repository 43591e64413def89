//! What `dtma run` and `dtma support-bundle` take.

use super::{WaitArgs, value};
use clap::Args;
use dtma_client::types::{Mount, Publish, Transport};
use std::path::PathBuf;

/// `dtma run`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  dtma run dtma/mcp-server-time:dev
  dtma run uvx:mcp-server-time@2026.10.19 --name time
  dtma run npx:@modelcontextprotocol/server-filesystem -v files:/data -- /data
  dtma run dtma/mcp-everything:dev --transport streamable-http --port 3001 -- streamableHttp
  dtma run uvx:mcp-server-fetch --egress 'example.org:443'
  dtma run dtma/busybox:dev --tool --name web -p 8080:80 --command httpd -- -f -p 80

A package is installed on this machine (npm, or pip for uvx:) and becomes an image dtma/npx-PACKAGE:VERSION or
dtma/uvx-PACKAGE:VERSION of the daemon's engine; one that names its version is baked only once. Nothing is installed
when the server is started.")]
pub(crate) struct RunArgs {
    // Not a comment for rustdoc, which would take the brackets for links.
    #[arg(
        value_name = "IMAGE|PACKAGE",
        help = "An image, or a package: npx:PACKAGE[@VERSION], uvx:PACKAGE[@VERSION]"
    )]
    pub(crate) what: String,
    /// The server's name (default: the image's or package's own)
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// The group's name (default: the server's)
    #[arg(long, value_name = "GROUP")]
    pub(crate) group: Option<String>,
    /// How it speaks MCP
    #[arg(long, value_name = "WORD", value_parser = value::transport(), conflicts_with = "tool", default_value = "stdio")]
    pub(crate) transport: Transport,
    /// Where inside its container it listens
    #[arg(
        long,
        value_name = "PORT",
        value_parser = value::port,
        required_if_eq_any = [("transport", "streamable-http"), ("transport", "sse"), ("transport", "websocket")]
    )]
    pub(crate) port: Option<u32>,
    /// The path of its endpoint [default: /mcp, /sse for sse]
    #[arg(long, value_name = "/PATH", requires = "port", conflicts_with = "tool")]
    pub(crate) path: Option<String>,
    /// A host that it may connect to; repeat it for more, * stands for any part
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) egress: Vec<String>,
    /// It is a plain container and does not speak MCP
    #[arg(long)]
    pub(crate) tool: bool,
    /// Plain environment; not for secrets
    #[arg(short, long, value_name = "KEY=VALUE", value_parser = value::pair)]
    pub(crate) env: Vec<(String, String)>,
    /// A named volume and where it is mounted
    #[arg(short, long, value_name = "NAME:/PATH[:ro]", value_parser = value::volume)]
    pub(crate) volume: Vec<Mount>,
    /// A port of this host, and the port inside it leads to
    #[arg(short, long, value_name = "HOST:PORT", value_parser = value::publish, requires = "tool")]
    pub(crate) publish: Vec<Publish>,
    /// Memory it may use (a package: 512MiB unless said)
    #[arg(long, value_name = "SIZE")]
    pub(crate) memory: Option<String>,
    /// Replaces the image's entrypoint; repeat it for more words
    #[arg(long, value_name = "WORD", allow_hyphen_values = true)]
    pub(crate) command: Vec<String>,
    /// The engine that is given a package's image (default: the daemon's own)
    #[arg(long, env = "DOCKER_HOST", hide_env = true, value_name = "URL")]
    pub(crate) docker_host: Option<String>,
    /// Replaces the image's command
    #[arg(last = true, value_name = "ARGS")]
    pub(crate) args: Vec<String>,
    #[command(flatten)]
    pub(crate) wait: WaitArgs,
}

/// `dtma support-bundle`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  dtma support-bundle
  dtma support-bundle --to /tmp/bundle.tar.gz --tail 500

Holds: versions, what doctor finds, status, what servers use, the kept generations of every group, operations, events, \
metrics, templates, contexts, and the end of every server's log. Tokens, values of environment variables and what looks like a secret are replaced; read it before \
you give it away all the same.")]
pub(crate) struct BundleArgs {
    /// The file
    #[arg(long, value_name = "FILE", default_value = "dtma-support.tar.gz")]
    pub(crate) to: PathBuf,
    /// Lines of each server's log
    #[arg(short = 'n', long, value_name = "N", default_value_t = 200)]
    pub(crate) tail: u32,
}
