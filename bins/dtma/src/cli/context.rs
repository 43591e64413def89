//! What `dtma context` takes.

use clap::{Args, Subcommand};

/// `dtma context …`.
#[derive(Debug, Subcommand)]
pub(crate) enum ContextCommand {
    /// List the daemons that have a name
    #[command(after_help = "Example:\n  dtma context ls -o name")]
    Ls,
    /// Make a context the current one
    #[command(after_help = "Example:\n  dtma context use work")]
    Use(ContextNameArgs),
    /// Give a daemon a name, or change what the name means
    Add(ContextAddArgs),
    /// Forget a context; the files it names stay
    #[command(after_help = "Example:\n  dtma context rm work")]
    Rm(ContextNameArgs),
    /// Show a context, without its token
    #[command(after_help = "Examples:\n  dtma context show\n  dtma context show work -o json")]
    Show(ContextShowArgs),
}

/// A context's name.
#[derive(Debug, Args)]
pub(crate) struct ContextNameArgs {
    /// The context
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
}

/// `dtma context show`.
#[derive(Debug, Args)]
pub(crate) struct ContextShowArgs {
    /// The context; without it the current one
    #[arg(value_name = "NAME")]
    pub(crate) name: Option<String>,
}

/// `dtma context add`. The address and the files are the options of every command, here written down.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  dtma context add home --url http://127.0.0.1:30000 --token-file ~/.config/dtma/home.token
  dtma context add work --url https://10.0.0.5:30000 --ca-file ~/work.pem --token-file ~/work.token --use

A token file belongs to its owner alone (chmod 600). The current context is used when neither --context nor \
--url nor DTMA_URL says where the daemon is.")]
pub(crate) struct ContextAddArgs {
    /// Its name
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// Make it the current one
    #[arg(long = "use")]
    pub(crate) make_current: bool,
}
