//! What `dtma tool` takes. A tool alone is a group bearing its name.

use super::{WaitArgs, value};
use clap::{Args, Subcommand};
use dtma_client::types::{Mount, Publish};

/// `dtma tool …`.
#[derive(Debug, Subcommand)]
pub(crate) enum ToolCommand {
    /// Deploy one
    Deploy(ToolDeployArgs),
    /// Remove one; its volumes stay unless --volumes
    Rm(ToolRmArgs),
    /// List them
    Ls(ToolLsArgs),
}

/// `dtma tool deploy`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  dtma tool deploy web dtma/busybox:dev --publish 8080:80 --command httpd -- -f -p 80
  dtma tool deploy db postgres:17 --port 5432 --env PGDATA=/data/pg --volume data:/data")]
pub(crate) struct ToolDeployArgs {
    /// Its name, and its group's
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// The image
    #[arg(value_name = "IMAGE")]
    pub(crate) image: String,
    /// The port inside on which it listens: it is ready when this accepts (default: the first published)
    #[arg(long, value_name = "PORT", value_parser = value::port)]
    pub(crate) port: Option<u32>,
    /// A port of this host, and the port inside it leads to
    #[arg(short, long, value_name = "HOST:PORT", value_parser = value::publish)]
    pub(crate) publish: Vec<Publish>,
    /// Plain environment; not for secrets
    #[arg(short, long, value_name = "KEY=VALUE", value_parser = value::pair)]
    pub(crate) env: Vec<(String, String)>,
    /// A named volume and where it is mounted
    #[arg(short, long, value_name = "NAME:/PATH[:ro]", value_parser = value::volume)]
    pub(crate) volume: Vec<Mount>,
    /// Memory it may use: 512MiB
    #[arg(long, value_name = "SIZE")]
    pub(crate) memory: Option<String>,
    /// Replaces the image's entrypoint; repeat it for more words
    #[arg(long, value_name = "WORD", allow_hyphen_values = true)]
    pub(crate) command: Vec<String>,
    /// Replaces the image's command
    #[arg(last = true, value_name = "ARGS")]
    pub(crate) args: Vec<String>,
    #[command(flatten)]
    pub(crate) wait: WaitArgs,
}

/// `dtma tool rm`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  dtma tool rm web --volumes")]
pub(crate) struct ToolRmArgs {
    /// Its name
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// Remove its volumes too: what they hold is lost
    #[arg(long)]
    pub(crate) volumes: bool,
    /// Kill it instead of stopping it
    #[arg(long)]
    pub(crate) force: bool,
    #[command(flatten)]
    pub(crate) wait: WaitArgs,
}

/// `dtma tool ls`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  dtma tool ls -o wide")]
pub(crate) struct ToolLsArgs {}
